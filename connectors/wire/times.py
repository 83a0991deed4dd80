"""Dates and times as numbers and as ISO 8601 text, with the forms in which PostgreSQL's infinity arrives."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

from connectors.source import Encoding, Infinity, Undecodable

Moment = date | datetime | Infinity | Undecodable
"""A date, a wall-clock time (naive), a moment (aware, in the zone it was written with), an open end, or neither."""

_ISO: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone> ?(?:Z|z|[+-]\d\d(?::?\d\d)?))?",
    re.ASCII,
)
_LONG_YEAR: Final = re.compile(r"(?P<year>[+-]\d{4,9}|\d{5,9})-\d\d-\d\d(?:[T ].{1,40})?Z?", re.ASCII)
_INFINITY_TEXTS: Final = {
    "infinity": Infinity.PLUS,
    "+infinity": Infinity.PLUS,
    "-infinity": Infinity.MINUS,
}
_INFINITY_YEARS: Final = {
    # the year in which Java's calendar ends; below zero it is at times written without its sign (isostring, snapshot)
    292278994: Infinity.PLUS,
    -292275055: Infinity.MINUS,
    292269055: Infinity.MINUS,
    # the last day that PostgreSQL's own numbering reaches
    5877611: Infinity.PLUS,
    -5877611: Infinity.MINUS,
}
# int64's ends, which PostgreSQL uses for timestamps, and what is left of them after rounding to milliseconds. As
# nanoseconds the upper one would be a day in 2262.
_INFINITY_NUMBER: Final = 9_223_372_036_800_000_000
# Days as Debezium leaves them after its 32-bit overflow: (first, last, meaning). PostgreSQL's own dates end at day
# 2,145,031,948 and begin at -2,440,588, and no other database goes further.
_INFINITY_DAYS: Final = (
    (-622_191_240, -622_191_228, Infinity.PLUS),
    (-625_821_280, -625_821_264, Infinity.MINUS),
    (2_145_031_949, 2_147_483_647, Infinity.PLUS),
    (-2_147_483_648, -2_147_400_000, Infinity.MINUS),
)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  a wall-clock time has no zone
_PER_SECOND: Final = {
    Encoding.SECONDS: 1,
    Encoding.MILLISECONDS: 1_000,
    Encoding.MICROSECONDS: 1_000_000,
    Encoding.NANOSECONDS: 1_000_000_000,
}
_OUT_OF_CALENDAR: Final = Undecodable("outside the years 1 to 9999")
_NOT_ISO: Final = Undecodable("not a date or a time in ISO 8601")
_NO_ENCODING: Final = Undecodable(
    "a number stands for this date or time, and nothing says how: name the column under encodings in the source section"
)


def moment_from_number(number: int, encoding: Encoding | None) -> Moment:
    """The moment a number stands for since 1970-01-01; sub-microseconds are cut off."""
    if encoding is not Encoding.NANOSECONDS and abs(number) >= _INFINITY_NUMBER:
        return Infinity.PLUS if number > 0 else Infinity.MINUS
    if encoding is Encoding.DAYS:
        return _day(number)
    if encoding is None:
        return _NO_ENCODING
    seconds, rest = divmod(number, _PER_SECOND[encoding])
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=rest * 1_000_000 // _PER_SECOND[encoding])
    except OverflowError:
        return _OUT_OF_CALENDAR


def _day(number: int) -> Moment:
    try:
        return date.fromordinal(_EPOCH_DAY + number)
    except (ValueError, OverflowError):
        return next((end for first, last, end in _INFINITY_DAYS if first <= number <= last), _OUT_OF_CALENDAR)


def moment_from_text(text: str) -> Moment:
    """The moment an ISO 8601 text says: a date (`2026-01-15`, also with Debezium's Z), or a time, naive or aware."""
    text = text.strip(" ")
    found = _ISO.fullmatch(text)
    if found is None:
        return _open_end(text)
    try:
        day = date.fromisoformat(found["date"])
        zone = _zone(found["zone"])
        if found["hour"] is None:
            return day if zone is None or zone is UTC else _NOT_ISO
        microsecond = int((found["fraction"] or "0").ljust(6, "0")[:6])
        clock = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0), microsecond, tzinfo=zone)
    except ValueError:
        return _NOT_ISO
    return datetime.combine(day, clock)


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    text = text.strip()
    if text in {"Z", "z"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _open_end(text: str) -> Moment:
    spelled = _INFINITY_TEXTS.get(text.lower())
    if spelled is not None:
        return spelled
    found = _LONG_YEAR.fullmatch(text)
    if found is None:
        return _NOT_ISO
    return _INFINITY_YEARS.get(int(found["year"]), _OUT_OF_CALENDAR)


def day_of(moment: Moment) -> date | Infinity | Undecodable:
    """The date of a wall-clock time; Oracle's DATE and SQL Server's datetime hold dates in this way."""
    return moment.date() if isinstance(moment, datetime) else moment


def wall_clock_of(moment: Moment) -> datetime | Infinity | Undecodable:
    """The time without a zone. Debezium's isostring puts a Z behind wall-clock time: it is dropped."""
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=None)
    if isinstance(moment, date):
        return datetime.combine(moment, time())
    return moment


def instant_of(moment: Moment, *, from_number: bool) -> datetime | Infinity | Undecodable:
    """The moment in UTC. A number since 1970 counts from UTC; a text must say its zone."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None and not from_number:
            return Undecodable("a moment without a zone: map the column as a timestamp and name its zone")
        try:
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except OverflowError:
            return _OUT_OF_CALENDAR
    if isinstance(moment, date):
        return Undecodable("a date where a moment with a zone is expected")
    return moment
