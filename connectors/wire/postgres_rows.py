"""A wanted table as PostgreSQL describes it: columns found under their names, cells -> keys and rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.source import Column, Kind, Missing, Table, Undecodable, Value
from connectors.wire.captured import NoKey
from connectors.wire.pgoutput import Cell, Cells, Unchanged
from connectors.wire.postgres_types import can_carry, value_of

_WHAT_IS_READ: Final = {
    Kind.TEXT: "a text",
    Kind.INTEGER: "an integer",
    Kind.DATE: "a date",
    Kind.TIMESTAMP: "a wall-clock time",
    Kind.INSTANT: "a moment with a zone",
}


@dataclass(frozen=True, slots=True)
class Described:
    """A column as the database has it: `type_oid` of what a domain is made of. `is_identity`: old keys hold it."""

    name: str
    type_oid: int
    is_identity: bool = True


class ColumnUnfit(Exception):
    """A mapped column is not there, or can never be read as its kind. `why` follows the column's name."""

    def __init__(self, table: str, column: str, why: str) -> None:
        super().__init__(f"{table}.{column} {why}")
        self.table: Final = table
        self.column: Final = column
        self.why: Final = why


class KeyUnfit(Exception):
    """Columns of the mapped key that the replica identity lacks."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        super().__init__(f"{table}: {', '.join(columns)}")
        self.table: Final = table
        self.columns: Final = ", ".join(columns)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mapped column stands in a row."""

    column: Column
    found: str
    index: int
    type_oid: int

    def value(self, cell: Cell) -> Value:
        return Missing.UNAVAILABLE if isinstance(cell, Unchanged) else value_of(cell, self.type_oid, self.column)


class TableReader:
    """Reads the rows of one wanted table as long as it looks as `described`. Raises ColumnUnfit and KeyUnfit."""

    __slots__ = ("_columns", "_key", "table", "width")

    def __init__(self, table: Table, described: Sequence[Described]) -> None:
        self.table: Final = table
        self.width: Final = len(described)
        mapped = {column.name: column for column in table.columns}
        self._columns: Final = tuple(_place_of(table, column, described) for column in table.columns)
        self._key: Final = tuple(
            _place_of(table, mapped.get(name) or Column(name, Kind.TEXT), described) for name in table.key
        )
        lacking = [place.column.name for place in self._key if not described[place.index].is_identity]
        if lacking:
            raise KeyUnfit(table.name_in_source, lacking)

    @property
    def found_names(self) -> frozenset[str]:
        """What the database calls the mapped columns, those of the key included."""
        return frozenset(place.found for place in (*self._columns, *self._key))

    def row(self, cells: Cells) -> dict[str, Value]:
        """Every mapped column; one that was not sent (unchanged TOAST) is `Missing.UNAVAILABLE`."""
        return {place.column.name: place.value(cells[place.index]) for place in self._columns}

    def key(self, cells: Cells) -> dict[str, Value]:
        """The key's values. Raises NoKey where one is null or cannot be read."""
        found: dict[str, Value] = {}
        for place in self._key:
            value = place.value(cells[place.index])
            if value is None or isinstance(value, Missing):
                raise NoKey(f"the key column {place.column.name} has no value")
            if isinstance(value, Undecodable):
                raise NoKey(f"the key column {place.column.name} cannot be read: {value.why}")
            found[place.column.name] = value
        return found


def _place_of(table: Table, column: Column, described: Sequence[Described]) -> _Place:
    names = [one.name for one in described]
    name = next((name for name in (column.name, *column.earlier_names) if name in names), None)
    if name is None:
        earlier = f", nor under {', '.join(column.earlier_names)}" if column.earlier_names else ""
        raise ColumnUnfit(table.name_in_source, column.name, f"is not there{earlier}")
    index = names.index(name)
    type_oid = described[index].type_oid
    if not can_carry(type_oid, column.kind):
        raise ColumnUnfit(
            table.name_in_source, column.name, f"is of a type that {_WHAT_IS_READ[column.kind]} is never read from"
        )
    return _Place(column, name, index, type_oid)
