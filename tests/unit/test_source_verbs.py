"""`kpr-agent source prepare`: what it prints, that psql reads it, that --apply leaves nothing missing, how it ends."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.demo.database import EpjDatabase, epj_database
from agent.demo.world import Places, write_municipality, write_secret
from agent.ledger.key import LedgerKey
from connectors.preparation import select_grants
from tests.services import Postgres

ADMIN = "admin.connection"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The demo's municipality, on its change log in SQLite."""
    places = Places(tmp_path)
    places.secrets.mkdir()
    LedgerKey.generate_file(places.secrets / "ledger.key")
    return write_municipality(places, 5671)


def change(file: Path, **sections: object) -> None:
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, **sections}, sort_keys=False, allow_unicode=True))


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["source", "prepare", *map(str, arguments)])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def statements(result: Result) -> list[str]:
    return [one["text"] for one in json.loads(result.stdout)["statements"]]


def is_sql(text: str) -> bool:
    """Whether each line is a comment, or belongs to a statement that ends."""
    code = [line for line in text.splitlines() if line and not line.startswith("--")]
    return bool(code) and code[-1].endswith(";")


def test_it_explains_itself() -> None:
    told = " ".join(call("--help").stdout.split())
    for word in ("--apply", "goes into psql as it is", "gets no password", "refused by name"):
        assert word in told


# -- sources that somebody else prepares


def test_a_change_log_in_sqlite_needs_no_rights(file: Path) -> None:
    assert call(file).stdout.startswith("-- The change log itself is the EPJ's")


def test_a_change_log_behind_a_url_needs_the_right_to_read_it(file: Path) -> None:
    section = yaml.safe_load(file.read_text())["source"]["outbox_table"]
    del section["sqlite_file"]
    change(file, source={"outbox_table": {**section, "url_file": "url", "table": "epj.Min logg"}})
    printed = call(file, "--role", "leser").stdout
    assert 'GRANT SELECT ON epj."Min logg" TO leser;' in printed
    assert is_sql(printed)


def test_apply_where_only_an_administrator_can_ends_with_64(file: Path) -> None:
    assert "leave out --apply" in call(file, "--apply", code=64).stderr


def test_a_connection_file_that_cannot_be_read_ends_with_64_and_names_it(file: Path) -> None:
    told = call(file, "--connection-file", file.parent / "nowhere", code=64).stderr
    assert str(file.parent / "nowhere") in told


def test_tables_that_are_only_queried_need_select_and_nothing_more(file: Path) -> None:
    change(file, source={"table_query": {"url_file": "url"}})
    found = statements(call(file, "--json"))
    assert found[0] == "GRANT USAGE ON SCHEMA public TO kpr_agent;"
    assert sorted(found[1:]) == [
        f"GRANT SELECT ON public.{table} TO kpr_agent;" for table in ("bruker", "enhet", "pause", "tjeneste")
    ]
    change(file, source={"table_query": {"sqlite_file": "epj.db"}})
    assert statements(call(file, "--json")) == []


def test_a_kafka_platform_is_prepared_by_its_owners(file: Path) -> None:
    change(file, source={"kafka_debezium": {"bootstrap_servers": ["127.0.0.1:1"], "topic_prefix": "epj"}})
    assert "deploy/debezium/README.md" in call(file).stdout
    assert statements(call(file, "--json")) == []


def test_a_bad_file_ends_with_78(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    call(tmp_path / "bad.yaml", code=78)


def test_grants_name_each_schema_once_and_quote_what_is_no_plain_word() -> None:
    found = [one.text for one in select_grants(["a.b", "a.c d", "e"], 'r"x')]
    assert found == [
        'GRANT USAGE ON SCHEMA a TO "r""x";',
        'GRANT SELECT ON a.b TO "r""x";',
        'GRANT SELECT ON a."c d" TO "r""x";',
        'GRANT SELECT ON e TO "r""x";',
    ]


# -- PostgreSQL's log


@pytest.fixture
async def database(file: Path, postgres: Postgres):  # type: ignore[no-untyped-def]  # an async generator of EpjDatabase
    """The EPJ's database; the municipality reads its log."""
    async with epj_database(postgres.url) as made:
        write_secret(file.parent / "secrets" / "epj", made.connection_text())
        write_secret(file.parent / ADMIN, made.admin_text())
        section = {"connection_file": "secrets/epj", "publication": made.name, "slot": made.name}
        change(file, source={"postgres_logical": section})
        yield made


@pytest.mark.server
def test_what_is_printed_goes_into_psql_as_it_is_and_then_nothing_is_missing(
    file: Path, database: EpjDatabase, postgres: Postgres
) -> None:
    admin = ("--role", database.role, "--connection-file", file.parent / ADMIN)
    printed = call(file, *admin).stdout
    assert is_sql(printed)
    assert printed.count("CREATE PUBLICATION") == 1
    psql = ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", database.admin_text()]
    done = subprocess.run(psql, input=printed, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert call(file, *admin).stdout == "-- nothing is missing\n"


@pytest.mark.server
def test_apply_runs_what_is_missing_once_and_leaves_a_role_without_a_password(
    file: Path, database: EpjDatabase, postgres: Postgres
) -> None:
    admin = ("--role", database.role, "--connection-file", file.parent / ADMIN)
    assert "-- applied: 9 statements" in call(file, *admin, "--apply").stdout
    slots = f"select count(*) from pg_replication_slots where slot_name = '{database.name}'"
    assert postgres.sql(slots) == "1"
    has_password = f"select rolpassword is not null from pg_authid where rolname = '{database.role}'"
    assert postgres.sql(has_password) == "f"
    again = json.loads(call(file, *admin, "--apply", "--json").stdout)
    assert (again["applied"], again["statements"]) == (True, [])


@pytest.mark.server
def test_a_database_that_cannot_be_looked_at_gets_the_whole_list(file: Path, database: EpjDatabase) -> None:
    printed = call(file, "--role", database.role).stdout  # that role is not there yet
    assert "The database was not looked at" in printed
    assert is_sql(printed)
    assert database.password not in printed
    (file.parent / "secrets" / "epj").unlink()
    assert "The database was not looked at" in call(file).stdout
    call(file, "--apply", code=64)


@pytest.mark.server
def test_an_administrators_database_that_does_not_answer_ends_with_69(file: Path, database: EpjDatabase) -> None:
    write_secret(file.parent / ADMIN, "host=127.0.0.1 port=1 user=nobody password=hemmelig")
    told = call(file, "--connection-file", file.parent / ADMIN, code=69).stderr
    assert ("to do: " in told, "hemmelig" in told) == (True, False)


@pytest.mark.server
def test_a_table_whose_writes_would_break_is_refused_by_name(file: Path, database: EpjDatabase) -> None:
    database.run("ALTER TABLE pause DROP CONSTRAINT pause_pkey")
    told = call(file, "--connection-file", file.parent / ADMIN, "--apply", code=1).stderr
    assert "public.pause" in told
    assert "to do: " in told


@pytest.mark.server
def test_column_lists_come_on_request_with_their_price(file: Path, database: EpjDatabase) -> None:
    admin = ("--role", database.role, "--connection-file", file.parent / ADMIN)
    assert not [text for text in statements(call(file, *admin, "--json")) if "PUBLICATION" in text and "navn" in text]
    printed = call(file, *admin, "--column-lists").stdout
    assert "can no longer drop a listed column" in printed
