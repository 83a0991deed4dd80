"""The account at Norsk Helsenett's AMQP bus: its settings and its addresses. Loads no AMQP library."""

from typing import Final, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from connectors.section import ConnectorSection, FilePath

_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


class NhnAmqpSettings(ConnectorSection):
    """The account at the bus. The queues belong to the parties and are given to the sender and the inbox."""

    url: str = Field(
        description="Where the bus is: amqps://host:port (the port is 5671 when left out). "
        "amqp:// without TLS is only taken for this machine itself. No user, password or path."
    )
    exchange: str = Field(
        min_length=1, description="The exchange that messages are sent to, spelled exactly as the bus has it."
    )
    addresses: Literal["v1", "v2"] = Field(
        description="How RabbitMQ addresses are written: v1 for 3.x to 4.2, v2 for 4.0 and later."
    )
    user_file: FilePath = Field(description="A file with the user name. It is read at each connection.")
    password_file: FilePath = Field(
        description="A file with the password, not readable by everybody. It is read at each connection."
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="A file with the certificates (PEM) of the authorities to trust; the system's when left out.",
    )
    window: int = Field(
        default=1, ge=1, le=1000, description="How many messages may be on their way without an answer."
    )
    heartbeat_s: float = Field(
        default=30,
        ge=2,
        le=60,
        description="Seconds of silence after which the bus counts as dead. The bus is asked to say something at least "
        "every half of it.",
    )
    operation_timeout_s: float = Field(
        default=60, gt=0, le=60, description="Seconds to wait for each answer: connection, attach, credit, outcome."
    )
    close_timeout_s: float = Field(
        default=3, gt=0, le=60, description="Seconds to wait for the answer when a connection is closed."
    )
    credit: int = Field(
        default=25, ge=1, le=1000, description="How many received messages may be with us without being settled."
    )
    retry_as: Literal["modified", "released"] = Field(
        default="modified",
        description="How a message is put back for another try: modified (RabbitMQ 4), or released (3.x, which ends "
        "the session on modified).",
    )

    @field_validator("url")
    @classmethod
    def _only_a_place(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("amqps", "amqp") or not parts.hostname:
            raise ValueError("write amqps://host:port")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password belong in user_file and password_file")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("write only amqps://host:port; the exchange has a key of its own")
        if parts.scheme == "amqp" and parts.hostname not in _LOCAL_HOSTS:
            raise ValueError("amqp:// has no TLS and is only taken for 127.0.0.1 or localhost: write amqps://")
        if parts.port == 0:  # reading .port refuses anything that is no port number
            raise ValueError("port 0 is no port")
        return url

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (5671 if parts.scheme == "amqps" else 5672)

    def send_address(self, queue: str) -> str:
        """Where messages for `queue` are sent: the exchange, with the queue's name as the routing key."""
        if self.addresses == "v1":
            return f"/exchange/{self.exchange}/{queue}"
        return f"/exchanges/{quote(self.exchange, safe='')}/{quote(queue, safe='')}"

    def receive_address(self, queue: str) -> str:
        if self.addresses == "v1":
            return f"/amq/queue/{queue}"
        return f"/queues/{quote(queue, safe='')}"
