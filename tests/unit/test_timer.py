"""What the timer tells by itself: the gate, rows long missing, many parked services; and days that come."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from agent.domain.gate import GateLimits
from agent.timer import Keep, Timer
from tests.outbound import RecordingLog
from tests.world import World, d

KEEP = Keep(timedelta(days=90), timedelta(days=90), timedelta(days=90), timedelta(days=90))


async def look_once(world: World, log: RecordingLog, *, missing_row_alarm: timedelta = timedelta(days=7)) -> None:
    """One look of the timer, overdue receipts included."""
    looked = asyncio.Event()

    async def overdue() -> None:
        looked.set()

    timer = Timer(world.unit, world.ledger, log, overdue, KEEP, missing_row_alarm, clock=lambda: world.now)
    running = asyncio.create_task(timer.run())
    await asyncio.wait_for(looked.wait(), 30)
    await asyncio.wait_for(until_kept(timer), 30)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until_kept(timer: Timer) -> None:
    """Until the ledger has done what the look asked of it."""
    for _ in range(3):
        await timer.ledger.run(lambda tx: tx.count_due())
        await asyncio.sleep(0)


def told(world: World) -> list[str]:
    """The events that stand for the service 10."""
    reported = world.ledger.read(lambda tx: tx.reported("10"))
    return [standing.event.value for standing in reported.standing] if reported else []


async def test_a_closed_gate_is_told_once_with_its_reason() -> None:
    log = RecordingLog()
    await look_once(World(gate_open=False), log)
    assert [fields["reason"] for fields in log.told("gate_closed")] == ["first load: nothing was ever applied"]


async def test_a_day_that_came_is_looked_at_after_the_source_has_passed_its_midnight() -> None:
    world = World()
    world.put("tjeneste", 10, slutt_dato=d("03-10"))
    world.now += timedelta(days=9)
    await look_once(world, RecordingLog())
    assert told(world) == ["TjenesteStart"]
    world.ledger.run_now(lambda tx: tx.set_seen_through(world.now))
    await look_once(world, RecordingLog())
    assert told(world) == ["TjenesteStart", "TjenesteSlutt"]


async def test_many_parked_services_are_an_alarm_and_a_few_are_not() -> None:
    world = World(limits=GateLimits(0.05, 20))
    for key in range(100, 120):
        world.put("tjeneste", key, slutt_dato=d("1986-01-01"))
    log = RecordingLog()
    await look_once(world, log)
    assert log.alarms() == []
    world.put("tjeneste", 120, slutt_dato=d("1986-01-01"))
    await look_once(world, log)
    assert log.alarms() == ["many_services_parked"]


async def test_a_row_long_missing_is_an_alarm() -> None:
    world = World()
    world.put("tjeneste", 10, bruker_id=77)
    log = RecordingLog()
    world.now += timedelta(days=6)
    await look_once(world, log)
    assert log.alarms() == []
    world.now += timedelta(days=2)
    await look_once(world, log)
    assert log.alarms() == ["rows_missing_long"]
