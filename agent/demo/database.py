"""A database of the demo's own in a real PostgreSQL, with the EPJ's tables; gone at the end, with what hangs on it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex, token_urlsafe
from typing import Final

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from agent.demo.epj import create_tables

_SLOTS_GO_WITHIN_S: Final = 20.0
_LOOK_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class EpjDatabase:
    """The database, its administrator's `address`, and the role that the agent is to have, with its password."""

    name: str
    role: str
    password: str = field(repr=False)
    address: URL = field(repr=False)
    engine: Engine = field(repr=False)

    def connection_text(self) -> str:
        """The agent's connection, as libpq reads it."""
        return _libpq(self.address, self.name, self.role, self.password)

    def admin_text(self) -> str:
        """The administrator's."""
        return _libpq(self.address, self.name, str(self.address.username), str(self.address.password))

    def agent_url(self) -> str:
        """The agent's connection, as SQLAlchemy reads it."""
        url = self.address.set(username=self.role, password=self.password, database=self.name)
        return url.render_as_string(hide_password=False)

    def make_role(self) -> None:
        """The agent's role with its password and no right at all."""
        self.run(f"CREATE ROLE {self.role} LOGIN PASSWORD '{self.password}'")

    def set_password(self) -> None:
        """Give the role, which is there, its password."""
        self.run(f"ALTER ROLE {self.role} PASSWORD '{self.password}'")

    def is_streamed(self) -> bool:
        """Whether somebody reads the database's log through a slot at this moment."""
        with self.engine.connect() as connection:
            active = text("SELECT count(*) FROM pg_replication_slots WHERE database = :name AND active")
            return bool(connection.execute(active, {"name": self.name}).scalar_one())

    def run(self, *statements: str) -> None:
        """Run statements as the administrator."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@asynccontextmanager
async def epj_database(address: str) -> AsyncIterator[EpjDatabase]:
    """A new database with the EPJ's tables and its change log, behind the administrator's address (postgresql://...).

    At the end its replication slots, itself and the agent's role go. Role and database have one name.
    """
    url = make_url(address).set(drivername="postgresql+psycopg")
    name = f"kpr_demo_{token_hex(4)}"
    engine = create_engine(url.set(database=name), poolclass=NullPool)
    database = EpjDatabase(name, name, token_urlsafe(24), make_url(address), engine)
    await asyncio.to_thread(_server_wide, url, f"CREATE DATABASE {name}")
    try:
        await asyncio.to_thread(create_tables, engine)
        yield database
    finally:
        await asyncio.shield(asyncio.to_thread(_drop, url, database))


def _drop(url: URL, database: EpjDatabase) -> None:
    end = time.monotonic() + _SLOTS_GO_WITHIN_S
    while _drop_slots(database) and time.monotonic() < end:
        time.sleep(_LOOK_AGAIN_S)
    database.engine.dispose()
    _server_wide(url, f"DROP DATABASE {database.name} WITH (FORCE)")
    _server_wide(url, f"DROP ROLE IF EXISTS {database.role}")


def _drop_slots(database: EpjDatabase) -> int:
    """Drop the slots of this database that nobody reads and end those who read the others; how many others there are.

    A database with a slot cannot be dropped, and a slot that is left keeps the server's log until its disk is full.
    """
    with database.engine.connect() as connection:
        ours = {"name": database.name}
        of_us = "FROM pg_replication_slots WHERE database = :name"
        connection.execute(text(f"SELECT pg_drop_replication_slot(slot_name) {of_us} AND NOT active"), ours)
        connection.execute(text(f"SELECT pg_terminate_backend(active_pid) {of_us} AND active"), ours)
        return int(connection.execute(text(f"SELECT count(*) {of_us}"), ours).scalar_one())


def _server_wide(url: URL, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def _libpq(address: URL, database: str, user: str, password: str) -> str:
    return f"host={address.host} port={address.port} dbname={database} user={user} password={password}\n"
