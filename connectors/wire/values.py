"""One raw value of a change -> a Value of its column's kind. Nothing is guessed.

What a number or a text stands for is said by the event's schema, else by the column's encoding in the configuration,
else by what is certain: text in ISO 8601 is a date or a time, and a number in a DATE column that one of Debezium's
connectors with only one form for it wrote is days since 1970. Everything else is Undecodable, with the repair.

Encodings and open ends as Debezium 3.7 writes them, by measurement and by its documentation ("Temporal values").
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Final

from connectors.source import Column, Encoding, Kind, Missing, Undecodable, Value
from connectors.wire.times import (
    Moment,
    day_of,
    instant_of,
    moment_from_number,
    moment_from_text,
    wall_clock_of,
)

DAYS_ARE_CERTAIN: Final = frozenset({"postgresql", "mysql", "mariadb", "db2", "sqlserver"})
"""Connectors (`source.connector`) that write DATE as days in every precision mode that writes a number."""

_UNAVAILABLE: Final = "__debezium_unavailable_value"
_UNAVAILABLE_TEXTS: Final = frozenset(
    {_UNAVAILABLE, base64.b64encode(_UNAVAILABLE.encode()).decode(), _UNAVAILABLE.encode().hex()}
)
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.0{1,100})?")
_LONGEST_NUMBER_DIGITS: Final = 100

_ENCODING_BY_SCHEMA: Final[Mapping[str, Encoding]] = {
    "io.debezium.time.Date": Encoding.DAYS,
    "org.apache.kafka.connect.data.Date": Encoding.DAYS,
    "io.debezium.time.Timestamp": Encoding.MILLISECONDS,
    "org.apache.kafka.connect.data.Timestamp": Encoding.MILLISECONDS,
    "io.debezium.time.MicroTimestamp": Encoding.MICROSECONDS,
    "io.debezium.time.NanoTimestamp": Encoding.NANOSECONDS,
}
_WALL_CLOCK_SCHEMAS: Final = frozenset(_ENCODING_BY_SCHEMA) | {
    "io.debezium.time.IsoDate",
    "io.debezium.time.IsoTimestamp",
}
_ZONED_SCHEMA: Final = "io.debezium.time.ZonedTimestamp"
_DECIMAL_SCHEMA: Final = "org.apache.kafka.connect.data.Decimal"
_UUID_SCHEMA: Final = "io.debezium.data.Uuid"


@dataclass(frozen=True, slots=True)
class Semantic:
    """What a schema says of a field: its semantic type's name ("" for a plain one) and a Decimal's scale."""

    name: str
    scale: int | None = None


def decode_value(raw: object, column: Column, semantic: Semantic | None = None, connector: str = "") -> Value:
    """`raw` as the column's kind has it; never raises. `connector` is Debezium's `source.connector`, "" if unknown."""
    if raw is None:
        return None
    if _is_unavailable(raw):
        return Missing.UNAVAILABLE
    return _DECODERS[column.kind](raw, column, semantic, connector)


def _is_unavailable(raw: object) -> bool:
    """Unchanged TOAST: the placeholder as text, as bytes (base64 or hex), in an array, as an array of its bytes."""
    if isinstance(raw, str):
        return raw in _UNAVAILABLE_TEXTS
    if isinstance(raw, list):
        return raw in ([_UNAVAILABLE], list(_UNAVAILABLE.encode()))
    return isinstance(raw, dict) and raw == {_UNAVAILABLE: _UNAVAILABLE}


def _text(raw: object, _column: Column, semantic: Semantic | None, _connector: str) -> Value:
    if isinstance(raw, str):
        if semantic is not None and semantic.name == _DECIMAL_SCHEMA:
            return _canonical(_number(raw, semantic))
        return _tidy(raw, is_guid=semantic is not None and semantic.name == _UUID_SCHEMA)
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return _canonical(_number(raw, semantic))


def _tidy(text: str, *, is_guid: bool) -> Value:
    """Text without CHAR's padding; GUIDs in lower case (SQL Server writes upper case)."""
    if "\x00" in text:
        return Undecodable("the text holds NUL")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return Undecodable("the text holds half a surrogate pair")
    text = text.rstrip(" ")
    if is_guid or (len(text) == 36 and _GUID.fullmatch(text)):
        return text.lower()
    return text


def _canonical(number: int | Decimal | Undecodable) -> Value:
    """A number as text: integers in decimal, other numbers without an exponent and without zeros at the end."""
    if isinstance(number, Undecodable):
        return Undecodable("not a text, a number or a truth value") if number is _NO_NUMBER else number
    if isinstance(number, int):
        return str(number)
    return format(number, "f").rstrip("0").rstrip(".")


def _integer(raw: object, _column: Column, semantic: Semantic | None, _connector: str) -> Value:
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, str) and (semantic is None or semantic.name != _DECIMAL_SCHEMA):
        stripped = raw.strip(" ")
        if _INTEGER.fullmatch(stripped) is None:
            return Undecodable("the text is not an integer")
        return int(stripped.partition(".")[0])
    number = _number(raw, semantic)
    if isinstance(number, Decimal):
        return Undecodable("the number is not an integer")
    return number


_NO_NUMBER: Final = Undecodable("not a number")


def _number(raw: object, semantic: Semantic | None) -> int | Decimal | Undecodable:
    """A JSON number, a base64 decimal whose scale the schema gives, or {scale, value}; an int when it is whole."""
    if isinstance(raw, int):
        return int(raw)
    if isinstance(raw, float):
        return _whole(Decimal(repr(raw)))
    if isinstance(raw, Decimal):
        return _whole(raw)
    if isinstance(raw, dict) and raw.keys() == {"scale", "value"}:
        scale, value = raw["scale"], raw["value"]
        if type(scale) is int and isinstance(value, str):
            return _unscaled(value, scale)
    if isinstance(raw, str) and semantic is not None and semantic.name == _DECIMAL_SCHEMA:
        if semantic.scale is None:
            return Undecodable("a decimal whose schema gives no scale")
        return _unscaled(raw, semantic.scale)
    return _NO_NUMBER


def _unscaled(text: str, scale: int) -> int | Decimal | Undecodable:
    """Connect's decimal: base64 of a big-endian two's complement number, to be divided by 10 to the scale."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Undecodable("a decimal that is not base64")
    if not octets or len(octets) > _LONGEST_NUMBER_DIGITS or abs(scale) > _LONGEST_NUMBER_DIGITS:
        return Undecodable("a decimal without digits or with too many")
    unscaled = int.from_bytes(octets, "big", signed=True)
    sign = 1 if unscaled < 0 else 0
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return _whole(Decimal((sign, digits, -scale)))


def _whole(number: Decimal) -> int | Decimal | Undecodable:
    if not number.is_finite():
        return Undecodable("not a finite number")
    if abs(number.adjusted()) > _LONGEST_NUMBER_DIGITS:
        return Undecodable("a number with too many digits") if number else 0
    return int(number) if number == number.to_integral_value() else number


def _date(raw: object, column: Column, semantic: Semantic | None, connector: str) -> Value:
    moment = _moment(raw, column, semantic, connector)
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        # isostring ends every text in Z. At midnight UTC the date is the same in Norway, so both readings agree.
        if _is_zoned(semantic) or moment.utcoffset() or moment.time() != time():
            return Undecodable("a moment with a zone where a date is expected: map the column as an instant")
        return moment.date()
    return day_of(moment)


def _timestamp(raw: object, column: Column, semantic: Semantic | None, connector: str) -> Value:
    moment = _moment(raw, column, semantic, connector)
    if isinstance(moment, datetime) and moment.tzinfo is not None and (_is_zoned(semantic) or moment.utcoffset()):
        return Undecodable("a moment with a zone where wall-clock time is expected: map the column as an instant")
    return wall_clock_of(moment)


def _instant(raw: object, column: Column, semantic: Semantic | None, connector: str) -> Value:
    if semantic is not None and semantic.name in _WALL_CLOCK_SCHEMAS:
        return Undecodable("wall-clock time where a moment with a zone is expected: map the column as a timestamp")
    moment = _moment(raw, column, semantic, connector)
    return instant_of(moment, from_number=not isinstance(raw, str))


def _is_zoned(semantic: Semantic | None) -> bool:
    return semantic is not None and semantic.name == _ZONED_SCHEMA


def _moment(raw: object, column: Column, semantic: Semantic | None, connector: str) -> Moment:
    """The date or time that a text or a number stands for."""
    if isinstance(raw, str):
        return moment_from_text(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        return Undecodable("neither a text nor a number where a date or a time is expected")
    number = _number(raw, None)
    if not isinstance(number, int):
        return Undecodable("not a whole number where a date or a time is expected")
    encoding = _encoding(column, semantic, connector)
    return moment_from_number(number, encoding)


def _encoding(column: Column, semantic: Semantic | None, connector: str) -> Encoding | None:
    if semantic is not None and semantic.name in _ENCODING_BY_SCHEMA:
        return _ENCODING_BY_SCHEMA[semantic.name]
    if column.encoding is not None:
        return column.encoding
    if column.kind is Kind.DATE and semantic is None and connector in DAYS_ARE_CERTAIN:
        return Encoding.DAYS
    return None


_DECODERS: Final[Mapping[Kind, Callable[[object, Column, Semantic | None, str], Value]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
    Kind.INSTANT: _instant,
}
