"""The contract of a Sender: one message out, one outcome back, as a value.

A sender never retries and never reorders; the dispatcher alone decides what an outcome means
(agent/domain/delivery.py). After anything but ACCEPTED the caller may close the sender and open a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as the bus takes it. `message_id` is the same on every resend; `properties` are all strings.

    `body` is the protected message (CMS, DER) and stays out of repr. `file_name` is used by senders that write files.
    """

    message_id: str
    to: str
    reply_to: str
    subject: str
    content_type: str
    properties: Mapping[str, str]
    body: bytes = field(repr=False)
    time_to_live_s: int | None = None
    file_name: str = ""


class Verdict(Enum):
    """What became of one send, named as the transport names it."""

    ACCEPTED = "accepted"  # the broker has it: sent, not delivered
    RELEASED = "released"  # unroutable, or the queue is gone
    MODIFIED = "modified"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # transferred, and no answer came: the same id goes again
    UNAVAILABLE = "unavailable"  # not transferred: connection, session, link or credit failed
    NO_ROUTE = "no_route"  # address not found, or no right to it
    IMPOSSIBLE = "impossible"  # the broker can never take this message


@dataclass(frozen=True, slots=True)
class Outcome:
    """`condition` is the transport's own word (such as "amqp:not-found"); `text` explains and quotes no content."""

    verdict: Verdict
    condition: str = ""
    text: str = ""


class Sender(Protocol):
    """Enter connects and attaches; a failure there raises SenderUnavailable or SenderRefused."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Transfer and wait for the outcome. Calls may overlap: transfers leave in the order of the calls.

        Every wait is bounded. Never raises for what the transport did: that is an outcome.
        """
        ...


class SenderError(Exception):
    """Trouble before anything was sent. `code` is stable; `condition` is the transport's own word."""

    code: str = "KPR-200"

    def __init__(self, text: str, *, condition: str = "") -> None:
        super().__init__(text)
        self.condition = condition


class SenderUnavailable(SenderError):
    """Connection, TLS or session failed: open a new sender after a while."""

    code = "KPR-201"


class SenderRefused(SenderError):
    """Password, rights, address or certificate refused: alarm, and try again at minutes' pace."""

    code = "KPR-202"
