"""The contract of an Inbox: messages that came for us, each settled once, after it is durable.

An inbox leaves alone what it is told to leave. It never answers a message.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, Self

from connectors.sender import SenderError


class Queue(Enum):
    ASYNC = "async"  # receipts
    ERROR = "error"  # the error queue


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came. `properties` are application properties as text, whatever their type on the wire.

    `handle` names the delivery for `settle` and means nothing elsewhere. `body` and `properties` stay out of repr.
    """

    handle: int
    queue: Queue
    message_id: str | None
    correlation_id: str | None
    subject: str | None
    content_type: str | None
    delivery_count: int
    properties: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Settlement(Enum):
    ACCEPT = "accept"  # booked durably (invariant 7)
    DEAD_LETTER = "dead_letter"  # can never be read: out of the way, for a person
    RETRY = "retry"  # a passing failure: deliver it again
    LEAVE = "leave"  # not ours: back to the queue, untouched


class Inbox(Protocol):
    """Enter connects and attaches to both queues; a failure there raises InboxUnavailable or InboxRefused."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def messages(self) -> AsyncIterator[Incoming]:
        """Messages of both queues as they come; raises InboxUnavailable when the connection or a link is lost."""
        ...

    async def settle(self, incoming: Incoming, how: Settlement) -> None:
        """Tell the bus what became of a message. Bounded; a lost connection raises InboxUnavailable."""
        ...


class InboxUnavailable(SenderError):
    """Connection, session or link lost: open a new inbox after a while; what was not settled comes again."""

    code = "KPR-301"


class InboxRefused(SenderError):
    """Password, rights or queue refused: alarm, and try again at minutes' pace."""

    code = "KPR-302"
