"""What happens by itself: services whose day or quiet has come, overdue receipts, rows long missing, retention."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from agent.domain.delivery import CLOSED
from agent.domain.gate import GateReason
from agent.examine import Examination, examine_due, examine_planned, gate_reason
from agent.ledger.transaction import LedgerTransaction
from agent.observe.logs import Log
from agent.unit import ReportingUnit

T = TypeVar("T")

_SERVICES_A_TRANSACTION: Final = 100


class TimerLedger(Protocol):
    """The ledger as the timer sees it."""

    async def run(self, work: Callable[[LedgerTransaction], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class Keep:
    """How long each class of data is kept (config: ledger.keep)."""

    message_bytes: timedelta
    notification_fields: timedelta
    receipts: timedelta
    unreadable: timedelta


@dataclass(slots=True)
class Timer:
    """One municipality's timer. `nudge` makes it look at once; otherwise it looks every `poll_s` seconds."""

    unit: ReportingUnit
    ledger: TimerLedger
    log: Log
    overdue: Callable[[], Awaitable[object]]
    keep: Keep
    missing_row_alarm: timedelta
    chained: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    poll_s: float = 15.0
    housekeeping_every: timedelta = timedelta(hours=1)
    _nudged: asyncio.Event = field(default_factory=asyncio.Event)
    _gate: GateReason | None = None
    _kept_house_at: datetime | None = None

    def nudge(self) -> None:
        """Something was booked or applied: look now."""
        self._nudged.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._nudged.clear()
            await self._tell_gate()
            if self._gate is None:
                await self._examine(examine_due)
                await self._examine(examine_planned)
            await self.overdue()
            await self._keep_house()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_s):
                    await self._nudged.wait()

    async def _tell_gate(self) -> None:
        reason = await self.ledger.run(lambda tx: gate_reason(tx, self.unit))
        if reason is not self._gate:
            if reason is not None:
                self.log.alarm("gate_closed", reason=reason.value, digest=self.unit.digest[:12])
            else:
                self.log.info("gate_open", digest=self.unit.digest[:12])
        self._gate = reason

    async def _examine(self, look: "_Look") -> None:
        while True:
            found: Examination | None = await self.ledger.run(
                lambda tx: look(tx, self.unit, self.clock(), limit=_SERVICES_A_TRANSACTION)
            )
            if found is None:
                return
            if found.notifications:
                self.log.info("services_examined", services=len(found.endings), notifications=found.notifications)
                self.chained()
            if found.gate is not None:
                self.log.alarm("gate_closed", reason=found.gate.value)
                self._gate = found.gate
                return

    async def _keep_house(self) -> None:
        now = self.clock()
        if self._kept_house_at is not None and now - self._kept_house_at < self.housekeeping_every:
            return
        self._kept_house_at = now
        missing = await self.ledger.run(lambda tx: len(tx.missing_longer_than(now - self.missing_row_alarm)))
        if missing:
            self.log.alarm("rows_missing_long", services=missing)
        counted = await self.ledger.run(lambda tx: tx.count_services())
        if counted.parked > self.unit.limits.limit(counted.known):
            self.log.alarm("many_services_parked", parked=counted.parked, services=counted.known)
        while await self.ledger.run(lambda tx: _forget(tx, self.keep, now)):
            self.log.info("retention_applied")


def _forget(tx: LedgerTransaction, keep: Keep, now: datetime) -> bool:
    """Whether more may be left to forget: each transaction stays short."""
    forgotten = tx.forget(
        closed=[state.value for state in CLOSED],
        message_bytes_before=now - keep.message_bytes,
        notification_fields_before=now - keep.notification_fields,
        receipts_before=now - keep.receipts,
        unreadable_before=now - keep.unreadable,
    )
    return bool(forgotten)


class _Look(Protocol):
    def __call__(
        self, tx: LedgerTransaction, unit: ReportingUnit, now: datetime, /, *, limit: int
    ) -> Examination | None: ...
