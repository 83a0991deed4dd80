"""What a watermark column says: which rows may be new since the last look. Pure; no database here.

A look reads every row whose watermark is at `floor` or above, in the watermark's order. Why no commit is missed:

- **rowversion** (SQL Server). The ceiling, MIN_ACTIVE_ROWVERSION(), is asked before the look: everything below it is
  committed by then, so the next look's floor is this look's ceiling, with nothing in between.
- **modified** (a time that each INSERT and UPDATE sets). A row that is seen was written before it was seen, so the
  highest time seen, `last`, is never later than any commit that comes after the look. A transaction that commits within
  `lag_s` of the time it wrote is therefore found by a later look, which begins at `last - lag_s`. One that takes longer
  (or a clock that is behind by more) is found by the next full scan. Times ahead of the database's clock never
  become `last`. Wall-clock time that is set back in autumn is read an hour further back on those two days.
- **number** (a number that each INSERT and UPDATE takes from one sequence). The same with `numbers` for the lag.

While nothing new is seen, the floor of a modified time rises with the database's clock, so that the overlap empties.
Rows of the overlap come again with each look; those told already are known by a digest (`RecentRows`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

from connectors.table_query.troubles import WatermarkUnusable

Level = datetime | int
"""A watermark that compares: a naive time to the microsecond, or a number."""

_STEP: Final = timedelta(seconds=1)
_TO_THE_SECOND: Final = len("2026-01-15 10:00:00")
_NEVER: Final = datetime(1, 1, 2)  # noqa: DTZ001  wall-clock times have no zone
_FOR_EVER: Final = datetime(9999, 12, 30)  # noqa: DTZ001  the same
_OPEN_ENDS: Final = {
    "infinity": _FOR_EVER, "-infinity": _NEVER, "0000-00-00 00:00:00": _NEVER, "0000-00-00 00:00:00.000000": _NEVER,
}  # fmt: skip
_MOST_RECENT: Final = 20_000
_MOST_RECENT_KEPT: Final = 100


class WatermarkKind(Enum):
    """What a watermark column holds."""

    ROWVERSION = "rowversion"
    MODIFIED = "modified"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Watermark:
    """One table's watermark. lag_s, numbers: how far back each look begins. zone: of times without one."""

    table: str
    column: str
    kind: WatermarkKind
    lag_s: float
    numbers: int
    zone: ZoneInfo

    def level(self, raw: object) -> Level:
        """What a value of the column compares as. WatermarkUnusable for one of another type than the kind says."""
        match self.kind:
            case WatermarkKind.ROWVERSION if isinstance(raw, bytes) and len(raw) == 8:
                return int.from_bytes(raw, "big")
            case WatermarkKind.NUMBER if isinstance(raw, int) and not isinstance(raw, bool):
                return raw
            case WatermarkKind.NUMBER if isinstance(raw, Decimal) and raw == raw.to_integral_value():
                return int(raw)
            case WatermarkKind.MODIFIED if isinstance(raw, datetime):
                return raw if raw.tzinfo is None else raw.astimezone(UTC).replace(tzinfo=None)
            case WatermarkKind.MODIFIED if isinstance(raw, str):
                return self._level_of_text(raw)
        is_day = isinstance(raw, date) and not isinstance(raw, datetime)
        raise WatermarkUnusable(self.table, self.column, "it holds dates without a time" if is_day else _NOT_THIS_KIND)

    def _level_of_text(self, raw: str) -> datetime:
        if raw in _OPEN_ENDS:
            return _OPEN_ENDS[raw]
        try:
            moment = datetime.fromisoformat(raw.strip())
        except ValueError:
            moment = None
        if moment is None or len(raw.strip()) < _TO_THE_SECOND:
            raise WatermarkUnusable(self.table, self.column, "it holds text that is no time in ISO 8601")
        return moment.replace(tzinfo=None)

    def now_of(self, raw: object, now: datetime) -> datetime:
        """The database's clock `now` (UTC) as this column writes times, naive."""
        has_utc = raw.tzinfo is not None if isinstance(raw, datetime) else str(raw).endswith(("Z", "+00", "+00:00"))
        return (now if has_utc else now.astimezone(self.zone)).replace(tzinfo=None)

    def may_be_last(self, raw: object, now: datetime) -> bool:
        """Whether looks may go on from this value: a time that is one, and not ahead of the database's clock (UTC)."""
        level = self.level(raw)
        return not isinstance(level, datetime) or _NEVER < level <= self.now_of(raw, now)

    def floor(self, last: object, quiet_s: float = 0.0) -> object:
        """Where a look begins, as a value of the column's type. `last`: a value of the column.

        quiet_s: how long after `last` was seen a whole look began that saw nothing higher: a commit since then wrote so
        much later.
        """
        level = self.level(last)
        if isinstance(level, int):
            return self.value(level if self.kind is WatermarkKind.ROWVERSION else level - self.numbers, last)
        level += timedelta(seconds=quiet_s)
        return self.value(level - timedelta(seconds=self.lag_s) - self.set_back(level), last)

    def set_back(self, level: Level) -> timedelta:
        """By how much the zone's clocks are set back within a day of this time."""
        if isinstance(level, int):
            return timedelta()
        day = timedelta(days=1)
        before, after = (self.zone.utcoffset(moment) or timedelta() for moment in (level - day, level + day))
        return max(timedelta(), before - after)

    def went_back(self, known: Level, found: Level) -> bool:
        """Whether a row is older than it was known to be. Clocks set back in autumn are no sign of it."""
        if isinstance(known, datetime) and isinstance(found, datetime):
            return found < known - self.set_back(known)
        return isinstance(known, int) and isinstance(found, int) and found < known

    def after(self, level: Level) -> Level:
        """The next step: rows between the two are read in key order where one moment has more than fit."""
        return level + 1 if isinstance(level, int) else level.replace(microsecond=0) + _STEP

    def before(self, level: Level) -> Level:
        """A step back: a driver rounds times, so a full page is read on from a little before its last row."""
        return level - 1 if isinstance(level, int) else level.replace(microsecond=0) - _STEP

    def value(self, level: Level, like: object) -> object:
        """A level as a value of the column, written as `like` is; times are cut to the second."""
        if isinstance(level, int):
            return max(0, level).to_bytes(8, "big") if self.kind is WatermarkKind.ROWVERSION else level
        level = level.replace(microsecond=0)
        if isinstance(like, datetime):
            return level.replace(tzinfo=UTC) if like.tzinfo is not None else level
        # Text compares as text: it is written as the column writes it. An open end says nothing of that.
        return level.isoformat(sep="T" if str(like)[10:11] == "T" else " ")


_NOT_THIS_KIND: Final = "its values are not of the kind that is configured"


class RecentRows:
    """The rows told from the overlap: which state of each was told last. Bounded; a row forgotten is told again."""

    __slots__ = ("_told",)

    def __init__(self, kept: Iterable[tuple[str, str]] = ()) -> None:
        self._told: Final[dict[str, tuple[str, Level | None]]] = {key: (state, None) for key, state in kept}

    def is_new(self, key: str, state: str, level: Level | None) -> bool:
        """Whether this state of the row was not the last one told; it is from now on."""
        known = self._told.pop(key, None)
        self._told[key] = (state, level)
        if len(self._told) > _MOST_RECENT:
            del self._told[next(iter(self._told))]
        return known is None or known[0] != state

    def forget(self, key: str) -> None:
        """Another state of the row was told by other means."""
        self._told.pop(key, None)

    def forget_below(self, floor: Level) -> None:
        """What no later look reads again."""
        below = [key for key, (_, level) in self._told.items() if level is not None and level < floor]  # type: ignore[operator]  # one table's levels are of one type
        for key in below:
            del self._told[key]

    def kept(self) -> list[tuple[str, str]]:
        """The newest, for a position: (key, state)."""
        newest = list(self._told.items())[-_MOST_RECENT_KEPT:]
        return [(key, state) for key, (state, _) in newest]


def digest_of(part: str) -> str:
    """64 bits of a row or a key, for a position (which the ledger encrypts)."""
    return blake2b(part.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
