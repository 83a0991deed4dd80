"""`kill -9` at seeded moments of one long run: the result is that of a run which nothing disturbed.

KPR_KILL_POINTS says how many (20; `make faults`: 200), KPR_KILL_SEED which, KPR_KILL_HISTORIES how long the run is
(12 histories a kill). What the moments are is in _PHASES.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.demo.step import Step
from agent.domain.notification import Notification
from tests.e2e.daemon import call
from tests.e2e.report import Report
from tests.e2e.stage import Setting, Stage, on_stage, without_moments
from tests.services import Broker, Postgres

pytestmark = [pytest.mark.server, pytest.mark.faults]

KILLS = int(os.environ.get("KPR_KILL_POINTS", "20"))
SEED = int(os.environ.get("KPR_KILL_SEED", "1"))
WINDOW = 10
HISTORIES = int(os.environ.get("KPR_KILL_HISTORIES", KILLS * 12))

_PHASES = (
    (None, 2.0),  # from the start of the process on: reading files, opening the ledger, connecting
    ("changes_booked", 0.15),
    ("message_sent", 0.3),
    ("receipt_booked", 0.3),
)
"""What the daemon must have logged since its start, and within how many seconds after that it is killed; in turn."""

_QUIET_S = 30  # a run of the daemon that had nothing of its phase to do is killed all the same


async def test_kill_at_any_moment_changes_nothing(
    rabbitmq40: Broker, postgres: Postgres, tmp_path: Path, report: Report
) -> None:
    setting = Setting(seed=SEED, services=HISTORIES, window=WINDOW)
    async with on_stage(tmp_path, rabbitmq40, postgres, setting) as stage:
        await _open_the_gate(stage)
        cut_short = await _kill_again_and_again(stage, Random(f"kill/{SEED}"))
        stage.daemon.start()
        status = await stage.until_settled()
        await stage.daemon.stop()
        await _check(stage, status, cut_short)
        told = ", ".join(f"{count} times with {what}" for what, count in sorted(cut_short.items()))
        report.add(stage, status, f"RabbitMQ {rabbitmq40.version}", f"{KILLS} times kill -9: {told}")
        stage.keep_messages("killed")


async def _open_the_gate(stage: Stage) -> None:
    """On an empty EPJ, so that each of its transactions is looked at by itself, killed or not."""
    stage.daemon.start()
    await stage.until(lambda status: status["gate"].startswith("first load"), "the daemon's first start")
    assert (await call("apply", stage.file))["applied"]
    await stage.daemon.kill()


async def _kill_again_and_again(stage: Stage, random: Random) -> Counter[str]:
    """What the kills cut short, by what the ledger says after each."""
    cut_short: Counter[str] = Counter()
    for number, steps in enumerate(_portions(stage.steps, KILLS)):
        event, spread_s = _PHASES[number % len(_PHASES)]
        delay_s = random.uniform(0, spread_s)
        stage.daemon.start()
        writing = asyncio.create_task(stage.write(steps))
        if event is None or await stage.until_told(event, _QUIET_S):
            await asyncio.sleep(delay_s)  # what the test is about: any moment will do
        rows = await asyncio.to_thread(stage.log_rows)
        await stage.daemon.kill()
        cut_short.update(_under_way(await stage.status(), rows))
        await writing
    return cut_short


def _under_way(status: dict[str, Any], rows: int) -> Iterator[str]:
    work = {
        "changes to book": rows > status["counts"].get("lines", 0),
        "messages in flight": status["messages"]["in_flight"],
        "receipts to come": status["sent"],
    }
    found = [what for what, is_there in work.items() if is_there]
    yield from found or ["nothing to do"]


def _portions(steps: Sequence[Step], count: int) -> Iterator[Sequence[Step]]:
    for number in range(count):
        yield steps[number * len(steps) // count : (number + 1) * len(steps) // count]


async def _check(stage: Stage, status: dict[str, Any], cut_short: Counter[str]) -> None:
    stage.check_receipts(status)
    stage.check_counts(status)
    stage.check_picture()
    stage.check_messages()
    _check_chain(stage.check_chain(), *await stage.undisturbed(), status)
    resumed = stage.daemon.counts("sending_resumes_after_restart")
    assert max(resumed, default=0) <= WINDOW
    assert stage.register.again <= sum(resumed)
    assert stage.daemon.alarms() == {"gate_closed"}
    missed = [what for what in ("changes to book", "messages in flight", "receipts to come") if not cut_short[what]]
    assert not missed, f"no kill came while there were {missed}: {dict(cut_short)}"


def _check_chain(
    chain: list[Notification], undisturbed: list[Notification], counts: dict[str, int], status: dict[str, Any]
) -> None:
    """Notification by notification what a run gives that nothing disturbs, GUIDs and moments of registration too."""
    pairs = zip(without_moments(chain), without_moments(undisturbed), strict=False)
    other = [ours.number for ours, theirs in pairs if ours != theirs]
    assert (len(chain), other[:5]) == (len(undisturbed), []), "another chain than that of an undisturbed run"
    assert {name: status["counts"].get(name) for name in counts} == counts
