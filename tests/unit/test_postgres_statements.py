"""The statements that prepare a PostgreSQL: what is missing is given, in order, each with its reason, no secrets."""

import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.settings.capture import capture
from agent.settings.loading import load_mapping
from connectors.inspection import Statement
from connectors.postgres_logical.facts import (
    Facts,
    PublicationFacts,
    Published,
    RoleFacts,
    ServerFacts,
    SlotFacts,
    TableFacts,
)
from connectors.postgres_logical.safety import Fit, Objection, find, objections
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.setup import offline_plan
from connectors.postgres_logical.statements import Wish, is_advice, missing_statements
from connectors.source import Capture, Column, Kind, Table

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/postgres/prepare.sql"
HEAD = """\
-- What a PostgreSQL needs for kpr-agent, for the demo's tables (config/epj/demo.yaml). README.md says more.
-- Your own: kpr-agent source prepare FILE. It also looks at the database and refuses tables without a key.
"""
WISH = Wish("kpr_agent", "kpr_agent", "kpr_agent")
TABLE = Table("demo.tjeneste", ("nr",), (Column("nr", Kind.INTEGER), Column("status", Kind.TEXT)))
SERVER = ServerFacts(
    150_018, "15.18", "epj", 5, 7, False, datetime(2026, 1, 15, tzinfo=UTC), "logical", 10, 1, 10, 51_200, True
)
READY = TableFacts(
    schema="demo",
    name="tjeneste",
    kind="r",
    persistence="p",
    identity_kind="d",
    identity=("nr",),
    columns=("nr", "status", "notat"),
    generated=frozenset(),
    readable=frozenset({"nr", "status"}),
    has_children=False,
    is_partition=False,
    has_row_security=False,
    partitions_without_identity=(),
    partitions_with_full_identity=(),
    published=Published(None, has_filter=False),
)
PREPARED = Facts(
    SERVER,
    PublicationFacts(False, True, frozenset({"insert", "update", "delete", "truncate"})),
    RoleFacts(False, True, True, False, True),
    SlotFacts({"plugin": "pgoutput", "database": "epj", "failover": False}, 0),
    {"demo.tjeneste": (READY,)},
    frozenset({"demo"}),
)


def missing(facts: Facts, wish: Wish = WISH) -> list[Statement]:
    fit = find(TABLE, facts)
    assert isinstance(fit, Fit)
    return list(missing_statements(wish, facts, [fit]))


def with_table(**changes: object) -> Facts:
    return replace(PREPARED, tables={"demo.tjeneste": (replace(READY, **changes),)})  # type: ignore[arg-type]


def script() -> str:
    """What `kpr-agent source prepare` gives for the demo's EPJ where no database can be looked at."""
    mapping, _, faults = load_mapping(ROOT / "config/epj/demo.yaml")
    assert mapping is not None, faults
    settings = PostgresLogicalSettings(connection_file=Path("connection"))
    parts = [HEAD]
    for statement in offline_plan(settings, capture(mapping), role="kpr_agent"):
        why = "\n".join(textwrap.wrap(statement.why, 116, initial_indent="-- ", subsequent_indent="-- "))
        parts.append(f"{why}\n{statement.text}\n")
    return "\n".join(parts)


def test_the_shipped_script_is_what_the_code_gives(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--rewrite-golden"):
        SCRIPT.write_text(script(), encoding="utf-8")
    assert SCRIPT.read_text(encoding="utf-8") == script()


def test_the_publication_comes_before_the_slot_that_must_know_it() -> None:
    text = script()
    assert text.index("CREATE PUBLICATION") < text.index("pg_create_logical_replication_slot")


def test_nothing_is_given_for_what_is_there() -> None:
    assert missing(PREPARED) == []


def test_a_password_never_stands_in_a_statement() -> None:
    statements = missing(replace(PREPARED, role=None))
    assert any("CREATE ROLE" in one.text for one in statements)
    assert not any("PASSWORD" in one.text.upper() for one in statements)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (replace(PREPARED, publication=None), "CREATE PUBLICATION"),
        (replace(PREPARED, slot=None), "pg_create_logical_replication_slot('kpr_agent', 'pgoutput');"),
        (replace(PREPARED, role=RoleFacts(False, True, False, False, True)), "WITH LOGIN REPLICATION"),
        (replace(PREPARED, role=RoleFacts(False, True, True, False, False)), "GRANT CONNECT ON DATABASE"),
        (replace(PREPARED, usable_schemas=frozenset()), "GRANT USAGE ON SCHEMA"),
        (with_table(readable=frozenset({"nr"})), 'GRANT SELECT ("status") ON "demo"."tjeneste"'),
        (with_table(published=None), "ADD TABLE ONLY"),
        (with_table(published=Published(frozenset({"nr"}), has_filter=False)), "DROP TABLE ONLY"),
        (with_table(has_row_security=True), "BYPASSRLS"),
    ],
)
def test_what_is_missing_is_given_and_nothing_else(facts: Facts, text: str) -> None:
    (statement,) = missing(facts)
    assert text in statement.text
    assert statement.why
    assert not is_advice(statement)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (replace(SERVER, wal_level="replica"), "wal_level = 'logical'"),
        (replace(SERVER, most_senders=1), "max_wal_senders"),
        (replace(SERVER, keep_mebibytes=-1), "max_slot_wal_keep_size"),
    ],
)
def test_what_is_the_whole_servers_is_advice_in_a_comment(server: ServerFacts, text: str) -> None:
    (statement,) = missing(replace(PREPARED, server=server))
    assert is_advice(statement)
    assert text in statement.text


def test_slots_that_are_all_taken_are_told_before_another_is_asked_for() -> None:
    advice, slot = missing(replace(PREPARED, slot=None, server=replace(SERVER, slots=10)))
    assert "max_replication_slots = 15" in advice.text
    assert not is_advice(slot)


def test_a_superuser_needs_no_grants() -> None:
    facts = replace(with_table(readable=frozenset()), role=RoleFacts(True, True, False, True, True))
    assert missing(replace(facts, usable_schemas=frozenset())) == []


def test_a_column_list_holds_mapped_key_and_already_listed_columns_in_the_tables_order() -> None:
    wish = replace(WISH, column_lists=True)
    (statement,) = missing(with_table(published=Published(frozenset({"notat"}), has_filter=False)), wish)
    assert '("nr", "status", "notat")' in statement.text
    assert "can no longer drop a listed column" in statement.why


def test_names_are_quoted() -> None:
    table = Table('demo.T"j', ("Nr",), (Column("Nr", Kind.INTEGER),))
    facts = replace(READY, name='T"j', columns=("Nr",), identity=("Nr",), readable=frozenset(), published=None)
    fit = find(table, replace(PREPARED, tables={'demo.T"j': (facts,)}))
    assert isinstance(fit, Fit)
    texts = [one.text for one in missing_statements(WISH, PREPARED, [fit])]
    assert texts[1] == 'GRANT SELECT ("Nr") ON "demo"."T""j" TO "kpr_agent";'


def test_a_column_is_found_under_an_earlier_name() -> None:
    table = replace(TABLE, columns=(Column("nr", Kind.INTEGER), Column("tilstand", Kind.TEXT, None, ("status",))))
    fit = find(table, PREPARED)
    assert isinstance(fit, Fit)
    assert fit.columns == ("nr", "status")


@pytest.mark.parametrize(
    ("changes", "is_listed", "text"),
    [
        ({"identity": ()}, False, "has no key"),
        ({"kind": "p", "identity_kind": "i"}, False, "is partitioned"),
        ({"identity": ("status",)}, False, "without nr of the mapped key"),
        ({"partitions_without_identity": ("demo.t1",)}, False, "partitions without a key"),
        ({"identity_kind": "f"}, True, "REPLICA IDENTITY FULL"),
        ({"partitions_with_full_identity": ("demo.t1",)}, True, "REPLICA IDENTITY FULL"),
        ({"kind": "v"}, False, "is a view"),
        ({"persistence": "u"}, False, "is an unlogged table"),
        ({"has_children": True}, False, "inherit"),
        ({"generated": frozenset({"status"})}, False, "generated"),
        ({"published": Published(None, has_filter=True)}, False, "row filter"),
    ],
)
def test_what_would_harm_is_objected_to_with_a_repair(changes: dict[str, object], is_listed: bool, text: str) -> None:
    fit = find(TABLE, with_table(**changes))
    assert isinstance(fit, Fit)
    (objection,) = objections(fit, is_listed=is_listed)
    assert text in objection.text
    assert objection.repair


def test_full_identity_without_a_column_list_is_no_harm() -> None:
    fit = find(TABLE, with_table(identity_kind="f"))
    assert isinstance(fit, Fit)
    assert list(objections(fit, is_listed=False)) == []


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ((), "is not in this database"),
        ((READY, replace(READY, schema="kinn")), "several schemas (demo, kinn)"),
        ((replace(READY, columns=("nr",)),), "lacks mapped columns: status"),
    ],
)
def test_a_table_that_is_not_found_is_told(tables: tuple[TableFacts, ...], text: str) -> None:
    found = find(TABLE, replace(PREPARED, tables={"demo.tjeneste": tables}))
    assert isinstance(found, Objection)
    assert text in found.text


def test_offline_knows_a_bare_name_and_a_units_schema() -> None:
    tables = (Table("tjeneste", ("nr",), (Column("nr", Kind.INTEGER),)), replace(TABLE, found_as="kinn.tjeneste"))
    settings = PostgresLogicalSettings(connection_file=Path("connection"))
    texts = [one.text for one in offline_plan(settings, Capture(tables), role="kpr_agent", failover=True)]
    assert 'ONLY "tjeneste"' in texts[1]
    assert 'ONLY "kinn"."tjeneste"' in texts[1]
    assert 'GRANT USAGE ON SCHEMA "kinn" TO "kpr_agent";' in texts
    assert texts[-1].endswith("'pgoutput', failover => true);")
