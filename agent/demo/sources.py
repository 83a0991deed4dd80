"""The demo's EPJ behind each kind of source: the servers it needs, where its tables live, what the agent is told.

`embedded` needs nothing. The others are real servers (agent/demo/servers.py), and the EPJ has a database of the demo's
own in a real PostgreSQL, dropped at the end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy import Engine, text

from agent.composition import wanted
from agent.demo.database import EpjDatabase, epj_database
from agent.demo.debezium import CONNECTOR, Platform, connector, connector_settings, prepare_database, topics
from agent.demo.epj import create_tables, last_logged, open_sqlite
from agent.demo.servers import Say, server
from agent.demo.watch import Status
from agent.demo.world import EMBEDDED_SOURCE, Places, write_secret
from agent.settings import Municipality
from agent.verbs.source_setup import prepare
from connectors.preparation import Wishes

HasRead = Callable[[Status], bool]


@dataclass(frozen=True, slots=True)
class LiveEpj:
    """An EPJ that is there. `section`: the source section of the municipality's file, as a person writes it.

    `prepare` is called when that file is written, before the agent starts. `written` is called when the EPJ rests: what
    it gives says of a status whether everything that was written by then is read.
    """

    engine: Engine
    section: str
    prepare: Callable[[Municipality], Awaitable[None]]
    written: Callable[[], HasRead]


OpenEpj = Callable[[Places, Say], AbstractAsyncContextManager[LiveEpj]]


@asynccontextmanager
async def _embedded(places: Places, _: Say) -> AsyncIterator[LiveEpj]:
    engine = await asyncio.to_thread(open_sqlite, places.epj)

    def written() -> HasRead:
        last = last_logged(engine)

        def has_read(status: Status) -> bool:
            # SQLite has one writer: keys come in order
            return status["position"] is not None and bool(status["position"]["high"][0] >= last)

        return has_read

    try:
        await asyncio.to_thread(create_tables, engine)
        yield LiveEpj(engine, EMBEDDED_SOURCE, _nothing, written)
    finally:
        engine.dispose()


@asynccontextmanager
async def _postgres(places: Places, say: Say) -> AsyncIterator[LiveEpj]:
    async with server("postgres", "PostgreSQL", say) as address, epj_database(address) as database:
        _write_connection(places, database)

        async def prepared(municipality: Municipality) -> None:
            say("The database is made ready as its administrator does it:")
            say(f"  kpr-agent source prepare {municipality.file} --apply --connection-file ADMIN")
            found = await prepare(municipality, Wishes(role=database.role, admin=database.admin_text()), apply=True)
            for statement in found.statements:
                say(f"  -- {statement.why}")
            await asyncio.to_thread(database.set_password)

        section = f"""\
source:
  postgres_logical:
    connection_file: secrets/epj-connection
    publication: {database.name}
    slot: {database.name}
    idle_interval_s: 0.5             # so that the end of the demo is noticed at once
"""
        yield LiveEpj(database.engine, section, prepared, partial(_the_log, database.engine))


@asynccontextmanager
async def _kafka(_: Places, say: Say) -> AsyncIterator[LiveEpj]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(server("postgres", "PostgreSQL", say))
        bootstrap = await stack.enter_async_context(server("kafka", "Kafka", say))
        connect_url = await stack.enter_async_context(server("connect", "Kafka Connect with Debezium", say))
        platform = Platform(bootstrap, connect_url)
        database = await stack.enter_async_context(epj_database(address))

        async def prepared(municipality: Municipality) -> None:
            capture = wanted(municipality)
            say(f"Debezium is set up as its platform's owners do it: {CONNECTOR}, its placeholders filled.")
            await asyncio.to_thread(prepare_database, database, capture)
            await stack.enter_async_context(topics(platform, database, capture))
            settings = connector_settings(database, capture)
            await stack.enter_async_context(connector(platform, database, settings))
            say("  The connector streams, and its task runs.")

        section = f"""\
source:
  kafka_debezium:
    bootstrap_servers: ["{bootstrap}"]
    tls: false
    topic_prefix: {database.name}
    connect_url: {connect_url}
    lag_s: 2                         # all of it is on this machine
    poll_s: 0.2
"""
        yield LiveEpj(database.engine, section, prepared, partial(_every_change, database.engine))


@asynccontextmanager
async def _query(places: Places, say: Say) -> AsyncIterator[LiveEpj]:
    async with server("postgres", "PostgreSQL", say) as address, epj_database(address) as database:
        places.secrets.mkdir(mode=0o700, exist_ok=True)
        write_secret(places.secrets / "epj-url", database.agent_url())

        async def prepared(municipality: Municipality) -> None:
            say("The database's administrator makes a role and grants it what this shows, SELECT and nothing more:")
            say(f"  kpr-agent source prepare {municipality.file}")
            grants = (await prepare(municipality, Wishes(role=database.role))).statements
            await asyncio.to_thread(database.make_role)
            await asyncio.to_thread(database.run, *(grant.text for grant in grants))

        section = """\
source:
  table_query:
    url_file: secrets/epj-url
    scan_every_s: 1                  # for show: a real EPJ is read whole once a day, and looked at by a watermark
    delete_after_scans: 2
    rows_per_second: null
    poll_s: 0.2
"""
        yield LiveEpj(database.engine, section, prepared, _two_whole_scans)


def _write_connection(places: Places, database: EpjDatabase) -> None:
    places.secrets.mkdir(mode=0o700, exist_ok=True)
    write_secret(places.secrets / "epj-connection", database.connection_text())


async def _nothing(municipality: Municipality) -> None:
    """An embedded EPJ keeps its change log by itself."""


def _the_log(engine: Engine) -> HasRead:
    """Everything is read once the agent's place in the server's log is behind all that was written."""
    with engine.connect() as connection:
        written = int(connection.execute(text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")).scalar_one())

    def has_read(status: Status) -> bool:
        return status["position"] is not None and bool(status["position"]["wal"][0] >= written)

    return has_read


def _two_whole_scans() -> HasRead:
    """Everything is read, what is no longer there too, when two more scans of every table have come to their ends.

    The status that is seen first can be one scan old, and the scan under way does not count.
    """
    at_rest: dict[str, int] = {}

    def has_read(status: Status) -> bool:
        scans = {table: int(place[0]) for table, place in (status["position"] or {}).items()}
        for table, scan in scans.items():
            at_rest.setdefault(table, scan)
        return bool(scans) and all(scan >= at_rest[table] + 4 for table, scan in scans.items())

    return has_read


def _every_change(engine: Engine) -> HasRead:
    """Everything is read once as many changes are booked as the EPJ's own log has: it was empty when capture began.

    Or once the source says that no change from before now is still to come, which is booked every ten seconds only.
    """
    now, changes = datetime.now(UTC), last_logged(engine)

    def has_read(status: Status) -> bool:
        told = status["seen_through"]
        is_past = told is not None and datetime.fromisoformat(told) >= now
        return is_past or bool(status["counts"].get("changes", 0) >= changes)

    return has_read


EMBEDDED: Final = "embedded"

SOURCES: Final[Mapping[str, OpenEpj]] = {
    EMBEDDED: _embedded,
    "postgres": _postgres,
    "kafka": _kafka,
    "query": _query,
}
"""What `kpr-agent demo --source` takes."""
