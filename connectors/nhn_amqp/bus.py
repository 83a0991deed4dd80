"""Norsk Helsenett's AMQP bus: a Sender and an Inbox over AMQP 1.0 with TLS and SASL PLAIN.

Addresses, message properties and what an outcome means follow NHN's AMQP profile as its reference client uses it.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Self, assert_never

from proton import Delivery

from connectors.inbox import InboxRefused, InboxUnavailable, Incoming, Queue, Settlement
from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.nhn_amqp.connection import NO_ROUTE, connect, entering
from connectors.sender import Outcome, Outgoing, SenderRefused, SenderUnavailable, Verdict
from connectors.wire.amqp_engine import AmqpConnection
from connectors.wire.amqp_links import AmqpError, Answer, Lost, ReceiverLink, RemoteState, SenderLink
from connectors.wire.amqp_message import Sections, Undecodable, decode_message, encode_message

__all__ = ["NhnAmqpInbox", "NhnAmqpSender", "NhnAmqpSettings"]

_IMPOSSIBLE: Final = frozenset(
    {"amqp:link:message-size-exceeded", "amqp:invalid-field", "amqp:decode-error", "amqp:precondition-failed"}
)


class NhnAmqpSender:
    """Sends to one queue. `clock` gives the aware moment that is written as `enqueuedTimeUtc` at each attempt.

    Calls of `send` may overlap. At most `settings.window` transfers are unanswered; a call that still waits for its
    turn when an earlier one was not accepted is not transferred (UNAVAILABLE), so that nothing overtakes it.
    """

    def __init__(
        self,
        settings: NhnAmqpSettings,
        *,
        send_to_queue: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._address = settings.send_address(send_to_queue)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._window = asyncio.Semaphore(settings.window)
        self._misses = 0  # calls that ended as anything but ACCEPTED
        self._connection: AmqpConnection | None = None
        self._link: SenderLink | None = None

    async def __aenter__(self) -> Self:
        async with entering(self.__aexit__, refused=SenderRefused, unavailable=SenderUnavailable):
            self._connection = await connect(self._settings)
            self._link = await self._connection.attach_sender(self._address)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def product(self) -> str:
        """What the broker says it is, such as "RabbitMQ 4.0.5"."""
        return self._connection.product if self._connection else ""

    async def send(self, outgoing: Outgoing) -> Outcome:
        misses = self._misses
        limit_s = self._settings.operation_timeout_s
        try:
            async with asyncio.timeout(limit_s), self._turn:  # a turn at a time: transfers leave in the order of calls
                await self._window.acquire()
                try:
                    sent = await self._transfer(outgoing, misses)
                except BaseException:
                    self._window.release()
                    raise
        except TimeoutError:
            self._misses += 1
            return Outcome(Verdict.UNAVAILABLE, text=f"no credit within {limit_s:g} s: the message was not sent")
        try:
            outcome = sent if isinstance(sent, Outcome) else await self._answer(sent)
            if outcome.verdict is not Verdict.ACCEPTED:
                self._misses += 1
            return outcome
        finally:
            self._window.release()

    async def _transfer(self, outgoing: Outgoing, misses: int) -> asyncio.Future[Answer | Lost] | Outcome:
        """Transfer when there is credit; an Outcome when it could not be."""
        link = self._link
        if link is None:
            return Outcome(Verdict.UNAVAILABLE, text="the sender is not open")
        try:
            await link.credit()
        except AmqpError as error:
            verdict = Verdict.NO_ROUTE if error.condition in NO_ROUTE else Verdict.UNAVAILABLE
            return Outcome(verdict, error.condition, str(error))
        if self._misses != misses:
            return Outcome(Verdict.UNAVAILABLE, text="not sent: a message before it was not accepted")
        encoded = encode_message(outgoing, self._clock())
        limit_bytes = link.max_message_size_bytes
        if 0 < limit_bytes < len(encoded):
            text = f"the message has {len(encoded)} bytes, the bus takes {limit_bytes}"
            return Outcome(Verdict.IMPOSSIBLE, "amqp:link:message-size-exceeded", text)
        return link.transfer(encoded)

    async def _answer(self, sent: asyncio.Future[Answer | Lost]) -> Outcome:
        """What the broker said. No answer in time makes the whole connection useless: nobody knows what it took."""
        try:
            async with asyncio.timeout(self._settings.operation_timeout_s):
                return _outcome(await sent)
        except TimeoutError:
            text = f"no outcome within {self._settings.operation_timeout_s:g} s"
            if self._connection is not None:
                self._connection.fail(AmqpError(text))
            return Outcome(Verdict.UNKNOWN, text=text)


def _outcome(answer: Answer | Lost) -> Outcome:
    """nhn-bus's table of outcomes. A refusal names one message: with several on their way nobody knows which."""
    if isinstance(answer, Lost):
        condition = answer.error.condition
        if condition in NO_ROUTE:
            verdict = Verdict.NO_ROUTE
        elif condition in _IMPOSSIBLE and answer.companions == 1:
            verdict = Verdict.IMPOSSIBLE
        else:
            verdict = Verdict.UNKNOWN
        return Outcome(verdict, condition, str(answer.error))
    match answer.state:
        case RemoteState.ACCEPTED:
            verdict = Verdict.ACCEPTED
        case RemoteState.RELEASED:
            verdict = Verdict.RELEASED
        case RemoteState.MODIFIED:
            verdict = Verdict.MODIFIED
        case RemoteState.REJECTED if answer.condition in NO_ROUTE:
            verdict = Verdict.NO_ROUTE
        case RemoteState.REJECTED if answer.condition in _IMPOSSIBLE:
            verdict = Verdict.IMPOSSIBLE
        case RemoteState.REJECTED:
            verdict = Verdict.REJECTED
        case RemoteState.NONE:
            verdict = Verdict.UNKNOWN
        case _:
            assert_never(answer.state)
    return Outcome(verdict, answer.condition, answer.text)


class NhnAmqpInbox:
    """Receives from the async queue and the error queue over one connection.

    A message that is no AMQP message comes as an Incoming with nothing but its raw bytes as the body, so that it can
    be kept and put out of the way.
    """

    def __init__(self, settings: NhnAmqpSettings, *, async_queue: str, error_queue: str) -> None:
        self._settings = settings
        self._queues = {Queue.ASYNC: async_queue, Queue.ERROR: error_queue}
        self._handles = itertools.count(1)
        self._arrived: deque[Incoming] = deque()
        self._deliveries: dict[int, tuple[ReceiverLink, Delivery]] = {}
        self._changed = asyncio.Event()
        self._failure: AmqpError | None = None
        self._connection: AmqpConnection | None = None

    async def __aenter__(self) -> Self:
        async with entering(self.__aexit__, refused=InboxRefused, unavailable=InboxUnavailable):
            self._connection = await connect(self._settings)
            links = [await self._attach(self._connection, queue) for queue in Queue]
            for link in links:
                link.grant(self._settings.credit)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def product(self) -> str:
        """What the broker says it is, such as "RabbitMQ 4.0.5"."""
        return self._connection.product if self._connection else ""

    async def messages(self) -> AsyncIterator[Incoming]:
        while True:
            while self._arrived and self._failure is None:
                yield self._arrived.popleft()
            if self._failure is not None:
                raise InboxUnavailable(str(self._failure), condition=self._failure.condition)
            self._changed.clear()
            await self._changed.wait()  # for as long as nothing comes; the heartbeat notices a bus that is dead

    async def settle(self, incoming: Incoming, how: Settlement) -> None:
        """Raises ValueError for a message that was settled before."""
        held = self._deliveries.pop(incoming.handle, None)
        try:
            if self._failure is not None:
                raise self._failure
            if held is None or self._connection is None:
                raise ValueError("this message was settled before")
            link, delivery = held
            link.settle(delivery, self._state(how))
            await self._connection.flush()
        except AmqpError as error:
            raise InboxUnavailable(str(error), condition=error.condition) from None

    def _state(self, how: Settlement) -> int:
        match how:
            case Settlement.ACCEPT:
                return int(Delivery.ACCEPTED)
            case Settlement.DEAD_LETTER:
                return int(Delivery.REJECTED)
            case Settlement.RETRY if self._settings.retry_as == "modified":
                return int(Delivery.MODIFIED)
            case Settlement.RETRY | Settlement.LEAVE:
                return int(Delivery.RELEASED)
            case _:
                assert_never(how)

    async def _attach(self, connection: AmqpConnection, queue: Queue) -> ReceiverLink:
        address = self._settings.receive_address(self._queues[queue])
        return await connection.attach_receiver(address, partial(self._arrive, queue), self._fail)

    def _arrive(self, queue: Queue, link: ReceiverLink, delivery: Delivery, encoded: bytes) -> None:
        try:
            sections = decode_message(encoded)
        except Undecodable:
            sections = Sections(body=encoded)
        handle = next(self._handles)
        self._deliveries[handle] = (link, delivery)
        self._arrived.append(
            Incoming(
                handle=handle,
                queue=queue,
                message_id=sections.message_id,
                correlation_id=sections.correlation_id,
                subject=sections.subject,
                content_type=sections.content_type,
                delivery_count=sections.delivery_count,
                properties=sections.properties,
                body=sections.body,
            )
        )
        self._changed.set()

    def _fail(self, error: AmqpError) -> None:
        if self._failure is None:
            self._failure = error
        self._changed.set()
