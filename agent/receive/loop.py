"""The way back: receipts and error notices, booked in the ledger before they are settled on the bus (invariant 7).

What is not ours is not taken; what can never be read is kept for a person and put out of the way; nothing is ever
answered. What a receipt does to its message is the delivery table's to say, in the same transaction as its booking.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

from agent.domain.delivery import Alarm, Pace
from agent.domain.error_notice import read_error_notice
from agent.domain.receipt import UnreadableReceipt, read_receipt
from agent.ledger.errors import LedgerUnavailable
from agent.observe.logs import Log
from agent.protection import CertificateUnusable, KeyFileUnusable, MessageRefused, NotForUs
from agent.receive.booking import (
    Booked,
    Foreign,
    Parties,
    ReceiptRead,
    ReceiveTransaction,
    Understood,
    Unreadable,
    book,
    from_her_id,
    overdue,
)
from agent.retry import USUAL_PACE, Retries, RetrySettings, wait_for_event
from connectors.inbox import Inbox, InboxRefused, InboxUnavailable, Incoming, Queue, Settlement

T = TypeVar("T")

RECEIPT_SUBJECT: Final = "APPREC"
_ALARM_AFTER_FAILURES: Final = 5
_AT_A_TIME: Final = 50


@dataclass(frozen=True, slots=True)
class ReceiveSettings:
    """our_her_ids, register_her_ids: those of the municipality's and of the register's two levels, as text.

    dead_letter_foreign: what is not ours is put out of the way; else receiving stops with it, and a person looks.
    """

    our_her_ids: frozenset[str]
    register_her_ids: frozenset[str]
    dead_letter_foreign: bool = False
    retry: RetrySettings = USUAL_PACE
    remind_s: float = 3600.0


class Unprotects(Protocol):
    """Opens one message, called in worker threads. Raises ProtectionError."""

    def unprotect(self, data: bytes, at: datetime) -> bytes: ...


class ReceiveLedger(Protocol):
    """The ledger as receiving sees it."""

    async def run(self, work: Callable[[ReceiveTransaction], T], /) -> T: ...


class Receive:
    """Books what comes back for one municipality. `run` ends after `stop`; anything else that ends it is a fault.

    `booked` is called after each booking that may let sending go on. `stopped_by_foreign` tells that a message which
    is not ours stands in the queue; `look_again` receives again after a person has seen to it.
    """

    def __init__(
        self,
        ledger: ReceiveLedger,
        open_inbox: Callable[[], AbstractAsyncContextManager[Inbox]],
        protector: Unprotects,
        settings: ReceiveSettings,
        log: Log,
        *,
        booked: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for_event,
        executor: Executor | None = None,
    ) -> None:
        self._ledger = ledger
        self._open_inbox = open_inbox
        self._protector = protector
        self._settings = settings
        self._log = log
        self._booked = booked
        self._clock = clock
        self._wait = wait
        self._executor = executor
        self._parties = Parties(settings.our_her_ids, settings.register_her_ids)
        self._retries = Retries(settings.retry)
        self._stop = asyncio.Event()
        self._look_again = asyncio.Event()
        self._failures = 0
        self.stopped_by_foreign = False

    def stop(self) -> None:
        """Take nothing more; `run` returns when the message in hand is settled."""
        self._stop.set()
        self._look_again.set()

    def look_again(self) -> None:
        """Receive again after a message that was not ours: a person has moved it."""
        self._look_again.set()

    async def run(self) -> None:
        """Receive until stopped. Raises what is a fault of the program or the ledger."""
        while not self._stop.is_set():
            try:
                await self._one_connection()
            except InboxRefused as error:
                self._log.alarm("inbox_refused", error=error, condition=error.condition)
                await self._rest(Pace.SLOW)
            except InboxUnavailable as error:
                tell = self._log.alarm if self._failures + 1 == _ALARM_AFTER_FAILURES else self._log.info
                tell("inbox_unavailable", error=error, condition=error.condition, attempt=self._failures + 1)
                await self._rest(Pace.QUICK)
            await self._wait_for_a_person()

    async def _one_connection(self) -> None:
        """Receive over one inbox until it fails, a foreign message stops it, or `stop`."""
        async with self._open_inbox() as inbox:
            self._log.info("inbox_open")
            arrived: asyncio.Queue[Incoming | None] = asyncio.Queue()
            reader = asyncio.create_task(self._read(inbox, arrived))
            try:
                while not self.stopped_by_foreign:
                    batch = await self._batch(arrived)
                    if not batch:
                        break
                    await self._handle(inbox, batch)
                    self._failures = 0
                if reader.done():
                    reader.result()  # raises what ended the stream
                    raise InboxUnavailable("the stream of messages ended")  # some libraries end it in silence
            finally:
                reader.cancel()
                with suppress(asyncio.CancelledError, InboxUnavailable):
                    await reader

    async def _read(self, inbox: Inbox, arrived: "asyncio.Queue[Incoming | None]") -> None:
        """Everything that comes, in order; the inbox's credit bounds how much that is. At the end None."""
        try:
            async for incoming in inbox.messages():
                arrived.put_nowait(incoming)
        finally:
            arrived.put_nowait(None)

    async def _batch(self, arrived: "asyncio.Queue[Incoming | None]") -> list[Incoming]:
        """What has come, at least one message; empty when the stream has ended or on `stop`."""
        getting = asyncio.create_task(arrived.get())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            # Waits for as long as nothing comes: the inbox notices a bus that is dead, and `stop` ends the wait.
            await asyncio.wait({getting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            first = getting.result() if getting.done() and not self._stop.is_set() else None
        finally:
            getting.cancel()
            stopping.cancel()
        batch = [] if first is None else [first]
        while batch and len(batch) < _AT_A_TIME and not arrived.empty():
            another = arrived.get_nowait()
            if another is None:
                arrived.put_nowait(None)
                break
            batch.append(another)
        return batch

    # One batch: understood in worker threads, booked in one transaction, then settled

    async def _handle(self, inbox: Inbox, batch: list[Incoming]) -> None:
        understood = await asyncio.gather(*(self._understand(incoming) for incoming in batch))
        pairs = [(incoming, each) for incoming, each in zip(batch, understood, strict=True) if each is not None]
        booked = await self._book(pairs)
        if booked is None:
            return  # stopped meanwhile: nothing is booked, so nothing is settled
        moved = False
        for (incoming, _), result in zip(pairs, booked, strict=True):
            self._tell(incoming, result)
            how = result.settlement or self._settlement_of_foreign()
            await inbox.settle(incoming, how)
            moved = moved or result.envelope is not None
        if moved:
            self._booked()

    async def _understand(self, incoming: Incoming) -> Understood | None:
        """What a message is; None when stopped while our own certificates or files did not serve."""
        if _is_no_message(incoming):
            return Unreadable("no_amqp_message", incoming.body)
        if incoming.queue is Queue.ERROR:
            return read_error_notice(
                subject=incoming.subject,
                content_type=incoming.content_type,
                properties=incoming.properties,
                correlation_id=incoming.correlation_id,
                message_id=incoming.message_id,
                body=incoming.body,
            )
        if (incoming.subject or "").strip().upper() != RECEIPT_SUBJECT:
            return Foreign("another_subject")
        why = self._parties.foreign_by_properties(incoming.properties)
        return Foreign(why) if why is not None else await self._opened(incoming)

    async def _opened(self, incoming: Incoming) -> Understood | None:
        while not self._stop.is_set():
            try:
                return await self._in_thread(partial(_read_protected, self._protector, incoming.body, self._clock()))
            except NotForUs as error:
                return Foreign(error.reason)
            except MessageRefused as error:
                self._log.alarm("receipt_refused", error=error, reason=error.reason)
                return Unreadable(error.reason, incoming.body)
            except (CertificateUnusable, KeyFileUnusable) as error:
                # No fault of the message: it is held unsettled, because each return counts towards the queue's limit.
                self._log.alarm("protection_unusable", error=error, reason=error.reason)
                await self._wait(self._stop, self._retries.wait_s(Pace.SLOW, 1))
        return None

    async def _book(self, pairs: list[tuple[Incoming, Understood]]) -> list[Booked] | None:
        """Book all in one transaction; None when stopped before it could be done."""
        attempt = 0
        at = self._clock()
        while True:
            try:
                return await self._ledger.run(
                    lambda tx: [book(tx, incoming, each, self._parties, at) for incoming, each in pairs]
                )
            except LedgerUnavailable as error:
                # Held unsettled until the disk serves again: a return to the queue would count towards its limit.
                attempt += 1
                self._log.alarm("ledger_unavailable", error=error, attempt=attempt)
                await self._wait(self._stop, self._retries.wait_s(Pace.QUICK, attempt))
                if self._stop.is_set():
                    return None

    def _settlement_of_foreign(self) -> Settlement:
        if self._settings.dead_letter_foreign:
            return Settlement.DEAD_LETTER
        self.stopped_by_foreign = True
        return Settlement.LEAVE  # released once; receiving stops with it, so that it is not taken again and again

    def _tell(self, incoming: Incoming, booked: Booked) -> None:
        if booked.envelope is None:
            self._log.alarm(
                "message_unreadable" if booked.settlement is Settlement.DEAD_LETTER else "message_not_ours",
                reason=booked.why,
                queue=incoming.queue,
                subject=incoming.subject,
                from_her_id=from_her_id(incoming.properties),
                delivery_count=incoming.delivery_count,
            )
            return
        fields = {
            "msg_id": booked.envelope.msg_id,
            "envelope": booked.envelope.id,
            "first_number": booked.envelope.first_number,
            "last_number": booked.envelope.last_number,
            "state": booked.state,
            "verdict": booked.verdict,
            "codes": booked.codes,
            "condition": booked.condition or None,
        }
        self._log.info("receipt_duplicate" if booked.duplicate else "receipt_booked", **fields)
        if booked.alarm is not None:
            self._log.alarm(booked.alarm.value, **fields)

    # Waiting

    async def _rest(self, pace: Pace) -> None:
        self._failures += 1
        await self._wait(self._stop, self._retries.wait_s(pace, self._failures))

    async def _wait_for_a_person(self) -> None:
        """A message that is not ours stands in the queue: take nothing until somebody has seen to it."""
        while self.stopped_by_foreign and not self._stop.is_set():
            await self._wait(self._look_again, self._settings.remind_s)
            if self._look_again.is_set():
                self._look_again.clear()
                self.stopped_by_foreign = False
            else:
                self._log.alarm("receiving_stopped_by_foreign_message")

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


def _is_no_message(incoming: Incoming) -> bool:
    """Bytes that are no AMQP message come with nothing but themselves."""
    return (
        incoming.message_id is None
        and incoming.subject is None
        and incoming.content_type is None
        and not incoming.properties
    )


def _read_protected(protector: Unprotects, body: bytes, at: datetime) -> Understood:
    content = protector.unprotect(body, at)
    receipt = read_receipt(content)
    if isinstance(receipt, UnreadableReceipt):
        return Unreadable(receipt.why, content)
    return ReceiptRead(receipt, content)


async def tell_overdue(ledger: ReceiveLedger, log: Log, *, now: datetime, after: timedelta) -> int:
    """Alarm once for each message whose receipt has become overdue. How many; called every minute or so."""
    late = await ledger.run(lambda tx: overdue(tx, now, after))
    for envelope in late:
        log.alarm(
            Alarm.OVERDUE.value,
            msg_id=envelope.msg_id,
            envelope=envelope.id,
            first_number=envelope.first_number,
            last_number=envelope.last_number,
            through=envelope.sent_at,
        )
    return len(late)
