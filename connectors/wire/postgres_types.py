"""PostgreSQL's types: a value in text form -> what connectors.wire.values reads, and which kinds a type can carry.

Built-in types have the same number in every database (pg_type.dat). What is not listed is text: enumerations,
citext, varchar and the like. A session must write dates in ISO and moments in UTC (connection.py).
"""

from collections.abc import Callable, Mapping
from typing import Final

from connectors.source import Column, Kind, Undecodable, Value
from connectors.wire.values import Semantic, decode_value

_BOOL: Final = 16
_BYTEA: Final = 17
_WHOLE_NUMBERS: Final = frozenset({20, 21, 23, 26})  # int8, int2, int4, oid
_FLOATS: Final = frozenset({700, 701})
_JSON: Final = frozenset({114, 3802, 142})  # json, jsonb, xml
_DATE: Final = 1082
_TIMESTAMP: Final = 1114
_TIMESTAMPTZ: Final = 1184
_CLOCKS: Final = frozenset({1083, 1266, 1186})  # time, timetz, interval: no moment without a day
_UUID: Final = 2950

_BUILT_IN: Final[Mapping[str, int]] = {
    "bool": _BOOL, "bytea": _BYTEA, "int8": 20, "int2": 21, "int4": 23, "oid": 26, "float4": 700, "float8": 701,
    "json": 114, "jsonb": 3802, "xml": 142, "date": _DATE, "timestamp": _TIMESTAMP, "timestamptz": _TIMESTAMPTZ,
    "time": 1083, "timetz": 1266, "interval": 1186, "uuid": _UUID, "numeric": 1700,
}  # fmt: skip
_SEMANTICS: Final[Mapping[int, Semantic]] = {
    _DATE: Semantic("io.debezium.time.IsoDate"),
    _TIMESTAMP: Semantic("io.debezium.time.IsoTimestamp"),
    _TIMESTAMPTZ: Semantic("io.debezium.time.ZonedTimestamp"),
    _UUID: Semantic("io.debezium.data.Uuid"),
}
_NEVER_A_NUMBER: Final = frozenset({_BYTEA, _DATE, _TIMESTAMP, _TIMESTAMPTZ, _UUID}) | _CLOCKS | _JSON
_NEVER_A_MOMENT: Final = frozenset({_BOOL, _BYTEA, _UUID}) | _FLOATS | _CLOCKS | _JSON
_CANNOT_CARRY: Final[Mapping[Kind, frozenset[int]]] = {
    Kind.TEXT: frozenset({_BYTEA}),
    Kind.INTEGER: _NEVER_A_NUMBER,
    Kind.DATE: _NEVER_A_MOMENT | {_TIMESTAMPTZ},
    Kind.TIMESTAMP: _NEVER_A_MOMENT | {_TIMESTAMPTZ},
    Kind.INSTANT: _NEVER_A_MOMENT | {_DATE, _TIMESTAMP},
}
_BEFORE_CHRIST: Final = Undecodable("outside the years 1 to 9999")
_NOT_UTF_8: Final = Undecodable("the text is not UTF-8")


def built_in(schema: str, name: str) -> int | None:
    """The number of a built-in type by its name; None for a type that is read as text."""
    return _BUILT_IN.get(name) if schema == "pg_catalog" else None


def can_carry(type_oid: int, kind: Kind) -> bool:
    """Whether some value of the type can be read as `kind`; a moment with a zone never is wall-clock time."""
    return type_oid not in _CANNOT_CARRY[kind]


def value_of(octets: bytes | None, type_oid: int, column: Column) -> Value:
    """A value in text form as the column's kind has it; never raises."""
    if octets is None:
        return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:  # a database in SQL_ASCII takes any bytes
        return _NOT_UTF_8
    if type_oid in _SEMANTICS and text.endswith(" BC"):
        return _BEFORE_CHRIST
    read = _READERS.get(type_oid)
    try:
        raw = text if read is None else read(text)
    except ValueError:
        return Undecodable("the text is not of its column's type")
    return decode_value(raw, column, _SEMANTICS.get(type_oid))


_READERS: Final[Mapping[int, Callable[[str], object]]] = {
    _BOOL: lambda text: text == "t",
    **dict.fromkeys(_WHOLE_NUMBERS, int),
    **dict.fromkeys(_FLOATS, float),
}
