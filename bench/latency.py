"""From a commit in the EPJ to `accepted`, taken apart, against what its parts take alone in the same run.

The same loops as the daemon's, in this process, with a note of the time where one hands on to the next. The EPJ is
written by a process of its own (bench/writer.py), so that its work is none of ours.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

from agent.composition import dispatch_settings, envelope_settings, protection_files, reporting_unit, wanted
from agent.demo.world import Keys
from agent.dispatch.loop import Dispatch
from agent.examine import notice_rules
from agent.intake.loop import Intake
from agent.ledger.ledger import Ledger
from agent.observe.logs import configure, get
from agent.pipeline import PROTECTION_THREADS
from agent.protection.protector import Protector
from bench import stations
from bench.report import Section, progress
from bench.stage import QUEUE, Stage
from bench.workload import one_event_steps
from connectors.catalog import open_sender, open_source
from connectors.sender import Outcome, Outgoing, Sender, Verdict
from connectors.source import Position, Source, Transaction
from tests.services import Broker

T = TypeVar("T")

EVENTS_PER_S = 50
POLL_S = 0.01
_ALONE = 200
STATIONS = ("seen", "ledger committed", "protected", "accepted")


@dataclass
class Noted:
    """Moments (CLOCK_MONOTONIC, which all processes share) of each event, in chain order."""

    seen: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    accepted: list[tuple[float, float]] = field(default_factory=list)
    protected_at: dict[bytes, float] = field(default_factory=dict)
    looks: list[float] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _NotingSource:
    inner: Source
    noted: Noted

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def identity(self) -> str:
        return await self.inner.identity()

    async def transactions(self) -> AsyncIterator[Transaction]:
        async for transaction in self.inner.transactions():
            now = time.monotonic()
            if any(getattr(record, "table", "").endswith("tjeneste") for record in transaction.records):
                self.noted.seen.append(now)
            elif not transaction.records:
                self.noted.looks.append(now)
            yield transaction

    async def acknowledge(self, position: Position) -> None:
        await self.inner.acknowledge(position)


@dataclass
class _NotingLedger:
    """What intake writes through: notes when each commit returned, once for each notification that it made."""

    inner: Ledger
    noted: Noted

    async def run(self, work: Callable[[Any], T]) -> T:
        result = await self.inner.run(work)
        now = time.monotonic()
        if isinstance(result, list):
            for booked in result:
                made = booked.examination.notifications if booked.examination is not None else 0
                self.noted.committed.extend([now] * made)
        return result


@dataclass
class _NotingProtector:
    inner: Protector
    noted: Noted

    def protect(self, content: bytes, at: datetime) -> bytes:
        body = self.inner.protect(content, at)
        self.noted.protected_at[body] = time.monotonic()
        return body


@dataclass
class _NotingSender:
    inner: Sender
    noted: Noted

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def send(self, outgoing: Outgoing) -> Outcome:
        outcome = await self.inner.send(outgoing)
        if outcome.verdict is Verdict.ACCEPTED:
            self.noted.accepted.append((self.noted.protected_at.pop(outgoing.body), time.monotonic()))
            self.noted.changed.set()
        return outcome


async def measure(folder: Path, broker: Broker, keys: Keys, *, seconds: int) -> Section:
    """Events at a steady pace for so many seconds, window 1."""
    events = EVENTS_PER_S * seconds
    stage = Stage(folder / "latency", broker, keys, window=1, poll_s=POLL_S)
    referred, _ = one_event_steps(events)
    stage.write(referred)
    await stage.empty_queue()
    alone = await _alone(Stage(folder / "latency-alone", broker, keys, window=1, poll_s=POLL_S))
    await stage.empty_queue()
    with (stage.folder / "loops.log").open("w") as log:
        configure(log)
        committed_at, noted = await _run(stage, events)
        configure(sys.stderr)
    await stage.empty_queue()
    progress(f"{events} events at {EVENTS_PER_S} a second")
    return _section(seconds, committed_at, noted, alone)


async def _run(stage: Stage, events: int) -> tuple[list[float], Noted]:
    noted = Noted()
    with stage.open_ledger() as ledger, ThreadPoolExecutor(PROTECTION_THREADS) as executor:
        intake, dispatch = _loops(stage, ledger, noted, executor)
        tasks = [asyncio.create_task(intake.run()), asyncio.create_task(dispatch.run())]
        try:
            async with asyncio.timeout(60):  # what is referred to is booked first
                while not noted.looks:  # noqa: ASYNC110 - the source notes it, in a list
                    await asyncio.sleep(0.05)
            writer = [sys.executable, "-m", "bench.writer", str(stage.epj_file), str(events), str(EVENTS_PER_S)]
            output = await asyncio.to_thread(subprocess.run, writer, check=True, stdout=subprocess.PIPE)
            async with asyncio.timeout(60):
                while len(noted.accepted) < events:
                    noted.changed.clear()
                    await noted.changed.wait()
        finally:
            dispatch.stop()
            tasks[0].cancel()
            await asyncio.wait(tasks, timeout=30)
    return json.loads(output.stdout), noted


def _loops(stage: Stage, ledger: Ledger, noted: Noted, executor: ThreadPoolExecutor) -> tuple[Intake, Dispatch]:
    """Intake and dispatch as agent/pipeline.py puts them together."""
    municipality = stage.municipality
    settings, log = municipality.settings, get(municipality=municipality.unit)
    unit = reporting_unit(municipality, ledger.unit_secret)
    ledger.run_now(lambda tx: notice_rules(tx, unit))

    def sender() -> AbstractAsyncContextManager[Sender]:
        return _NotingSender(open_sender(settings.bus.chosen, send_to_queue=QUEUE), noted)

    dispatch = Dispatch(
        ledger,
        sender,
        _NotingProtector(Protector(protection_files(settings)), noted),
        envelope_settings(municipality),
        dispatch_settings(settings),
        log,
        executor=executor,
    )

    def source(position: Position | None) -> AbstractAsyncContextManager[Source]:
        return _NotingSource(open_source(settings.source.chosen, wanted(municipality), position), noted)

    return Intake(unit, _NotingLedger(ledger, noted), source, log, chained=dispatch.nudge), dispatch


@dataclass(frozen=True)
class Alone:
    """Each part by itself, the median of some hundreds, in seconds. poll: one wait and one look at a quiet log."""

    poll_s: float
    fsync_s: float
    protection_s: float
    round_trip_s: float

    @property
    def sum_s(self) -> float:
        return self.poll_s + 2 * self.fsync_s + self.protection_s + self.round_trip_s


async def _alone(other: Stage) -> Alone:
    referred, starts = one_event_steps(_ALONE)
    other.write([*referred, *starts])
    rows = sum(len(step.changes) for step in (*referred, *starts))
    _, chain = await stations.take_in(other, rows)
    _, envelopes = stations.build(other, chain)
    protector = Protector(protection_files(other.municipality.settings))
    protections, bodies = [], []
    for made in envelopes:
        began = time.perf_counter()
        bodies.append(protector.protect(made.content, datetime.now(UTC)))
        protections.append(time.perf_counter() - began)
    _, trips = await stations.send(other, bodies, 1)
    return Alone(
        poll_s=percentile(await _looks(other), 50),
        fsync_s=percentile(await _fsyncs(other), 50),
        protection_s=percentile(protections, 50),
        round_trip_s=percentile(trips, 50),
    )


async def _looks(stage: Stage) -> list[float]:
    """The time from one look at a quiet log to the next."""
    moments: list[float] = []
    source = open_source(stage.municipality.settings.source.chosen, wanted(stage.municipality), None)
    async with source:
        async for transaction in source.transactions():
            if not transaction.records:
                moments.append(time.monotonic())
            if len(moments) > _ALONE:
                break
    return [later - earlier for earlier, later in pairwise(moments)]


async def _fsyncs(stage: Stage) -> list[float]:
    """Ledger transactions that write one note."""
    taken = []
    with stage.open_ledger() as ledger:
        for number in range(_ALONE):
            began = time.perf_counter()
            await ledger.run(lambda tx, number=number: tx.set_note("bench", str(number)))
            taken.append(time.perf_counter() - began)
    return taken


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _section(seconds: int, committed_at: list[float], noted: Noted, alone: Alone) -> Section:
    protected_at = [one[0] for one in noted.accepted]
    accepted_at = [one[1] for one in noted.accepted]
    moments = [committed_at, noted.seen, noted.committed, protected_at, accepted_at]
    lengths = {len(one) for one in moments}
    if len(lengths) != 1:
        raise RuntimeError(f"the stations did not see the same events: {[len(one) for one in moments]}")
    section = Section(f"Commit to `accepted` at {EVENTS_PER_S} events/s")
    whole = [end - begin for begin, end in zip(committed_at, accepted_at, strict=True)]
    p50, p99 = percentile(whole, 50), percentile(whole, 99)
    section.tell("p50", 1000 * p50, "ms", f"{len(whole)} events in {seconds} s, window 1, one event a message")
    section.tell("p99", 1000 * p99, "ms")
    for name, before, after in zip(STATIONS, moments, moments[1:], strict=False):
        parts = [later - earlier for earlier, later in zip(before, after, strict=True)]
        p99_text = f"p99 {1000 * percentile(parts, 99):.3g} ms"
        section.tell(f"of it until {name}, p50", 1000 * percentile(parts, 50), "ms", p99_text)
    section.tell("alone: one poll", 1000 * alone.poll_s, "ms", f"the wait of {1000 * POLL_S:g} ms and a look")
    section.tell("alone: one fsync", 1000 * alone.fsync_s, "ms", "a ledger transaction with one note; twice in the sum")
    section.tell("alone: one protection", 1000 * alone.protection_s, "ms", "RSA 3072")
    section.tell("alone: one round trip", 1000 * alone.round_trip_s, "ms", "AMQP over TLS to `accepted`")
    section.tell("sum of these, both fsyncs counted", 1000 * alone.sum_s, "ms")
    section.at_most("p50 / sum", p50 / alone.sum_s, "times", 3)
    section.at_most("p99 / sum", p99 / alone.sum_s, "times", 10)
    without_wait = alone.sum_s - POLL_S
    section.tell("(p50 - half a wait) / sum without the wait", (p50 - POLL_S / 2) / without_wait, "times", "stricter")
    return section
