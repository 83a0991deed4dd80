"""An EPJ's database, for tests that prepare and look at a PostgreSQL: its own role, its tables, a life of them."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from connectors.inspection import Statement
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.setup import apply, plan
from connectors.source import Capture, Column, Kind, Table
from tests.services import Postgres

ROW = "insert into demo.tjeneste (tjeneste_id, status, start_dato, notat) values ({0}, 'AKTIV', '2026-01-15', 'x')"
CAPTURE = Capture(
    (
        Table(
            "demo.tjeneste",
            ("tjeneste_id",),
            (
                Column("tjeneste_id", Kind.INTEGER),
                Column("status", Kind.TEXT),
                Column("start_dato", Kind.DATE),
            ),
        ),
        Table("demo.pause", ("pause_id",), (Column("pause_id", Kind.INTEGER), Column("fra_dato", Kind.DATE))),
    )
)
TABLES = """
create schema demo;
create table demo.tjeneste (tjeneste_id int primary key, status text, start_dato date, notat text, fri text);
create table demo.pause (pause_id int, fra_dato date, primary key (pause_id, fra_dato)) partition by range (fra_dato);
create table demo.pause_2026 partition of demo.pause for values from ('2026-01-01') to ('2027-01-01');
create table demo.uten_nokkel (nr int, tekst text);
"""


@dataclass(frozen=True)
class Epj:
    """A database of the EPJ: `owner` is its own role, `admin` the superuser's connection string."""

    server: Postgres
    database: str
    owner: str
    agent: str
    settings: PostgresLogicalSettings

    @property
    def admin(self) -> str:
        return self.server.database_url(self.database)

    def run(self, *statements: str) -> None:
        """As the EPJ's owner, each statement committed by itself."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(f'set role "{self.owner}"')
            for statement in statements:
                connection.execute(statement)

    def ask(self, question: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            return connection.execute(question).fetchall()

    def run_as_admin(self, *statements: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    async def plan(self, capture: Capture = CAPTURE, **options: bool) -> tuple[Statement, ...]:
        return await plan(self.settings, capture, role=self.agent, admin=self.admin, **options)

    async def prepare(self, capture: Capture = CAPTURE, **options: bool) -> None:
        await apply(await self.plan(capture, **options), self.admin)


def make_epj(server: Postgres, folder: Path) -> Iterator[Epj]:
    mark = uuid.uuid4().hex[:8]
    database, owner, agent = f"setup_{mark}", f"epj_{mark}", f"agent_{mark}"
    server.create_database(database)
    connection_file = folder / "connection"
    connection_file.write_text(f"host=127.0.0.1 port={server.port} dbname={database} user={agent} password=agent-pw")
    settings = PostgresLogicalSettings(connection_file=connection_file, publication="kpr", slot=f"kpr_{mark}")
    epj = Epj(server, database, owner, agent, settings)
    try:
        epj.run_as_admin(f'create role "{owner}"', f'grant create on database "{database}" to "{owner}"')
        epj.run(*(statement for statement in TABLES.split(";") if statement.strip()))
        yield epj
    finally:
        for slot in server.sql(
            f"select slot_name from pg_replication_slots where database = '{database}'"
        ).splitlines():
            server.sql(f"select pg_drop_replication_slot('{slot}')")
        server.sql(f'drop database if exists "{database}" with (force)')
        server.sql(f'drop role if exists "{owner}"')
        server.sql(f'drop role if exists "{agent}"')


def of(*names: str) -> Capture:
    return Capture(tuple(Table(name, ("nr",), (Column("nr", Kind.INTEGER),)) for name in names))


RETYPES = (
    "alter table demo.tjeneste alter column status type varchar(40)",
    "alter table demo.tjeneste alter column tjeneste_id type bigint",
)
LIFE: tuple[str, ...] = (
    ROW.format(1),
    ROW.format(2),
    "update demo.tjeneste set status = 'B' where tjeneste_id = 1",
    "update demo.tjeneste set tjeneste_id = 3 where tjeneste_id = 2",
    "delete from demo.tjeneste where tjeneste_id = 3",
    "insert into demo.pause values (1, '2026-02-01')",
    "update demo.pause set fra_dato = '2026-02-02'",
    "create table demo.pause_2027 partition of demo.pause for values from ('2027-01-01') to ('2028-01-01')",
    "update demo.pause set fra_dato = '2027-02-02'",
    "delete from demo.pause",
    "insert into demo.pause values (2, '2027-02-01')",
    "truncate demo.tjeneste, demo.pause",
    ROW.format(4),
    "alter table demo.tjeneste add column nytt text default 'n'",
    "update demo.tjeneste set nytt = 'm'",
    "alter table demo.tjeneste rename column notat to merknad",
    "alter table demo.tjeneste rename column start_dato to fra_dato",
    "update demo.tjeneste set fra_dato = '2026-02-01'",
    *RETYPES,
    "update demo.tjeneste set status = 'C'",
    "alter table demo.tjeneste drop column fri",
    "delete from demo.tjeneste",
    "insert into demo.tjeneste (tjeneste_id, status) values (5, 'D')",
    "alter table demo.pause detach partition demo.pause_2026",
    "drop table demo.pause_2026",
    "alter table demo.tjeneste rename to tjeneste_ny",
    "update demo.tjeneste_ny set status = 'E'",
    "insert into demo.uten_nokkel values (1, 'a')",
    "update demo.uten_nokkel set tekst = 'b'",
    "delete from demo.uten_nokkel",
    "create table demo.helt_ny (nr int)",
    "insert into demo.helt_ny values (1)",
    "update demo.helt_ny set nr = 2",
)
DROPS = (
    "alter table demo.tjeneste_ny drop column status",
    "update demo.tjeneste_ny set tjeneste_id = 6",
    "drop table demo.tjeneste_ny",
    "drop table demo.pause",
    "drop schema demo cascade",
)
