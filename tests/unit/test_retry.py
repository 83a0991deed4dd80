"""How long the loops wait: seconds that double with jitter, or minutes."""

import asyncio

from agent.domain.delivery import Pace
from agent.retry import Retries, RetrySettings, wait_for_event

RETRIES = Retries(RetrySettings(first_s=1, longest_s=300, slow_s=120))


def test_quick_waits_double_up_to_the_longest() -> None:
    for attempt in range(1, 9):
        assert 2 ** (attempt - 1) <= RETRIES.wait_s(Pace.QUICK, attempt) <= 2 ** (attempt - 1) + 1
    assert RETRIES.wait_s(Pace.QUICK, 10) == 300
    assert RETRIES.wait_s(Pace.QUICK, 100_000) == 300


def test_quick_waits_are_not_all_alike() -> None:
    assert len({RETRIES.wait_s(Pace.QUICK, 3) for _ in range(20)}) > 1


def test_slow_waits_stay_at_minutes() -> None:
    assert all(120 <= RETRIES.wait_s(Pace.SLOW, attempt) <= 132 for attempt in (1, 50))


def test_what_need_not_wait_does_not() -> None:
    assert RETRIES.wait_s(Pace.AT_ONCE, 1) == 0
    assert RETRIES.wait_s(Pace.HALT, 7) == 0


async def test_a_wait_ends_with_its_event_or_its_time() -> None:
    event = asyncio.Event()
    await wait_for_event(event, 0.001)
    event.set()
    async with asyncio.timeout(10):
        await wait_for_event(event, 3600)
