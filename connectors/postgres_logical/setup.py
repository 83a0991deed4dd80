"""`kpr-agent source prepare` on PostgreSQL: look, refuse what would harm the EPJ, and give or run what is missing.

A published table without a key refuses every UPDATE and DELETE, and so does a column list that lacks a column of the
replica identity: such tables are refused by name (safety.py). What has been run is not proposed again; advice
about the whole server is, until its owner has followed it.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from connectors.inspection import Statement
from connectors.postgres_logical.connection import connection_string, read_parameters
from connectors.postgres_logical.facts import Facts, read_facts
from connectors.postgres_logical.safety import Fit, Objection, TablesUnfit, find, objections
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.statements import Wish, is_advice, missing_statements, offline_statements
from connectors.postgres_logical.troubles import of_connecting
from connectors.source import Capture, SourceRefused

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow

__all__ = ["PreparationRefused", "apply", "is_advice", "offline_plan", "plan"]

CONNECT_TIMEOUT_S: Final = 10
OLDEST_VERSION: Final = 150_000
_FAILOVER_SINCE: Final = 170_000
_LOCK_TIMEOUT_S: Final = 10
_STATEMENT_TIMEOUT_S: Final = 60
_OPEN_TRANSACTION: Final = (
    "a slot waits for every transaction that is open when it is made: end the long one (pg_stat_activity, xact_start), "
    "then run this again"
)
_REPAIRS: Final = {
    "42501": "use a connection that owns the tables and may create in the database, or a superuser's",
    "55P03": "another session holds a lock on the table for long: run this again at a quiet time",
    "57014": _OPEN_TRANSACTION,
    "55000": "set wal_level to logical and restart the server, then run this again",
    "53400": "raise max_replication_slots and restart the server, or drop a slot that nobody uses, then run this again",
}


class PreparationRefused(SourceRefused):
    """The database cannot be prepared as asked, or it refused a statement; what ran before stands."""

    code = "KPR-164"


async def plan(
    settings: PostgresLogicalSettings,
    capture: Capture,
    *,
    role: str,
    column_lists: bool = False,
    failover: bool = False,
    admin: str | None = None,
) -> tuple[Statement, ...]:
    """What the database still needs, in the order to run it; none when it is ready.

    `role`: the agent's own. `admin`: the connection string to look with; the settings' own by default. Raises
    TablesUnfit with every table that cannot be captured, PreparationRefused, and what a connection meets.
    """
    wish = Wish(settings.publication, settings.slot, role, column_lists, failover)
    async with await _connect(_string(settings, admin)) as connection:
        facts = await _look(connection, capture, wish)
    _check(wish, facts)
    return tuple(missing_statements(wish, facts, _fits(capture, facts, wish)))


def offline_plan(
    settings: PostgresLogicalSettings,
    capture: Capture,
    *,
    role: str,
    column_lists: bool = False,
    failover: bool = False,
) -> tuple[Statement, ...]:
    """Everything that a new database needs, for psql, where it cannot be looked at. No table's key is checked."""
    return offline_statements(Wish(settings.publication, settings.slot, role, column_lists, failover), capture)


async def apply(statements: Sequence[Statement], admin: str) -> None:
    """Run them one by one, each committed by itself; advice is left alone. `admin` is a connection string.

    No statement waits long for a lock or for others' transactions. Raises PreparationRefused, and what a connection
    meets.
    """
    from psycopg import Error  # noqa: PLC0415  loaded when a connection is opened

    async with await _connect(admin) as connection:
        for statement in statements:
            if is_advice(statement):
                continue
            try:
                await connection.execute(statement.text.encode())
            except Error as error:
                # The driver's own text is left out: it could quote.
                raise PreparationRefused(
                    f"the database refused ({type(error).__name__}, SQLSTATE {error.sqlstate}): "
                    f"{statement.text.split(' (')[0].splitlines()[0]}",
                    repair=_REPAIRS.get(error.sqlstate or "", "mend what the SQLSTATE names, then run this again"),
                ) from None


def _string(settings: PostgresLogicalSettings, admin: str | None) -> str:
    return admin if admin is not None else connection_string(read_parameters(settings.connection_file))


async def _connect(conninfo: str) -> "AbstractAsyncContextManager[AsyncConnection[DictRow]]":
    from psycopg import AsyncConnection, Error  # noqa: PLC0415  loaded when a connection is opened
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    from psycopg.rows import dict_row  # noqa: PLC0415

    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    except Error:  # its text may quote the password
        raise PreparationRefused(
            "libpq does not understand the connection string", repair="write one connection string: keywords or a URL"
        ) from None
    try:
        connection = await AsyncConnection.connect(
            conninfo, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_TIMEOUT_S
        )
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'")
        await connection.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT_S}s'")
    except Error as error:
        raise of_connecting(str(error), parameters) from None
    return connection


async def _look(connection: "AsyncConnection[DictRow]", capture: Capture, wish: Wish) -> Facts:
    from psycopg import Error  # noqa: PLC0415  loaded when a connection is opened

    version = connection.info.server_version
    if version < OLDEST_VERSION:
        raise PreparationRefused(
            f"PostgreSQL {version // 10_000} is older than 15", repair="upgrade it, or use the outbox_table source"
        )
    try:
        return await read_facts(connection, capture, publication=wish.publication, slot=wish.slot, role=wish.role)
    except Error as error:
        raise PreparationRefused(
            f"the database's catalogs could not be read ({type(error).__name__}, SQLSTATE {error.sqlstate})",
            repair="mend what the SQLSTATE names, then run this again",
        ) from None


def _fits(capture: Capture, facts: Facts, wish: Wish) -> list[Fit]:
    """Every wanted table; raises TablesUnfit with all that stands against any of them."""
    found = [find(table, facts) for table in capture.tables]
    against = [one for one in found if isinstance(one, Objection)]
    fits = [one for one in found if isinstance(one, Fit)]
    for fit in fits:
        against += objections(fit, is_listed=wish.column_lists)
    if against:
        raise TablesUnfit(
            "; ".join(f"{one.table} {one.text}" for one in against),
            repair="; ".join(f"{one.table}: {one.repair}" for one in against),
        )
    return fits


def _check(wish: Wish, facts: Facts) -> None:
    """What no statement of ours can mend."""
    server, slot = facts.server, facts.slot
    if server.is_standby:
        raise PreparationRefused(
            "the connection leads to a standby, which takes no statements", repair="connect to the primary"
        )
    if wish.failover and server.version < _FAILOVER_SINCE:
        raise PreparationRefused(
            f"PostgreSQL {server.version_text} has no failover slots", repair="leave failover out, or upgrade to 17"
        )
    if facts.publication is not None and facts.publication.is_for_all:
        raise PreparationRefused(
            f"the publication {wish.publication} is FOR ALL TABLES: every table without a key, also a later one, "
            "refuses UPDATE and DELETE",
            repair="drop it, or give the agent another name, and run this again",
        )
    if slot is None:
        return
    if slot.columns["plugin"] != "pgoutput" or slot.columns["database"] != server.database:
        raise PreparationRefused(
            f"there is a slot {wish.slot} already, of another plugin or another database",
            repair="give the agent another name for its slot, or drop that one if nobody uses it",
        )
    if slot.columns.get("wal_status") == "lost":
        raise PreparationRefused(
            f"the slot {wish.slot} is lost: the server has thrown away log that was not read",
            repair="drop it with SELECT pg_drop_replication_slot(..), run this again, and have everything read again "
            "(kpr-agent source new-incarnation)",
        )
