"""A person's wishes for a PostgreSQL to what it still lacks: looked at where it can be, else the whole list."""

from typing import Final

from connectors.postgres_logical.connection import connection_string, read_parameters
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.setup import apply, offline_plan, plan
from connectors.postgres_logical.troubles import ConnectionFileUnreadable, NotLetIn, TlsRefused, WrongPassword
from connectors.preparation import Prepared, Wishes
from connectors.source import Capture, SourceUnavailable

_NO_WAY_IN: Final = (ConnectionFileUnreadable, WrongPassword, NotLetIn, TlsRefused)
"""Before the first start the agent's own role is often not there yet."""

_NOT_LOOKED_AT: Final = """\
The database was not looked at ({why}): this is everything that a new one needs.
Nobody has checked that each table has a key; name somebody's connection with --connection-file to have that done.
"""


async def prepare(settings: PostgresLogicalSettings, capture: Capture, wishes: Wishes) -> Prepared:
    """What is missing. Without an administrator's connection, a database that cannot be reached gets the whole list.

    Raises what connectors/postgres_logical/setup.py raises.
    """
    role, lists, failover = wishes.role, wishes.column_lists, wishes.failover
    try:
        statements = await plan(settings, capture, role=role, column_lists=lists, failover=failover, admin=wishes.admin)
    except (SourceUnavailable, *_NO_WAY_IN) as error:
        if wishes.admin is not None:
            raise
        whole = offline_plan(settings, capture, role=role, column_lists=lists, failover=failover)
        return Prepared(whole, _NOT_LOOKED_AT.format(why=error))

    async def run() -> None:
        await apply(statements, wishes.admin or connection_string(read_parameters(settings.connection_file)))

    return Prepared(statements, run=run)
