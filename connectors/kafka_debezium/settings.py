"""How Debezium's topics on a Kafka platform are reached and read: the settings. Loads no Kafka library."""

import re
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from connectors.section import ConnectorSection, FilePath
from connectors.source import Capture
from connectors.wire.strict_json import LARGEST_DOCUMENT_BYTES

_ADDRESS: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/,\[\]]+):[0-9]{1,5}")
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_NOT_IN_TOPICS: Final = re.compile(r"[^a-zA-Z0-9._-]")


class SharedTopic(ConnectorSection):
    """Which records are this municipality's, where it shares topics with others. The others are counted."""

    key_prefix: str | None = Field(
        default=None,
        min_length=1,
        description="What the record's key begins with, as text; of a JSON object, what its first field begins with.",
    )
    header: str | None = Field(default=None, min_length=1, description="The name of a header, instead of key_prefix.")
    header_value: str | None = Field(default=None, description="What the header says, exactly.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.key_prefix is None) == (self.header is None):
            raise ValueError("write exactly one of key_prefix and header")
        if (self.header is None) != (self.header_value is None):
            raise ValueError("header and header_value belong together")
        return self


class KafkaDebeziumSettings(ConnectorSection):
    """Debezium's topics on a Kafka platform."""

    bootstrap_servers: list[str] = Field(min_length=1, description="Brokers to begin with, each as host:port.")
    tls: bool = Field(default=True, description="Whether the listener uses TLS. The host name is always checked.")
    ca_file: FilePath | None = Field(
        default=None,
        description="A file with the certificates (PEM) of the authorities to trust; the system's when left out.",
    )
    certificate_file: FilePath | None = Field(
        default=None, description="Our own certificate (PEM), where the platform asks for one."
    )
    key_file: FilePath | None = Field(default=None, description="The key (PEM) of certificate_file.")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="How the user logs in. Left out: no login, or the client certificate is the login."
    )
    user_file: FilePath | None = Field(
        default=None, description="A file with the user name. It is read at each connection."
    )
    password_file: FilePath | None = Field(
        default=None, description="A file with the password, not readable by everybody. It is read at each connection."
    )
    topic_prefix: str | None = Field(
        default=None,
        description="What stands in the topics before a point and each table's name: Debezium's topic.prefix; with SQL "
        "Server a point and the database behind it. A sign that topics cannot have is _ in them.",
    )
    topics: list[str] | None = Field(default=None, min_length=1, description="The topics, instead of topic_prefix.")
    missing_topics: Literal["stop", "wait"] = Field(
        default="stop",
        description="A topic that was never there: stop, or wait for it. Debezium makes a topic with its table's first "
        "row. One that was there and is gone always stops.",
    )
    heartbeat_topic: str | None = Field(
        default=None,
        description="Debezium's heartbeat topic, used where it exists; when left out, __debezium-heartbeat. and "
        "topic_prefix (with SQL Server, name it).",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        description="A consumer group, where the platform asks for one. It must be this municipality's alone. "
        "Left out: all partitions are read without a group. The position is in the ledger either way.",
    )
    only: SharedTopic | None = Field(
        default=None, description="Which records are this municipality's, in topics that others share."
    )
    connect_url: str | None = Field(
        default=None, description="Kafka Connect's REST address, which doctor asks how the connectors and tasks are."
    )
    lag_s: float = Field(
        default=60.0,
        ge=0,
        description="How far Debezium may be behind the database, in seconds, when nothing more is there to be read.",
    )
    quiet_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="How long nothing may come while there is more to be read, in seconds; then it is opened again.",
    )
    poll_s: float = Field(
        default=1.0,
        ge=0.05,
        le=10,
        description="How often brokers are asked how the topics are while nothing comes, in seconds.",
    )
    records_ahead: int = Field(default=500, ge=1, le=10_000, description="How many records are handed on at a time.")
    fetch_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="How much is fetched ahead of each partition, in bytes (a larger record comes alone).",
    )
    largest_record_bytes: int = Field(
        default=LARGEST_DOCUMENT_BYTES, ge=1024, description="A larger record is kept as unreadable, cut off; in bytes."
    )
    operation_timeout_s: float = Field(
        default=30.0, gt=0, le=60, description="How long a broker may take for one answer, in seconds."
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, addresses: list[str]) -> list[str]:
        if not all(_ADDRESS.fullmatch(address) for address in addresses):
            raise ValueError("write each broker as host:port")
        return addresses

    @field_validator("topics")
    @classmethod
    def _topic_names(cls, topics: list[str] | None) -> list[str] | None:
        if topics is not None and not all(_TOPIC.fullmatch(topic) for topic in topics):
            raise ValueError("a topic's name has letters a to z, digits, points, underscores and hyphens")
        return topics

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.topic_prefix is None) == (self.topics is None):
            raise ValueError("write exactly one of topic_prefix and topics")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        if not self.tls and (self.ca_file is not None or self.certificate_file is not None):
            raise ValueError("ca_file and certificate_file need tls")
        logs_in = self.sasl_mechanism is not None
        if logs_in != (self.user_file is not None) or logs_in != (self.password_file is not None):
            raise ValueError("sasl_mechanism, user_file and password_file belong together")
        return self

    def wanted_topics(self, capture: Capture) -> list[str]:
        """The topics to read, each once, in order."""
        if self.topics is not None:
            return sorted(set(self.topics))
        return sorted({_topic_name(f"{self.topic_prefix}.{table.name_in_source}") for table in capture.tables})

    @property
    def heartbeats(self) -> str | None:
        """The heartbeat topic to look for."""
        if self.heartbeat_topic is not None or self.topic_prefix is None:
            return self.heartbeat_topic
        return _topic_name(f"__debezium-heartbeat.{self.topic_prefix}")


def _topic_name(text: str) -> str:
    return _NOT_IN_TOPICS.sub("_", text)
