"""What every Source does. A connector's test file inherits `SourceBehaviour` and says how to write changes.

A source that sees rows and not each change of them (`table_query`) inherits `AnySourceBehaviour`.

The stage writes changes of two tables, `demo.tjeneste` (wanted) and `demo.notat` (not wanted), into whatever the
source reads. Every wait is bounded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Protocol

import pytest

from connectors.source import (
    Capture,
    Change,
    Column,
    Ignored,
    Kind,
    Operation,
    Position,
    PositionLost,
    Source,
    SourceError,
    Table,
    Transaction,
    Version,
    goes_backwards,
)

PATIENCE_S = 30.0
WANTED = "demo.tjeneste"
UNWANTED = "demo.notat"
CAPTURE = Capture(
    (
        Table(
            WANTED,
            ("tjeneste_id",),
            (
                Column("tjeneste_id", Kind.INTEGER),
                Column("status", Kind.TEXT),
                Column("start_dato", Kind.DATE),
            ),
        ),
    )
)


@dataclass(frozen=True)
class Written:
    """A change to write: the row's key and what it says; `status` None is a deletion."""

    key: int
    status: str | None
    table: str = WANTED


class Stage(Protocol):
    """Where changes are written, and a source on it.

    `start`: the position behind which every write is told as a change; None where a source does so from its beginning
    (where it begins with a load, the rows as they are then are told instead).
    """

    @property
    def start(self) -> Position | None: ...

    def write(self, changes: Sequence[Written]) -> None:
        """Write and commit these changes, in order, each in its own transaction."""

    def open(self, position: Position | None) -> Source:
        """A source behind `position`."""

    def exchange(self) -> None:
        """Put another, non-empty database (or file) in its place, as a restored backup would be."""

    def remove(self) -> None:
        """Take it away, so that nothing answers."""


@dataclass
class Seen:
    """What was read: changes in order, every position, every transaction."""

    changes: list[Change] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)

    @property
    def told(self) -> list[tuple[int, str | None]]:
        return [
            (change.key["tjeneste_id"], None if change.row is None else change.row["status"])
            for change in self.changes
            if change.key is not None
        ]

    @property
    def position(self) -> Position:
        return [transaction for transaction in self.transactions if transaction.final][-1].position


async def read_until(
    stream: AsyncIterator[Transaction], enough: Callable[[Seen], bool], seen: Seen | None = None
) -> Seen:
    """Read transactions until `enough` or the stream's end; fails after PATIENCE_S."""
    seen = seen or Seen()
    async with asyncio.timeout(PATIENCE_S):
        async for transaction in stream:
            seen.transactions.append(transaction)
            seen.changes += [record for record in transaction.records if isinstance(record, Change)]
            if enough(seen):
                break
    return seen


def caught_up(seen: Seen) -> bool:
    """Whether the last transaction was an empty one that tells how far the source has seen."""
    return not seen.transactions[-1].records and seen.transactions[-1].seen_through is not None


@contextlib.asynccontextmanager
async def reading(source: Source) -> AsyncIterator[AsyncIterator[Transaction]]:
    """The source entered, and its transactions closed before it is left."""
    async with source:
        stream = source.transactions()
        async with contextlib.aclosing(stream):  # type: ignore[type-var]  # every source's is a generator
            yield stream


async def read_all(source: Source) -> Seen:
    async with reading(source) as stream:
        return await read_until(stream, caught_up)


HISTORY = [Written(number % 5, f"v{number}") for number in range(40)]


class AnySourceBehaviour:
    """What a source does that sees rows as they are when it looks, and not each change of them.

    `history` has each key once there, so that what is told is the history all the same.
    """

    history = HISTORY

    async def test_gives_typed_values_and_the_key(self, stage: Stage) -> None:
        stage.write([Written(7, "AKTIV")])
        (change,) = (await read_all(stage.open(stage.start))).changes
        assert change.table == WANTED
        assert change.operation is Operation.UPSERT
        assert change.key == {"tjeneste_id": 7}
        assert change.row == {"tjeneste_id": 7, "status": "AKTIV", "start_dato": date(2026, 1, 15)}

    async def test_positions_only_move_forward(self, stage: Stage) -> None:
        stage.write(self.history)
        positions = [transaction.position for transaction in (await read_all(stage.open(stage.start))).transactions]
        for earlier, later in pairwise(positions):
            assert earlier.incarnation == later.incarnation
            assert set(earlier.place) == set(later.place)
            assert not goes_backwards(earlier, later)

    async def test_every_place_resumes_exactly(self, stage: Stage) -> None:
        stage.write(self.history)
        seen = await read_all(stage.open(stage.start))
        told = 0
        for transaction in seen.transactions:
            told += sum(isinstance(record, Change) for record in transaction.records)
            rest = await read_all(stage.open(transaction.position))
            assert rest.told == seen.told[told:]

    async def test_goes_on_with_what_was_written_since(self, stage: Stage) -> None:
        stage.write(self.history[:10])
        before = await read_all(stage.open(stage.start))
        stage.write(self.history[10:])
        after = await read_all(stage.open(before.position))
        assert before.told + after.told == [(change.key, change.status) for change in self.history]

    async def test_acknowledging_what_is_durable_loses_nothing(self, stage: Stage) -> None:
        stage.write(self.history)
        seen = Seen()
        position = stage.start
        while len(seen.changes) < len(self.history):
            source = stage.open(position)
            async with reading(source) as stream:
                part = await read_until(stream, lambda part: len(part.changes) >= 7 or caught_up(part))
                position = part.position
                await source.acknowledge(position)
            seen.changes += part.changes
        assert seen.told == [(change.key, change.status) for change in self.history]

    async def test_what_was_not_acknowledged_comes_again(self, stage: Stage) -> None:
        stage.write(self.history)
        first = await read_all(stage.open(stage.start))
        assert (await read_all(stage.open(stage.start))).told == first.told

    async def test_shows_progress_while_nothing_happens(self, stage: Stage) -> None:
        stage.write(self.history[:3])
        quiet = await read_all(stage.open((await read_all(stage.open(stage.start))).position))
        (empty,) = quiet.transactions
        assert empty.seen_through is not None
        assert empty.seen_through.utcoffset() == timedelta(0)
        assert isinstance(empty.seen_through, datetime)

    async def test_identity_is_that_of_its_positions(self, stage: Stage) -> None:
        stage.write(self.history[:3])
        source = stage.open(stage.start)
        async with reading(source) as stream:
            seen = await read_until(stream, caught_up)
            assert {transaction.position.incarnation for transaction in seen.transactions} == {await source.identity()}

    async def test_is_used_once(self, stage: Stage) -> None:
        stage.write(self.history[:3])
        source = stage.open(stage.start)
        async with reading(source) as stream:
            await read_until(stream, caught_up)
            with pytest.raises(RuntimeError):
                await anext(aiter(source.transactions()))
        with pytest.raises(RuntimeError):
            await source.__aenter__()

    async def test_another_database_is_a_lost_position(self, stage: Stage) -> None:
        stage.write(self.history)
        position = (await read_all(stage.open(stage.start))).position
        stage.exchange()
        with pytest.raises(PositionLost) as refusal:
            await read_all(stage.open(position))
        assert refusal.value.repair

    async def test_a_position_of_another_incarnation_is_lost(self, stage: Stage) -> None:
        stage.write(self.history[:3])
        position = (await read_all(stage.open(stage.start))).position
        with pytest.raises(PositionLost):
            await read_all(stage.open(replace(position, incarnation="of another")))

    async def test_trouble_is_named_by_its_reaction(self, stage: Stage) -> None:
        stage.write(self.history[:3])
        stage.remove()
        with pytest.raises(SourceError) as trouble:
            await read_all(stage.open(stage.start))
        assert type(trouble.value) is not SourceError
        assert trouble.value.code.startswith("KPR-")

    async def test_cancelling_leaves_nothing_behind(self, stage: Stage) -> None:
        stage.write(self.history)
        arrived = asyncio.Event()

        async def read_for_ever() -> None:
            async with reading(stage.open(stage.start)) as stream:
                async for _ in stream:
                    arrived.set()
                await asyncio.Event().wait()

        others = asyncio.all_tasks()
        task = asyncio.create_task(read_for_ever())
        async with asyncio.timeout(PATIENCE_S):
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert asyncio.all_tasks() == others
        assert len((await read_all(stage.open(stage.start))).changes) == len(self.history)

    async def test_a_slow_reader_is_waited_for(self, stage: Stage) -> None:
        """What is written while the reader rests comes afterwards, in order, and nothing is read far ahead."""
        stage.write(self.history[:20])
        async with reading(stage.open(stage.start)) as stream:
            seen = await read_until(stream, lambda seen: len(seen.changes) >= 1)
            stage.write(self.history[20:])
            await read_until(stream, lambda seen: len(seen.changes) >= len(self.history) or caught_up(seen), seen)
        rest = await read_all(stage.open(seen.position))
        assert seen.told + rest.told == [(change.key, change.status) for change in self.history]

    async def test_no_value_stands_in_a_repr(self, stage: Stage) -> None:
        stage.write([Written(1, "HEMMELIG")])
        seen = await read_all(stage.open(stage.start))
        assert "HEMMELIG" not in repr(seen.transactions)


class SourceBehaviour(AnySourceBehaviour):
    """What a source of changes does. Inherit as `class TestX(SourceBehaviour)` and give a fixture `stage`."""

    async def test_tells_every_change_in_order(self, stage: Stage) -> None:
        stage.write(HISTORY)
        seen = await read_all(stage.open(stage.start))
        assert seen.told == [(change.key, change.status) for change in HISTORY]

    async def test_a_deletion_has_a_key_and_no_row(self, stage: Stage) -> None:
        stage.write([Written(7, "AKTIV"), Written(7, None)])
        change = (await read_all(stage.open(stage.start))).changes[-1]
        assert (change.operation, change.key, change.row) == (Operation.DELETE, {"tjeneste_id": 7}, None)

    async def test_versions_of_one_key_rise_within_one_epoch(self, stage: Stage) -> None:
        stage.write([Written(1, f"v{number}") for number in range(10)])
        seen = await read_all(stage.open(stage.start))
        versions = [change.version for change in seen.changes]
        assert all(isinstance(version, Version) for version in versions)
        assert len({version.epoch for version in versions if version}) == 1
        orders = [version.order for version in versions if version]
        assert orders == sorted(set(orders))

    async def test_unwanted_tables_are_ignored_and_counted(self, stage: Stage) -> None:
        stage.write([Written(1, "a"), Written(2, "b", table=UNWANTED), Written(3, "c")])
        seen = await read_all(stage.open(stage.start))
        records = [record for transaction in seen.transactions for record in transaction.records]
        assert [type(record) for record in records] == [Change, Ignored, Change]
