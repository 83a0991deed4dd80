"""A database with a publication and a slot, for the tests of the source that reads PostgreSQL's log."""

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.source import PostgresLogicalSource
from connectors.source import Capture, Position
from connectors.wire.postgres_identity import cluster_name
from tests.contract.source_behaviour import CAPTURE, HISTORY, PATIENCE_S, Written
from tests.services import Postgres

_TABLES = (
    "CREATE SCHEMA demo",
    "CREATE TABLE demo.tjeneste (tjeneste_id bigint PRIMARY KEY, status text, start_dato date)",
    "CREATE TABLE demo.notat (tjeneste_id bigint PRIMARY KEY, status text, start_dato date)",
    "CREATE PUBLICATION kpr_agent FOR TABLE demo.tjeneste, demo.notat WITH (publish_via_partition_root = true)",
)


class PostgresStage:
    """One database of its own on a server that others share; `start` is where its log begins to be kept."""

    def __init__(self, server: Postgres, directory: Path) -> None:
        self.server = server
        self.name = f"log_{uuid.uuid4().hex[:8]}"
        self.slot = self.name
        self.connection_file = directory / "connection"
        self.settings = PostgresLogicalSettings(
            connection_file=self.connection_file,
            slot=self.slot,
            chunk_rows=7,
            idle_interval_s=0.05,
            quiet_timeout_s=20,
        )
        self.databases: list[str] = []
        self.create(self.name)
        self.start: Position | None = self.make_slot()

    def create(self, name: str) -> None:
        self.url = self.server.create_database(name)
        self.databases.append(name)
        self.connection_file.write_text(self.url + "\n")
        for statement in _TABLES:
            self.run(statement)

    def make_slot(self) -> Position:
        """The slot, made as the DBA would; the position where its log begins."""
        place = self.ask(f"SELECT lsn FROM pg_create_logical_replication_slot('{self.slot}', 'pgoutput')")
        system = self.ask("SELECT system_identifier FROM pg_control_system()")
        oid = self.ask("SELECT oid FROM pg_database WHERE datname = current_database()")
        timeline = int(str(self.ask("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")), 16)
        high, _, low = str(place).partition("/")
        return Position(
            f"postgres:{cluster_name(system)}:{oid}",
            {"wal": ((int(high, 16) << 32) | int(low, 16), 0)},
            json.dumps({"timeline": timeline}),
        )

    def drop_slot(self) -> None:
        self.run(f"SELECT pg_drop_replication_slot('{self.slot}')")

    def connect(self, **options: object) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=10, **options)

    def run(self, *statements: str) -> None:
        """Each statement in its own transaction."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def run_together(self, *statements: str) -> None:
        """All statements in one transaction."""
        with self.connect() as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement)

    def ask(self, statement: str) -> object:
        with self.connect() as connection:
            row = connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def write(self, changes: Sequence[Written]) -> None:
        with self.connect() as connection:
            for change in changes:
                table = sql.Identifier(*change.table.split("."))
                if change.status is None:
                    connection.execute(sql.SQL("DELETE FROM {} WHERE tjeneste_id = %s").format(table), [change.key])
                else:
                    connection.execute(
                        sql.SQL(
                            "INSERT INTO {} VALUES (%s, %s, '2026-01-15')"
                            " ON CONFLICT (tjeneste_id) DO UPDATE SET status = excluded.status"
                        ).format(table),
                        [change.key, change.status],
                    )

    def open(self, position: Position | None, capture: Capture = CAPTURE, **settings: object) -> PostgresLogicalSource:
        return PostgresLogicalSource(self.settings.model_copy(update=settings), capture, position)

    async def until(self, question: str, *values: object) -> None:
        """Ask, as the superuser, until the answer is true; fails after PATIENCE_S."""
        async with asyncio.timeout(PATIENCE_S):
            with self.connect() as connection:
                # A database has no event to wait for.
                while not (connection.execute(question, values).fetchone() or (False,))[0]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    def slot_state(self) -> Mapping[str, object]:
        with self.connect() as connection:
            row = connection.execute(
                "SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s", [self.slot]
            ).fetchone()
        return {} if row is None else row[0]

    def rows(self) -> dict[int, str]:
        """The wanted table as it is now."""
        with self.connect() as connection:
            return dict(connection.execute("SELECT tjeneste_id, status FROM demo.tjeneste").fetchall())

    def exchange(self) -> None:
        self.create(f"{self.name}_b")
        self.write(HISTORY[:5])

    def remove(self) -> None:
        self.connection_file.write_text(self.server.database_url(f"{self.name}_gone"))

    def clear(self) -> None:
        """Drop what was made; a slot that is still read is waited for."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            for name in self.databases:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                for (slot,) in connection.execute(
                    "SELECT slot_name FROM pg_replication_slots WHERE database = %s", [name]
                ).fetchall():
                    drop_slot(connection, slot)
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_slot(connection: psycopg.Connection, slot: str) -> None:
    """Drop it, when whoever has read from it has gone."""
    for _ in range(200):
        try:
            connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
        except psycopg.errors.UndefinedObject:
            return  # a temporary one goes with its connection
        except psycopg.errors.ObjectInUse:
            connection.execute("SELECT pg_sleep(0.05)")
        else:
            return
    raise AssertionError(f"the slot {slot} is still in use")


def staged(server: Postgres, directory: Path) -> Iterator[PostgresStage]:
    """What a fixture `stage` yields."""
    stage = PostgresStage(server, directory)
    yield stage
    stage.clear()
