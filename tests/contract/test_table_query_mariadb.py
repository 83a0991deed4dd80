"""Plain queries on a real MariaDB, by the time that each write sets."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.source import Capture, Column, Kind, SourceRefused, SourceUnavailable, Table, Undecodable
from tests.contract.query_behaviour import ROWS, TOLD, QueryBehaviour
from tests.contract.query_stage import QueryStage
from tests.contract.source_behaviour import caught_up, read_all, read_until, reading
from tests.services import MariaDb

pytestmark = pytest.mark.server


@pytest.fixture
def stage(mariadb: MariaDb, tmp_path: Path) -> Iterator[QueryStage]:
    name = f"query_{uuid.uuid4().hex[:8]}"
    url = mariadb.create_database(name)
    url_file = tmp_path / "url"
    url_file.write_text(url + "\n")
    engine = sa.create_engine(url)
    yield QueryStage(engine, {"url_file": url_file}, lambda: str(mariadb.create_database(name)))
    engine.dispose()
    mariadb.sql(f"drop database if exists `{name}`")


class TestTableQueryOnMariaDb(QueryBehaviour):
    pass


async def test_values_of_every_kind(stage: QueryStage) -> None:
    stage.do(
        "CREATE TABLE alt (id char(36) PRIMARY KEY, kode char(5), tall decimal(30, 2), heltall bigint, dag date,"
        " ingen_dag date, halv_dag date, tid datetime(6), ingen_tid datetime, oyeblikk timestamp, feil datetime)"
    )
    with stage.engine.begin() as connection:
        connection.execute(sa.text("SET sql_mode = '', time_zone = '+01:00'"))
        connection.execute(
            sa.text(
                "INSERT INTO alt VALUES ('0000ABCD-0000-0000-0000-00000000000F', 'cc', 12345678901234567890.50,"
                " 1152921504606846977, '2026-01-15', '0000-00-00', '2026-00-00', '2026-01-15 12:30:00.123456',"
                " '0000-00-00', '2026-01-15 12:30:00', '2026-01-15 12:30:00')"
            )
        )
    kinds = {
        "id": Kind.TEXT, "kode": Kind.TEXT, "tall": Kind.TEXT, "heltall": Kind.INTEGER, "dag": Kind.DATE,
        "ingen_dag": Kind.DATE, "halv_dag": Kind.DATE, "tid": Kind.TIMESTAMP, "ingen_tid": Kind.TIMESTAMP,
        "oyeblikk": Kind.INSTANT, "feil": Kind.INSTANT,
    }  # fmt: skip
    capture = Capture((Table("alt", ("id",), tuple(Column(name, kind) for name, kind in kinds.items())),))
    (change,) = (await read_all(stage.open_by_hand(None, capture, tables={}))).changes
    row = dict(change.row or {})
    assert isinstance(row.pop("feil"), Undecodable), "a DATETIME says no zone"
    assert isinstance(row.pop("halv_dag"), Undecodable)
    assert row == {
        "id": "0000abcd-0000-0000-0000-00000000000f", "kode": "cc", "tall": "12345678901234567890.5",
        "heltall": 2**60 + 1, "dag": date(2026, 1, 15), "ingen_dag": None,
        "tid": datetime(2026, 1, 15, 12, 30, 0, 123456),  # noqa: DTZ001  wall-clock time
        "ingen_tid": None, "oyeblikk": datetime(2026, 1, 15, 11, 30, tzinfo=UTC),
    }  # fmt: skip


async def test_times_to_the_second_in_a_timestamp_column(stage: QueryStage) -> None:
    """Several writes in one second bear one watermark."""
    stage.do("ALTER TABLE tjeneste MODIFY endret timestamp NULL")
    stage.write(ROWS)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        for status in ("a", "b", "a"):
            stage.write([replace(ROWS[3], status=status)])
            await read_until(stream, lambda seen, status=status: seen.told[-1] == (3, status), seen)
    assert seen.told == [*TOLD, (3, "a"), (3, "b"), (3, "a")]


async def test_a_wrong_password_and_a_missing_right_are_refused(stage: QueryStage, tmp_path: Path) -> None:
    file = tmp_path / "reader"
    user = f"leser_{uuid.uuid4().hex[:8]}"
    url = stage.engine.url.set(username=user, password="made-up")
    stage.do(f"CREATE USER {user} IDENTIFIED BY 'made-up'")
    stage.do("CREATE TABLE annet (id integer)")
    stage.do(f"GRANT SELECT ON {url.database}.annet TO {user}")
    try:
        for password in ("made-up", "hemmelig"):
            file.write_text(url.set(password=password).render_as_string(hide_password=False))
            with pytest.raises(SourceRefused) as refusal:
                await read_all(stage.open(None, url_file=file))
            assert refusal.value.code == "KPR-151"
            assert "hemmelig" not in str(refusal.value) + refusal.value.repair
    finally:
        stage.do(f"DROP USER {user}")


async def test_a_connection_killed_is_unavailable_and_the_next_source_goes_on(stage: QueryStage) -> None:
    stage.write(ROWS)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 14)
        with stage.engine.connect() as connection:
            others = connection.execute(
                sa.text("SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()")
            ).scalars()
            for number in list(others):
                connection.execute(sa.text(f"KILL {number}"))
        with pytest.raises(SourceUnavailable) as trouble:
            await read_until(stream, lambda _: False, seen)
    assert trouble.value.code == "KPR-150"
    rest = await read_all(stage.open(seen.position))
    assert seen.told + rest.told == TOLD
