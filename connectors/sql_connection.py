"""A connection to a database that SQLAlchemy reaches: its URL, its engine, its clock, and what an error of it means.

Shared by the sources that ask with SQL. Blocking. It loads SQLAlchemy: import it when a source is opened.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from connectors.source import SourceRefused, SourceUnavailable

_CONNECT_TIMEOUT_S: Final = 10
_CLOCKS: Final = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    "mssql": "SELECT SYSUTCDATETIME()",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
}
_READ_ONLY: Final = {
    "sqlite": ("PRAGMA query_only = ON",),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
}


def url_text(sqlite_file: Path | None, url_file: Path | None) -> str:
    """The URL as text: of the SQLite file, else what stands in the other one. SourceUnavailable, SourceRefused."""
    if sqlite_file is not None:
        if not sqlite_file.is_file():
            raise SourceUnavailable(f"there is no file {sqlite_file}", repair="check sqlite_file")
        return f"sqlite:///{sqlite_file}"
    try:
        return url_file.read_text(encoding="utf-8") if url_file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SourceRefused(
            f"the connection file {url_file} cannot be read ({type(error).__name__})",
            repair="check its path and its rights",
        ) from None


def read_url(text: str) -> URL:
    """A SQLAlchemy URL; `postgresql://` means psycopg 3. Raises SourceRefused, which does not quote the password."""
    try:
        url = make_url(text.strip())
    except exc.ArgumentError:
        raise SourceRefused(
            "the connection file does not hold a SQLAlchemy URL",
            repair="write one line such as postgresql://user:password@host/database",
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def new_engine(url: URL, timeout_s: float, *, read_only: bool = False) -> Engine:
    """An engine without a pool, each wait bounded by `timeout_s`. SourceRefused where there is no driver.

    read_only: sessions that can only read where the database has such, and whose times are in UTC.
    """
    try:
        engine = sa.create_engine(
            url, poolclass=sa.pool.NullPool, connect_args=_arguments(url, timeout_s, read_only), hide_parameters=True
        )
    except (exc.ArgumentError, ModuleNotFoundError):
        raise SourceRefused(
            f"there is no driver for {url.drivername}", repair="install the database's driver beside kpr-agent"
        ) from None
    sa.event.listen(engine, "connect", _on_connect(engine, timeout_s, read_only))
    return engine


def _arguments(url: URL, timeout_s: float, read_only: bool) -> dict[str, object]:
    match url.get_backend_name():
        case "sqlite":
            return {"check_same_thread": False, "timeout": min(timeout_s, 5.0)}
        case "postgresql":
            milliseconds = int(timeout_s * 1000)
            options = (
                f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={2 * milliseconds}"
                + " -c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO" * read_only
            )
            return {
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "application_name": "kpr-agent",
                "tcp_user_timeout": milliseconds,
                "options": options,
            }
        case "mysql" | "mariadb" if url.get_driver_name() == "pymysql":
            return {"connect_timeout": _CONNECT_TIMEOUT_S, "read_timeout": timeout_s, "write_timeout": timeout_s}
    return {}


def _on_connect(engine: Engine, timeout_s: float, read_only: bool) -> Callable[[Any, Any], None]:
    statements = _READ_ONLY.get(engine.dialect.name, ()) if read_only else ()

    def prepare(connection: Any, _record: Any) -> None:
        match engine.dialect.driver:
            case "pyodbc":
                connection.timeout = max(1, int(timeout_s))
            case "oracledb":
                connection.call_timeout = int(timeout_s * 1000)
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    return prepare


def database_now(connection: Connection) -> datetime:
    """The database's own clock (UTC), inside the caller's transaction; ours where it cannot be asked."""
    statement = _CLOCKS.get(connection.dialect.name)
    told = None if statement is None else connection.execute(sa.text(statement)).scalar_one()
    moment = datetime.fromisoformat(told) if isinstance(told, str) else told
    if not isinstance(moment, datetime):
        return datetime.now(UTC)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class Trouble(Enum):
    """What a database's error calls for."""

    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    CHANGED = "changed"  # a table or column is not there, or of another type


_REFUSED_STATES: Final = ("28", "42501")  # invalid authorization; insufficient privilege
# undefined table, column, schema, database, operator; a type that does not fit; ODBC's table and column not found
_CHANGED_STATES: Final = ("42P01", "42703", "3F000", "3D000", "42883", "42804", "42S02", "42S22")
_REFUSED_NUMBERS: Final = frozenset({1044, 1045, 1142, 1143, 1227, 1698})  # MySQL's and MariaDB's
_CHANGED_NUMBERS: Final = frozenset({1049, 1054, 1109, 1146, 1356})
_REFUSED_WORDS: Final = (
    "password authentication failed", "no pg_hba.conf entry", "access denied", "login failed", "permission denied",
    "permission was denied", "command denied", "ora-01017", "ora-01031", "ora-01045", "ora-28000", "ora-28001",
)  # fmt: skip
_CHANGED_WORDS: Final = ("no such table", "no such column", "ora-00942", "ora-00904")


def trouble_of(error: exc.SQLAlchemyError) -> Trouble:
    """By the driver's code, else by its words, which are read and never repeated: they may quote rows."""
    origin = getattr(error, "orig", None)
    state = _state(origin)
    first = next(iter(getattr(origin, "args", ())), None)
    words = str(origin).lower()
    if state.startswith(_REFUSED_STATES) or first in _REFUSED_NUMBERS or any(word in words for word in _REFUSED_WORDS):
        return Trouble.REFUSED
    if state in _CHANGED_STATES or first in _CHANGED_NUMBERS or any(word in words for word in _CHANGED_WORDS):
        return Trouble.CHANGED
    if isinstance(error, exc.ProgrammingError) and not state:
        return Trouble.CHANGED
    return Trouble.UNAVAILABLE


def told_of(error: exc.SQLAlchemyError) -> str:
    """What may be said of a database's error: its type and its code."""
    origin = getattr(error, "orig", None)
    first = next(iter(getattr(origin, "args", ())), None)
    code = _state(origin) or (str(first) if isinstance(first, int) else "")
    return f"{type(origin or error).__name__}{f', {code}' if code else ''}"


def _state(origin: object) -> str:
    state = str(getattr(origin, "sqlstate", None) or "")
    first = next(iter(getattr(origin, "args", ())), None)
    is_odbc = isinstance(first, str) and len(first) == 5 and first.isalnum()  # pyodbc's first argument
    return state or (str(first) if is_odbc else "")
