"""The change log's side of SQLAlchemy: connect, identify, read. Blocking; used from one thread.

On PostgreSQL its own bookkeeping tells whether a gap between keys can still be filled: every transaction holds a lock
on its own virtual id until after its rows are visible (pg_locks, "virtualxid"), and one that is prepared keeps its
"transactionid" lock. Elsewhere only a configured longest transaction tells.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection

from connectors.outbox_table.row import LogRow
from connectors.source import SourceChanged, SourceError, SourceRefused, SourceUnavailable
from connectors.sql_connection import Trouble, database_now, new_engine, told_of, trouble_of
from connectors.wire.postgres_identity import cluster_name

_RANGES_A_STATEMENT: Final = 100
_SYSTEM: Final = "SELECT system_identifier FROM pg_control_system()"
_TIMELINE: Final = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
_IDENTITY: Final = """
    SELECT d.oid AS database, CAST(:name AS regclass)::oid AS log, pg_is_in_recovery() AS is_standby
    FROM pg_database d WHERE d.datname = current_database()"""
_RUNNING: Final = """
    SELECT CASE l.locktype WHEN 'virtualxid' THEN 'v' || l.virtualxid ELSE 'x' || l.transactionid END AS held,
           l.pid IS NULL AS is_prepared
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype IN ('virtualxid', 'transactionid') AND l.mode = 'ExclusiveLock' AND l.granted
      AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND (a.datname IS NULL OR a.datname = current_database())"""
_SEQUENCE_CACHE: Final = """
    SELECT s.seqcache FROM pg_sequence s WHERE s.seqrelid = CAST(pg_get_serial_sequence(:name, :column) AS regclass)"""


@dataclass(frozen=True, slots=True)
class LogTable:
    """The log's name and those of its columns; None for a column that it does not have."""

    name: str
    key: str
    table: str
    operation: str
    before: str
    after: str
    transaction: str | None
    time: str | None
    row_key: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows in key order, as one look at the log saw them.

    is_cut: there may be more rows than `limit` let through. database_at: the database's clock before the look (UTC).
    ended_before: transactions at work before the look, and prepared ones; None where the database cannot tell.
    running_after: those at work after it. highest: the log's highest key, looked up only where no new row came.
    """

    rows: tuple[LogRow, ...] = field(repr=False)
    is_cut: bool
    database_at: datetime
    running_before: frozenset[str] | None
    has_prepared: bool
    running_after: frozenset[str]
    highest: int | None


class LogDatabase:
    """One connection to the database that holds the log. Every method may raise a SourceError."""

    def __init__(self, url: URL, log: LogTable, *, timeout_s: float) -> None:
        self._log: Final = log
        with _mapped("cannot be reached"):
            self._engine: Final = new_engine(url, timeout_s)
            self._connection: Final[Connection] = self._engine.connect()
        self._dialect: Final = self._engine.dialect.name
        schema, _, name = log.name.rpartition(".")
        self._table: Final = sa.table(name, sa.column(log.key), schema=schema or None)
        self._key: Final[sa.ColumnElement[Any]] = sa.column(log.key)
        self._knows_running = False

    def close(self) -> None:
        with _mapped("cannot be left"):
            self._connection.close()
            self._engine.dispose()

    def identity(self, configured: str) -> str:
        """What tells this log from another: on PostgreSQL cluster, timeline, database and table, as the server says."""
        if self._dialect != "postgresql":
            return f"outbox:{self._dialect}:{configured}:{self._log.name}"
        with _mapped("cannot be identified"):
            name = self._engine.dialect.identifier_preparer.format_table(self._table)
            found = self._one(_IDENTITY, name=name)
            self._knows_running = not found.is_standby
            system = self._permitted(_SYSTEM)
            timeline = "standby" if found.is_standby else self._permitted(_TIMELINE)
            cached = self._permitted(_SEQUENCE_CACHE, name=name, column=self._log.key)
        if cached not in {None, "unknown"} and int(cached) > 1:
            raise SourceRefused(
                f"the sequence of {self._log.name}.{self._log.key} hands out {cached} keys at a time to each session, "
                "so that keys come in no order",
                repair="ALTER SEQUENCE ... CACHE 1",
            )
        return f"outbox:postgresql:{cluster_name(system)}:{timeline}:{found.database}:{found.log}:{configured}"

    def row(self, key: int) -> LogRow | None:
        """The row with this key, or None."""
        with _mapped("cannot be read"), self._connection.begin():
            found = self._connection.execute(self._select().where(self._key == key)).first()
        return None if found is None else _row(found)

    def highest(self) -> int | None:
        """The log's highest key; None for an empty log."""
        with _mapped("cannot be read"), self._connection.begin():
            return _integer_or_none(
                self._connection.execute(sa.select(sa.func.max(self._key)).select_from(self._table))
            )

    def read(self, gaps: Sequence[tuple[int, int]], above: int, limit: int, *, with_new: bool) -> Reading:
        """Rows whose keys lie in `gaps`, and (`with_new`) rows above the key `above`: of each at most `limit`."""
        with _mapped("cannot be read"):
            running_before, has_prepared = self._running() if gaps and self._knows_running else (None, False)
            database_at = self._now()
            rows: list[LogRow] = []
            is_cut, highest = False, None
            with self._transaction():
                for start in range(0, len(gaps), _RANGES_A_STATEMENT):
                    rows += self._rows(_within(self._key, gaps[start : start + _RANGES_A_STATEMENT]), limit)
                    is_cut = is_cut or len(rows) >= limit
                    if is_cut:
                        break
                if with_new and not is_cut:
                    new = self._rows(self._key > above, limit)
                    is_cut = len(new) >= limit
                    rows += new
                    highest = new[-1].key if new else self._highest()
                running_after = self._locks()[0] if self._knows_running else frozenset()
        return Reading(tuple(rows), is_cut, database_at, running_before, has_prepared, running_after, highest)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One snapshot for all statements where the database gives one."""
        with self._connection.begin():
            if self._dialect == "postgresql":
                self._connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield

    def _rows(self, condition: sa.ColumnElement[bool], limit: int) -> list[LogRow]:
        statement = self._select().where(condition).order_by(self._key).limit(limit)
        return [_row(found) for found in self._connection.execute(statement)]

    def _highest(self) -> int | None:
        return _integer_or_none(self._connection.execute(sa.select(sa.func.max(self._key)).select_from(self._table)))

    def _select(self) -> sa.Select[Any]:
        log = self._log
        names = (log.table, log.operation, log.before, log.after, log.transaction, log.time, log.row_key)
        columns = [self._key.label("f0")]
        for index, name in enumerate(names, start=1):
            column: sa.ColumnElement[Any] = sa.null() if name is None else sa.column(name)
            if name in {log.before, log.after} and self._dialect == "postgresql":
                column = sa.cast(column, sa.Text)  # psycopg would make floats of jsonb's numbers
            columns.append(column.label(f"f{index}"))
        return sa.select(*columns).select_from(self._table)

    def running(self) -> frozenset[str]:
        """The transactions at work now; empty where the database cannot tell."""
        with _mapped("cannot be read"):
            return self._running()[0] if self._knows_running else frozenset()

    def _running(self) -> tuple[frozenset[str], bool]:
        with self._connection.begin():
            return self._locks()

    def _locks(self) -> tuple[frozenset[str], bool]:
        held = self._connection.execute(sa.text(_RUNNING)).all()
        return frozenset(lock.held for lock in held), any(lock.is_prepared for lock in held)

    def now(self) -> datetime:
        with _mapped("cannot be read"):
            return self._now()

    def _now(self) -> datetime:
        with self._connection.begin():
            return database_now(self._connection)

    def _one(self, statement: str, **parameters: object) -> Any:
        with self._connection.begin():
            return self._connection.execute(sa.text(statement), parameters).one()

    def _permitted(self, statement: str, **parameters: object) -> str | None:
        """A single value as text, None where there is none, "unknown" where this user may not ask."""
        try:
            with self._connection.begin():
                found = self._connection.execute(sa.text(statement), parameters).scalar()
        except exc.ProgrammingError:
            return "unknown"
        return None if found is None else str(found)


def _within(key: sa.ColumnElement[Any], ranges: Sequence[tuple[int, int]]) -> sa.ColumnElement[bool]:
    return sa.or_(*(key.between(first, last) for first, last in ranges))


def _row(found: sa.Row[Any]) -> LogRow:
    fields: tuple[Any, ...] = tuple(found)
    key, table, operation, before, after, transaction, written, row_key = fields
    told = None if transaction is None else str(transaction)
    return LogRow(_integer(key), table, operation, before, after, told, written, row_key)


def _integer(key: object) -> int:
    if isinstance(key, int) or (isinstance(key, Decimal | float) and key == int(key)):
        return int(key)
    raise SourceChanged(
        "the change log's key is not an integer", repair="name a column that a sequence or an identity fills"
    )


def _integer_or_none(result: sa.CursorResult[Any]) -> int | None:
    found = result.scalar()
    return None if found is None else _integer(found)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Foreign errors by the reaction they call for. Their texts are read, never repeated: they may quote rows."""
    try:
        yield
    except SourceError:
        raise
    except exc.SQLAlchemyError as error:
        raise _source_error(error, what) from None
    except OSError as error:
        raise SourceUnavailable(f"the outbox table's database {what} ({error.strerror})") from None


def _source_error(error: exc.SQLAlchemyError, what: str) -> SourceError:
    told = f"the outbox table's database {what} ({told_of(error)})"
    match trouble_of(error):
        case Trouble.REFUSED:
            return SourceRefused(told, repair="check the user, the password and the right to read the outbox table")
        case Trouble.CHANGED:
            return SourceChanged(told, repair="check source.outbox_table.table and .columns against the database")
        case Trouble.UNAVAILABLE:
            return SourceUnavailable(told, repair="check that the database answers")
