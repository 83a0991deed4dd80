"""`kpr-agent doctor`: what it sees of files, certificates, ledger, daemon and source, how it ends, what it hides."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.composition import wanted
from agent.control import listening
from agent.demo.database import EpjDatabase, epj_database
from agent.demo.epj import apply_steps, create_tables, open_sqlite
from agent.demo.histories import Histories
from agent.demo.world import Places, make_keys, write_keys, write_municipality, write_secret
from agent.ledger.key import LedgerKey
from agent.pipeline import open_ledger
from agent.settings import Municipality, load
from agent.verbs.doctor import Examined, doctor, exit_code
from agent.verbs.source_setup import prepare
from connectors.catalog import open_source
from connectors.inspection import Observation, Verdict
from connectors.opening import inspect_by_opening
from connectors.preparation import Wishes
from connectors.source import Position, SourceRefused, SourceUnavailable, Transaction
from tests.services import Postgres

NAME = "Kanarifuglen"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town that has run: keys, an EPJ with a few services, a ledger that has read all of it."""
    folder = tmp_path_factory.mktemp("doctor") / "town"
    folder.mkdir()
    places = Places(folder)
    write_keys(places, make_keys(datetime.now(UTC)))
    file = write_municipality(places, 5671)
    engine = open_sqlite(places.epj)
    create_tables(engine)
    apply_steps(engine, Histories(3, 5, datetime.now(UTC).date()).steps())
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE bruker SET etternavn = :name, fornavn = :name"), {"name": NAME})
    engine.dispose()
    municipality = town_of(file)
    settle(municipality, datetime.now(UTC))
    return folder


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """A copy of that town, for a test to spoil."""
    copytree(made, tmp_path / "town")
    return tmp_path / "town" / "demo.yaml"


def town_of(file: Path) -> Municipality:
    loaded = load([file])
    assert not loaded.faults
    return loaded.municipalities[0]


def settle(municipality: Municipality, seen_through: datetime | None) -> None:
    """A ledger that has booked all that the source has."""
    position = asyncio.run(last_position(municipality))

    with open_ledger(municipality) as ledger:
        ledger.run_now(lambda tx: tx.set_position(position))
        if seen_through is not None:
            ledger.run_now(lambda tx: tx.set_seen_through(seen_through))


async def last_position(municipality: Municipality) -> Position:
    async with asyncio.timeout(30):
        async with open_source(municipality.settings.source.chosen, wanted(municipality), None) as source:
            async for transaction in source.transactions():
                if not transaction.records:
                    return transaction.position
    raise AssertionError("the source never caught up")


def change(file: Path, **sections: object) -> None:
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, **sections}, sort_keys=False, allow_unicode=True))


def look(file: Path) -> Examined:
    [found] = doctor([file])
    return found


def seen(found: Examined, subject: str) -> list[Observation]:
    return [one for one in found.observations if one.subject == subject]


def told(found: Examined, subject: str) -> Observation:
    [one] = seen(found, subject)
    return one


def call(*arguments: object, code: int) -> Result:
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments)])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


# -- a municipality that is well


def test_a_town_that_is_well_ends_with_0_and_says_what_was_looked_at(file: Path) -> None:
    found = look(file)
    assert (exit_code([found]), found.unit) == (0, "demo")
    subjects = list(dict.fromkeys(one.subject for one in found.observations))
    assert subjects == ["configuration", "certificates", "ledger", "position", "daemon", "identity", "reading"]
    assert [one.text for one in seen(found, "ledger")][1] == "journal_mode wal, a writer's synchronous FULL"
    assert "the one that the stored position is of" in told(found, "identity").text
    assert "nothing new waits" in told(found, "reading").text
    assert [one for one in found.observations if one.verdict is Verdict.FAULT] == []


def test_a_line_for_each_observation_and_its_repair_below(file: Path) -> None:
    lines = call(file, code=0).stdout.splitlines()
    assert lines[0] == f"{file}: demo"
    [at] = [number for number, line in enumerate(lines) if line.split()[:2] == ["WARN", "daemon"]]
    assert lines[at + 1].split(None, 2)[2] == f"kpr-agent run {file}"
    assert re.fullmatch(r"\d+ good, \d+ warning, 0 fault", lines[-1])


def test_json_has_the_same_observations(file: Path) -> None:
    [one] = json.loads(call(file, "--json", code=0).stdout)
    assert (one["file"], one["municipality"]) == (str(file), "demo")
    assert [tuple(line) for line in one["observations"]] == [("verdict", "subject", "text", "repair")] * len(
        one["observations"]
    )
    assert {line["subject"] for line in one["observations"]} == {line.subject for line in look(file).observations}


def test_looking_changes_nothing(file: Path) -> None:
    before = contents(file.parent)
    look(file)
    assert contents(file.parent) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but those that SQLite makes beside a database that is read."""
    found = {path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))}
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_invariant_10_neither_a_rows_value_nor_a_secret_is_shown(file: Path) -> None:
    secrets = [path.read_text().strip() for path in (file.parent / "secrets").iterdir() if path.name != "bus-user"]
    for spoil in (lambda: None, lambda: replace_epj(file)):
        spoil()
        result = CliRunner().invoke(app, ["doctor", str(file), "--json"])
        assert NAME not in result.stdout
        assert [secret for secret in secrets if secret in result.stdout] == []


def replace_epj(file: Path) -> None:
    """Another database where the first one was, with fewer rows."""
    with sqlite3.connect(file.parent / "epj.db") as connection:
        connection.execute("DELETE FROM endringslogg WHERE nr > 3")
    connection.close()


def test_it_explains_itself() -> None:
    told = " ".join(call("--help", code=0).stdout.split())
    for word in ("FAULT", "Changes nothing", "69 when a ledger cannot be read", "source prepare"):
        assert word in told


# -- configuration and files


def test_a_bad_file_ends_with_78_and_hides_no_other(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nfrobs: 2\n")
    found = doctor([bad, file])
    assert exit_code(found) == 78
    assert {one.verdict for one in found[0].observations} == {Verdict.FAULT}
    assert any("frobs" in one.text for one in found[0].observations)
    assert found[1].unit == "demo"
    assert f"{bad}:2" in call(bad, file, code=78).stdout


def test_a_secret_that_others_may_read_ends_with_78_and_the_source_is_looked_at_all_the_same(file: Path) -> None:
    (file.parent / "secrets" / "bus-password").chmod(0o644)
    found = look(file)
    assert exit_code([found]) == 78
    assert "chmod 0400" in told(found, "file").text
    assert told(found, "reading").verdict is Verdict.GOOD


def test_a_key_that_fits_no_certificate_is_a_fault(file: Path) -> None:
    secrets = file.parent / "secrets"
    (secrets / "signing.key.pem").write_bytes((secrets / "decryption.key.pem").read_bytes())
    found = look(file)
    assert exit_code([found]) == 1
    faults = [one for one in seen(found, "certificates") if one.verdict is Verdict.FAULT]
    assert [("belongs to the key" in one.text) for one in faults] == [True]


# -- the ledger


def test_no_ledger_yet_is_a_warning_before_the_first_start(file: Path) -> None:
    for path in file.parent.glob("ledger.db*"):
        path.unlink()
    found = look(file)
    assert exit_code([found]) == 0
    assert (told(found, "ledger").verdict, seen(found, "position")) == (Verdict.WARNING, [])
    assert "no stored position" in told(found, "identity").text
    assert list(file.parent.glob("ledger.db*")) == []


def test_a_ledger_that_cannot_be_read_ends_with_69_and_the_source_is_looked_at_all_the_same(file: Path) -> None:
    key = file.parent / "secrets" / "ledger.key"
    key.unlink()
    LedgerKey.generate_file(key)
    found = look(file)
    assert exit_code([found]) == 69
    assert "KPR-502" in told(found, "ledger").text
    assert told(found, "reading").verdict is Verdict.GOOD


def test_a_ledger_without_its_write_ahead_log_is_a_fault(file: Path) -> None:
    with sqlite3.connect(file.parent / "ledger.db") as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
    found = look(file)
    assert exit_code([found]) == 1
    assert "journal_mode delete" in seen(found, "ledger")[1].text


@pytest.mark.parametrize(
    ("age", "verdict"), [(timedelta(minutes=59), Verdict.GOOD), (timedelta(hours=3), Verdict.WARNING)]
)
def test_a_position_that_is_old_is_told(file: Path, age: timedelta, verdict: Verdict) -> None:
    settle(town_of(file), datetime.now(UTC) - age)
    assert told(look(file), "position").verdict is verdict


# -- the daemon


def test_a_process_that_holds_the_ledger_and_answers_nobody_is_a_fault(file: Path) -> None:
    with open_ledger(town_of(file)):
        found = look(file)
    assert exit_code([found]) == 1
    assert "holds the ledger" in told(found, "daemon").text
    assert told(look(file), "daemon").verdict is Verdict.WARNING


async def test_a_daemon_that_answers_is_good_and_goes_on_undisturbed(file: Path) -> None:
    municipality = town_of(file)
    asked = []

    async def answer(request: dict[str, object]) -> dict[str, object]:
        asked.append(request)
        return {"error": "no such verb"}

    ledger = open_ledger(municipality)
    try:
        async with listening(municipality.settings.control_socket, answer):
            [found] = await asyncio.to_thread(doctor, [file])
        await ledger.run(lambda tx: tx.count("still", 1))
    finally:
        ledger.close()
    assert told(found, "daemon").verdict is Verdict.GOOD
    assert asked == [{"verb": "doctor"}]


# -- the source


def test_invariant_2_another_database_is_a_fault_with_its_code_and_repair(file: Path) -> None:
    replace_epj(file)
    found = look(file)
    assert exit_code([found]) == 1
    fault = told(found, "source")
    assert (fault.verdict, "KPR-103" in fault.text) == (Verdict.FAULT, True)
    assert "A position is lost" in fault.repair


def test_a_table_that_is_gone_is_a_fault(file: Path) -> None:
    with sqlite3.connect(file.parent / "epj.db") as connection:
        connection.execute("DROP TABLE endringslogg")
    connection.close()
    assert "KPR-104" in told(look(file), "source").text


class Told:
    """A source that does as it is told."""

    def __init__(self, *, enters: Exception | None = None, gives: Exception | None = None, hangs: bool = False) -> None:
        self.enters, self.gives, self.hangs = enters, gives, hangs
        self.left = False

    async def __aenter__(self) -> "Told":
        if self.enters is not None:
            raise self.enters
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.left = True

    async def identity(self) -> str:
        return "one"

    async def transactions(self) -> AsyncIterator[Transaction]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.gives is not None:
            raise self.gives
        yield Transaction((), Position("one", {"": (1,)}))

    async def acknowledge(self, position: Position) -> None:
        raise AssertionError("looking acknowledges nothing")


async def test_another_incarnation_is_a_fault_where_the_source_itself_lets_it_pass() -> None:
    seen = await inspect_by_opening(Told, Position("another", {}))  # type: ignore[arg-type]
    assert [one.verdict for one in seen] == [Verdict.FAULT, Verdict.GOOD]


@pytest.mark.parametrize(
    "source",
    [
        Told(enters=SourceRefused("no", repair="mend it")),
        Told(gives=SourceUnavailable("no", repair="mend it")),
        Told(hangs=True),
    ],
    ids=["refused", "unavailable", "hangs"],
)
async def test_trouble_is_a_fault_with_a_repair_and_the_source_is_left(source: Told) -> None:
    seen = await inspect_by_opening(lambda: source, None, longest_s=0.2)  # type: ignore[arg-type, return-value]
    assert (seen[-1].verdict, bool(seen[-1].repair)) == (Verdict.FAULT, True)
    assert source.left is (source.enters is None)


@pytest.fixture
async def prepared(file: Path, postgres: Postgres) -> AsyncIterator[EpjDatabase]:
    """PostgreSQL's log for a source, made ready by `source prepare`; nothing was read from it yet."""
    async with epj_database(postgres.url) as database:
        write_secret(file.parent / "secrets" / "epj", database.connection_text())
        section = {"connection_file": "secrets/epj", "publication": database.name, "slot": database.name}
        change(file, source={"postgres_logical": section})
        for path in file.parent.glob("ledger.db*"):
            path.unlink()
        await prepare(town_of(file), Wishes(database.role, admin=database.admin_text()), apply=True)
        await asyncio.to_thread(database.set_password)
        yield database


def faults(found: Examined) -> list[Observation]:
    return [one for one in found.observations if one.verdict is Verdict.FAULT]


@pytest.mark.server
def test_what_source_prepare_made_is_well_and_what_breaks_is_a_fault_with_a_repair(
    file: Path, prepared: EpjDatabase
) -> None:
    assert faults(look(file)) == []
    settle(town_of(file), datetime.now(UTC))
    assert faults(look(file)) == []
    prepared.run(f"ALTER PUBLICATION {prepared.name} DROP TABLE ONLY pause")
    prepared.run(f"REVOKE SELECT ON bruker FROM {prepared.role}")
    prepared.run(f"SELECT pg_drop_replication_slot('{prepared.name}')")
    found = look(file)
    told_of = " ".join(one.text + one.subject for one in faults(found))
    assert [word for word in ("pause", "bruker", "slot") if word not in told_of] == []
    assert [one for one in faults(found) if not one.repair] == []
    assert call(file, code=1).stdout.count("FAULT") >= 3
    assert prepared.password not in str(found)


@pytest.mark.server
def test_a_wrong_password_for_the_log_is_a_fault_that_does_not_quote_it(file: Path, prepared: EpjDatabase) -> None:
    (file.parent / "secrets" / "epj").write_text(prepared.connection_text().replace("password=", "password=x"))
    found = look(file)
    assert exit_code([found]) == 1
    assert prepared.password not in str(found)


@pytest.mark.server
def test_a_change_log_in_a_real_postgresql_is_looked_at(file: Path, postgres: Postgres) -> None:
    url = postgres.create_database("doctor")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    create_tables(engine)
    engine.dispose()
    secret = file.parent / "secrets" / "epj-url"
    secret.touch(mode=0o600)
    secret.write_text(url)
    section = yaml.safe_load(file.read_text())["source"]["outbox_table"]
    del section["sqlite_file"]
    change(file, source={"outbox_table": {**section, "url_file": "secrets/epj-url"}})
    for path in file.parent.glob("ledger.db*"):
        path.unlink()
    assert told(look(file), "identity").text.startswith("outbox:postgresql:")
    settle(town_of(file), datetime.now(UTC))
    assert exit_code([look(file)]) == 0
    postgres.sql("drop table endringslogg", "doctor")
    assert "KPR-104" in told(look(file), "source").text
    secret.write_text(url.replace("test-pw", "wrong"))
    fault = told(look(file), "source")
    assert ("KPR-102" in fault.text, "wrong" in fault.text) == (True, False)
