"""One raw value as a database driver gives it -> a Value of its column's kind, equal to what other sources give.

A driver's types say what is meant, so little is left to decide: date and time objects are themselves, everything else
goes the way of a change event's value (connectors/wire/values.py). What is of another type than the mapping says is
Undecodable, with the repair.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Final
from uuid import UUID

from connectors.source import Column, Kind, Undecodable, Value
from connectors.wire.values import decode_value

_ZERO_DATE: Final = re.compile(r"0000-00-00(?:[ T]00:00:00(?:\.0+)?)?")
"""MySQL's and MariaDB's way of "no date" in a column that may not be NULL; no other database can hold it."""
_NO_TEXT: Final = Undecodable("a date or a time where text is expected: map the column by what it is")
_OCTETS: Final = Undecodable("octets, and not text: give the column as text in a view")
_ZONED: Final = Undecodable(
    "a moment with a zone where wall-clock time or a date is expected: map the column as an instant"
)
_NAIVE: Final = Undecodable("a moment without a zone: map the column as a timestamp and name its zone")
_DAY: Final = Undecodable("a date where a moment with a zone is expected")


def driver_value(raw: object, column: Column) -> Value:
    """`raw` as the column's kind has it; never raises. A number in a date column needs the column's encoding."""
    if raw is None:
        return None
    if isinstance(raw, datetime | date):
        return _MOMENTS[column.kind](raw)
    if isinstance(raw, UUID):
        return decode_value(str(raw), column)
    if isinstance(raw, bytes | bytearray | memoryview):
        return _OCTETS
    if column.kind in _ZERO_IS_NONE and isinstance(raw, str) and _ZERO_DATE.fullmatch(raw.strip(" ")):
        return None
    return decode_value(raw, column)


def _day(moment: date) -> Value:
    if not isinstance(moment, datetime):
        return moment
    return moment.date() if moment.tzinfo is None else _ZONED


def _wall_clock(moment: date) -> Value:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    return moment if moment.tzinfo is None else _ZONED


def _instant(moment: date) -> Value:
    if not isinstance(moment, datetime):
        return _DAY
    if moment.tzinfo is None:
        return _NAIVE
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return Undecodable("outside the years 1 to 9999")


_ZERO_IS_NONE: Final = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT})
_MOMENTS: Final[Mapping[Kind, Callable[[date], Value]]] = {
    Kind.TEXT: lambda _: _NO_TEXT,
    Kind.INTEGER: lambda _: Undecodable("not a number"),
    Kind.DATE: _day,
    Kind.TIMESTAMP: _wall_clock,
    Kind.INSTANT: _instant,
}
