"""The ledger's tables, brought up to date by numbered SQL files, in order; `PRAGMA user_version` says how far.

A migration that was released is never edited. What must change gets the next number.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from agent.ledger.errors import LedgerTooNew, LedgerTooOld, LedgerUnavailable

APPLICATION_ID = 0x4B50524C  # "KPRL": tells a ledger from any other SQLite file
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: `number` is the version that it leads to."""

    number: int
    name: str
    sql: str


def migrations() -> tuple[Migration, ...]:
    """The migrations of this program, in order, numbered from 1 without a gap."""
    found = []
    for file in files("agent.ledger").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match is not None:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


def version_of(connection: sqlite3.Connection) -> int:
    """The version that a ledger has; 0 for an empty file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_ledger_or_empty(connection: sqlite3.Connection) -> bool:
    """Whether the file is a ledger, or has nothing in it yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        return True
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(application == 0 and tables == 0)


def refuse_other_version(connection: sqlite3.Connection, steps: Sequence[Migration], *, read_only: bool) -> None:
    """Nothing; LedgerTooNew for the work of a newer program, LedgerTooOld where an upgrade is due and not allowed."""
    version, newest = version_of(connection), steps[-1].number
    if version > newest:
        raise LedgerTooNew(
            f"the ledger has version {version}, this program knows {newest}: run the program that wrote it, or a later"
        )
    if read_only and version < newest:
        raise LedgerTooOld(f"the ledger has version {version}, this program needs {newest}: start the daemon once")


def bring_up_to_date(connection: sqlite3.Connection, steps: Sequence[Migration]) -> int:
    """The version that the ledger had. Every step after it is applied, inside the caller's transaction."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise LedgerUnavailable(f"SQLite {sqlite3.sqlite_version} is too old for the ledger: 3.37 or later is needed")
    before = version_of(connection)
    for step in steps:
        if step.number > before:
            for statement in _statements(step.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.number:d}")
    if before == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    return before


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit the transaction it stands in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise LedgerUnavailable("a migration ends in the middle of a statement")
