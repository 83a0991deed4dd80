"""A municipality with any source, and a reading of it: the agent's own intake and timer into a ledger in a file.

Nothing is sent: what is measured ends when the ledger has committed.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import yaml

from agent.composition import reporting_unit, wanted
from agent.demo.world import Places, write_municipality
from agent.examine import notice_rules, open_gate
from agent.intake.booking import Booked
from agent.intake.loop import TRANSACTIONS_A_COMMIT, Ended, Intake
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.pipeline import open_ledger
from agent.settings import Municipality, load
from agent.timer import Keep, Timer
from connectors.catalog import open_source
from connectors.source import Change, Position, Source, Transaction

T = TypeVar("T")

STILL_FOR_S = 120
"""A bound that only a fault reaches: so long may nothing at all be booked."""

_NO_BUS = 5671


@dataclass(frozen=True)
class Taken:
    """So many changes in so many seconds, and in so many seconds of this process's processor time."""

    changes: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.changes / self.seconds

    @property
    def per_cpu_s(self) -> float:
        return self.changes / self.cpu_s


class Stopwatch:
    """From where it is made: elapsed seconds, and processor seconds of all threads of this process."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def taken(self, changes: int) -> Taken:
        return Taken(changes, time.perf_counter() - self._began[0], time.process_time() - self._began[1])


def municipality(folder: Path, source: dict[str, Any]) -> Municipality:
    """The demo's municipality with this `source` section, in a new folder, its ledger's key beside it."""
    folder.mkdir()
    places = Places(folder)
    places.secrets.mkdir(mode=0o700)
    LedgerKey.generate_file(places.secrets / "ledger.key")
    loaded = load([write_municipality(places, _NO_BUS, yaml.safe_dump({"source": source}, sort_keys=False))])
    if loaded.faults:
        raise RuntimeError("; ".join(map(str, loaded.faults)))
    return loaded.municipalities[0]


async def decode(of: Municipality, position: Position | None, *, acknowledged: bool) -> Taken:
    """The source alone, from its opening until it has no more to give for now: every change read, nothing booked.

    `acknowledged`: the position is told to the source as often as intake does at most.
    """
    watch, changes, whole = Stopwatch(), 0, 0
    async with open_source(of.settings.source.chosen, wanted(of), position) as source:
        async with aclosing(cast("Any", source.transactions())) as transactions:
            async for transaction in transactions:
                changes += sum(isinstance(record, Change) for record in transaction.records)
                whole += transaction.final
                if acknowledged and transaction.final and not whole % TRANSACTIONS_A_COMMIT:
                    await source.acknowledge(transaction.position)
                if not transaction.records and transaction.seen_through is not None:
                    break
        return watch.taken(changes)


@dataclass
class Noted:
    """Moments (CLOCK_MONOTONIC, which all processes share), one for each change, in order."""

    seen: list[float] = field(default_factory=list)
    booked: list[float] = field(default_factory=list)
    position: Position | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    failed: BaseException | None = None

    def end(self, task: asyncio.Task[None]) -> None:
        """A loop has ended: by itself only with a source that has an end, or in trouble."""
        error = None if task.cancelled() else task.exception()
        self.failed = self.failed if error is None or isinstance(error, Ended) else error
        self.moved.set()


@dataclass
class _NotingSource:
    inner: Source
    noted: Noted

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def identity(self) -> str:
        return await self.inner.identity()

    async def transactions(self) -> AsyncIterator[Transaction]:
        async with aclosing(cast("Any", self.inner.transactions())) as transactions:
            async for transaction in transactions:
                changes = sum(isinstance(record, Change) for record in transaction.records)
                self.noted.seen += [time.monotonic()] * changes
                yield transaction

    async def acknowledge(self, position: Position) -> None:
        await self.inner.acknowledge(position)
        self.noted.position = position
        self.noted.moved.set()


@dataclass
class _NotingLedger:
    """What intake and timer write through. `in_turn`: on the caller's thread, which a profile sees whole."""

    inner: Ledger
    noted: Noted
    in_turn: bool

    async def run(self, work: Callable[[Any], T]) -> T:
        result = self.inner.run_now(work) if self.in_turn else await self.inner.run(work)
        now = time.monotonic()
        for booked in result if isinstance(result, list) else ():
            if isinstance(booked, Booked):
                self.noted.booked += [now] * booked.counts.get("changes", 0)
        self.noted.moved.set()
        if self.in_turn:
            await asyncio.sleep(0)
        return result


class _Quiet:
    """A Log that stops at the first alarm: a measurement of something else than what was meant is none."""

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    def alarm(self, event: str, **fields: object) -> None:
        raise RuntimeError(f"{event}: {fields}")


class Reading:
    """Intake and timer over a municipality's source and ledger, which stands beside its file. Opened once a run."""

    def __init__(self, of: Municipality) -> None:
        self.municipality = of
        with open_ledger(of) as ledger:
            unit = reporting_unit(of, ledger.unit_secret)
            ledger.run_now(lambda tx: (notice_rules(tx, unit), open_gate(tx, unit)))

    async def until_open(self) -> None:
        """Read until the first position is acknowledged: a slot is made, an empty database is read."""
        async with self.running() as (noted, _):
            await until(noted, lambda: noted.position is not None)

    async def take_in(self, changes: int, *, in_turn: bool = False) -> Taken:
        """Book so many changes and examine all that they made due; from the source's opening to the last commit."""
        watch = Stopwatch()
        async with self.running(in_turn=in_turn) as (noted, ledger):
            await until(noted, lambda: len(noted.booked) >= changes)
            await until(noted, lambda: not ledger.read(lambda tx: tx.count_due()))
            return watch.taken(len(noted.booked))

    def position(self) -> Position | None:
        stored: Position | None = self.look(lambda tx: tx.position())
        return stored

    def notifications(self) -> int:
        end = self.look(lambda tx: tx.chain_end())
        return 0 if end is None else end[0]

    def look(self, work: Callable[[Any], T]) -> T:
        """What the ledger holds, while nothing runs."""
        with open_ledger(self.municipality) as ledger:
            return ledger.read(work)

    @contextlib.asynccontextmanager
    async def running(self, *, in_turn: bool = False) -> AsyncIterator[tuple[Noted, Ledger]]:
        """While it reads."""
        noted = Noted()
        with open_ledger(self.municipality) as ledger:
            tasks = [asyncio.create_task(loop) for loop in self._loops(_NotingLedger(ledger, noted, in_turn), noted)]
            for task in tasks:
                task.add_done_callback(noted.end)
            try:
                yield noted, ledger
            finally:
                await _end(tasks)

    def _loops(self, ledger: _NotingLedger, noted: Noted) -> tuple[Any, Any]:
        """As agent/pipeline.py puts them together."""
        settings, log = self.municipality.settings, _Quiet()
        unit = reporting_unit(self.municipality, ledger.inner.unit_secret)
        keep = settings.ledger.keep

        async def nothing_overdue() -> None:
            """No message is sent here."""

        timer = Timer(
            unit,
            ledger,
            log,
            nothing_overdue,
            Keep(keep.message_bytes, keep.notification_fields, keep.receipts, keep.unreadable),
            settings.rules.missing_row_alarm,
        )

        def source(position: Position | None) -> _NotingSource:
            return _NotingSource(open_source(settings.source.chosen, wanted(self.municipality), position), noted)

        return Intake(unit, ledger, source, log, looked=timer.nudge).run(), timer.run()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: wait_for (before Python 3.12) forgets a cancellation that meets a result."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)


async def until(noted: Noted, holds: Callable[[], bool]) -> None:
    """Wait, woken by each booking. Raises what the loops raised; fails when nothing is booked for STILL_FOR_S."""
    while not holds():
        noted.moved.clear()
        if noted.failed is not None:
            raise noted.failed
        async with asyncio.timeout(STILL_FOR_S):
            await noted.moved.wait()
