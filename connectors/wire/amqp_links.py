"""The two ends of a link on an AmqpConnection: what is sent and what became of it; what came and how it was settled."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from proton import Condition, Delivery, Receiver, Sender, Terminus


class AmqpError(Exception):
    """A connection, session or link that failed. `condition` is AMQP's own word, empty when there is none."""

    def __init__(self, text: str, *, condition: str = "") -> None:
        super().__init__(text)
        self.condition = condition

    @classmethod
    def of(cls, condition: Condition | None, text: str) -> Self:
        if condition is None:
            return cls(text)
        return cls(f"{text}: {short(condition.description)}", condition=str(condition.name))


def short(description: str | None) -> str:
    """A peer's free text, cut: it is for a log line."""
    return " ".join((description or "no explanation").split())[:200]


class RemoteState(Enum):
    """The outcomes of a transfer in AMQP 1.0 section 3.4, and a settlement without any."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RELEASED = "released"
    MODIFIED = "modified"
    NONE = "none"


_STATES: Final[dict[int, RemoteState]] = {
    Delivery.ACCEPTED: RemoteState.ACCEPTED,
    Delivery.REJECTED: RemoteState.REJECTED,
    Delivery.RELEASED: RemoteState.RELEASED,
    Delivery.MODIFIED: RemoteState.MODIFIED,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer said of one transfer."""

    state: RemoteState
    condition: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """The link failed before an answer. `companions` counts the transfers that it took along, itself included."""

    error: AmqpError
    companions: int


class _Attachment:
    """Whether a link is attached, and why not."""

    def __init__(self) -> None:
        self.failure: AmqpError | None = None
        self._done = asyncio.Event()

    def succeed(self) -> None:
        self._done.set()

    def fail(self, error: AmqpError) -> bool:
        """Whether this was the first failure."""
        first = self.failure is None
        if first:
            self.failure = error
        self._done.set()
        return first

    async def wait(self) -> None:
        """The caller bounds it."""
        await self._done.wait()
        if self.failure is not None:
            raise self.failure


class SenderLink:
    """A link to send over. Transfers leave in the order of `transfer`; each is answered by its future."""

    def __init__(self, link: Sender, address: str, kick: Callable[[], None]) -> None:
        self._link = link
        self._kick = kick
        self._attachment = _Attachment()
        self._flowed = asyncio.Event()
        self._unanswered: dict[str, asyncio.Future[Answer | Lost]] = {}
        link.target.address = address
        link.source.address = "kpr-agent"

    @property
    def failure(self) -> AmqpError | None:
        return self._attachment.failure

    @property
    def max_message_size_bytes(self) -> int:
        """The largest message the peer takes; 0 when it does not say."""
        return int(self._link.remote_max_message_size)

    def open(self) -> None:
        self._link.open()

    async def attached(self) -> None:
        await self._attachment.wait()

    async def credit(self) -> None:
        """Until the peer takes another message; raises AmqpError when the link fails. The caller bounds it."""
        while self.failure is None and self._link.credit <= 0:
            self._flowed.clear()
            await self._flowed.wait()
        if self.failure is not None:
            raise self.failure

    def transfer(self, encoded: bytes) -> asyncio.Future[Answer | Lost]:
        """Send one message. There must be credit."""
        delivery = self._link.delivery(self._link.delivery_tag())
        answer: asyncio.Future[Answer | Lost] = asyncio.get_running_loop().create_future()
        self._unanswered[delivery.tag] = answer
        self._link.stream(encoded)
        self._link.advance()
        self._kick()
        return answer

    def fail(self, error: AmqpError) -> None:
        if self._attachment.fail(error):
            companions = len(self._unanswered)
            for answer in self._unanswered.values():
                if not answer.done():
                    answer.set_result(Lost(error, companions))
            self._unanswered.clear()
            self._flowed.set()

    def on_attached(self) -> None:
        # An attach without a target is a refusal; the detach that follows says why (AMQP 1.0 section 2.6.3).
        if self._link.remote_target.type != Terminus.UNSPECIFIED:
            self._attachment.succeed()

    def on_flow(self) -> None:
        self._flowed.set()

    def on_delivery(self, delivery: Delivery) -> None:
        state = _STATES.get(delivery.remote_state)
        if not delivery.updated or (state is None and not delivery.settled):
            return
        answer = self._unanswered.pop(delivery.tag, None)
        if answer is not None and not answer.done():
            condition = delivery.remote.condition if state is RemoteState.REJECTED else None
            answer.set_result(
                Answer(state or RemoteState.NONE)
                if condition is None
                else Answer(state or RemoteState.NONE, str(condition.name), short(condition.description))
            )
        delivery.settle()
        self._kick()


class ReceiverLink:
    """A link to receive over. The peer sends as much as it has credit for; credit is topped up in halves."""

    def __init__(
        self,
        link: Receiver,
        address: str,
        kick: Callable[[], None],
        on_message: "OnMessage",
        on_failure: Callable[[AmqpError], None],
    ) -> None:
        self._link = link
        self._kick = kick
        self._on_message = on_message
        self._on_failure = on_failure
        self._attachment = _Attachment()
        self._credit = 0
        self._unsettled = 0
        link.source.address = address
        link.target.address = "kpr-agent"

    @property
    def failure(self) -> AmqpError | None:
        return self._attachment.failure

    def open(self) -> None:
        self._link.open()

    async def attached(self) -> None:
        await self._attachment.wait()

    def grant(self, credit: int) -> None:
        """Let the peer have so many messages with us, delivered and not yet settled."""
        self._credit = credit
        self._link.flow(credit)
        self._kick()

    def settle(self, delivery: Delivery, state: int) -> None:
        """Tell the peer what became of a delivery: Delivery.ACCEPTED, REJECTED, RELEASED, or MODIFIED (failed)."""
        if state == Delivery.MODIFIED:
            delivery.local.failed = True
        delivery.update(state)
        delivery.settle()
        self._unsettled -= 1
        # One flow frame for each message has broken classic queues of RabbitMQ 4: half the credit at a time.
        outstanding = self._link.credit + self._unsettled
        if outstanding <= self._credit // 2:
            self._link.flow(self._credit - outstanding)
        self._kick()

    def fail(self, error: AmqpError) -> None:
        if self._attachment.fail(error):
            self._on_failure(error)

    def on_attached(self) -> None:
        if self._link.remote_source.type != Terminus.UNSPECIFIED:
            self._attachment.succeed()

    def on_flow(self) -> None:
        """Nothing: a receiver grants credit, it does not wait for it."""

    def on_delivery(self, delivery: Delivery) -> None:
        if delivery.aborted:
            delivery.settle()
            self._link.flow(1)
        elif delivery.readable and not delivery.partial:
            encoded = bytes(self._link.recv(delivery.pending) or b"")
            self._link.advance()
            self._unsettled += 1
            self._on_message(self, delivery, encoded)


Link = SenderLink | ReceiverLink
OnMessage = Callable[[ReceiverLink, Delivery, bytes], None]
"""Gets the link, the delivery to settle, and the bytes of the message."""
