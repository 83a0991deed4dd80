"""The outbox table on SQLite, where only the configured longest transaction tells when a gap is given up."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.outbox_table.database import Reading
from connectors.outbox_table.keys import Noticed, PassedKeys
from connectors.outbox_table.source import OutboxTableSettings
from connectors.source import PositionLost, SourceRefused, SourceUnavailable, Unreadable
from tests.contract.outbox_behaviour import OutboxBehaviour, keys_of
from tests.contract.outbox_stage import COLUMNS, OutboxStage
from tests.contract.source_behaviour import HISTORY, Seen, Written, caught_up, read_all, read_until, reading


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[OutboxStage]:
    file = tmp_path / "epj.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(sa.text("PRAGMA journal_mode = WAL"))
    yield OutboxStage(engine, {"sqlite_file": file})
    engine.dispose()


class TestOutboxTableOnSqlite(OutboxBehaviour):
    pass


def insert(stage: OutboxStage, *numbers: int) -> None:
    for nr in numbers:
        with stage.engine.begin() as connection:
            stage.insert(connection, Written(nr, "a"), nr=nr)


def findings(seen: Seen) -> list[str]:
    records = [record for transaction in seen.transactions for record in transaction.records]
    return [record.place for record in records if isinstance(record, Unreadable)]


async def test_a_row_committed_late_is_read_and_its_place_kept(stage: OutboxStage) -> None:
    insert(stage, 1, 2, 5)
    first = await read_all(stage.open(None))
    assert keys_of(first.transactions) == [1, 2, 5]
    insert(stage, 4)
    late = await read_all(stage.open(first.position))
    assert keys_of(late.transactions) == [4]
    insert(stage, 3, 6)
    assert keys_of((await read_all(stage.open(late.position))).transactions) == [3, 6]


async def test_a_late_row_is_read_by_a_running_source(stage: OutboxStage) -> None:
    insert(stage, 1, 3)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        insert(stage, 2)
        await read_until(stream, lambda seen: len(seen.changes) == 3, seen)
    assert keys_of(seen.transactions) == [1, 3, 2]


async def test_a_gap_is_given_up_after_the_longest_transaction_with_a_finding(stage: OutboxStage) -> None:
    insert(stage, 1, 4)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        stage.clock.now_s += 59
        await read_until(stream, caught_up, seen)
        assert findings(seen) == []
        stage.clock.now_s += 2
        await read_until(stream, caught_up, seen)
        assert findings(seen) == ["outbox keys 2 to 3"]
        insert(stage, 3)
        await read_until(stream, caught_up, seen)
    assert keys_of(seen.transactions) == [1, 4]
    assert seen.position.place["low"] == (4,)


async def test_a_gap_waits_anew_after_a_restart(stage: OutboxStage) -> None:
    insert(stage, 1, 3)
    position = (await read_all(stage.open(None))).position
    stage.clock.now_s += 3600
    resumed = await read_all(stage.open(position))
    assert findings(resumed) == []
    insert(stage, 2)
    assert keys_of((await read_all(stage.open(resumed.position))).transactions) == [2]


async def test_what_lies_before_the_first_row_waits_and_is_given_up_without_a_finding(stage: OutboxStage) -> None:
    insert(stage, 11)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        insert(stage, 10)
        await read_until(stream, lambda seen: len(seen.changes) == 2, seen)
        stage.clock.now_s += 61
        await read_until(stream, caught_up, seen)
        await read_until(stream, caught_up, seen)
    assert findings(seen) == []
    assert seen.position.place["low"] == (11,)


async def test_while_a_gap_is_open_progress_is_told_with_reserve(stage: OutboxStage) -> None:
    insert(stage, 1)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        reserved = seen.transactions[-1].seen_through
        stage.clock.now_s += 61
        await read_until(stream, caught_up, seen)
        unreserved = seen.transactions[-1].seen_through
    assert reserved is not None
    assert unreserved is not None
    assert (unreserved - reserved).total_seconds() >= 60


async def test_a_position_without_its_detail_reads_again_and_never_goes_backwards(stage: OutboxStage) -> None:
    insert(stage, 1, 3, 4)
    position = (await read_all(stage.open(None))).position
    again = await read_all(stage.open(replace(position, detail="")))
    assert keys_of(again.transactions) == [1, 3, 4]
    assert again.position.place["high"] == (4,)


async def test_too_many_gaps_stop_new_rows_until_some_are_closed(
    stage: OutboxStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.outbox_table.source._MOST_GAPS", 3)
    insert(stage, *range(2, 30, 2))
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.transactions) > 12 or caught_up(seen))
        await read_until(stream, caught_up, seen)
        stopped_at = keys_of(seen.transactions)
        assert stopped_at == [2, 4, 6, 8, 10, 12, 14]
        stage.clock.now_s += 61
        await read_until(stream, lambda seen: len(seen.changes) > 7, seen)


async def test_keys_that_went_backwards_are_a_lost_position(stage: OutboxStage) -> None:
    insert(stage, 1, 2, 3)
    position = (await read_all(stage.open(None))).position
    with stage.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM endringslogg WHERE nr = 3"))
    with pytest.raises(PositionLost):
        await read_all(stage.open(position))


async def test_keys_that_go_backwards_while_it_runs_are_a_lost_position(stage: OutboxStage) -> None:
    insert(stage, 1, 2, 3)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        with stage.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM endringslogg WHERE nr = 3"))
        with pytest.raises(PositionLost):
            await read_until(stream, lambda _: False, seen)


async def test_another_row_under_the_last_key_is_a_lost_position(stage: OutboxStage) -> None:
    stage.write(HISTORY[:3])
    position = (await read_all(stage.open(None))).position
    with stage.engine.begin() as connection:
        connection.execute(sa.text("UPDATE endringslogg SET tid = '2020-01-01' WHERE nr = 3"))
    with pytest.raises(PositionLost):
        await read_all(stage.open(position))


async def test_no_file_is_unavailable_and_makes_none(tmp_path: Path, stage: OutboxStage) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(SourceUnavailable):
        await read_all(stage.open(None, sqlite_file=missing))
    assert not missing.exists()


@pytest.mark.parametrize(
    "content", ["", "not a url", "nosuch://user:hemmelig@host/x", "oracle+oracledb://u:hemmelig@h/x"]
)
async def test_a_connection_file_without_a_usable_url_is_refused_and_not_quoted(
    tmp_path: Path, stage: OutboxStage, content: str
) -> None:
    (tmp_path / "url").write_text(content)
    with pytest.raises(SourceRefused) as refusal:
        await read_all(stage.open(None, sqlite_file=None, url_file=tmp_path / "url"))
    assert "hemmelig" not in str(refusal.value)
    with pytest.raises(SourceRefused):
        await read_all(stage.open(None, sqlite_file=None, url_file=tmp_path / "none"))


async def test_the_time_column_tells_when_a_row_was_committed(stage: OutboxStage) -> None:
    stage.write([Written(1, "a")])
    for told, expected in (
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01T12:00:00.5Z", "2026-07-01T12:00:00.500000+00:00"),
        ("yesterday", None),
    ):
        with stage.engine.begin() as connection:
            connection.execute(sa.text("UPDATE endringslogg SET tid = :told"), {"told": told})
        (change,) = (await read_all(stage.open(None, time_zone="Europe/Oslo"))).changes
        assert (change.committed_at and change.committed_at.isoformat()) == expected


def test_settings_want_one_database() -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        OutboxTableSettings(table="x", columns=COLUMNS)


def test_a_gap_is_never_given_up_by_the_look_that_noticed_it(stage: OutboxStage) -> None:
    """Its rows may have come between the question who is at work and the look itself: it is read once more first."""
    noticed = Noticed(1000.0, datetime(2026, 1, 1, tzinfo=UTC), frozenset({"v3/7"}))
    keys = PassedKeys("x", None, noticed)
    keys.add(1, noticed, "")
    keys.add(3, noticed, "")
    reading = Reading(
        rows=(), is_cut=False, database_at=noticed.at, running_before=frozenset(), has_prepared=False,
        running_after=noticed.running, highest=3,
    )  # fmt: skip
    source = stage.open(None)
    assert list(source._given_up(keys, reading, noticed)) == []
    assert [(gap.first, gap.last) for gap in keys.gaps][-1] == (2, 2)
    later = Noticed(1001.0, noticed.at)
    assert list(source._given_up(keys, replace(reading, has_prepared=True), later)) == []
    assert keys.gaps, "a prepared transaction may fill any gap"
    assert list(source._given_up(keys, reading, later)) == []
    assert keys.gaps == []
