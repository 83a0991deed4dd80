"""`kill -9` at seeded moments while each source reads: in start-up, in a load, mid-stream, inside a large transaction.

KPR_KILL_POINTS says how many for each source (20; `make faults`: 200), KPR_KILL_SEED which, KPR_KILL_HISTORIES how much
is written (20 histories a kill, 1,200 at most). Afterwards the chain is whole, and the register's picture is the EPJ's;
where the source is a log, the chain is that of a reading which nobody disturbed (invariants 1, 2, 4, 5).
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from agent.demo.debezium_lines import as_debezium
from agent.demo.histories import Histories
from agent.demo.step import Action, Step
from agent.domain.notification import Notification
from tests.e2e import source_sections as sections
from tests.e2e.debezium_topics import all_tables, debezium, one_topic
from tests.e2e.far_register import Keys
from tests.e2e.sources_stage import MARK, Epj, Reading, check_picture, closed, mark, on_epj, without_place
from tests.e2e.stage import without_moments
from tests.faults.killed_daemon import KilledDaemon, Looked, on_daemon
from tests.register_model import RegisterModel
from tests.services import Connect, Postgres

pytestmark = [pytest.mark.server, pytest.mark.faults]

KILLS = int(os.environ.get("KPR_KILL_POINTS", "20"))
SEED = int(os.environ.get("KPR_KILL_SEED", "1"))
HISTORIES = int(os.environ.get("KPR_KILL_HISTORIES", min(KILLS, 60) * 20))
LOAD_KILLS = KILLS // 4

START_UP_S = 2.0  # reading files, opening the ledger, connecting, and the first of what waits
SPREAD_S = 0.08  # behind the moment at which something of a portion was booked
INSIDE_S = 0.005  # behind the moment at which so much of a load, or a part of a large transaction, was
QUIET_S = 20  # a run that had nothing of its phase to do is killed all the same
PART_ROWS = 2  # so that a large transaction, and a load, come in many parts

START_UP, LOAD, STREAM, INSIDE, NOTHING = "start-up", "a load", "the stream", "a large transaction", "nothing to do"


@dataclass
class Run:
    """One source that is killed: what is written, and what the kills cut short. `write`: a portion, step by step.

    has_parts: it gives a large transaction in parts; writes_first: a portion is written before a start, not meanwhile.
    """

    epj: Epj
    killed: KilledDaemon
    steps: Sequence[Step]
    write: Callable[[Sequence[Step]], None]
    random: Random
    has_parts: bool = False
    writes_first: bool = False
    cut_short: Counter[str] = field(default_factory=Counter)
    _not_counted: int = 0

    def write_before(self, also: Callable[[Sequence[Step]], None]) -> None:
        """Each portion is written before a start, not while it runs, and `also` writes it elsewhere."""
        first = self.write

        def both(steps: Sequence[Step]) -> None:
            first(steps)
            also(steps)

        self.write, self.writes_first = both, True

    async def load(self) -> None:
        """A quarter is there when it first starts. It is killed on the way through that, while another quarter comes,
        so that rows change and go between two beginnings; then it is let through.
        """
        quarter = len(self.steps) // 4
        for key in range(MARK, MARK + LOAD_KILLS + 2):
            self.write(list(mark(Action.INSERT, key)))
        self.write(self.steps[:quarter])
        for number, portion in enumerate(_portions(self.steps[quarter : 2 * quarter], LOAD_KILLS)):
            there = self.epj.count_rows()
            wanted = 0 if number == 1 else int(self.random.random() * there)
            gone = list(mark(Action.DELETE, MARK + 1 + number))  # the load before has told of this row
            async with self._written_meanwhile([*gone, *portion]):
                looked = await self._kill(
                    lambda looked, wanted=wanted: looked.rows >= wanted, INSIDE_S if wanted else START_UP_S
                )
            self.cut_short[START_UP if looked.rows == 0 else LOAD if looked.rows < there else NOTHING] += 1
        there = self.epj.count_rows()
        await self.killed.run_until(lambda looked: looked.rows >= there and looked.has_position, "the load")
        self.write(list(mark(Action.DELETE, MARK + 1 + LOAD_KILLS)))
        there = self.epj.count_rows()
        await self.killed.run_until(lambda looked: looked.rows == there, "what was written during the load")
        self._not_counted = self.epj.log_rows() - self.killed.look().changes

    async def stream(self) -> None:
        """The rest comes in portions, a third of them in one large transaction each, and a kill in each portion."""
        for number, portion in enumerate(_portions(self.steps[len(self.steps) // 4 * 2 :], KILLS - LOAD_KILLS)):
            before = self.killed.look()
            if number % 3 == 2:
                await self._kill_inside(before, _together(portion))
                continue
            is_open = asyncio.Event()
            if number % 3 == 0:
                is_open.set()  # what is written while it starts is there when it looks
            async with self._written_meanwhile(portion, is_open):
                if number % 3 == 0:
                    looked = await self._kill(lambda _: True, START_UP_S)
                else:
                    looked = await self._kill(
                        lambda looked, before=before: looked.changes > before.changes, SPREAD_S, is_open
                    )
                self.cut_short[self._where(before, looked)] += 1

    @asynccontextmanager
    async def _written_meanwhile(
        self, steps: Sequence[Step], is_open: asyncio.Event | None = None
    ) -> AsyncIterator[None]:
        """`is_open`: nothing is written before, so that it is written while the source reads."""

        async def write() -> None:
            if is_open is not None and not self.writes_first:
                await is_open.wait()
            await asyncio.to_thread(self.write, steps)

        writing = asyncio.create_task(write())
        if self.writes_first:
            await writing
        yield
        await writing

    async def _kill_inside(self, before: Looked, steps: Sequence[Step]) -> None:
        """One transaction; where it comes in parts, the kill comes when one of them is booked."""
        self.write(steps)
        rows = self.epj.log_rows()

        def begun(looked: Looked) -> bool:
            if self.has_parts:
                return looked.inside or looked.changes + self._not_counted >= rows
            return looked.changes > before.changes

        looked = await self._kill(begun, INSIDE_S)
        self.cut_short[INSIDE if looked.inside else self._where(before, looked)] += 1

    async def _kill(
        self, begun: Callable[[Looked], bool], spread_s: float, is_open: asyncio.Event | None = None
    ) -> Looked:
        delay_s = self.random.uniform(0, spread_s)
        return await self.killed.kill_after(begun, delay_s, limit_s=QUIET_S, is_open=is_open or asyncio.Event())

    def _where(self, before: Looked, looked: Looked) -> str:
        if looked.changes == before.changes:
            return START_UP
        return STREAM if looked.changes + self._not_counted < self.epj.log_rows() else NOTHING

    async def finish(self) -> list[Notification]:
        """Let it read to the end. The chain is whole, and the picture that it gives is the EPJ's."""
        self.write(list(mark(Action.DELETE)))
        await self.killed.run_until(lambda looked: looked.is_at_end, "the end of what was written")
        assert self.killed.look().rows == self.epj.count_rows()
        chain = self.killed.chain()
        check_picture(self.epj, RegisterModel().replay(chain), self.killed.findings(), "the killed one")
        assert self.killed.daemon.alarms() == set()
        assert not self.killed.counts()["unreadable"]
        return chain

    def check_kills(self, *expected: str) -> None:
        """The kills came where they were meant to."""
        assert self.cut_short.total() == KILLS
        missed = [where for where in expected if not self.cut_short[where]]
        assert not missed, f"no kill came in {missed}: {dict(self.cut_short)}"


async def test_outbox_table_killed(postgres: Postgres, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        epj = await stack.enter_async_context(on_epj(tmp_path, postgres))
        section = sections.outbox_table(epj, batch_rows=5)
        run = await begun(stack, "outbox", tmp_path, section, epj)
        run.has_parts = True
        await run.load()
        await run.stream()
        chain = await run.finish()
        run.check_kills(START_UP, LOAD, STREAM, INSIDE)
        await check_undisturbed(run, chain, run.killed.read_anew())


async def test_replay_killed(postgres: Postgres, tmp_path: Path) -> None:
    """The file grows between two starts."""
    async with AsyncExitStack() as stack:
        epj = await stack.enter_async_context(on_epj(tmp_path, postgres))
        lines = tmp_path / "lines.jsonl"
        run = await begun(stack, "replay", tmp_path, sections.replay(lines), epj)
        run.write_before(appending(lines))
        await run.load()
        await run.stream()
        chain = await run.finish()
        run.check_kills(START_UP, LOAD, STREAM)
        await check_undisturbed(run, chain, run.killed.read_anew())


async def test_postgres_logical_killed(postgres: Postgres, tmp_path: Path) -> None:
    """A load tells states, so the reading that nobody kills begins behind it, with copies of ledger and slot."""
    async with AsyncExitStack() as stack:
        epj = await stack.enter_async_context(on_epj(tmp_path, postgres))
        section = sections.postgres_logical(epj, chunk_rows=PART_ROWS)
        run = await begun(stack, "postgres", tmp_path, section, epj)
        run.has_parts = True
        await run.load()
        undisturbed = run.killed.read_on(sections.with_copied_slot(epj, section))
        await run.stream()
        chain = await run.finish()
        run.check_kills(START_UP, LOAD, STREAM, INSIDE)
        await check_undisturbed(run, chain, undisturbed)


async def test_kafka_debezium_killed(postgres: Postgres, connect: Connect, tmp_path: Path) -> None:
    """In one topic: the order of several is another one in each reading."""
    async with AsyncExitStack() as stack:
        epj = await stack.enter_async_context(on_epj(tmp_path, postgres))
        topic = all_tables(epj)
        await stack.enter_async_context(debezium(epj, connect, [topic], one_topic(epj)))
        section = sections.kafka_debezium(epj, connect.kafka, [topic])
        run = await begun(stack, "kafka", tmp_path, section, epj)
        await run.load()
        await run.stream()
        chain = await run.finish()
        run.check_kills(START_UP, LOAD, STREAM)
        await check_undisturbed(run, chain, run.killed.read_anew())


async def test_table_query_killed(postgres: Postgres, tmp_path: Path) -> None:
    """It sees states, at moments of its own: no two readings tell the same, and all end with the same picture."""
    async with AsyncExitStack() as stack:
        epj = await stack.enter_async_context(on_epj(tmp_path, postgres))
        run = await begun(stack, "query", tmp_path, sections.table_query(epj, scan_every_s=1.0), epj)
        await run.load()
        await run.stream()
        await run.finish()
        run.check_kills(START_UP, LOAD, STREAM)


async def begun(stack: AsyncExitStack, name: str, folder: Path, section: sections.Section, epj: Epj) -> Run:
    Keys(folder)
    killed = await stack.enter_async_context(on_daemon(name, folder, section, epj))
    steps = Histories(SEED, HISTORIES, epj.today).steps()
    return Run(epj, killed, steps, epj.write, Random(f"kill/{name}/{SEED}"))


async def check_undisturbed(run: Run, chain: Sequence[Notification], reading: Reading) -> None:
    """The notifications of a reading that nobody killed, GUIDs and moments of registration too; link by link, but that
    a kill inside a transaction may put some of its services in another order: its later parts may be known.
    """
    with closed(reading):
        async with reading.running():
            await reading.until_read()
        undisturbed = reading.check()
    ours, theirs = without_place(chain), without_place(undisturbed)
    different = {guid for guid in ours.keys() | theirs.keys() if ours.get(guid) != theirs.get(guid)}
    assert not different, f"{len(different)} notifications are not those of an undisturbed reading"
    if not run.cut_short[INSIDE]:
        pairs = zip(without_moments(chain), without_moments(undisturbed), strict=False)
        other = [ours.number for ours, theirs in pairs if ours != theirs]
        assert other[:5] == [], "the same notifications, in another order"


def appending(file: Path) -> Callable[[Sequence[Step]], None]:
    """Appends steps to the file as Debezium would, its log going on from call to call."""
    passed = 0

    def append(steps: Sequence[Step]) -> None:
        nonlocal passed
        last = passed
        with file.open("a") as lines:
            for event in as_debezium(steps):
                if event["value"] is not None:
                    event["value"]["source"]["lsn"] = last = event["value"]["source"]["lsn"] + passed
                lines.write(f"{json.dumps(event)}\n")
        passed = last

    file.touch()
    return append


def _portions(steps: Sequence[Step], count: int) -> Iterator[Sequence[Step]]:
    for number in range(count):
        yield steps[number * len(steps) // count : (number + 1) * len(steps) // count]


def _together(steps: Sequence[Step]) -> list[Step]:
    """All their changes in one transaction."""
    changes = tuple(change for step in steps for change in step.changes)
    return [replace(steps[-1], changes=changes)] if steps else []
