"""kill -9 in mid-drain, and a queue that is absent, deleted or unbound: what is lost, and what comes twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.demo.step import Step
from agent.demo.world import Keys
from bench.daemon import Daemon
from bench.report import Section, progress
from bench.stage import QUEUE, Stage
from bench.workload import one_event_steps
from tests.services import Broker

_WINDOW = 50
GONE_S = 10


async def measure(folder: Path, broker: Broker, keys: Keys, *, messages: int, kills: int) -> Section:
    """`messages` are drained in each case; the daemon is killed `kills` times in the first."""
    referred, starts = one_event_steps(messages)
    section = Section("Faults")

    def stage(name: str) -> Stage:
        made = Stage(folder / name.replace(" ", "-"), broker, keys, window=_WINDOW)
        made.write(referred)
        return made

    await _killed(section, stage("killed"), starts, kills)
    cases: Sequence[tuple[str, Callable[[str], None]]] = (
        ("absent at start", broker.delete_queue),
        ("deleted", broker.delete_queue),
        ("unbound", broker.unbind),
    )
    for name, take_away in cases:
        await _gone(section, stage(name), starts, name, take_away)
    return section


async def _killed(section: Section, stage: Stage, starts: Sequence[Step], kills: int) -> None:
    """Killed after equal shares of the drain, started again at once."""
    await stage.empty_queue()
    stage.write(starts)
    again_after: list[float] = []
    killed_at = 0.0
    drained = 0
    for number in range(kills + 1):
        with Daemon(stage.file, stage.folder / f"daemon-{number}.log") as daemon:
            await daemon.until("message_sent")
            if killed_at:
                again_after.append(daemon.times["message_sent"][0] - killed_at)
            if number < kills:
                share = (len(starts) - drained) // (kills - number + 1)
                await daemon.until("message_sent", max(1, share))
                killed_at = daemon.kill()
                drained += len(daemon.times["message_sent"])
            else:
                left = len(starts) - drained
                await daemon.until_true(lambda: _all_sent(stage), f"the last {left} messages", 120)
                await daemon.stop()
    twice, lost = _held_against(await stage.take_message_ids(), len(starts))
    note = f"window {_WINDOW}, killed {kills} times while {len(starts)} messages drained; {twice} twice in all"
    section.at_most("messages sent twice, for each kill", twice / kills, "messages", _WINDOW, note)
    section.at_most("messages lost", lost, "messages", 0)
    spread = f"the longest of {kills}; started again at once"
    section.tell("from kill -9 to the next `accepted`", max(again_after), "s", spread)
    progress(f"killed {kills} times: {twice} came twice, {lost} lost")


def _all_sent(stage: Stage) -> bool:
    from agent.verbs.status import status_of

    status = status_of(stage.municipality)
    counts = status.get("counts", {})
    return bool(counts) and not (status["waiting"] or status["due"]) and not status["messages"]["in_flight"]


async def _gone(
    section: Section, stage: Stage, starts: Sequence[Step], name: str, take_away: Callable[[str], None]
) -> None:
    """Half of the messages before the queue is gone, half while it is; taken from it before, lest they go with it."""
    broker = stage.broker
    await stage.empty_queue()
    at_start = name == "absent at start"
    before, during = (starts[:0], starts) if at_start else (starts[: len(starts) // 2], starts[len(starts) // 2 :])
    stage.write(before)
    taken: list[str] = []
    try:
        if at_start:
            take_away(QUEUE)
        with Daemon(stage.file, stage.folder / "daemon.log") as daemon:
            if not at_start:
                await daemon.until("message_sent", len(before))
                taken += await stage.take_message_ids()
                take_away(QUEUE)
            stage.write(during)
            await daemon.until_true(lambda: bool(daemon.alarms), "an alarm", 60)
            await asyncio.sleep(GONE_S)  # what is measured: it stays away for so long
            sent_while_gone = daemon.count("message_sent") - len(before)
            broker.restore_queues()
            back_at = time.time()
            await daemon.until("message_sent", len(starts), 120)
            goes_on_s = daemon.times["message_sent"][len(before) + sent_while_gone] - back_at
            alarms = dict(daemon.alarms)
            await daemon.stop()
    finally:
        broker.restore_queues()
    twice, lost = _held_against([*taken, *await stage.take_message_ids()], len(starts))
    told = ", ".join(f"{count} {alarm}" for alarm, count in sorted(alarms.items()))
    note = f"gone for {GONE_S} s and the time until the first alarm; {twice} came twice; alarms: {told}"
    section.at_most(f"queue {name}: messages lost", lost, "messages", 0, note)
    section.tell(f"queue {name}: back until sending goes on by itself", goes_on_s, "s", "slow_retry is 2 s here")
    progress(f"queue {name}: {lost} lost, goes on after {goes_on_s:.1f} s")


def _held_against(message_ids: list[str], expected: int) -> tuple[int, int]:
    """How many came twice, and how many never."""
    counted = Counter(message_ids)
    return len(message_ids) - len(counted), expected - len(counted)
