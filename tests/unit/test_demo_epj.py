"""The demo's EPJ: its tables, its change log, and the picture that is read back."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from agent.demo.epj import apply_step, apply_steps, create_tables, open_sqlite, picture, picture_of
from agent.demo.epj_schema import LOG_COLUMNS, LOG_TABLE, schema_name
from agent.demo.histories import Histories
from agent.demo.step import Row, Step, deleted, inserted, updated
from agent.settings import capture
from connectors.outbox_table.source import OutboxColumns, OutboxTableSettings, OutboxTableSource
from connectors.source import Change, Undecodable
from tests.agent_on_histories import mapping
from tests.services.postgres import Postgres

AT = datetime(2026, 11, 20, 10, 15, 30)  # noqa: DTZ001 - wall-clock time, as the EPJ writes it
UNIT: Row = {"enhet_id": 7, "orgnr": "853000019", "navn": "Demo", "registrert_tid": AT, "endret_tid": AT}
PAUSE: Row = {
    "pause_id": 9,
    "tjeneste_id": 3,
    "fra_dato": date(2026, 1, 2),
    "til_dato": None,
    "status": "AKTIV",
    "registrert_tid": AT,
    "endret_tid": AT,
}
Log = list[dict[str, Any]]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = open_sqlite(tmp_path / "epj.db")
    create_tables(engine)
    yield engine
    engine.dispose()


def read_log(engine: Engine, schema: str = "") -> Log:
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT * FROM {schema}{LOG_TABLE} ORDER BY nr")).mappings().all()
    return [{name: row[column] for name, column in LOG_COLUMNS.items()} for row in rows]


def loaded(cell: Any) -> Any:
    return json.loads(cell) if isinstance(cell, str) else cell


def test_an_insert_an_update_and_a_delete_are_logged_with_iso_dates(sqlite: Engine) -> None:
    apply_step(sqlite, Step(AT, "new", (inserted("pause", PAUSE),)))
    apply_step(sqlite, Step(AT, "closed", (updated("pause", {**PAUSE, "til_dato": date(2026, 1, 9)}),)))
    apply_step(sqlite, Step(AT, "gone", (deleted("pause", PAUSE),)))
    check_log(read_log(sqlite))


def check_log(log: Log) -> None:
    assert [(row["table"], row["operation"]) for row in log] == [("public.pause", letter) for letter in "IUD"]
    new, closed, gone = log
    assert new["before"] is None
    assert loaded(new["after"])["fra_dato"] == "2026-01-02"
    assert loaded(new["after"])["registrert_tid"] == "2026-11-20T10:15:30"
    assert loaded(closed["before"])["til_dato"] is None
    assert loaded(closed["after"])["til_dato"] == "2026-01-09"
    assert gone["after"] is None
    assert loaded(gone["before"])["pause_id"] == 9
    assert new["key"] < closed["key"] < gone["key"]


def test_a_changed_key_is_logged_as_a_delete_and_an_insert(sqlite: Engine) -> None:
    apply_step(sqlite, Step(AT, "new", (inserted("enhet", UNIT),)))
    apply_step(sqlite, Step(AT, "another key", (updated("enhet", {**UNIT, "enhet_id": 8}, 7),)))
    assert [row["operation"] for row in read_log(sqlite)] == ["I", "D", "I"]
    assert set(picture(sqlite).rows["enhet"]) == {8}


def test_a_step_is_one_transaction(sqlite: Engine) -> None:
    twice = Step(AT, "the second fails", (inserted("enhet", UNIT), inserted("enhet", UNIT)))
    with pytest.raises(Exception, match="UNIQUE"):
        apply_step(sqlite, twice)
    assert read_log(sqlite) == []
    assert picture(sqlite).rows["enhet"] == {}


def test_the_picture_read_back_is_the_one_the_steps_give(sqlite: Engine) -> None:
    steps = Histories(3, 60, date(2026, 11, 22), bad_share=0.2).steps()
    assert apply_steps(sqlite, steps) == len(steps)
    is_same = picture(sqlite) == picture_of(steps)
    assert is_same  # not in one line: a failure would print rows


async def test_the_outbox_connector_reads_every_change_of_the_log(sqlite: Engine, tmp_path: Path) -> None:
    steps = Histories(4, 40, date(2026, 11, 22), bad_share=0.2).steps()
    apply_steps(sqlite, steps)
    settings = OutboxTableSettings(
        sqlite_file=tmp_path / "epj.db", table=LOG_TABLE, columns=OutboxColumns(**LOG_COLUMNS), poll_s=0.01
    )
    wanted = len(read_log(sqlite))
    read: list[Change] = []
    source = OutboxTableSource(settings, capture(mapping()), None)
    async with asyncio.timeout(30), source, aclosing(source.transactions()) as transactions:
        while len(read) < wanted:
            for record in (await anext(transactions)).records:
                assert isinstance(record, Change)
                read.append(record)
    assert not any(isinstance(cell, Undecodable) for change in read for cell in (change.row or {}).values())
    stands = {change.key["tjeneste_id"]: change for change in read if change.key and "tjeneste_id" in change.key}
    starts = {key: change.row["start_dato"] for key, change in stands.items() if change.row is not None}
    is_same = starts == {key: row["start_dato"] for key, row in picture_of(steps).rows["tjeneste"].items()}
    assert is_same


def test_a_schema_name_is_a_plain_identifier() -> None:
    assert schema_name("epj_1") == "epj_1"
    with pytest.raises(ValueError, match="letters"):
        schema_name("epj; drop table x")


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[Engine]:
    url = postgres.create_database("demo_epj").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.mark.server
@pytest.mark.parametrize("schema", [None, "epj"])
def test_postgresql_holds_and_logs_the_same(postgresql: Engine, schema: str | None) -> None:
    create_tables(postgresql, schema)
    apply_step(postgresql, Step(AT, "new", (inserted("pause", PAUSE),)), schema)
    apply_step(postgresql, Step(AT, "closed", (updated("pause", {**PAUSE, "til_dato": date(2026, 1, 9)}),)), schema)
    apply_step(postgresql, Step(AT, "gone", (deleted("pause", PAUSE),)), schema)
    log = read_log(postgresql, f"{schema}." if schema else "")
    check_log(log)
    assert len({row["transaction"] for row in log}) == 3
    moved = Step(AT, "two rows", (inserted("enhet", UNIT), updated("enhet", {**UNIT, "enhet_id": 8}, 7)))
    apply_step(postgresql, moved, schema)
    one_transaction = read_log(postgresql, f"{schema}." if schema else "")[3:]
    assert [row["operation"] for row in one_transaction] == ["I", "D", "I"]
    assert len({row["transaction"] for row in one_transaction}) == 1
    steps = Histories(3, 60, date(2026, 11, 22), bad_share=0.2).steps()
    apply_steps(postgresql, [Step(AT, "away", (deleted("enhet", {**UNIT, "enhet_id": 8}),)), *steps], schema)
    read, told = picture(postgresql, schema), picture_of(steps)
    is_same = (read.rows, read.earlier["tjeneste"]) == (told.rows, told.earlier["tjeneste"])
    assert is_same  # not in one line: a failure would print rows
