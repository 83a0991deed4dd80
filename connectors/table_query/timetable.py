"""When a full scan may read, and how fast: the load that a database administrator has allowed. Pure but for its clocks.

The clocks and the sleep are given, so that a test moves time by hand.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of each day, in minutes since midnight; it goes past midnight where `until` is not after `since`."""

    since: int
    until: int

    def holds(self, moment: datetime) -> bool:
        """Whether a wall-clock time lies in it; `until` itself does not."""
        minute = moment.hour * 60 + moment.minute
        if self.since < self.until:
            return self.since <= minute < self.until
        return minute >= self.since or minute < self.until


def read_hours(text: str) -> Hours:
    """ "22:00-06:00" as Hours. Raises ValueError, which says what to write."""
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError("write two times of the day, such as 22:00-06:00")
    since_hour, since_minute, until_hour, until_minute = (int(part) for part in found.groups())
    hours = Hours(since_hour * 60 + since_minute, until_hour * 60 + until_minute)
    if hours.since == hours.until:
        raise ValueError("the two times are the same: leave the hours out to allow the whole day")
    return hours


@dataclass(frozen=True, slots=True)
class Clocks:
    """now: the time of day (UTC). monotonic_s: seconds that only rise. sleep: waits for so many seconds."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Pace:
    """Rows a second at most, over all that is read: after n rows the next query waits n / rate seconds."""

    rows_per_second: float | None
    clocks: Clocks
    _next_at_s: float = 0.0

    def took(self, rows: int) -> None:
        """A query gave so many rows."""
        if self.rows_per_second is not None:
            self._next_at_s = max(self._next_at_s, self.clocks.monotonic_s()) + rows / self.rows_per_second

    def wait_s(self) -> float:
        """How long the next query has to wait; 0 where it need not."""
        return max(0.0, self._next_at_s - self.clocks.monotonic_s())


@dataclass(frozen=True, slots=True)
class Timetable:
    """When scans begin and go on. hours: None for the whole day; zone: whose wall-clock they are."""

    hours: Hours | None
    zone: ZoneInfo
    clocks: Clocks

    def is_open(self) -> bool:
        """Whether a scan may read now."""
        return self.hours is None or self.hours.holds(self.clocks.now().astimezone(self.zone))

    def is_due(self, scan_every_s: float | None, began: datetime | None) -> bool:
        """Whether a new scan is to begin: the first always, later ones a period after the last one began."""
        if began is None:
            return True
        return scan_every_s is not None and self.clocks.now() - began >= timedelta(seconds=scan_every_s)
