"""Many units on one stream, with a scripted source that keeps its log as a replication slot does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.replay import ReplaySettings
from connectors.sharing.capture import CapturesDiffer
from connectors.sharing.member import MOST_TRANSACTIONS
from connectors.sharing.sources import SettingsDiffer, Sources, UnitSource
from connectors.sharing.stream import PlaceGivenUp, SharedStream
from connectors.source import (
    Capture,
    Change,
    Column,
    Ignored,
    Kind,
    Mark,
    Operation,
    Position,
    PositionLost,
    Scan,
    Source,
    SourceChanged,
    SourceUnavailable,
    Table,
    Transaction,
    Version,
)

PATIENCE_S = 20.0
SEEN = datetime(2026, 1, 15, tzinfo=UTC)


def at(place: int, incarnation: str = "db") -> Position:
    return Position(incarnation, {"wal": (place, 0)})


def place_of(position: Position) -> int:
    return position.place["wal"][0]


def change(number: int, table: str = "t", **row: object) -> Change:
    return Change(table, Operation.UPSERT, {"nr": number}, {"nr": number, **row}, Version("db", (number,)))  # type: ignore[dict-item]


@dataclass
class Database:
    """A log and a slot. `confirmed`: the log before it is gone. Place n is behind the n-th record."""

    log: list[Change | Ignored] = field(default_factory=list)
    confirmed: int = 0
    incarnation: str = "db"
    readers: int = 0
    opened: list[tuple[Capture, Position | None]] = field(default_factory=list)
    trouble: Exception | None = None
    gone_table: str = ""
    load_gate: asyncio.Event | None = None
    tells_idle: bool = True
    has_slot: bool = True
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, *records: Change | Ignored) -> None:
        self.log.extend(records)
        self.grown.set()

    def open(self, capture: Capture, position: Position | None) -> Source:
        self.opened.append((capture, position))
        return Scripted(self, capture, position)

    def fail(self, trouble: Exception) -> None:
        self.trouble = trouble
        self.grown.set()


@dataclass
class Scripted:
    database: Database
    capture: Capture
    position: Position | None
    is_in: bool = False

    async def __aenter__(self) -> Self:
        database = self.database
        await asyncio.sleep(0)
        if database.readers:
            raise SourceUnavailable("the slot is in use")
        if self.position is not None:
            if self.position.incarnation != database.incarnation or place_of(self.position) < database.confirmed:
                raise PositionLost("gone", repair="read again")
            if any(table.name == database.gone_table for table in self.capture.tables):
                raise SourceChanged("a table is gone", repair="mend")
            database.readers += 1
            self.is_in = True
            database.confirmed = max(database.confirmed, place_of(self.position))  # feedback at the start
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.is_in:
            self.database.readers -= 1

    async def identity(self) -> str:
        return self.database.incarnation

    async def acknowledge(self, position: Position) -> None:
        assert place_of(position) >= self.database.confirmed, "acknowledged backwards"
        self.database.confirmed = place_of(position)

    def at(self, place: int) -> Position:
        return at(place, self.database.incarnation)

    async def transactions(self) -> AsyncIterator[Transaction]:
        if self.position is None:
            async for transaction in self.load():
                yield transaction
            return
        database, done = self.database, place_of(self.position)
        while True:
            while done < len(database.log):
                record = database.log[done]
                done += 1
                yield Transaction((record,), self.at(done))
            if database.tells_idle:
                yield Transaction((), self.at(done), seen_through=SEEN)
            if done < len(database.log):
                continue
            database.grown.clear()
            await database.grown.wait()
            if database.trouble is not None:
                trouble, database.trouble = database.trouble, None
                raise trouble

    async def load(self) -> AsyncIterator[Transaction]:
        database = self.database
        names = tuple(table.name for table in self.capture.tables)
        if not database.has_slot:
            database.has_slot, database.confirmed = True, len(database.log)
        snapshot, confirmed = len(database.log), database.confirmed
        rows = [one for one in database.log[:snapshot] if isinstance(one, Change) and one.table in names]
        yield Transaction((), self.at(confirmed), final=False, scan=Scan(Mark.BEGIN, names))
        if database.load_gate is not None:
            await database.load_gate.wait()
        for row in rows:
            seen = replace(row, snapshot=True)
            yield Transaction((seen,), self.at(confirmed), final=False, scan=Scan(Mark.INSIDE, names))
        yield Transaction((), self.at(confirmed), scan=Scan(Mark.END, names))


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Unit:
    """A pipeline as the agent has it: reads, books, acknowledges, until told to stop."""

    shared: SharedStream
    capture: Capture
    position: Position | None
    told: list[Change] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    trouble: BaseException | None = None
    acknowledges: bool = True
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> Self:
        self.reads.set()
        self.task = asyncio.create_task(self.run())
        return self

    async def run(self) -> None:
        try:
            async with UnitSource(self.shared, self.capture, self.position) as source:
                assert await source.identity()
                async for transaction in source.transactions():
                    self.transactions.append(transaction)
                    self.told += [record for record in transaction.records if isinstance(record, Change)]
                    if transaction.final:
                        self.position = transaction.position
                        if self.acknowledges:
                            await source.acknowledge(transaction.position)
                    self.moved.set()
                    await self.reads.wait()
        except Exception as trouble:  # noqa: BLE001
            self.trouble = trouble
            self.moved.set()

    async def stop(self) -> Self:
        assert self.task is not None
        self.task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait({self.task})
        return self

    @property
    def numbers(self) -> list[int]:
        return [one.key["nr"] for one in self.told if one.key is not None]  # type: ignore[misc]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110  many things may happen, in several tasks
            await asyncio.sleep(0.005)


def capture_of(*tables: str, columns: tuple[Column, ...] = ()) -> Capture:
    return Capture(tuple(Table(name, ("nr",), (Column("nr", Kind.INTEGER), *columns)) for name in tables))


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(database: Database, clock: Clock) -> SharedStream:
    return SharedStream(database.open, patience_s=PATIENCE_S, mending_s=100, rejoin_every_s=0.01, clock=clock)


@pytest.fixture(autouse=True)
async def nothing_is_left_running() -> AsyncIterator[None]:
    yield
    left = {task for task in asyncio.all_tasks() if task.get_name() == "shared-source" and not task.done()}
    assert left == set()


async def stop(*units: Unit) -> None:
    for unit in units:
        await unit.stop()


# -- one stream, each its own part ------------------------------------------------------------------------------------


async def test_units_by_column_get_every_row_and_units_by_schema_their_own(
    database: Database, shared: SharedStream
) -> None:
    database.write(change(1, "a.t"), change(2, "b.t"), change(3, "c.t"))
    a = Unit(shared, Capture((Table("x.t", ("nr",), (Column("nr", Kind.INTEGER),), "a.t"),)), at(0)).start()
    b = Unit(shared, Capture((Table("x.t", ("nr",), (Column("nr", Kind.INTEGER),), "b.t"),)), at(0)).start()
    c, d = (Unit(shared, capture_of("c.t"), at(0)).start() for _ in range(2))
    await until(lambda: all(unit.told for unit in (a, b, c, d)))
    assert (a.numbers, b.numbers, c.numbers, d.numbers) == ([1], [2], [3], [3])
    assert {one.table for one in (*a.told, *b.told)} == {"x.t"}
    assert len(database.opened) == 1
    assert [table.name for table in database.opened[0][0].tables] == ["a.t", "b.t", "c.t"]
    await stop(a, b, c, d)


async def test_a_unit_keeps_only_its_own_columns(database: Database, shared: SharedStream) -> None:
    database.write(change(1, "t", navn="Kari Test", status="A"))
    name, status = Column("navn", Kind.TEXT), Column("status", Kind.TEXT)
    one = Unit(shared, capture_of("t", columns=(name,)), at(0)).start()
    other = Unit(shared, capture_of("t", columns=(status,)), at(0)).start()
    await until(lambda: bool(one.told and other.told))
    assert one.told[0].row == {"nr": 1, "navn": "Kari Test"}
    assert other.told[0].row == {"nr": 1, "status": "A"}
    await stop(one, other)


async def test_the_same_column_as_two_kinds_is_refused_to_the_one_who_comes(
    database: Database, shared: SharedStream
) -> None:
    one = Unit(shared, capture_of("t", columns=(Column("dato", Kind.DATE),)), at(0)).start()
    await until(lambda: bool(one.transactions))
    other = Unit(shared, capture_of("t", columns=(Column("dato", Kind.TEXT),)), at(0)).start()
    await until(lambda: other.trouble is not None)
    assert isinstance(other.trouble, CapturesDiffer)
    assert "dato" in str(other.trouble)
    database.write(change(1))
    await until(lambda: one.numbers == [1])
    await stop(one, other)


async def test_what_belongs_to_no_unit_is_counted_once(database: Database, shared: SharedStream) -> None:
    units = [Unit(shared, capture_of("t"), at(0)).start() for _ in range(3)]
    await until(lambda: all(unit.transactions for unit in units))
    database.write(Ignored("another table"), change(1))
    await until(lambda: all(unit.told for unit in units))
    ignored = [one for unit in units for tx in unit.transactions for one in tx.records if isinstance(one, Ignored)]
    assert len(ignored) == 1
    await stop(*units)


# -- positions --------------------------------------------------------------------------------------------------------


async def test_only_what_every_unit_has_acknowledged_is_acknowledged_invariant_1(
    database: Database, shared: SharedStream
) -> None:
    quick, slow = Unit(shared, capture_of("t"), at(0)), Unit(shared, capture_of("t"), at(0), acknowledges=False)
    quick.start(), slow.start()
    await until(lambda: bool(quick.transactions and slow.transactions))
    database.write(*(change(number) for number in range(1, 6)))
    await until(lambda: len(quick.told) == len(slow.told) == 5)
    assert database.confirmed == 0
    await stop(quick, slow)


async def test_units_start_at_the_smallest_position_and_drop_what_they_have(
    database: Database, shared: SharedStream
) -> None:
    database.write(*(change(number) for number in range(1, 7)))
    ahead, behind = Unit(shared, capture_of("t"), at(4)), Unit(shared, capture_of("t"), at(1))
    ahead.start(), behind.start()
    await until(lambda: len(ahead.told) == 2 and len(behind.told) == 5)
    assert (ahead.numbers, behind.numbers) == ([5, 6], [2, 3, 4, 5, 6])
    assert [place_of(position) for _, position in database.opened if position] == [1]
    await until(lambda: database.confirmed == 6)
    await stop(ahead, behind)


async def test_one_that_comes_later_or_again_costs_the_others_nothing(database: Database, shared: SharedStream) -> None:
    first = Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(first.transactions))
    second = Unit(shared, capture_of("t"), at(0))
    for number in range(1, 40):
        database.write(change(number))
        if number % 8 == 4:
            second.start()
            await until(lambda number=number: second.numbers == list(range(1, number + 1)))  # type: ignore[misc]
        if number % 8 == 0:
            await second.stop()
    await until(lambda: len(first.told) == 39)
    assert first.numbers == list(range(1, 40))
    assert second.numbers == list(range(1, len(second.told) + 1))
    await stop(first, second)


async def test_a_unit_that_joins_behind_the_stream_is_not_told_what_the_stream_is_at(
    database: Database, shared: SharedStream
) -> None:
    """The open stream goes on for a moment after the unit has asked to be let in."""
    ahead = Unit(shared, capture_of("t"), at(0), acknowledges=False).start()
    database.write(change(1), change(2))
    await until(lambda: ahead.numbers == [1, 2])
    behind = Unit(shared, capture_of("t"), at(0)).start()
    database.write(change(3))
    database.write(change(4))
    await until(lambda: len(behind.told) == 4)
    assert behind.numbers == [1, 2, 3, 4]
    await stop(ahead, behind)


async def test_a_unit_that_left_finds_its_place_kept(database: Database, shared: SharedStream, clock: Clock) -> None:
    stays, leaves = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(stays.transactions and leaves.transactions))
    await leaves.stop()
    database.write(*(change(number) for number in range(1, 6)))
    clock.now_s += PATIENCE_S - 1
    await until(lambda: len(stays.told) == 5)
    assert database.confirmed == 0
    await stays.stop()
    stays.start()  # opened anew, and not past the place that is kept
    database.write(change(6))
    await until(lambda: len(stays.told) == 6)
    assert database.confirmed == 0
    leaves.start()
    await until(lambda: leaves.numbers == [1, 2, 3, 4, 5, 6])
    await until(lambda: database.confirmed == 6)
    await stop(stays, leaves)


async def test_a_unit_that_stays_away_loses_its_place_and_is_told_so(
    database: Database, shared: SharedStream, clock: Clock
) -> None:
    stays, leaves = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(stays.transactions and leaves.transactions))
    await leaves.stop()
    clock.now_s += PATIENCE_S + 1
    database.write(*(change(number) for number in range(1, 6)))
    await until(lambda: database.confirmed == 5)
    leaves.start()
    await until(lambda: leaves.trouble is not None)
    assert isinstance(leaves.trouble, PositionLost)
    database.write(change(6))
    await until(lambda: stays.numbers == [1, 2, 3, 4, 5, 6])
    assert stays.trouble is None
    await stop(stays, leaves)


async def test_progress_with_nothing_for_a_unit_is_told_rarely(
    database: Database, shared: SharedStream, clock: Clock
) -> None:
    busy, quiet = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("u"), at(0)).start()
    await until(lambda: bool(busy.transactions and quiet.transactions))
    database.tells_idle, before = False, len(quiet.transactions)
    for number in range(1, 31):
        database.write(change(number))
        await until(lambda number=number: len(busy.told) == number)  # type: ignore[misc]
    assert len(quiet.transactions) - before <= 1
    for number in range(31, 34):
        clock.now_s += 6
        database.write(change(number))
        await until(lambda number=number: place_of(quiet.transactions[-1].position) == number)  # type: ignore[misc]
    await until(lambda: database.confirmed == 33)
    await stop(busy, quiet)


# -- the first reading ------------------------------------------------------------------------------------------------


async def test_a_new_unit_reads_its_tables_and_joins_without_a_gap(database: Database, shared: SharedStream) -> None:
    database.write(change(1), change(2, "u"))
    old = Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: database.confirmed == 2)
    database.load_gate = asyncio.Event()
    new = Unit(shared, capture_of("u"), None).start()
    await until(lambda: bool(new.transactions))
    database.write(change(3, "u"), change(4))
    await until(lambda: old.numbers == [1, 4])
    assert database.confirmed == 2  # held where the first reading goes on
    database.load_gate.set()
    await until(lambda: len(new.told) == 2)
    assert [(one.key, one.snapshot) for one in new.told] == [({"nr": 2}, True), ({"nr": 3}, False)]
    marks = [transaction.scan.mark for transaction in new.transactions if transaction.scan is not None]
    assert marks == [Mark.BEGIN, Mark.INSIDE, Mark.END]
    await until(lambda: database.confirmed == 4)
    await stop(old, new)


async def test_a_first_reading_never_goes_on_before_what_the_stream_let_go_of(
    database: Database, shared: SharedStream
) -> None:
    """Feedback may be on its way when the reading asks where the slot stands: the later place counts."""
    database.write(change(1))
    old = Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: database.confirmed == 1)
    database.confirmed = 0  # as the reading finds it
    new = Unit(shared, capture_of("u"), None).start()
    await until(lambda: any(one.scan is not None and one.scan.mark is Mark.END for one in new.transactions))
    end = next(one for one in new.transactions if one.scan is not None and one.scan.mark is Mark.END)
    assert place_of(end.position) == 1
    await stop(old, new)


async def test_units_that_all_begin_at_once_each_read_and_go_on(database: Database, shared: SharedStream) -> None:
    database.write(*(change(number, table) for number in (1, 2) for table in ("t", "u", "v")))
    database.has_slot = False
    units = [Unit(shared, capture_of(table), None).start() for table in ("t", "u", "v")]
    await until(lambda: all(len(unit.told) == 2 for unit in units))
    database.write(*(change(3, table) for table in ("t", "u", "v")))
    await until(lambda: all(unit.numbers == [1, 2, 3] for unit in units))
    await until(lambda: database.confirmed == 9)
    await stop(*units)


async def test_a_reading_broken_off_holds_nothing_afterwards(database: Database, shared: SharedStream) -> None:
    old = Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(old.transactions))
    database.load_gate = asyncio.Event()
    new = Unit(shared, capture_of("u"), None).start()
    await until(lambda: bool(new.transactions))
    await new.stop()
    database.write(change(1))
    await until(lambda: database.confirmed == 1)
    await stop(old)


# -- one unit's trouble is its own (invariant 12) ---------------------------------------------------------------------


async def test_a_unit_that_stops_reading_holds_neither_the_others_nor_the_log_invariant_12(
    database: Database, shared: SharedStream, clock: Clock
) -> None:
    stuck, well = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(stuck.transactions and well.transactions))
    stuck.reads.clear()
    ticking = asyncio.create_task(_tick(clock))
    total = MOST_TRANSACTIONS * 3
    database.write(*(change(number) for number in range(1, total + 1)))
    await until(lambda: len(well.told) == total)
    assert database.confirmed < total
    clock.now_s += PATIENCE_S + 1
    database.write(change(total + 1))
    await until(lambda: database.confirmed == total + 1)
    stuck.reads.set()
    await until(lambda: stuck.trouble is not None)
    assert isinstance(stuck.trouble, PlaceGivenUp)
    assert stuck.trouble.repair
    assert well.numbers == list(range(1, total + 2))
    ticking.cancel()
    await stop(stuck, well)


async def test_a_unit_that_was_put_aside_gets_everything_when_it_reads_again(
    database: Database, shared: SharedStream, clock: Clock
) -> None:
    slow, well = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: bool(slow.transactions and well.transactions))
    slow.reads.clear()
    ticking = asyncio.create_task(_tick(clock))
    total = MOST_TRANSACTIONS * 3
    database.write(*(change(number) for number in range(1, total + 1)))
    await until(lambda: len(well.told) == total)
    slow.reads.set()
    await until(lambda: len(slow.told) == total)
    assert slow.numbers == well.numbers == list(range(1, total + 1))
    ticking.cancel()
    await stop(slow, well)


async def _tick(clock: Clock) -> None:
    """Time passes quickly enough for the stream to lose its patience with a full queue, not with a unit."""
    while True:
        await asyncio.sleep(0.01)
        clock.now_s += 0.05


@pytest.mark.parametrize("gone", [False, True], ids=["its position is lost", "its table is gone"])
async def test_one_units_own_trouble_is_told_to_it_alone_invariant_12(
    database: Database, shared: SharedStream, clock: Clock, gone: bool
) -> None:
    database.write(*(change(number) for number in range(1, 4)))
    database.confirmed = 2
    well = Unit(shared, capture_of("t"), at(2)).start()
    await until(lambda: well.numbers == [3])
    if gone:
        database.gone_table = "u"
        ill = Unit(shared, capture_of("u"), at(3)).start()
    else:
        ill = Unit(shared, capture_of("u"), at(1)).start()
    await until(lambda: ill.trouble is not None)
    assert isinstance(ill.trouble, SourceChanged if gone else PositionLost)
    clock.now_s += PATIENCE_S + 1
    database.write(change(4))
    await until(lambda: well.numbers == [3, 4])
    assert well.trouble is None
    if gone:
        assert database.confirmed == 3  # kept for the mending
        database.gone_table = ""
        database.write(change(5, "u"))
        ill.trouble = None
        ill.start()
        await until(lambda: ill.numbers == [5])
    await stop(well, ill)


async def test_a_position_of_another_incarnation_is_told_to_its_unit_alone(
    database: Database, shared: SharedStream
) -> None:
    well, ill = Unit(shared, capture_of("t"), at(0)).start(), Unit(shared, capture_of("t"), at(0, "old")).start()
    await until(lambda: ill.trouble is not None and bool(well.transactions))
    assert isinstance(ill.trouble, PositionLost)
    database.write(change(1))
    await until(lambda: well.numbers == [1])
    await stop(well, ill)


async def test_the_streams_own_trouble_is_told_to_all_and_all_go_on(database: Database, shared: SharedStream) -> None:
    units = [Unit(shared, capture_of("t"), at(0)).start() for _ in range(3)]
    await until(lambda: all(unit.transactions for unit in units))
    database.write(change(1))
    await until(lambda: all(unit.told for unit in units))
    database.fail(SourceUnavailable("the backend was ended"))
    await until(lambda: all(unit.trouble is not None for unit in units))
    assert all(isinstance(unit.trouble, SourceUnavailable) for unit in units)
    database.write(change(2))
    for unit in units:
        unit.trouble = None
        unit.start()
    await until(lambda: all(unit.numbers == [1, 2] for unit in units))
    await stop(*units)


async def test_a_new_incarnation_begins_with_nothing_of_the_old_one(database: Database, shared: SharedStream) -> None:
    unit = Unit(shared, capture_of("t"), at(0)).start()
    database.write(*(change(number) for number in range(1, 8)))
    await until(lambda: database.confirmed == 7)
    database.incarnation, database.log, database.confirmed, database.has_slot = "new", [change(1)], 0, False
    database.fail(SourceUnavailable("restarted"))
    await until(lambda: unit.trouble is not None)
    again = Unit(shared, capture_of("t"), unit.position).start()
    await until(lambda: isinstance(again.trouble, PositionLost))
    fresh = Unit(shared, capture_of("t"), None).start()
    await until(lambda: bool(fresh.told))
    database.write(change(2))
    await until(lambda: fresh.numbers == [1, 2])
    assert {transaction.position.incarnation for transaction in fresh.transactions} == {"new"}
    await stop(unit, again, fresh)


# -- large transactions -----------------------------------------------------------------------------------------------


async def test_a_large_transaction_comes_whole_to_each_also_when_another_unit_joins_in_its_middle(
    database: Database, shared: SharedStream
) -> None:
    class InParts(Scripted):
        async def transactions(self) -> AsyncIterator[Transaction]:
            yield Transaction((), at(1), seen_through=SEEN)
            for number in range(1, 6):
                part = Position("db", {"wal": (1, number)})
                yield Transaction((change(number, "t" if number != 4 else "u"),), part, final=False)
                if number == 3 and not database.grown.is_set():
                    await database.grown.wait()
            yield Transaction((), at(2))
            yield Transaction((change(6),), at(3))
            await asyncio.Event().wait()

    database.open = lambda capture, position: InParts(database, capture, position)  # type: ignore[method-assign]
    shared = SharedStream(database.open)
    one = Unit(shared, capture_of("t"), at(0)).start()
    await until(lambda: one.numbers == [1, 2, 3])
    other = Unit(shared, capture_of("u"), at(1)).start()
    database.grown.set()
    await until(lambda: one.numbers == [1, 2, 3, 5, 6] and other.numbers == [4])
    told = [transaction for transaction in one.transactions if transaction.seen_through is None]
    shape = [(len(transaction.records), transaction.final) for transaction in told]
    assert shape == [(1, False)] * 4 + [(0, True), (1, True)]
    assert [one.final for one in other.transactions if one.seen_through is None][:2] == [False, True]
    await stop(one, other)


# -- which units share ------------------------------------------------------------------------------------------------


def test_units_share_by_connection_and_slot() -> None:
    opened: list[object] = []

    def open_stream(settings: object, capture: Capture, position: Position | None) -> Source:
        opened.append(settings)
        return Database().open(capture, position)

    sources = Sources(open_stream)  # type: ignore[arg-type]
    one = PostgresLogicalSettings(connection_file=Path("a"), slot="x")
    sources.open(one, capture_of("t"), None)
    sources.open(one, capture_of("t"), None)
    sources.open(one.model_copy(update={"slot": "y"}), capture_of("t"), None)
    assert len(sources._shared) == 2
    with pytest.raises(SettingsDiffer):
        sources.open(one.model_copy(update={"publication": "other"}), capture_of("t"), None)
    sources.open(ReplaySettings(path=Path("changes.jsonl")), capture_of("t"), None)
    assert len(opened) == 1
