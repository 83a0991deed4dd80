"""The acceptance run: lifelike histories in PostgreSQL, the real daemon, real RabbitMQ, the demo's register.

The daemon is `kpr-agent run FILE` with a municipality's own YAML. Its queues, TLS and rights are those of
tests/services/topology.py. None of this was tried against Norsk Helsenett's bus.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.demo.step import Step
from tests.e2e.daemon import call
from tests.e2e.report import Report
from tests.e2e.stage import Setting, Stage, on_stage
from tests.services import Broker, Postgres

pytestmark = pytest.mark.server

BATCH_STEPS = 100


async def test_a_thousand_histories_reach_the_register(
    rabbitmq40: Broker, postgres: Postgres, tmp_path: Path, report: Report
) -> None:
    await _whole_run(tmp_path, rabbitmq40, postgres, Setting(seed=4602, services=1000), report)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(seed=1, services=120, addresses="v1", window=1), id="v1"),
        pytest.param(Setting(seed=2, services=250, window=5, max_notifications=20), id="v2-many-a-message"),
    ],
)
async def test_other_settings_on_rabbitmq_4(
    rabbitmq40: Broker, postgres: Postgres, tmp_path: Path, report: Report, setting: Setting
) -> None:
    await _whole_run(tmp_path, rabbitmq40, postgres, setting, report)


async def test_rabbitmq_3_10(rabbitmq310: Broker, postgres: Postgres, tmp_path: Path, report: Report) -> None:
    setting = Setting(seed=3, services=120, addresses="v1", window=10)
    await _whole_run(tmp_path, rabbitmq310, postgres, setting, report)


async def _whole_run(folder: Path, broker: Broker, postgres: Postgres, setting: Setting, report: Report) -> None:
    async with on_stage(folder, broker, postgres, setting) as stage:
        before, live = _parted(stage.steps)
        await stage.write(before)
        stage.daemon.start()
        await _first_load_waits_for_a_person(stage)
        writing = asyncio.create_task(_write_live(stage, live))
        applied = await call("apply", stage.file)
        assert applied["applied"], applied
        await writing
        await stage.until_settled()
        status = (await call("status", stage.file))[0]
        await stage.daemon.stop()
        _check(stage, status)
        report.add(stage, status, f"RabbitMQ {broker.version}")
        stage.keep_messages(folder.name)


def _parted(steps: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
    """A third is there when the daemon first starts; the rest is written while it works."""
    third = len(steps) // 3
    return steps[:third], steps[third:]


async def _first_load_waits_for_a_person(stage: Stage) -> None:
    rows = stage.log_rows()
    status = await stage.until(lambda found: found["counts"].get("lines") == rows, "the first load")
    assert status["gate"].startswith("first load"), status["gate"]
    plan = await call("plan", stage.file)
    assert plan["notifications"] > 0
    assert stage.register.arrivals == []


async def _write_live(stage: Stage, steps: Sequence[Step]) -> None:
    """Batch by batch, as fast as the daemon books them."""
    for batch in _batches(steps):
        await stage.write(batch)
        rows = stage.log_rows()
        await stage.until(lambda found, rows=rows: found["counts"].get("lines") == rows, "a batch of changes")


def _batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    for start in range(0, len(steps), BATCH_STEPS):
        yield steps[start : start + BATCH_STEPS]


def _check(stage: Stage, status: dict[str, object]) -> None:
    stage.check_receipts(status)
    stage.check_counts(status)
    chain = stage.check_chain()
    stage.check_messages()
    stage.check_picture()
    assert stage.register.again == 0, "nothing went wrong, and a message was sent twice"
    assert stage.daemon.alarms() == {"gate_closed"}
    messages = len(stage.register.messages())
    if stage.setting.max_notifications == 1:
        assert messages == len(chain)
    else:
        assert messages < len(chain) / 2, "a backlog should travel as several notifications a message"
