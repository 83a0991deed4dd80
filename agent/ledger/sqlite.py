"""SQLite as the ledger uses it: connections with the settings that a promise rests on, and its errors as ours."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.ledger.errors import LedgerError, LedgerMissing, LedgerReadOnly, LedgerUnavailable, corrupt_file

MEMORY = ":memory:"
_BUSY_WAIT_S = 10.0
_CACHED_STATEMENTS = 256
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")
_UNAVAILABLE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL")


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes, and makes the file (mode 0600) where there is none.

    WAL with synchronous=FULL: a COMMIT that returned survives a power cut; with NORMAL it may not.
    """
    _make_file(path)
    connection = _connect(path, "rw")
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal != "wal":
        connection.close()
        raise LedgerUnavailable(f"{path}: SQLite cannot keep a write-ahead log there; put the ledger on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; LedgerMissing where there is no file."""
    if not path.exists():
        raise LedgerMissing(f"there is no ledger at {path}: start the daemon once, or mend ledger.path")
    return _connect(path, "ro")


def connect_memory() -> sqlite3.Connection:
    """A database that lives as long as its connection, with nothing to sync."""
    connection = sqlite3.connect(
        MEMORY, isolation_level=None, check_same_thread=False, cached_statements=_CACHED_STATEMENTS
    )
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    _set_common(connection)
    return connection


@contextmanager
def errors_of(path: Path | str) -> Iterator[None]:
    """Turns SQLite's errors into the ledger's. The texts name the file and SQLite's code, never a value."""
    try:
        yield
    except sqlite3.Error as error:
        raise _as_ours(error, path) from error


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the database."""
    return _name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # One thread at a time uses it, under the ledger's lock; which thread that is does not matter to SQLite.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    _set_common(connection)
    return connection


def _set_common(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -4000")  # KiB; there are two connections for each municipality


def _make_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {path} cannot be made: {error.strerror}") from None
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name of the new file survives a power cut too
    finally:
        os.close(folder)


def _as_ours(error: sqlite3.Error, path: Path | str) -> LedgerError:
    name = _name(error)
    if name.startswith(_CORRUPT):
        return corrupt_file(path, name)
    if name.startswith("SQLITE_READONLY"):
        return LedgerReadOnly(f"{path} is open for reading only ({name})")
    if name.startswith(_UNAVAILABLE):
        return LedgerUnavailable(f"the ledger {path} does not take or give data ({name}): look at its disk")
    return LedgerError(f"the ledger {path} refused a statement ({name or type(error).__name__})")


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
