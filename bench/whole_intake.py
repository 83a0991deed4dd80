"""Intake as a whole, for each source, over the same history: changes a second, and where the time goes.

One EPJ in PostgreSQL is written once. Then each source reads all of it: alone, booking nothing; as the agent does, into
a ledger in a file; and once more under a profile.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from agent.demo.database import EpjDatabase, epj_database
from agent.demo.debezium_lines import as_debezium
from agent.demo.epj import apply_steps
from agent.demo.epj_schema import LOG_COLUMNS, LOG_TABLE
from agent.demo.step import Step
from agent.demo.world import write_secret
from bench import kafka_topics, postgres_log, rooms
from bench.reading import Reading, Taken, decode, municipality
from bench.report import Section, progress
from bench.workload import histories
from tests.services import Kafka, Postgres

SOURCES = ("replay", "outbox_table", "postgres_logical", "kafka_debezium", "table_query")
"""replay comes first: it has no server, so that it costs least beside intake, and the others are held to it."""

Source = dict[str, Any]


@dataclass
class Found:
    """What the rounds of one source gave."""

    alone: list[Taken] = field(default_factory=list)
    whole: list[Taken] = field(default_factory=list)
    notifications: int = 0
    profile: list[str] = field(default_factory=list)


async def measure(folder: Path, postgres: Postgres, kafka: Kafka, *, services: int, rounds: int) -> list[Section]:
    """A section with the figures, and one for each source with its profile."""
    folder = folder / "intake"
    folder.mkdir()
    steps = histories(services)
    found = {name: Found() for name in SOURCES}
    async with _written(folder, postgres, kafka, steps, rounds + 1) as readings:
        for number in range(rounds + 1):
            for name in SOURCES:
                reading = readings[name][number]
                if number == rounds:
                    found[name].profile = await _profile(reading, found[name].alone[-1].changes)
                    continue
                await _round(reading, found[name])
                progress(f"intake, round {number + 1} of {rounds}, {name}: {found[name].whole[-1].per_s:.0f} changes/s")
    _check(found)
    return [_figures(found, services, rounds), *(_profile_section(name, one) for name, one in found.items())]


async def _round(reading: Reading, found: Found) -> None:
    """Alone first: nothing is acknowledged, so that the same comes again."""
    found.alone.append(await decode(reading.municipality, reading.position(), acknowledged=False))
    found.whole.append(await reading.take_in(found.alone[-1].changes))
    found.notifications = reading.notifications()


async def _profile(reading: Reading, changes: int) -> list[str]:
    with rooms.profiled() as profiles:
        await reading.take_in(changes, in_turn=True)
    return rooms.by_room(profiles)


@asynccontextmanager
async def _written(
    folder: Path, postgres: Postgres, kafka: Kafka, steps: Sequence[Step], count: int
) -> AsyncIterator[dict[str, list[Reading]]]:
    """The history written; `count` readings of each source, that have read nothing of it."""
    async with epj_database(postgres.url) as database, kafka_topics.topics(kafka) as prefix:
        postgres_log.publish(database)
        sections = _sections(folder, database, kafka, prefix)
        readings = {
            name: [Reading(municipality(folder / f"{name}-{number}", of(number))) for number in range(count)]
            for name, of in sections.items()
        }
        for reading in readings["postgres_logical"]:
            await reading.until_open()  # its slot is made, and stands before the history
        progress(f"intake: {len(steps)} transactions are written")
        await asyncio.to_thread(apply_steps, database.engine, steps)
        events = list(as_debezium(steps))
        (folder / "changes.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
        await kafka_topics.produce(kafka, prefix, events)
        yield readings


def _sections(folder: Path, database: EpjDatabase, kafka: Kafka, prefix: str) -> dict[str, Callable[[int], Source]]:
    """The source section of each reading, by its number. Each as it is delivered, but for the query's load limit."""
    url_file = folder / "epj-url"
    write_secret(url_file, database.engine.url.render_as_string(hide_password=False))
    log = {"url_file": str(url_file), "table": f"public.{LOG_TABLE}", "columns": dict(LOG_COLUMNS)}
    query = {"url_file": str(url_file), "rows_per_second": None}
    return {
        "replay": lambda _: {"replay": {"path": str(folder / "changes.jsonl")}, "encodings": kafka_topics.ENCODINGS},
        "outbox_table": lambda _: {"outbox_table": log},
        "postgres_logical": lambda number: postgres_log.source_section(folder, database, f"reading_{number}"),
        "kafka_debezium": lambda _: kafka_topics.source_section(kafka, prefix),
        "table_query": lambda _: {"table_query": query},
    }


def _check(found: dict[str, Found]) -> None:
    """Each source has booked what it gave, and those that see every change have seen the same number of them."""
    for name, one in found.items():
        if [taken.changes for taken in one.whole] != [taken.changes for taken in one.alone]:
            raise RuntimeError(f"{name} booked {one.whole} of {one.alone}")
    seen = {name: one.alone[0].changes for name, one in found.items() if name != "table_query"}
    if len(set(seen.values())) != 1:
        raise RuntimeError(f"not the same changes were seen: {seen}")


def _figures(found: dict[str, Found], services: int, rounds: int) -> Section:
    section = Section("Intake as a whole: source, decode, assemble, compare, chain, ledger on disk")
    replay = found["replay"].whole
    for name, one in found.items():
        noun = "round" if rounds == 1 else "rounds"
        what = f"{one.whole[0].changes} changes of {services} histories, {one.notifications} notifications"
        section.tell(name, median(taken.per_s for taken in one.whole), "changes/s", f"{what}, {rounds} {noun}")
        section.tell(f"{name}: for a second of processor time", median(t.per_cpu_s for t in one.whole), "changes")
        section.tell(f"{name}: the source alone", median(taken.per_s for taken in one.alone), "changes/s")
        shares = [whole.per_s / alone.per_s for whole, alone in zip(one.whole, one.alone, strict=True)]
        section.tell(f"{name}: whole / source alone", 100 * median(shares), "%")
        if name != "replay":
            ratios = [taken.per_s / other.per_s for taken, other in zip(one.whole, replay, strict=True)]
            section.tell(f"{name} / replay", 100 * median(ratios), "%")
    return section


def _profile_section(name: str, found: Found) -> Section:
    return Section(f"Where the time of intake goes: {name}", lines=found.profile)
