"""The way in: what a source gives is booked in the ledger, and only then acknowledged (invariant 1)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from agent.intake.booking import Booked, Booking
from agent.intake.deletions import DeletionHeld, keep_held
from agent.ledger.transaction import LedgerTransaction
from agent.observe.logs import Log
from agent.unit import ReportingUnit
from connectors.source import Mark, Position, PositionLost, Source, Transaction

T = TypeVar("T")

TRANSACTIONS_A_COMMIT: Final = 64
"""Source transactions that have arrived together share one fsync; each is still examined by itself."""
IDLE_BOOKING_EVERY: Final = timedelta(seconds=10)
"""How often the progress of a source that says nothing new is written down."""


TROUBLE: Final = "source: trouble"
"""The note that says why reading stands still, with the error's code and repair; away while it does not."""


class IntakeLedger(Protocol):
    """The ledger as intake sees it."""

    async def run(self, work: Callable[[LedgerTransaction], T], /) -> T: ...


class Ended(Exception):
    """The source has an end, and it was reached: a replayed file."""


@dataclass(slots=True)
class Intake:
    """Books one source's transactions for one municipality.

    open_source makes a source that starts behind a position. chained is called when notifications were made, looked
    after each booking (new days may be planned). Trouble with the source is raised as the source raised it.
    """

    unit: ReportingUnit
    ledger: IntakeLedger
    open_source: Callable[[Position | None], AbstractAsyncContextManager[Source]]
    log: Log
    chained: Callable[[], None] = lambda: None
    looked: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _idle: tuple[Position, datetime] | None = None

    async def run(self) -> None:
        """Book until cancelled. Raises SourceError, LedgerError, and Ended."""
        position = await self.ledger.run(lambda tx: tx.position())
        async with self.open_source(position) as source:
            incarnation = await source.identity()
            if position is not None and incarnation != position.incarnation:
                raise PositionLost(
                    "another database answers than the one whose changes were booked",
                    repair="point the source at the database it was, or start a new incarnation (docs/operations.md)",
                )
            await self.ledger.run(lambda tx: tx.set_note(TROUBLE, None))
            self.log.info("source_open", incarnation=incarnation)
            await self._book_all(source)
        raise Ended

    async def _book_all(self, source: Source) -> None:
        """Reads ahead by one commit's worth while the ledger works: bounded, in order."""
        arrived: asyncio.Queue[Transaction | None] = asyncio.Queue(TRANSACTIONS_A_COMMIT)
        reading = asyncio.create_task(_read(source, arrived))
        booking = Booking(self.unit)
        try:
            while transactions := await _arrived_together(arrived):
                if self._says_nothing_new(transactions):
                    continue
                booking = await self._book(booking, transactions)
                whole = [transaction for transaction in transactions if transaction.final]
                if whole:
                    await source.acknowledge(whole[-1].position)
            await reading  # raises what the source raised
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({reading})

    def _says_nothing_new(self, transactions: list[Transaction]) -> bool:
        """Whether this is idle progress that was booked a moment ago: a quiet source costs no disk."""
        now, last = self.clock(), transactions[-1]
        quiet = last.final and not any(transaction.records for transaction in transactions)
        known = self._idle is not None and self._idle[0] == last.position and now - self._idle[1] < IDLE_BOOKING_EVERY
        if not (quiet and known):
            self._idle = (last.position, now) if quiet else None
        return quiet and known

    async def _book(self, booking: Booking, transactions: list[Transaction]) -> Booking:
        """Book them in one commit, and what to go on with; what stands before a held deletion is booked alone."""
        try:
            return await self._book_together(booking, transactions)
        except DeletionHeld:
            for transaction in transactions:
                booking = await self._book_or_hold(booking, transaction)
            return booking

    async def _book_or_hold(self, booking: Booking, transaction: Transaction) -> Booking:
        try:
            return await self._book_together(booking, [transaction])
        except DeletionHeld as held:
            deletion = held.deletion
            await self.ledger.run(lambda tx: keep_held(tx, deletion))
            raise

    async def _book_together(self, before: Booking, transactions: list[Transaction]) -> Booking:
        """One ledger transaction. `before` stays as it was, so that it can be gone on from when this is rolled back."""
        booking = before.remembered()

        def book(tx: LedgerTransaction) -> list[Booked]:
            return [booking.book(tx, transaction, self.clock()) for transaction in transactions]

        booked = await self.ledger.run(book)
        notifications = sum(one.examination.notifications for one in booked if one.examination is not None)
        changes = sum(one.counts.get("changes", 0) for one in booked)
        if changes:
            self.log.info("changes_booked", changes=changes, notifications=notifications)
        for transaction in transactions:
            if transaction.scan is not None and transaction.scan.mark is not Mark.INSIDE:
                tables = len(transaction.scan.tables)
                self.log.info("scan_begun" if transaction.scan.mark is Mark.BEGIN else "scan_ended", count=tables)
        if notifications:
            self.chained()
        self.looked()
        return booking


async def _read(source: Source, arrived: asyncio.Queue[Transaction | None]) -> None:
    try:
        async with aclosing(source.transactions()) as transactions:  # type: ignore[type-var] # the contract says iterator
            async for transaction in transactions:
                await arrived.put(transaction)
    finally:
        reading = asyncio.current_task()
        if reading is not None and not reading.cancelling():
            await arrived.put(None)  # also when the source raised: what came before is booked first


async def _arrived_together(arrived: asyncio.Queue[Transaction | None]) -> list[Transaction]:
    """What has arrived, at least one; empty when the source has ended."""
    found: list[Transaction] = []
    while True:
        if found and arrived.empty():
            return found
        transaction = await arrived.get()
        if transaction is None:
            if found:
                arrived.put_nowait(None)  # told again when these are booked
            return found
        found.append(transaction)
        if len(found) == TRANSACTIONS_A_COMMIT:
            return found
