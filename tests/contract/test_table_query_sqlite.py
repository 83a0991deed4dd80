"""Plain queries on SQLite, by a number that each write takes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.source import Capture, Change, PositionLost, SourceChanged, SourceRefused, Unreadable
from connectors.table_query.database import QueriedDatabase
from connectors.table_query.settings import QueriedTableSettings, WatermarkSettings
from tests.contract.query_behaviour import STAY, QueryBehaviour
from tests.contract.query_stage import FOUND_AS_BARE, QueryStage
from tests.contract.source_behaviour import Written, caught_up, read_all, read_until, reading


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[QueryStage]:
    file = tmp_path / "epj.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    yield QueryStage(engine, {"sqlite_file": file}, file.unlink)
    engine.dispose()


class TestTableQueryOnSqlite(QueryBehaviour):
    pass


async def test_a_look_by_rowversion_is_cut_below_the_lowest_one_at_work(
    stage: QueryStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL Server's way, with octets in SQLite: what is at work may commit later, and nothing is read twice."""
    at_work = 5

    def lowest(_: QueriedDatabase) -> bytes:
        return at_work.to_bytes(8, "big")

    monkeypatch.setattr(QueriedDatabase, "lowest_rowversion_at_work", lowest)
    monkeypatch.setattr(QueriedDatabase, "dialect", "mssql")
    stage.remove()
    stage.do("CREATE TABLE tjeneste (tjeneste_id integer PRIMARY KEY, status text, start_dato text, endret blob)")
    insert = "INSERT INTO tjeneste VALUES (:key, 'x', '2026-01-15', :mark)"
    stage.do(insert, key=1, mark=(3).to_bytes(8, "big"))
    tables = {"demo.tjeneste": QueriedTableSettings(watermark=WatermarkSettings(column="endret", kind="rowversion"))}
    async with reading(stage.open(None, tables=tables)) as stream:
        seen = await read_until(stream, caught_up)
        stage.do(insert, key=2, mark=(7).to_bytes(8, "big"))
        await read_until(stream, caught_up, seen)
        assert [key for key, _ in seen.told] == [1]
        at_work = 8
        await read_until(stream, caught_up, seen)
        assert [key for key, _ in seen.told] == [1, 2]
        stage.do(insert, key=3, mark=(9).to_bytes(8, "big"))
        at_work = 20
        await read_until(stream, caught_up, seen)
    assert [key for key, _ in seen.told] == [1, 2, 3]
    assert (await read_all(stage.open(seen.position, tables=tables))).told == []
    at_work = 8
    with pytest.raises(PositionLost) as refusal:
        await read_all(stage.open(seen.position, tables=tables))
    assert refusal.value.code == "KPR-158"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"tables": {"demo.other": QueriedTableSettings()}}, "mapping has not"),
        ({"tables": {}, "scan_every_s": None}, "neither a watermark nor full scans"),
        (
            {
                "tables": {
                    "demo.tjeneste": QueriedTableSettings(
                        watermark=WatermarkSettings(column="endret", kind="rowversion")
                    )
                }
            },
            "only SQL Server has",
        ),
    ],
    ids=["unknown", "unread", "rowversion"],
)
async def test_settings_that_do_not_fit_the_mapping_or_the_database_are_refused(
    stage: QueryStage, settings: dict[str, object], word: str
) -> None:
    with pytest.raises(SourceRefused, match=word) as refusal:
        await read_all(stage.open(None, **settings))
    assert (refusal.value.code, bool(refusal.value.repair)) == ("KPR-152", True)


async def test_rows_without_a_watermark_need_full_scans(stage: QueryStage) -> None:
    stage.write([Written(1, "a"), Written(2, "b")])
    stage.do("UPDATE tjeneste SET endret = NULL WHERE tjeneste_id = 2")
    assert (await read_all(stage.open(None))).told == [(1, "a"), (2, "b")]
    with pytest.raises(SourceChanged, match="some rows have none"):
        await read_all(stage.open(None, scan_every_s=None))


async def test_a_name_in_capitals_that_is_no_column_is_not_taken_for_a_text(stage: QueryStage) -> None:
    """SQLite reads a quoted name that is no column as a text of that name."""
    stage.write([Written(1, "a")])
    table = FOUND_AS_BARE.tables[0]
    columns = tuple(replace(column, name="Tilstand") if column.name == "status" else column for column in table.columns)
    with pytest.raises(SourceChanged, match="no column Tilstand"):
        await read_all(stage.open_by_hand(None, Capture((replace(table, columns=columns),))))


async def test_a_key_that_cannot_be_read_is_kept_for_a_person_and_passed(stage: QueryStage) -> None:
    stage.do("CREATE TABLE opphold (a blob PRIMARY KEY, b text, c text, status text)")
    stage.do("INSERT INTO opphold VALUES (x'01', 'b', 'c', 'x'), ('good', 'b', 'c', 'y')")
    capture = Capture((replace(STAY.tables[0]),))
    seen = await read_all(stage.open_by_hand(None, capture, tables={}))
    records = [record for transaction in seen.transactions for record in transaction.records]
    assert [type(record) for record in records] == [Change, Unreadable]


async def test_nothing_is_kept_open_in_the_database_between_two_queries(stage: QueryStage) -> None:
    stage.write([Written(number, "a") for number in range(20)])
    async with reading(stage.open(None)) as stream:
        await read_until(stream, lambda seen: len(seen.changes) >= 7)
        stage.do("ALTER TABLE tjeneste ADD COLUMN later text")


async def test_after_a_quiet_hour_a_late_commit_within_the_lag_is_found(
    stage: QueryStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overlap empties while nothing happens, and is there again when something does."""
    monkeypatch.setattr(QueriedDatabase, "now", lambda _: stage.hand.at)
    mark = WatermarkSettings(column="endret", kind="modified", safety_lag_s=30.0)
    tables = {"demo.tjeneste": QueriedTableSettings(watermark=mark)}
    stage.remove()
    stage.do("CREATE TABLE tjeneste (tjeneste_id integer PRIMARY KEY, status text, start_dato text, endret text)")

    def insert(key: int, behind_s: int) -> None:
        written = (stage.hand.at - timedelta(seconds=behind_s)).replace(tzinfo=None).isoformat(sep=" ")
        stage.do("INSERT INTO tjeneste VALUES (:key, 'x', NULL, :written)", key=key, written=written)

    insert(1, 0)
    async with reading(stage.open_by_hand(None, tables=tables, poll_s=1.0)) as stream:
        seen = await read_until(stream, caught_up)
        for key in (2, 4):
            for _ in range(3):
                stage.hand.move(1200)
                await read_until(stream, caught_up, seen)
            insert(key, 0)
            for _ in range(2):
                await read_until(stream, caught_up, seen)
            insert(key + 1, 25)
            await read_until(stream, caught_up, seen)
    assert [key for key, _ in seen.told] == [1, 2, 3, 4, 5]
