"""What `doctor` says of a real PostgreSQL: nothing of a prepared one, and each trouble by its name with a repair."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from connectors.inspection import Observation, Verdict
from connectors.postgres_logical.inspection import inspect
from connectors.source import Capture, Column, Kind, Position, Table
from connectors.wire.postgres_identity import cluster_name
from tests.contract.postgres_epj import CAPTURE, Epj, make_epj, of
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture
async def epj(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Epj]:
    for epj in make_epj(postgres, tmp_path):
        await epj.prepare()
        epj.run_as_admin(f"alter role \"{epj.agent}\" password 'agent-pw'")
        yield epj


def here(epj: Epj) -> Position:
    ((system, oid),) = epj.ask(
        "select system_identifier, d.oid from pg_control_system(), pg_database d where datname = current_database()"
    )
    return Position(f"postgres:{cluster_name(system)}:{oid}", {"wal": (1, 0)})


async def look(epj: Epj, capture: Capture = CAPTURE, position: Position | None = None) -> list[Observation]:
    """What is not good; every fault has a repair, and none quotes the password."""
    seen = await inspect(epj.settings, capture, position)
    assert seen
    for one in seen:
        assert one.verdict is Verdict.GOOD or one.repair
        assert "agent-pw" not in one.text + one.repair
    return [one for one in seen if one.verdict is not Verdict.GOOD]


async def test_a_prepared_database_has_no_faults(epj: Epj) -> None:
    assert await look(epj, position=here(epj)) == []
    subjects = {one.subject for one in await inspect(epj.settings, CAPTURE, None)}
    assert subjects >= {
        "TLS", "version", "wal_level", "log limit", "clock", "identity", "role", "replication", "publication",
        "table demo.tjeneste", "table demo.pause", "slot", "kept log",
    }  # fmt: skip


TROUBLES: dict[str, tuple[str, str, str]] = {
    "a table left": ("alter publication kpr drop table demo.pause", "table demo.pause", "not in the publication"),
    "a column list": (
        "alter publication kpr set table only demo.tjeneste (tjeneste_id), only demo.pause",
        "table demo.tjeneste",
        "its column list lacks status, start_dato",
    ),
    "an operation left out": (
        "alter publication kpr set (publish = 'insert, update')",
        "publication",
        "leaves out delete, truncate",
    ),
    "partitions told apart": (
        "alter publication kpr set (publish_via_partition_root = false)",
        "publication",
        "under its partitions' names",
    ),
    "no publication": ("drop publication kpr", "publication", "no publication kpr"),
    "a column gone": ("alter table demo.tjeneste drop column status", "table demo.tjeneste", "lacks mapped columns"),
    "a table gone": ("drop table demo.tjeneste", "table demo.tjeneste", "is not in this database"),
    "a key gone": (
        "alter table demo.tjeneste drop constraint tjeneste_pkey",
        "table demo.tjeneste",
        "every UPDATE and DELETE of it would fail",
    ),
    "full identity": ("alter table demo.tjeneste replica identity full", "table demo.tjeneste", "FULL"),
    "a right gone": (
        'revoke select (status) on demo.tjeneste from "{agent}"',
        "table demo.tjeneste",
        "may not SELECT all mapped columns",
    ),
    "a schema closed": ('revoke usage on schema demo from "{agent}"', "table demo.pause", "may not SELECT"),
    "row level security": (
        "alter table demo.pause enable row level security",
        "table demo.pause",
        "row level security",
    ),
    "replication gone": ('alter role "{agent}" noreplication', "role", "REPLICATION"),
    "a superuser": ('alter role "{agent}" superuser', "role", "superuser"),
    "no slot": ("select pg_drop_replication_slot('{slot}')", "slot", "is missing"),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_each_trouble_is_told_by_its_name(epj: Epj, trouble: tuple[str, str, str]) -> None:
    statement, subject, text = trouble
    epj.run_as_admin(statement.format(agent=epj.agent, slot=epj.settings.slot))
    seen = await look(epj, position=here(epj))
    assert [one for one in seen if one.subject == subject and text in one.text], seen


async def test_a_missing_slot_is_no_fault_before_the_first_start(epj: Epj) -> None:
    epj.run_as_admin(f"select pg_drop_replication_slot('{epj.settings.slot}')")
    assert await look(epj) == []


async def test_a_slot_of_another_plugin_is_told(epj: Epj) -> None:
    epj.run_as_admin(
        f"select pg_drop_replication_slot('{epj.settings.slot}')",
        f"select pg_create_logical_replication_slot('{epj.settings.slot}', 'test_decoding')",
    )
    assert [one.subject for one in await look(epj)] == ["slot"]


async def test_another_database_behind_the_address_is_told(epj: Epj) -> None:
    (told,) = await look(epj, position=replace(here(epj), incarnation="postgres:1:2"))
    assert (told.subject, told.verdict) == ("identity", Verdict.FAULT)


async def test_a_table_that_nobody_may_capture_is_told(epj: Epj) -> None:
    seen = await look(epj, of("demo.uten_nokkel"))
    assert [one for one in seen if "has no key" in one.text]


async def test_kept_log_that_nears_its_limit_is_told(epj: Epj, postgres: Postgres) -> None:
    postgres.sql("alter system set max_slot_wal_keep_size = '1MB'")
    postgres.sql("select pg_reload_conf()")
    try:
        epj.run("insert into demo.uten_nokkel select n, repeat('x', 1000) from generate_series(1, 3000) n")
        seen = await look(epj)
        assert [one.verdict for one in seen if one.subject == "kept log"] == [Verdict.WARNING]
    finally:
        postgres.sql("alter system reset max_slot_wal_keep_size")
        postgres.sql("select pg_reload_conf()")


async def test_a_lost_slot_is_told(epj: Epj, postgres: Postgres) -> None:
    postgres.sql("alter system set max_slot_wal_keep_size = '1MB'")
    postgres.sql("select pg_reload_conf()")
    try:
        for _ in range(20):
            epj.run("insert into demo.uten_nokkel select n, repeat('x', 1000) from generate_series(1, 20000) n")
            epj.run_as_admin("select pg_switch_wal()", "checkpoint")
            if epj.ask(f"select wal_status from pg_replication_slots where slot_name='{epj.settings.slot}'") == [
                ("lost",)
            ]:
                break
        seen = await look(epj)
        assert [one.text for one in seen if one.subject == "slot" and "invalidated" in one.text]
    finally:
        postgres.sql("alter system reset max_slot_wal_keep_size")
        postgres.sql("select pg_reload_conf()")


async def test_a_wrong_password_and_a_closed_port_are_faults_and_raise_nothing(epj: Epj) -> None:
    own = epj.settings.connection_file.read_text()
    for changed in (own.replace("agent-pw", "hemmelig-feil"), own.replace(f"port={epj.server.port}", "port=1"), "=x"):
        epj.settings.connection_file.write_text(changed)
        (told,) = await look(epj)
        assert (told.subject, told.verdict) == ("connection", Verdict.FAULT)
        assert "hemmelig" not in told.text + told.repair


async def test_a_generated_column_is_told(epj: Epj) -> None:
    epj.run("create table demo.beregnet (nr int primary key, sum int generated always as (nr + 1) stored)")
    table = Table("demo.beregnet", ("nr",), (Column("nr", Kind.INTEGER), Column("sum", Kind.INTEGER)))
    assert [one for one in await look(epj, Capture((table,))) if "generated" in one.text]


async def test_looking_changes_nothing(epj: Epj) -> None:
    def state() -> object:
        with psycopg.connect(epj.admin) as connection:
            return connection.execute(
                "select slot_name, confirmed_flush_lsn, restart_lsn from pg_replication_slots where slot_name = %s",
                [epj.settings.slot],
            ).fetchall()

    before = state()
    await look(epj)
    assert state() == before
