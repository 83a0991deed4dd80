"""Plain queries on a real PostgreSQL, by the time that each write sets."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.source import Capture, Column, Infinity, Kind, SourceRefused, SourceUnavailable, Table, Undecodable
from connectors.table_query.source import TableQuerySource
from tests.contract.query_behaviour import ROWS, TOLD, QueryBehaviour
from tests.contract.query_stage import FOUND_AS_BARE, QueryStage
from tests.contract.source_behaviour import caught_up, read_all, read_until, reading
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture
def stage(postgres: Postgres, tmp_path: Path) -> Iterator[QueryStage]:
    name = f"query_{uuid.uuid4().hex[:8]}"
    url = postgres.create_database(name)
    url_file = tmp_path / "url"
    url_file.write_text(url + "\n")
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    yield QueryStage(engine, {"url_file": url_file}, lambda: str(postgres.create_database(name)))
    engine.dispose()
    postgres.sql(f'drop database if exists "{name}" with (force)')


class TestTableQueryOnPostgres(QueryBehaviour):
    pass


async def test_values_of_every_kind(stage: QueryStage) -> None:
    stage.do(
        "CREATE TABLE alt (id uuid PRIMARY KEY, kode char(5), ja boolean, tall numeric(30, 2), heltall bigint,"
        " dag date, apen date, for_lenge_siden date, tid timestamp, oyeblikk timestamptz, alltid timestamptz, tom text)"
    )
    stage.do(
        "INSERT INTO alt VALUES ('0000ABCD-0000-0000-0000-00000000000F', 'cc', true, 12345678901234567890.50,"
        " 1152921504606846977, '2026-01-15', 'infinity', '0044-03-15 BC', '2026-01-15 12:30:00.123456',"
        " '2026-01-15 12:30:00+01', '-infinity', NULL)"
    )
    kinds = {
        "id": Kind.TEXT, "kode": Kind.TEXT, "ja": Kind.TEXT, "tall": Kind.TEXT, "heltall": Kind.INTEGER,
        "dag": Kind.DATE, "apen": Kind.DATE, "for_lenge_siden": Kind.DATE, "tid": Kind.TIMESTAMP,
        "oyeblikk": Kind.INSTANT, "alltid": Kind.INSTANT, "tom": Kind.TEXT,
    }  # fmt: skip
    capture = Capture((Table("alt", ("id",), tuple(Column(name, kind) for name, kind in kinds.items())),))
    (change,) = (await read_all(stage.open_by_hand(None, capture, tables={}))).changes
    row = dict(change.row or {})
    assert isinstance(row.pop("for_lenge_siden"), Undecodable)
    assert row == {
        "id": "0000abcd-0000-0000-0000-00000000000f", "kode": "cc", "ja": "true", "tall": "12345678901234567890.5",
        "heltall": 2**60 + 1, "dag": date(2026, 1, 15), "apen": Infinity.PLUS,
        "tid": datetime(2026, 1, 15, 12, 30, 0, 123456),  # noqa: DTZ001  wall-clock time
        "oyeblikk": datetime(2026, 1, 15, 11, 30, tzinfo=UTC), "alltid": Infinity.MINUS, "tom": None,
    }  # fmt: skip


async def test_a_table_in_a_schema_and_names_in_capitals(stage: QueryStage) -> None:
    stage.do('CREATE SCHEMA "Demo"')
    stage.do('CREATE TABLE "Demo"."Tjeneste" ("Id" char(3) PRIMARY KEY, "Status" text)')
    stage.do("""INSERT INTO "Demo"."Tjeneste" VALUES ('a', 'x'), ('b', 'y'), ('ab', 'z')""")
    table = Table("Demo.Tjeneste", ("Id",), (Column("Id", Kind.TEXT), Column("Status", Kind.TEXT)))
    seen = await read_all(stage.open_by_hand(None, Capture((table,)), tables={}, chunk_rows=1))
    assert sorted((change.key or {})["Id"] for change in seen.changes) == ["a", "ab", "b"]


async def test_rights_on_the_mapped_columns_are_enough_and_less_is_refused(stage: QueryStage, tmp_path: Path) -> None:
    stage.write(ROWS[:3])
    role = f"leser_{uuid.uuid4().hex[:8]}"
    with stage.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'"))
    url = stage.engine.url.set(drivername="postgresql", username=role, password="made-up")
    file = tmp_path / "reader"
    file.write_text(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(SourceRefused) as refusal:
            await read_all(stage.open(None, url_file=file))
        assert refusal.value.code == "KPR-151"
        stage.do(f"GRANT SELECT (tjeneste_id, status, start_dato, endret) ON tjeneste TO {role}")
        assert (await read_all(stage.open(None, url_file=file))).told == TOLD[:3]
        file.write_text(url.set(password="hemmelig").render_as_string(hide_password=False))
        with pytest.raises(SourceRefused) as refusal:
            await read_all(stage.open(None, url_file=file))
        assert "hemmelig" not in str(refusal.value) + refusal.value.repair
    finally:
        stage.do(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_backend_terminated_is_unavailable_and_the_next_source_goes_on(stage: QueryStage) -> None:
    stage.write(ROWS)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 14)
        stage.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'kpr-agent' AND datname = current_database()"
        )
        with pytest.raises(SourceUnavailable) as trouble:
            await read_until(stream, lambda _: False, seen)
    assert trouble.value.code == "KPR-150"
    rest = await read_all(stage.open(seen.position))
    assert seen.told + rest.told == TOLD


async def test_a_query_that_takes_too_long_is_unavailable(stage: QueryStage) -> None:
    stage.write(ROWS[:3])
    position = (await read_all(stage.open(None))).position
    with stage.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE tjeneste IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(SourceUnavailable) as trouble:
            await read_all(stage.open(position, operation_timeout_s=0.5))
    assert trouble.value.code == "KPR-150"


async def test_a_commit_that_waits_is_found_though_others_overtook_it(stage: QueryStage) -> None:
    stage.write(ROWS[:3])
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        with stage.engine.connect() as slow:
            held = slow.begin()
            stage.put(slow, replace(ROWS[1], status="slow"))
            stage.write([replace(ROWS[2], status="fast")])
            await read_until(stream, lambda seen: (2, "fast") in seen.told, seen)
            held.commit()
        await read_until(stream, lambda seen: (1, "slow") in seen.told, seen)


async def test_another_capture_of_the_same_database_is_the_same_incarnation(stage: QueryStage) -> None:
    async with stage.open(None) as one:
        first = await one.identity()
    async with TableQuerySource(stage.settings, FOUND_AS_BARE, None) as other:
        assert await other.identity() == first


async def test_a_watermark_of_infinity_hides_nothing(stage: QueryStage) -> None:
    for key, mark in ((1, "infinity"), (2, "-infinity"), (3, "now")):
        stage.do("INSERT INTO tjeneste VALUES (:key, 'x', NULL, CAST(:mark AS timestamptz))", key=key, mark=mark)
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        stage.write([replace(ROWS[4], status="new")])
        await read_until(stream, lambda seen: (4, "new") in seen.told, seen)
        await read_until(stream, caught_up, seen)
    assert sorted(seen.told) == [(1, "x"), (2, "x"), (3, "x"), (4, "new")]


async def test_a_table_of_open_ends_alone_can_be_read(stage: QueryStage) -> None:
    for key, mark in ((1, "infinity"), (2, "-infinity")):
        stage.do("INSERT INTO tjeneste VALUES (:key, 'x', NULL, CAST(:mark AS timestamptz))", key=key, mark=mark)
    seen = await read_all(stage.open(None, chunk_rows=1))
    assert {key for key, _ in seen.told} == {1, 2}
