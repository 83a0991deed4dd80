"""The database of table_query: connect, identify, find the columns, read pages. Blocking; used from one thread."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine

from connectors.source import Kind, SourceChanged, SourceError, Table
from connectors.sql_connection import Trouble, database_now, new_engine, told_of, trouble_of
from connectors.table_query.rows import RawRow
from connectors.table_query.statements import LOWEST_ROWVERSION_AT_WORK, Statements
from connectors.table_query.troubles import QueriedColumnMissing, QueriedTableMissing, QueryRefused, QueryUnanswered
from connectors.wire.postgres_identity import cluster_name

_SYSTEM: Final = "SELECT system_identifier FROM pg_control_system()"
_DATABASE: Final = "SELECT oid FROM pg_database WHERE datname = current_database()"
_PYMYSQL_TIMESTAMP: Final = 7
"""The type that MariaDB's TIMESTAMP columns have in a result: moments, in a session's zone, which is UTC here."""


class QueriedDatabase:
    """One connection that only reads. Every method may raise a SourceError."""

    def __init__(self, url: URL, *, timeout_s: float) -> None:
        self._engine: Final[Engine] = new_engine(url, timeout_s, read_only=True)
        if self._engine.dialect.name == "postgresql":
            sa.event.listen(self._engine, "connect", _keep_open_ends)
        with _mapped("cannot be reached"):
            self._connection: Final[Connection] = self._engine.connect()
        self._dialect: Final = self._engine.dialect.name

    def close(self) -> None:
        with _mapped("cannot be left"):
            self._connection.close()
            self._engine.dispose()

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name for the kind of database."""
        return self._dialect

    def identity(self, configured: str) -> str:
        """What tells this database from another: on PostgreSQL cluster and database, elsewhere what is configured.

        A physical replica is the same database; a table made anew is the same table.
        """
        if self._dialect != "postgresql":
            return f"query:{self._dialect}:{configured}"
        with _mapped("cannot be identified"):
            system, database = self._permitted(_SYSTEM), self._permitted(_DATABASE)
        return f"query:postgresql:{cluster_name(system)}:{database}:{configured}"

    def find(self, table: Table, watermark: str | None) -> Statements:
        """The table's statements, each column under the first of its names that is there.

        QueriedTableMissing, QueriedColumnMissing.
        """
        wanted = {column.name: (column.name, *column.earlier_names) for column in table.columns}
        wanted |= {name: (name,) for name in table.key if name not in wanted}
        found = {name: names[0] for name, names in wanted.items()}
        statements = Statements(table, found, watermark, self._dialect)
        also = () if watermark is None else (watermark,)
        if self._is_there(statements, (*found.values(), *also)):
            return statements
        self.scalar(statements.none(), table)
        missing = [name for name in also if not self._is_there(statements, (name,))]
        for column, names in wanted.items():
            there = next((name for name in names if self._is_there(statements, (name,))), None)
            if there is None:
                missing.append(column)
            else:
                found[column] = there
        if missing:
            raise QueriedColumnMissing(table.name_in_source, tuple(missing))
        return Statements(table, found, watermark, self._dialect)

    def _is_there(self, statements: Statements, names: Sequence[str]) -> bool:
        """Whether these columns are there and may be read."""
        try:
            with _mapped("cannot be read"), self._connection.begin():
                self._connection.execute(statements.probe(names))
        except (SourceChanged, QueryRefused):
            return False
        return True

    def now(self) -> datetime:
        """The database's clock (UTC)."""
        with _mapped("cannot be read"), self._connection.begin():
            return database_now(self._connection)

    def lowest_rowversion_at_work(self) -> object:
        """SQL Server's MIN_ACTIVE_ROWVERSION(), asked in a transaction of its own: before the look that uses it."""
        return self.scalar(sa.text(LOWEST_ROWVERSION_AT_WORK))

    def scalar(self, statement: sa.Executable, table: Table | None = None) -> Any:
        """The one value of a statement; None where there is no row."""
        with _mapped("cannot be read", table), self._connection.begin():
            return self._connection.execute(statement).scalar()

    def rows(self, statements: Statements, statement: sa.Executable) -> list[RawRow]:
        """A page's rows, in a transaction of its own: rows as they were committed when it began."""
        with _mapped("cannot be read", statements.table), self._connection.begin():
            result = self._connection.execute(statement)
            moments = self._moments(statements, result.cursor)
            raw = [tuple(row) for row in result]
        if moments:
            raw = [
                tuple(_in_utc(value) if index in moments else value for index, value in enumerate(row)) for row in raw
            ]
        parts = len(statements.table.key)
        return [RawRow(row[:parts], row[parts], row[parts + 1 :]) for row in raw]

    def _moments(self, statements: Statements, cursor: Any) -> frozenset[int]:
        """The places in a row whose naive times are moments in UTC."""
        if self._dialect == "oracle":
            first = len(statements.table.key) + 1
            kinds = enumerate(statements.columns, start=first)
            return frozenset(index for index, column in kinds if column.kind is Kind.INSTANT)
        if self._engine.dialect.driver == "pymysql" and cursor is not None:
            kinds_there = enumerate(cursor.description)
            return frozenset(index for index, column in kinds_there if column[1] == _PYMYSQL_TIMESTAMP)
        return frozenset()

    def _permitted(self, statement: str) -> str:
        """A single value as text, "unknown" where this user may not ask."""
        try:
            with self._connection.begin():
                return str(self._connection.execute(sa.text(statement)).scalar())
        except exc.ProgrammingError:
            return "unknown"


def _in_utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _keep_open_ends(connection: Any, _record: Any) -> None:
    """PostgreSQL's infinity, and years that Python has not: as text instead of an error that loses the whole page."""
    from psycopg import DataError  # noqa: PLC0415  only with this database
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader  # noqa: PLC0415

    def keeping(loader: Any) -> Any:
        def load(self: Any, data: Any) -> object:
            try:
                return loader.load(self, data)
            except DataError:
                return bytes(data).decode("ascii", "replace")

        return type(f"Open{loader.__name__}", (loader,), {"load": load})

    for name, loader in (("date", DateLoader), ("timestamp", TimestampLoader), ("timestamptz", TimestamptzLoader)):
        connection.adapters.register_loader(name, keeping(loader))


@contextmanager
def _mapped(what: str, table: Table | None = None) -> Iterator[None]:
    """Foreign errors by the reaction they call for. Their texts are read, never repeated: they may quote rows."""
    try:
        yield
    except SourceError:
        raise
    except exc.SQLAlchemyError as error:
        told = f"{what} ({told_of(error)})"
        match trouble_of(error):
            case Trouble.REFUSED:
                raise QueryRefused(told) from None
            case Trouble.CHANGED:
                raise QueriedTableMissing("" if table is None else table.name_in_source) from None
            case Trouble.UNAVAILABLE:
                raise QueryUnanswered(told) from None
    except OSError as error:
        raise QueryUnanswered(f"{what} ({error.strerror})") from None
