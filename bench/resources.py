"""Memory and processor time of the real daemon, and how long it takes from its start to its first message."""

import asyncio
from pathlib import Path
from statistics import median

from agent.demo.world import Keys
from bench.daemon import Daemon
from bench.report import Section, progress
from bench.stage import Stage
from bench.workload import histories, one_event_steps
from tests.services import Broker

_IDLE_S = 5
_WINDOW = 50


async def measure(folder: Path, broker: Broker, keys: Keys, *, services: int, starts: int) -> Section:
    """One municipality over AMQP, window 50. `services` histories are the load, `starts` the number of starts."""
    section = Section("Resources of one municipality's daemon")
    await _memory_and_cpu(section, Stage(folder / "resources", broker, keys, window=_WINDOW), services)
    await _first_messages(section, Stage(folder / "starts", broker, keys, window=_WINDOW), starts)
    return section


async def _memory_and_cpu(section: Section, stage: Stage, services: int) -> None:
    await stage.empty_queue()
    with Daemon(stage.file, stage.folder / "daemon.log") as daemon:
        await daemon.until("sender_open")
        await daemon.until("source_open")
        await asyncio.sleep(_IDLE_S)  # what is measured: nothing happens
        idle_mib, before_s = daemon.rss_mib(), daemon.cpu_s()
        await asyncio.sleep(_IDLE_S)
        idle_cpu = (daemon.cpu_s() - before_s) / _IDLE_S
        before_s = daemon.cpu_s()
        steps = histories(services)
        rows = sum(len(step.changes) for step in steps)
        stage.write(steps)
        await _until_quiet(daemon)
        sent, cpu_s = daemon.count("message_sent"), daemon.cpu_s() - before_s
        await daemon.stop()
        most = daemon.most_rss_mib
    await stage.empty_queue()
    progress(f"{sent} messages, {cpu_s:.1f} s of processor time, {most:.0f} MiB")
    section.at_most("resident memory, idle", idle_mib, "MiB", 120, f"{_IDLE_S} s after its connections stood")
    section.at_most("resident memory, under load, the most seen", most, "MiB", 160)
    note = f"from {sent} messages of {rows} changes, all of the daemon's work"
    section.tell("CPU seconds for 10,000 messages", cpu_s / sent * 10_000, "s", note)
    section.tell("CPU while nothing happens", 100 * idle_cpu, "% of a core", "looks every 50 ms; usually every second")


async def _until_quiet(daemon: Daemon) -> None:
    """Until nothing more was sent for three seconds."""
    while True:
        before = daemon.count("message_sent")
        await asyncio.sleep(3)
        if before and daemon.count("message_sent") == before:
            return


async def _first_messages(section: Section, stage: Stage, starts: int) -> None:
    referred, steps = one_event_steps(starts)
    stage.write(referred)
    taken: list[float] = []
    for number, step in enumerate(steps):
        stage.write([step])
        with Daemon(stage.file, stage.folder / f"daemon-{number}.log") as daemon:
            await daemon.until("message_sent")
            taken.append(daemon.times["message_sent"][0] - daemon.began_at)
            await daemon.stop()
    await stage.empty_queue()
    spread = f"median of {starts}, from {min(taken):.2f} to {max(taken):.2f} s; its change was committed before"
    section.at_most("process start to first message `accepted`", median(taken), "s", 1.5, spread)
