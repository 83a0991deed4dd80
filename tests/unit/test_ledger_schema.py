"""Migrations: applied in order, all or nothing, and never over the work of a newer program."""

import sqlite3
from pathlib import Path

import pytest

from agent.domain.rows import KeptRow
from agent.ledger.errors import LedgerError, LedgerTooNew, LedgerTooOld, LedgerWrongUnit
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.payload import row_to_bytes
from agent.ledger.rows import row_prefix
from agent.ledger.schema import Migration, migrations, version_of
from agent.ledger.transaction import LedgerTransaction
from tests.contract.ledger_behaviour import SERVICES, envelope, row

KEY = LedgerKey(b"k" * 32)
NEXT = len(migrations()) + 1
LATER = (
    *migrations(),
    Migration(NEXT, "next", "CREATE TABLE next (x INTEGER) STRICT;\nINSERT INTO next VALUES (1);\n"),
)
BROKEN = (*migrations(), Migration(NEXT, "broken", "CREATE TABLE next (x INTEGER);\nINSERT INTO nowhere VALUES (1);\n"))


def opened(path: Path, **more: object) -> Ledger:
    return Ledger.open(path, **{"unit": "kinn", "key": KEY, **more})


def raw(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def keep_as_the_first_program_did(tx: LedgerTransaction, kept: KeptRow) -> None:
    hmac = tx._seal.index(row_prefix(kept.table), kept.key)
    sealed = tx._seal.seal(f"kept_row of {kept.table}", hmac, row_to_bytes(kept))
    tx._db.execute(
        "INSERT INTO kept_row (table_name, key_hmac, deleted, payload) VALUES (?, ?, 0, ?)", (kept.table, hmac, sealed)
    )


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [step.number for step in migrations()] == list(range(1, NEXT))


@pytest.mark.parametrize("first", range(1, NEXT))
def test_a_ledger_of_every_version_is_upgraded_with_what_it_holds(tmp_path: Path, first: int) -> None:
    path = tmp_path / "kinn.db"
    with opened(path, steps=migrations()[:first]) as ledger:
        ledger.run_now(lambda tx: [keep_as_the_first_program_did(tx, row("1")), envelope(tx, 1)])
        known = (ledger.installation_id, ledger.unit_secret)
    with opened(path, steps=LATER) as ledger:
        assert ledger.settings()["user_version"] == str(NEXT)
        assert (ledger.installation_id, ledger.unit_secret) == known
        assert ledger.read(lambda tx: tx.row(SERVICES, "1")) == row("1")
        assert ledger.read(lambda tx: tx.envelope_content(1)) == b"<MsgHead/>"
    assert raw(path, "SELECT x FROM next") == [(1,)]
    opened(path, steps=LATER).close()  # and not a second time
    assert raw(path, "SELECT x FROM next") == [(1,)]


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    opened(path).close()
    with pytest.raises(LedgerError):
        opened(path, steps=BROKEN)
    assert raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'next'") == [(0,)]
    opened(path).close()


def test_a_creation_that_fails_leaves_nothing_half_made(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    with pytest.raises(LedgerError):
        opened(path, steps=BROKEN)
    assert raw(path, "SELECT count(*) FROM sqlite_master") == [(0,)]
    with pytest.raises(LedgerTooOld):
        opened(path, read_only=True)
    opened(path).close()


@pytest.mark.parametrize("read_only", [False, True])
def test_the_ledger_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "kinn.db"
    opened(path, steps=LATER).close()
    before = raw(path, "SELECT epoch FROM ledger")
    with pytest.raises(LedgerTooNew, match=f"version {NEXT}, this program knows {NEXT - 1}"):
        opened(path, read_only=read_only)
    assert raw(path, "SELECT epoch FROM ledger") == before


def test_reading_never_upgrades(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    opened(path).close()
    with pytest.raises(LedgerTooOld, match="start the daemon"):
        opened(path, read_only=True, steps=LATER)


def test_the_ledger_of_another_unit_is_not_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    opened(path).close()
    with pytest.raises(LedgerWrongUnit):
        opened(path, unit="bykle", steps=LATER)
    assert raw(path, "PRAGMA user_version") == [(NEXT - 1,)]


def test_each_writer_raises_the_epoch_and_no_reader_does(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    for expected in (1, 2):
        opened(path).close()
        opened(path, read_only=True).close()
        assert raw(path, "SELECT epoch FROM ledger") == [(expected,)]


def test_an_empty_file_has_no_version() -> None:
    assert version_of(sqlite3.connect(":memory:")) == 0
