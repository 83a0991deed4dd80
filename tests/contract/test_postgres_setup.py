"""`source prepare` on a real PostgreSQL: what it gives can be run, suffices, and never makes a write of the EPJ fail.

The EPJ here is an ordinary role that owns its tables. Each breakage that prepare refuses is also shown to be real:
PostgreSQL takes the statements, and then the EPJ's UPDATE fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from agent.settings.capture import capture
from agent.settings.loading import load_mapping
from connectors.inspection import Statement
from connectors.postgres_logical.safety import TablesUnfit
from connectors.postgres_logical.setup import PreparationRefused, apply, is_advice, plan
from connectors.postgres_logical.troubles import WrongPassword
from connectors.source import Capture, Column, Kind, Table
from tests.contract.postgres_epj import CAPTURE, DROPS, LIFE, RETYPES, ROW, Epj, make_epj, of
from tests.services import Postgres

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def epj(postgres: Postgres, tmp_path: Path) -> Iterator[Epj]:
    yield from make_epj(postgres, tmp_path)


def without_advice(statements: tuple[Statement, ...]) -> list[str]:
    return [statement.text for statement in statements if not is_advice(statement)]


# -- what it gives ----------------------------------------------------------------------------------------------------


async def test_what_is_applied_is_not_proposed_again(epj: Epj) -> None:
    first = await epj.plan()
    assert all(statement.why for statement in first)
    assert len(without_advice(first)) == 7  # publication, role, connect, usage, two selects, slot
    await apply(first, epj.admin)
    assert without_advice(await epj.plan()) == []


async def test_the_prepared_role_can_read_the_log_and_the_mapped_columns_and_nothing_else(epj: Epj) -> None:
    await epj.prepare()
    epj.run_as_admin(f"alter role \"{epj.agent}\" password 'agent-pw'")
    own = epj.settings.connection_file.read_text()
    with psycopg.connect(own, autocommit=True) as agent:
        agent.execute("select tjeneste_id, status, start_dato from demo.tjeneste").fetchall()
        for refused in (
            "select notat from demo.tjeneste",
            "select * from demo.uten_nokkel",
            "update demo.tjeneste set status = 'X'",
            "delete from demo.pause",
            "create table demo.mine (nr int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                agent.execute(refused)
    with psycopg.connect(own + " replication=database", autocommit=True) as log:
        assert log.execute("IDENTIFY_SYSTEM").fetchone() is not None
    assert without_advice(await plan(epj.settings, CAPTURE, role=epj.agent)) == []


async def test_the_prepared_slot_tells_what_the_epj_writes(epj: Epj) -> None:
    await epj.prepare()
    epj.run(ROW.format(1), "insert into demo.pause values (7, '2026-02-01')", "insert into demo.uten_nokkel values (1)")
    peeked = epj.ask(
        f"select count(*) filter (where get_byte(data, 0) = ascii('I')) from pg_logical_slot_peek_binary_changes("
        f"'{epj.settings.slot}', null, null, 'proto_version', '1', 'publication_names', 'kpr')"
    )
    assert peeked == [(2,)]


async def test_what_is_there_in_part_is_completed(epj: Epj) -> None:
    epj.run_as_admin(
        f'create role "{epj.agent}" login',
        "create publication kpr for table only demo.tjeneste with (publish = 'insert, update')",
    )
    texts = without_advice(await epj.plan())
    assert texts[0].startswith('ALTER PUBLICATION "kpr" SET (publish = ')
    assert texts[1] == 'ALTER PUBLICATION "kpr" ADD TABLE ONLY "demo"."pause";'
    assert texts[2] == f'ALTER ROLE "{epj.agent}" WITH LOGIN REPLICATION;'
    await epj.prepare()
    assert without_advice(await epj.plan()) == []


async def test_a_second_unit_adds_its_tables_and_takes_none_away(epj: Epj) -> None:
    epj.run(
        "create schema kinn", "create table kinn.tjeneste (tjeneste_id int primary key, status text, start_dato date)"
    )
    table = CAPTURE.tables[0]
    await epj.prepare()
    await epj.prepare(Capture((replace(table, found_as="kinn.tjeneste"),)))
    names = epj.ask("select schemaname || '.' || tablename from pg_publication_tables where pubname = 'kpr' order by 1")
    assert names == [("demo.pause",), ("demo.tjeneste",), ("kinn.tjeneste",)]


async def test_column_lists_come_only_on_request_and_name_their_price(epj: Epj) -> None:
    assert "(" not in (await epj.plan())[-7].text.split("WITH")[0]
    listed = await epj.plan(column_lists=True)
    publication = next(statement for statement in listed if statement.text.startswith("CREATE PUBLICATION"))
    assert '("tjeneste_id", "status", "start_dato")' in publication.text
    assert "can no longer drop a listed column or change its type" in publication.why
    await apply(listed, epj.admin)
    assert without_advice(await epj.plan(column_lists=True)) == []
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        epj.run("alter table demo.tjeneste drop column status")


async def test_a_column_list_is_completed_when_the_mapping_grows(epj: Epj) -> None:
    await epj.prepare(column_lists=True)
    table = CAPTURE.tables[0]
    grown = Capture((replace(table, columns=(*table.columns, Column("notat", Kind.TEXT))),))
    await epj.prepare(grown, column_lists=True)
    assert without_advice(await epj.plan(grown, column_lists=True)) == []
    epj.run(ROW.format(1), "update demo.tjeneste set notat = 'y'", "delete from demo.tjeneste")


async def test_a_list_made_by_hand_that_breaks_updates_is_mended(epj: Epj) -> None:
    await epj.prepare()
    epj.run_as_admin("alter publication kpr set table only demo.tjeneste (tjeneste_id)")
    epj.run("alter table demo.tjeneste replica identity full", ROW.format(1))
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        epj.run("update demo.tjeneste set status = 'X'")
    await epj.prepare()
    epj.run("update demo.tjeneste set status = 'X'")
    assert without_advice(await epj.plan()) == []


async def test_tables_with_row_level_security_are_read_whole(epj: Epj) -> None:
    epj.run(ROW.format(1), "alter table demo.tjeneste enable row level security")
    await epj.prepare()
    epj.run_as_admin(f"alter role \"{epj.agent}\" password 'agent-pw'")
    with psycopg.connect(epj.settings.connection_file.read_text()) as agent:
        assert agent.execute("select tjeneste_id from demo.tjeneste").fetchall() == [(1,)]
    assert without_advice(await epj.plan()) == []


async def test_advice_about_the_server_is_a_comment_that_is_never_run(epj: Epj, postgres: Postgres) -> None:
    postgres.sql("alter system set max_slot_wal_keep_size = -1")
    postgres.sql("select pg_reload_conf()")
    try:
        (advice,) = [statement for statement in await epj.plan() if is_advice(statement)]
        assert "max_slot_wal_keep_size" in advice.text
        assert "fills the disk" in advice.why
        await apply((advice,), epj.admin)
        assert postgres.sql("show max_slot_wal_keep_size") == "-1"
    finally:
        postgres.sql("alter system reset max_slot_wal_keep_size")
        postgres.sql("select pg_reload_conf()")


async def test_the_shipped_script_prepares_the_demos_tables(epj: Epj, tmp_path: Path) -> None:
    """As a DBA runs it, through psql; only the names are changed, because roles and slots are the whole server's."""
    mapping, _, _ = load_mapping(ROOT / "config/epj/demo.yaml")
    assert mapping is not None
    demo = capture(mapping)
    for table in demo.tables:
        columns = ", ".join(f'"{column.name}" text' for column in table.columns)
        epj.run_as_admin(f"create table {table.name} ({columns}, primary key ({', '.join(table.key)}))")
    script = tmp_path / "prepare.sql"
    text = (ROOT / "deploy/postgres/prepare.sql").read_text()
    text = text.replace('PUBLICATION "kpr_agent"', 'PUBLICATION "kpr"').replace("'kpr_agent'", f"'{epj.settings.slot}'")
    script.write_text(text.replace("kpr_agent", epj.agent))
    epj.server.run_file(script, epj.database)
    assert without_advice(await epj.plan(demo)) == []


# -- the EPJ lives on through all of it -------------------------------------------------------------------------------


async def test_the_epj_writes_alters_and_drops_through_all_of_it(epj: Epj) -> None:
    await epj.prepare()
    epj.run(*LIFE, *DROPS)


async def test_with_column_lists_all_goes_on_but_for_the_price_that_is_named(epj: Epj) -> None:
    await epj.prepare(column_lists=True)
    for statement in LIFE:
        if statement in RETYPES:
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                epj.run(statement)
        else:
            epj.run(statement)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        epj.run(DROPS[0])
    epj.run(*DROPS[1:])


async def test_a_new_primary_key_outside_a_column_list_is_the_other_price(epj: Epj) -> None:
    await epj.prepare(column_lists=True)
    epj.run(
        ROW.format(1),
        "alter table demo.tjeneste alter column notat set not null, drop constraint tjeneste_pkey, "
        "add primary key (tjeneste_id, notat)",
    )
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        epj.run("update demo.tjeneste set status = 'X'")
    await epj.prepare(column_lists=True)
    epj.run("update demo.tjeneste set status = 'X'")


# -- what it refuses, and that the harm is real -----------------------------------------------------------------------

Break = tuple[str, Callable[[str], str]]
KEYLESS: dict[str, str] = {
    "no key": "create table demo.t (nr int)",
    "a deferrable key": "create table demo.t (nr int primary key deferrable)",
    "identity nothing": "create table demo.t (nr int primary key); alter table demo.t replica identity nothing",
    "its index gone": "create table demo.t (nr int not null); create unique index t_nr on demo.t (nr); "
    "alter table demo.t replica identity using index t_nr; drop index demo.t_nr",
    "an invalid partition": "create table demo.t (nr int primary key) partition by list (nr); "
    "create table demo.t1 partition of demo.t for values in (1); alter table demo.t1 replica identity nothing",
}


@pytest.mark.parametrize("table", KEYLESS.values(), ids=KEYLESS.keys())
async def test_a_table_whose_updates_would_fail_is_refused_by_name(epj: Epj, table: str) -> None:
    epj.run(*table.split(";"))
    with pytest.raises(TablesUnfit) as refusal:
        await epj.plan(of("demo.t"))
    assert "demo.t " in str(refusal.value)
    assert "REPLICA IDENTITY" in refusal.value.repair
    assert epj.ask("select count(*) from pg_publication") == [(0,)]

    epj.run_as_admin("create publication handmade for table only demo.t with (publish_via_partition_root = true)")
    epj.run("insert into demo.t values (1)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        epj.run("update demo.t set nr = 1")


async def test_a_column_list_with_full_identity_is_refused(epj: Epj) -> None:
    epj.run("alter table demo.tjeneste replica identity full")
    with pytest.raises(TablesUnfit, match=r"demo\.tjeneste has REPLICA IDENTITY FULL"):
        await epj.plan(column_lists=True)
    await epj.prepare()
    epj.run(*LIFE)


async def test_every_table_that_cannot_be_captured_is_named_at_once(epj: Epj) -> None:
    epj.run(
        "create view demo.visning as select 1 as nr",
        "create unlogged table demo.ulogget (nr int primary key)",
        "create table demo.forelder (nr int primary key)",
        "create table demo.barn () inherits (demo.forelder)",
        "create table demo.beregnet (fra int primary key, nr int generated always as (fra + 1) stored)",
        "create table demo.delt (nr int not null) partition by list (nr)",
    )
    capture = of(
        "demo.visning", "demo.ulogget", "demo.forelder", "demo.beregnet", "demo.delt", "demo.borte", "demo.tjeneste"
    )
    with pytest.raises(TablesUnfit) as refusal:
        await epj.plan(capture)
    told = str(refusal.value)
    for reason in (
        "demo.visning is a view",
        "demo.ulogget is an unlogged",
        "demo.forelder has tables that inherit",
        "demo.beregnet has mapped columns that are generated",
        "demo.delt is partitioned and not identified by a primary key",
        "demo.borte is not in this database",
        "demo.tjeneste lacks mapped columns: nr",
    ):
        assert reason in told


async def test_a_mapped_key_that_deletes_do_not_tell_is_refused(epj: Epj) -> None:
    capture = Capture((Table("demo.tjeneste", ("status",), (Column("status", Kind.TEXT),)),))
    with pytest.raises(TablesUnfit, match="without status of the mapped key"):
        await epj.plan(capture)


async def test_a_bare_name_that_two_schemas_have_is_refused(epj: Epj) -> None:
    epj.run("create schema kinn", "create table kinn.tjeneste (nr int primary key)")
    with pytest.raises(TablesUnfit, match="several schemas"):
        await epj.plan(of("tjeneste"))


async def test_a_publication_for_all_tables_is_refused(epj: Epj) -> None:
    epj.run_as_admin("create publication kpr for all tables")
    with pytest.raises(PreparationRefused, match="FOR ALL TABLES"):
        await epj.plan()
    epj.run("insert into demo.uten_nokkel values (1)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        epj.run("update demo.uten_nokkel set nr = 2")


async def test_a_slot_of_another_plugin_is_refused(epj: Epj) -> None:
    epj.run_as_admin(f"select pg_create_logical_replication_slot('{epj.settings.slot}', 'test_decoding')")
    with pytest.raises(PreparationRefused, match="another plugin"):
        await epj.plan()


async def test_a_failover_slot_is_refused_where_the_version_has_none(epj: Epj) -> None:
    with pytest.raises(PreparationRefused, match="no failover slots"):
        await epj.plan(failover=True)


async def test_a_connection_without_the_rights_is_refused_with_the_repair(epj: Epj) -> None:
    statements = await epj.plan()
    epj.run_as_admin(f"alter role \"{epj.owner}\" login password 'epj-pw'")
    own = f"host=127.0.0.1 port={epj.server.port} dbname={epj.database} user={epj.owner} password=epj-pw"
    with pytest.raises(PreparationRefused) as refusal:
        await apply([one for one in statements if "CREATE ROLE" in one.text], own)
    assert "superuser" in refusal.value.repair
    assert "42501" in str(refusal.value)


async def test_a_wrong_password_is_told_without_it(epj: Epj) -> None:
    with pytest.raises(WrongPassword) as trouble:
        await apply((), f"host=127.0.0.1 port={epj.server.port} user=postgres password=hemmelig-feil dbname=postgres")
    assert "hemmelig" not in str(trouble.value) + trouble.value.repair


async def test_a_slot_that_waits_for_an_open_transaction_is_given_up(epj: Epj, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres_logical.setup._STATEMENT_TIMEOUT_S", 1)
    with psycopg.connect(epj.admin) as other:
        other.execute("create table demo.fra_en_annen (nr int)")
        with pytest.raises(PreparationRefused) as refusal:
            await epj.prepare()
    assert "open" in refusal.value.repair
    await epj.prepare()
    assert without_advice(await epj.plan()) == []
