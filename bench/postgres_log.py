"""PostgreSQL's log: changes a second against pg_recvlogical, and from a commit to the ledger's.

Rows are written before anything is read, in transactions of one row, of ten, and all in one. Each reading has a slot of
its own that stands where the writes began, so that both read the same log through the same publication.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from agent.demo.database import EpjDatabase, epj_database
from agent.demo.epj import apply_steps
from agent.demo.step import TABLES
from agent.demo.world import write_secret
from bench import rooms
from bench.latency import EVENTS_PER_S, percentile
from bench.reading import Noted, Reading, Taken, decode, municipality, until
from bench.report import Section, progress
from bench.workload import one_event_steps
from connectors.source import Position
from tests.services import Postgres

PUBLICATION = "bench"
PROFILED = 10
"""The transactions that are read once more under a profile: those of so many rows."""

_BASE = "bench_base"
_ALONE = 200
_RECEIVE_LIMIT_S = 600

Source = dict[str, object]


async def measure(folder: Path, postgres: Postgres, *, changes: int, rounds: int, latency_s: int) -> list[Section]:
    """One section for the pace, one for the wait."""
    folder = folder / "postgres"
    folder.mkdir()
    pace = Section("postgres_logical: decoded changes a second against pg_recvlogical")
    for name, size in (("of 1", 1), ("of 10", 10), ("of all", changes)):
        shape_folder = folder / name.replace(" ", "-")
        shape_folder.mkdir()
        async with epj_database(postgres.url) as database:
            await _one_shape(shape_folder, database, pace, (name, size), changes, rounds)
    latency_folder = folder / "latency"
    latency_folder.mkdir()
    async with epj_database(postgres.url) as database:
        return [pace, await _latency(latency_folder, database, latency_s)]


def source_section(folder: Path, database: EpjDatabase, slot: str) -> Source:
    """The source section of a municipality that reads this slot. `folder`: where its connection file is written."""
    file = folder / "epj-connection"
    if not file.exists():
        write_secret(file, database.admin_text())
    return {"postgres_logical": {"connection_file": str(file), "publication": PUBLICATION, "slot": slot}}


def publish(database: EpjDatabase) -> None:
    """Publish the mapped tables."""
    tables = ", ".join(f"public.{table}" for table in TABLES)
    database.run(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {tables}")


# -- the pace --------------------------------------------------------------------------------------------------------


async def _one_shape(
    folder: Path, database: EpjDatabase, section: Section, shape: tuple[str, int], changes: int, rounds: int
) -> None:
    name, size = shape
    publish(database)
    start = await _begin(folder, database)
    end_lsn = await asyncio.to_thread(_write, database, changes, size)
    ours: list[Taken] = []
    theirs: list[Taken] = []
    size_bytes = 0
    for number in range(rounds):
        slots = f"ours_{number}", f"theirs_{number}"
        for slot in slots:
            database.run(f"SELECT pg_copy_logical_replication_slot('{_BASE}', '{slot}')")
        of = municipality(folder / slots[0], source_section(folder, database, slots[0]))

        async def we() -> None:
            ours.append(await decode(of, start, acknowledged=True))  # noqa: B023 - called in its own round

        async def they() -> None:
            nonlocal size_bytes
            file = folder / "received"
            theirs.append(await asyncio.to_thread(_receive, database, slots[1], end_lsn, changes, file))  # noqa: B023
            size_bytes = file.stat().st_size
            file.unlink()

        for reading in (we, they) if number % 2 else (they, we):
            await reading()
        for slot in slots:
            database.run(f"SELECT pg_drop_replication_slot('{slot}')")
    if size == PROFILED:
        database.run(f"SELECT pg_copy_logical_replication_slot('{_BASE}', 'profiled')")
        of = municipality(folder / "profiled", source_section(folder, database, "profiled"))
        with rooms.profiled() as profiles:
            await decode(of, start, acknowledged=True)
        section.lines = [f"transactions {name}:", *rooms.by_function(profiles)]
    if {one.changes for one in ours} != {changes}:
        raise RuntimeError(f"{[one.changes for one in ours]} changes were read instead of {changes}")
    _tell(section, name, ours, theirs, size_bytes)
    progress(f"postgres, transactions {name}: {section.figures[-1].shown}")


def _tell(section: Section, name: str, ours: list[Taken], theirs: list[Taken], size_bytes: int) -> None:
    noun = "round" if len(ours) == 1 else "rounds"
    note = f"{ours[0].changes} changes, {size_bytes / 1e6:.0f} MB in the file, {len(ours)} {noun}"
    section.tell(f"transactions {name}: pg_recvlogical", median(one.per_s for one in theirs), "changes/s", note)
    section.tell(f"transactions {name}: postgres_logical", median(one.per_s for one in ours), "changes/s")
    per_cpu = median(one.per_cpu_s for one in ours)
    section.tell(f"transactions {name}: for a second of our processor time", per_cpu, "changes")
    ratios = [us.per_s / them.per_s for us, them in zip(ours, theirs, strict=True)]
    spread = f"rounds from {100 * min(ratios):.0f} to {100 * max(ratios):.0f} %" if len(ratios) > 1 else ""
    section.tell(f"transactions {name}: postgres_logical / pg_recvlogical", 100 * median(ratios), "%", spread)


async def _begin(folder: Path, database: EpjDatabase) -> Position:
    """The slot that the others are copies of, made by a source that reads the empty tables; its place behind them."""
    reading = Reading(municipality(folder / _BASE, source_section(folder, database, _BASE)))
    await reading.until_open()
    position = reading.position()
    if position is None:
        raise RuntimeError("the source has read nothing, not even that there is nothing")
    return position


def _write(database: EpjDatabase, changes: int, size: int) -> str:
    """So many changes, half of them inserts and half updates, `size` in a transaction; where the log then ends."""
    with psycopg.connect(database.admin_text(), autocommit=True) as connection:
        connection.execute("ALTER TABLE tjeneste DISABLE TRIGGER ALL")  # the change log is another source's
        connection.execute("SET synchronous_commit = off")
        half = changes // 2
        if size >= changes:
            connection.execute(f"DO $$ BEGIN {_insert('1', str(half))} {_update('1', str(half))} END $$")
        else:
            for statement in (_insert, _update):
                body = statement(f"n * {size} + 1", f"(n + 1) * {size}")
                connection.execute(f"DO $$ BEGIN FOR n IN 0..{half // size - 1} LOOP {body} COMMIT; END LOOP; END $$")
        connection.execute("SET synchronous_commit = on")
        connection.execute("CREATE TABLE bench_end ()")  # its commit brings all before it to the disk
        found = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    return str(found[0]) if found else ""


def _insert(first: str, last: str) -> str:
    values = (
        "k, k % 1000 + 1, k % 50 + 1, 'LANG', DATE '2024-01-01' + k % 365, NULL, 'aktiv', 'sak ' || k,"
        " TIMESTAMP '2024-01-01 08:00' + k * INTERVAL '1 second', TIMESTAMP '2024-01-01 08:00'"
    )
    columns = (
        "tjeneste_id, bruker_id, enhet_id, lokal_type, start_dato, slutt_dato, status, saksnummer,"
        " registrert_tid, endret_tid"
    )
    return f"INSERT INTO tjeneste ({columns}) SELECT {values} FROM generate_series({first}, {last}) AS k;"


def _update(first: str, last: str) -> str:
    return (
        "UPDATE tjeneste SET slutt_dato = start_dato + 30, status = 'avsluttet', endret_tid = endret_tid + INTERVAL"
        f" '1 day' WHERE tjeneste_id BETWEEN {first} AND {last};"
    )


def _receive(database: EpjDatabase, slot: str, end_lsn: str, changes: int, file: Path) -> Taken:
    """pg_recvlogical from its start to its end at `end_lsn`. It never syncs the file."""
    with psycopg.connect(database.admin_text()) as connection:
        found = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    program = Path(found[0] if found else "") / "pg_recvlogical"
    what = ["--start", "--no-loop", "--fsync-interval=0", f"--endpos={end_lsn}", "--file", str(file)]
    options = ["-o", "proto_version=1", "-o", f"publication_names={PUBLICATION}"]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [program, "--dbname", database.admin_text().strip(), "--slot", slot, *what, *options],
        check=True,
        timeout=_RECEIVE_LIMIT_S,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(changes, seconds, cpu_s)


# -- from a commit to the ledger's -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Moments:
    """Of each change, in seconds: when its commit returned, when the source gave it, when the ledger had it."""

    committed: list[float]
    seen: list[float]
    booked: list[float]


async def _latency(folder: Path, database: EpjDatabase, seconds: int) -> Section:
    events = EVENTS_PER_S * seconds
    publish(database)
    referred, _ = one_event_steps(events)
    reading = Reading(municipality(folder / "reading", source_section(folder, database, "latency")))
    await asyncio.to_thread(apply_steps, database.engine, referred)
    async with reading.running() as (noted, ledger):
        await until(noted, lambda: noted.position is not None)  # the load's end: people and units
        people = len(noted.booked)
        progress(f"postgres latency: {events} changes at {EVENTS_PER_S} a second")
        address = folder / "epj-url"
        write_secret(address, str(database.engine.url.render_as_string(hide_password=False)))
        writer = [sys.executable, "-m", "bench.writer", str(address), str(events), str(EVENTS_PER_S)]
        output = await asyncio.to_thread(subprocess.run, writer, check=True, stdout=subprocess.PIPE)
        await until(noted, lambda: len(noted.booked) >= people + events)
        moments = _moments(json.loads(output.stdout), noted, people)
        fsyncs = []
        for number in range(_ALONE):
            began = time.perf_counter()
            await ledger.run(lambda tx, number=number: tx.set_note("bench", str(number)))
            fsyncs.append(time.perf_counter() - began)
    return _latency_section(seconds, moments, percentile(fsyncs, 50))


def _moments(committed: list[float], noted: Noted, people: int) -> _Moments:
    found = _Moments(committed, noted.seen[people:], noted.booked[people:])
    if not len(found.committed) == len(found.seen) == len(found.booked):
        lengths = [len(one) for one in (found.committed, found.seen, found.booked)]
        raise RuntimeError(f"not every change was seen once: {lengths}")
    return found


def _latency_section(seconds: int, moments: _Moments, fsync_s: float) -> Section:
    section = Section(f"postgres_logical: commit to ledger committed at {EVENTS_PER_S} changes/s")
    whole = _between(moments.committed, moments.booked)
    seen = _between(moments.committed, moments.seen)
    kept = _between(moments.seen, moments.booked)
    p50, p99 = percentile(whole, 50), percentile(whole, 99)
    section.tell("p50", 1000 * p50, "ms", f"{len(whole)} changes in {seconds} s, one a transaction")
    section.tell("p99", 1000 * p99, "ms")
    for name, parts in (("of it until seen, p50", seen), ("of it until ledger committed, p50", kept)):
        section.tell(name, 1000 * percentile(parts, 50), "ms", f"p99 {1000 * percentile(parts, 99):.3g} ms")
    section.tell("alone: one fsync", 1000 * fsync_s, "ms", "a ledger transaction with one note")
    section.tell("p50 / that", p50 / fsync_s, "times")
    section.tell("p99 / that", p99 / fsync_s, "times")
    return section


def _between(before: list[float], after: list[float]) -> list[float]:
    return [later - earlier for earlier, later in zip(before, after, strict=True)]
