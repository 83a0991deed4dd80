"""Five sources, one result: the same history, written once, read by each of them into a ledger of its own.

(a) postgres_logical, (b) Debezium's connector through Kafka Connect and Kafka, (c) outbox_table filled by triggers,
(d) replay of what (b) wrote, (e) table_query. All servers are real. The gates are open before the first row comes.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from agent.demo.epj_schema import LOG_TABLE
from agent.demo.histories import Histories
from agent.demo.step import Step
from agent.domain.notification import Notification, Status
from tests.e2e import source_sections as sections
from tests.e2e.debezium_topics import a_topic_for_each_table, debezium, records, write_replay
from tests.e2e.sources_stage import Epj, Reading, closed, on_epj, without_place
from tests.e2e.step_batches import independent_batches, single_changes
from tests.services import Connect, Postgres

pytestmark = pytest.mark.server

SERVICES = 1000
SEED = 4602


async def test_the_registers_picture_is_the_epjs_from_all_five(
    postgres: Postgres, connect: Connect, tmp_path: Path
) -> None:
    """The chain of each is whole (invariant 4), whatever comes together and in whatever order."""
    async with on_epj(tmp_path, postgres) as epj:
        steps = Histories(SEED, SERVICES, epj.today).steps()
        assert any(len(step.changes) > 1 for step in steps)
        async with readings_of(epj, connect, tmp_path, [steps], "abce") as found:
            assert sorted(found) == ["a", "b", "c", "d", "e"]
            for reading in found.values():
                assert len(reading.check()) > 2 * SERVICES


async def test_single_changes_give_the_same_notifications_from_all_four_that_see_each(
    postgres: Postgres, connect: Connect, tmp_path: Path
) -> None:
    """GUIDs and content (invariant 5). Only their places in the chain may differ."""
    async with on_epj(tmp_path, postgres) as epj:
        batches = list(independent_batches(single_changes(Histories(SEED, SERVICES, epj.today).steps())))
        async with readings_of(epj, connect, tmp_path, batches, "abc") as found:
            told = {name: without_place(reading.check()) for name, reading in found.items()}
            assert sorted(told) == ["a", "b", "c", "d"]
            assert len(told["a"]) > 2 * SERVICES
            assert different(told["a"], told["b"]) == []
            assert different(told["a"], told["d"]) == []
            assert different(told["a"], as_if_at_commit(told["c"], told["a"], deleted_at(epj))) == []


def different(ours: Mapping[UUID, Notification], theirs: Mapping[UUID, Notification]) -> list[UUID]:
    """GUIDs that only one of them has, or that stand for another content."""
    return [guid for guid in ours.keys() | theirs.keys() if ours.get(guid) != theirs.get(guid)]


def as_if_at_commit(
    outbox: Mapping[UUID, Notification], others: Mapping[UUID, Notification], moments: set[datetime]
) -> dict[UUID, Notification]:
    """The outbox's notifications, with the commit in the place of the trigger's moment, which lies just before it.

    A deleted row has no column that says when it was registered. A trigger cannot know when its transaction commits;
    the other sources know nothing else.
    """
    found = dict(outbox)
    for guid, one in outbox.items():
        other = others.get(guid)
        if one.status is Status.ANNUL and one.content.registered_at in moments and other is not None:
            assert one.content.registered_at <= other.content.registered_at
            found[guid] = replace(one, content=replace(one.content, registered_at=other.content.registered_at))
    assert 10 < len(different(outbox, found)) < len(outbox) / 10
    return found


def deleted_at(epj: Epj) -> set[datetime]:
    """When the triggers wrote that a row was deleted."""
    with epj.engine.connect() as connection:
        return set(connection.scalars(sa.text(f"SELECT tid FROM {LOG_TABLE} WHERE operasjon = 'D'")))


@asynccontextmanager
async def readings_of(
    epj: Epj, connect: Connect, folder: Path, batches: Sequence[Sequence[Step]], live: str
) -> AsyncIterator[dict[str, Reading]]:
    """Write the batches while the sources named in `live` read them, to the end; then replay what Debezium wrote.

    Between two batches Kafka's reader is waited for.
    """
    topics = a_topic_for_each_table(epj)
    sources = {
        "a": lambda: sections.postgres_logical(epj),
        "b": lambda: sections.kafka_debezium(epj, connect.kafka),
        "c": lambda: sections.outbox_table(epj),
        "e": lambda: sections.table_query(epj),
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(debezium(epj, connect, topics))
        found = {name: Reading(name, folder, sources[name](), epj) for name in live}
        stack.enter_context(closed(*found.values()))
        async with AsyncExitStack() as running:
            for reading in found.values():
                await running.enter_async_context(reading.running())
            for reading in found.values():
                await reading.until_open()
            await asyncio.to_thread(epj.begin)
            for batch in batches:
                await asyncio.to_thread(epj.write, batch)
                if len(batches) > 1:
                    await found["b"].until_booked(epj.log_rows())
            await asyncio.to_thread(epj.end)
            for reading in found.values():
                await reading.until_read()
        lines = folder / "records.jsonl"
        write_replay(lines, await records(connect.kafka, topics))
        replayed = Reading("d", folder, sections.replay(lines), epj)
        stack.enter_context(closed(replayed))
        await replayed.run()
        assert replayed.has_read()
        yield found | {"d": replayed}
