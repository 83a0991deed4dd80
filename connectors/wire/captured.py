"""Which table a record belongs to, and its key and row as the capture wants them."""

from collections.abc import Mapping
from typing import Final

from connectors.source import ABSENT, Capture, Column, Kind, Missing, Table, Undecodable, Value
from connectors.wire.values import Semantic, decode_value

Semantics = Mapping[str, Semantic]
"""The schema's word for each field of a row, by column name."""


class NoKey(ValueError):
    """The key of a row cannot be known. The message names columns, never values."""


class SchemaLacking(ValueError):
    """A record names a bare table, and the capture only knows a table of that name in a schema."""


class CapturedTable:
    """A wanted table: reads rows of names and raw values into typed values."""

    __slots__ = ("_key_columns", "table")

    def __init__(self, table: Table) -> None:
        self.table: Final = table
        known = {column.name: column for column in table.columns}
        self._key_columns: Final = tuple(known.get(name, Column(name, Kind.TEXT)) for name in table.key)

    def row(self, raw: Mapping[str, object], semantics: Semantics | None, connector: str) -> dict[str, Value]:
        """Every wanted column; `ABSENT` where neither its name nor an earlier one is there."""
        found: dict[str, Value] = {}
        for column in self.table.columns:
            name = _name_in(raw, column)
            if name is None:
                found[column.name] = ABSENT
            else:
                value = raw[name]
                found[column.name] = (
                    None if value is None else decode_value(value, column, _of(semantics, name), connector)
                )
        return found

    def has_key(self, raw: Mapping[str, object]) -> bool:
        """Whether all key columns are there, under their names or earlier ones."""
        return all(_name_in(raw, column) is not None for column in self._key_columns)

    def key(self, raw: Mapping[str, object], semantics: Semantics | None, connector: str) -> dict[str, Value]:
        """The key columns' values; raises NoKey where one is absent, null or cannot be read."""
        found: dict[str, Value] = {}
        for column in self._key_columns:
            name = _name_in(raw, column)
            if name is None:
                raise NoKey(f"the key column {column.name} is not in the change")
            value = decode_value(raw[name], column, _of(semantics, name), connector)
            if value is None or value is Missing.UNAVAILABLE:
                raise NoKey(f"the key column {column.name} has no value")
            if isinstance(value, Undecodable):
                raise NoKey(f"the key column {column.name} cannot be read: {value.why}")
            found[column.name] = value
        return found


def _name_in(raw: Mapping[str, object], column: Column) -> str | None:
    if column.name in raw:
        return column.name
    return next((name for name in column.earlier_names if name in raw), None)


def _of(semantics: Semantics | None, name: str) -> Semantic | None:
    return None if semantics is None else semantics.get(name)


class CapturedTables:
    """The wanted tables by their names in the source: case-sensitive, as "schema.table" first, then bare."""

    __slots__ = ("_by_name", "_last_parts")

    def __init__(self, capture: Capture) -> None:
        self._by_name: Final = {table.name_in_source: CapturedTable(table) for table in capture.tables}
        self._last_parts: Final = frozenset(name.rpartition(".")[2] for name in self._by_name)

    def find(self, schema: str | None, table: str) -> CapturedTable | None:
        """The wanted table, or None; raises SchemaLacking where only the schema's name decides."""
        if schema:
            return self._by_name.get(f"{schema}.{table}") or self._by_name.get(table)
        found = self._by_name.get(table)
        if found is None and table in self._last_parts:
            raise SchemaLacking("the record names its table without the schema that the mapping names")
        return found
