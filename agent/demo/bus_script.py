"""What a test or the demo may decide for the embedded bus, transfer by transfer and link by link."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from proton import Delivery


class Verdict(Enum):
    """The outcome of one transfer to the bus; NONE leaves it unanswered."""

    ACCEPTED = Delivery.ACCEPTED
    RELEASED = Delivery.RELEASED
    REJECTED = Delivery.REJECTED
    MODIFIED = Delivery.MODIFIED
    NONE = 0


class Then(Enum):
    """What happens right after the verdict."""

    NOTHING = "nothing"
    DETACH = "detach the link"
    END = "end the session"
    DROP = "drop the connection"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A message that a client sends: the how manyth since the bus was made, where to, and its bytes as they came."""

    number: int
    exchange: str
    queue: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with a transfer. `keep` None stores it only when accepted; `after` is waited for first.

    `condition` is the error of a rejection, or of the detach or end that follows. A transfer that was dropped before it
    arrived is Answer(Verdict.NONE, keep=False, then=Then.DROP); one whose outcome is lost has keep=True.
    """

    verdict: Verdict = Verdict.ACCEPTED
    keep: bool | None = None
    condition: str = ""
    then: Then = Then.NOTHING
    after: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Attach:
    """A link that a client asks for; `sends` tells whether the client sends on it."""

    address: str
    sends: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """The error to refuse a link with: on the link, or by ending its session, as RabbitMQ does."""

    condition: str
    ends_session: bool = False
