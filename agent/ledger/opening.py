"""Opening a ledger: made where there is none, checked, upgraded and entered in one transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.ledger.errors import LedgerBusy, corrupt_file
from agent.ledger.identity import Identity, create_identity, raise_epoch, read_identity
from agent.ledger.key import LedgerKey
from agent.ledger.schema import Migration, bring_up_to_date, is_ledger_or_empty, refuse_other_version, version_of
from agent.ledger.sqlite import connect_memory, connect_reader, connect_writer, errors_of, is_busy


@dataclass(frozen=True, slots=True)
class Origin:
    """Which ledger is wanted: `steps` are the migrations that the program knows, `now` the moment of a new one."""

    path: Path | str
    unit: str
    key: LedgerKey
    steps: Sequence[Migration]
    now: datetime


@dataclass(frozen=True, slots=True)
class Entered:
    """A ledger that is open. `epoch`: this writer's; None for a reader."""

    connection: sqlite3.Connection
    identity: Identity
    epoch: int | None


def open_in_memory(origin: Origin) -> Entered:
    """A new throw-away ledger."""
    return _entered(connect_memory(), origin)


def open_to_write(origin: Origin) -> Entered:
    """The ledger in a file, made where there is none. LedgerBusy when another process is in a transaction."""
    path = Path(origin.path)
    connection: sqlite3.Connection | None = None
    with errors_of(path):
        try:
            connection = connect_writer(path)
            return _entered(connection, origin)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error) and is_busy(error):
                raise LedgerBusy(f"another process is writing the ledger {path}: stop it first") from error
            raise


def open_to_read(origin: Origin) -> Entered:
    """The ledger in a file, for reading only; it must be there and of this program's version."""
    path = Path(origin.path)
    with errors_of(path):
        connection = connect_reader(path)
        try:
            _refuse_what_is_no_ledger(connection, path)
            refuse_other_version(connection, origin.steps, read_only=True)
            return Entered(connection, read_identity(connection, origin.unit, origin.key), None)
        except BaseException:
            connection.close()
            raise


def _entered(connection: sqlite3.Connection, origin: Origin) -> Entered:
    """Make, or upgrade, and enter a ledger as its writer: in one transaction, so that a kill leaves no half of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _refuse_what_is_no_ledger(connection, origin.path)
        refuse_other_version(connection, origin.steps, read_only=False)
        if version_of(connection) == 0:
            bring_up_to_date(connection, origin.steps)
            identity = create_identity(connection, origin.unit, origin.key, origin.now)
        else:
            identity = read_identity(connection, origin.unit, origin.key)
            bring_up_to_date(connection, origin.steps)
        epoch = raise_epoch(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return Entered(connection, identity, epoch)


def _refuse_what_is_no_ledger(connection: sqlite3.Connection, path: Path | str) -> None:
    if not is_ledger_or_empty(connection):
        raise corrupt_file(path, "a database of something else")
