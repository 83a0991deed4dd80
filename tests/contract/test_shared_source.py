"""One slot of a real PostgreSQL for many units: the contract holds for each, and none holds the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from connectors.sharing.sources import Sources, UnitSource
from connectors.source import Capture, Change, Position, PositionLost, SourceChanged, Transaction
from tests.contract.postgres_stage import PostgresStage
from tests.contract.source_behaviour import CAPTURE, PATIENCE_S, SourceBehaviour, Written
from tests.services import Postgres

pytestmark = pytest.mark.server


class SharedStage(PostgresStage):
    """Every source that it opens is a unit of one shared stream, as in one process."""

    def __init__(self, server: Postgres, directory: Path) -> None:
        self.sources = Sources()
        super().__init__(server, directory)

    def open(self, position: Position | None, capture: Capture = CAPTURE, **settings: object) -> UnitSource:
        source = self.sources.open(self.settings.model_copy(update=settings), capture, position)
        assert isinstance(source, UnitSource)
        return source


@pytest.fixture
def stage(postgres: Postgres, tmp_path: Path) -> Iterator[SharedStage]:
    stage = SharedStage(postgres, tmp_path)
    yield stage
    stage.clear()


class TestSharedPostgres(SourceBehaviour):
    """A unit that is alone on a shared stream."""


@dataclass
class Unit:
    """A pipeline: reads, books and acknowledges."""

    told: list[tuple[object, object]] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    position: Position | None = None
    transactions: list[Transaction] = field(default_factory=list)
    trouble: BaseException | None = None
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, source: UnitSource) -> None:
        try:
            async with source, aclosing(source.transactions()) as transactions:
                async for transaction in transactions:
                    await self.reads.wait()
                    self.book(transaction)
                    if transaction.final:
                        self.position = transaction.position
                        await source.acknowledge(transaction.position)
        except Exception as trouble:  # noqa: BLE001  told to the test
            self.trouble = trouble

    def book(self, transaction: Transaction) -> None:
        self.transactions.append(transaction)
        for record in transaction.records:
            if isinstance(record, Change) and record.key is not None:
                self.tables.add(record.table)
                self.told.append((record.key["tjeneste_id"], None if record.row is None else record.row["status"]))


@asynccontextmanager
async def reading(stage: SharedStage, position: Position | None, capture: Capture = CAPTURE) -> AsyncIterator[Unit]:
    """A unit at work until the block's end."""
    unit = Unit()
    unit.reads.set()
    task = asyncio.create_task(unit.read(stage.open(position, capture)))
    try:
        yield unit
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait({task})


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110  many things may happen, in several tasks
            await asyncio.sleep(0.01)


def in_schema(schema: str) -> Capture:
    return Capture((replace(CAPTURE.tables[0], found_as=f"{schema}.tjeneste"),))


def add_schema(stage: PostgresStage, schema: str) -> None:
    stage.run(
        f"CREATE SCHEMA {schema}",
        f"CREATE TABLE {schema}.tjeneste (tjeneste_id bigint PRIMARY KEY, status text, start_dato date)",
        f"ALTER PUBLICATION kpr_agent ADD TABLE {schema}.tjeneste",
    )


async def test_units_by_column_both_get_all_rows_and_a_unit_by_schema_its_own(stage: SharedStage) -> None:
    add_schema(stage, "kinn")
    assert stage.start is not None
    async with (
        reading(stage, stage.start) as one,
        reading(stage, stage.start) as other,
        reading(stage, stage.start, in_schema("kinn")) as kinn,
    ):
        stage.write([Written(1, "a"), Written(2, "b")])
        stage.write([Written(3, "c", table="kinn.tjeneste"), Written(1, None)])
        await until(lambda: len(one.told) == len(other.told) == 3 and bool(kinn.told))
    assert one.told == other.told == [(1, "a"), (2, "b"), (1, None)]
    assert kinn.told == [(3, "c")]
    assert kinn.tables == {"demo.tjeneste"}  # its mapping's name


async def test_the_slot_moves_with_the_slowest_and_with_no_one_who_has_nothing_to_read_invariant_1(
    stage: SharedStage,
) -> None:
    add_schema(stage, "kinn")
    async with reading(stage, stage.start) as busy, reading(stage, stage.start, in_schema("kinn")) as quiet:
        stage.write([Written(number, "x") for number in range(50)])
        await until(lambda: len(busy.told) == 50)
        await stage.until(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            _lsn(busy.position),
            stage.slot,
        )
        quiet.reads.clear()
        held = str(stage.slot_state()["confirmed_flush_lsn"])
        stage.write([Written(number, "y") for number in range(50)])
        await until(lambda: len(busy.told) == 100)
        behind = quiet.position
        assert behind is not None
        assert stage.ask(f"SELECT '{_lsn(behind)}'::pg_lsn >= '{held}'::pg_lsn")
        state = str(stage.slot_state()["confirmed_flush_lsn"])
        assert stage.ask(f"SELECT '{state}'::pg_lsn <= '{_lsn(behind)}'::pg_lsn")


def _lsn(position: Position | None) -> str:
    assert position is not None
    lsn = position.place["wal"][0]
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


async def test_units_that_begin_at_different_times_each_read_and_lose_nothing(stage: SharedStage) -> None:
    """The first makes the slot; the second reads its tables while the first streams; writes go on all the time."""
    add_schema(stage, "kinn")
    stage.drop_slot()
    stage.write([Written(number, "before") for number in range(20)])
    stage.write([Written(number, "before", table="kinn.tjeneste") for number in range(20)])
    async with reading(stage, None) as first:
        await until(lambda: len(first.told) >= 20)
        async with reading(stage, None, in_schema("kinn")) as second:
            stage.write([Written(number, "after", table="kinn.tjeneste") for number in range(10, 30)])
            stage.write([Written(number, "after") for number in range(10, 30)])
            await until(lambda: dict(second.told).get(29) == dict(first.told).get(29) == "after")
            assert dict(first.told) == dict(second.told)
            assert dict(first.told) == {n: "before" if n < 10 else "after" for n in range(30)}


async def test_units_that_begin_together_share_the_slot_that_one_of_them_makes(stage: SharedStage) -> None:
    add_schema(stage, "kinn")
    stage.drop_slot()
    stage.write([Written(1, "x"), Written(2, "y", table="kinn.tjeneste")])
    async with (
        reading(stage, None) as one,
        reading(stage, None) as same,
        reading(stage, None, in_schema("kinn")) as kinn,
    ):
        await until(lambda: bool(one.told and same.told and kinn.told))
        stage.write([Written(3, "z"), Written(4, "w", table="kinn.tjeneste")])
        await until(lambda: all(len(unit.told) == 2 for unit in (one, same, kinn)))
    assert one.told == same.told == [(1, "x"), (3, "z")]
    assert kinn.told == [(2, "y"), (4, "w")]
    assert stage.ask(f"SELECT count(*) FROM pg_replication_slots WHERE database = '{stage.name}'") == 1


async def test_a_unit_comes_back_to_its_place_and_costs_the_others_nothing(stage: SharedStage) -> None:
    async with reading(stage, stage.start) as stays:
        async with reading(stage, stage.start) as comes:
            stage.write([Written(1, "a")])
            await until(lambda: bool(stays.told and comes.told))
        stage.write([Written(2, "b")])
        await until(lambda: len(stays.told) == 2)
        async with reading(stage, comes.position) as again:
            stage.write([Written(3, "c")])
            await until(lambda: len(stays.told) == 3 and len(again.told) == 2)
    assert stays.told == [(1, "a"), (2, "b"), (3, "c")]
    assert comes.told + again.told == stays.told


async def test_one_units_lost_position_and_lost_table_are_its_own_invariant_12(stage: SharedStage) -> None:
    add_schema(stage, "kinn")
    old = stage.start
    assert old is not None
    async with reading(stage, stage.start) as well, reading(stage, stage.start, in_schema("kinn")) as loses:
        stage.write([Written(1, "a")])
        await until(lambda: bool(well.told) and bool(loses.transactions))
        async with reading(stage, replace(old, place={"wal": (1, 0)})) as lost:
            await until(lambda: lost.trouble is not None)
        assert isinstance(lost.trouble, PositionLost)
        stage.run("ALTER TABLE kinn.tjeneste DROP COLUMN status", "INSERT INTO kinn.tjeneste VALUES (9, '2026-01-15')")
        await until(lambda: loses.trouble is not None)
        assert isinstance(loses.trouble, SourceChanged)
        stage.write([Written(2, "b")])
        await until(lambda: len(well.told) == 2)
    assert well.trouble is None
    assert well.told == [(1, "a"), (2, "b")]


async def test_a_backend_that_is_ended_is_everybodys_trouble_and_all_go_on(stage: SharedStage) -> None:
    async with reading(stage, stage.start) as one, reading(stage, stage.start) as other:
        stage.write([Written(1, "a")])
        await until(lambda: bool(one.told and other.told))
        stage.run(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL "
            f"AND slot_name = '{stage.slot}'"
        )
        await until(lambda: one.trouble is not None and other.trouble is not None)
        stage.write([Written(2, "b")])
        async with reading(stage, one.position) as one_again, reading(stage, other.position) as other_again:
            await until(lambda: bool(one_again.told and other_again.told))
    assert one_again.told == other_again.told == [(2, "b")]
