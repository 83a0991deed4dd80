"""When to try again: tenacity's wait strategies, asked by our own loops, which do the waiting."""

import asyncio
from dataclasses import dataclass
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, wait_exponential_jitter, wait_fixed, wait_random
from tenacity.wait import wait_base

from agent.domain.delivery import Pace

_NO_RETRYING: Final = AsyncRetrying()


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`first_s` doubles with each attempt up to `longest_s`, each with jitter; `slow_s` is the minutes' pace."""

    first_s: float = 1.0
    longest_s: float = 300.0
    slow_s: float = 120.0


USUAL_PACE: Final = RetrySettings()


class Retries:
    """How long to wait before an attempt. The jitter keeps municipalities from marching in step."""

    def __init__(self, settings: RetrySettings) -> None:
        self._strategies: dict[Pace, wait_base] = {
            Pace.AT_ONCE: wait_fixed(0),
            Pace.QUICK: wait_exponential_jitter(
                multiplier=settings.first_s, max=settings.longest_s, jitter=settings.first_s
            ),
            Pace.SLOW: wait_fixed(settings.slow_s) + wait_random(0, settings.slow_s / 10),
            Pace.HALT: wait_fixed(0),  # the chain's state is what holds it, not the clock
        }

    def wait_s(self, pace: Pace, attempt: int) -> float:
        """Seconds to wait after failure number `attempt` in a row, which counts from 1."""
        state = RetryCallState(retry_object=_NO_RETRYING, fn=None, args=(), kwargs={})
        state.attempt_number = attempt
        return float(self._strategies[pace](state))


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set or the time is over, whichever comes first."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
