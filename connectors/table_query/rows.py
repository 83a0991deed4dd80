"""Rows as the driver gave them -> changes. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from connectors.source import Change, Column, Kind, Missing, Operation, Record, Table, Undecodable, Unreadable
from connectors.table_query.state import RawKey, resumable
from connectors.table_query.troubles import KeyUnfit
from connectors.table_query.watermark import digest_of
from connectors.wire.driver_values import driver_value


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the driver gave it: the key, the watermark, the wanted columns in the table's order."""

    key: RawKey = field(repr=False)
    watermark: object = field(repr=False)
    values: tuple[Any, ...] = field(repr=False)


class RowReader:
    """Reads one table's rows into changes by the kinds of the mapping."""

    __slots__ = ("_key", "_table")

    def __init__(self, table: Table) -> None:
        self._table: Final = table
        known = {column.name: column for column in table.columns}
        self._key: Final = tuple(known.get(name, Column(name, Kind.TEXT)) for name in table.key)

    def read(self, row: RawRow, *, snapshot: bool) -> Record:
        """The row as a change; Unreadable where its key is NULL or cannot be read."""
        key = {column.name: driver_value(raw, column) for column, raw in zip(self._key, row.key, strict=True)}
        for name, value in key.items():
            if value is None or isinstance(value, Undecodable | Missing):
                why = value.why if isinstance(value, Undecodable) else "it has no value"
                raw = json.dumps([str(part) for part in row.key]).encode()
                return Unreadable(f"a row of {self._table.name}", f"the key column {name} cannot be read: {why}", raw)
        values = {
            column.name: driver_value(raw, column) for column, raw in zip(self._table.columns, row.values, strict=True)
        }
        return Change(self._table.name, Operation.UPSERT, key, values, snapshot=snapshot)

    def check_order(self, rows: Sequence[RawRow]) -> None:
        """Rows in key order have keys that differ. KeyUnfit: behind a page's last key, its doubles would be passed."""
        for earlier, later in pairwise(rows):
            if earlier.key == later.key:
                raise KeyUnfit(self._table.name_in_source, "two rows have the same one")

    def last_key(self, rows: Sequence[RawRow]) -> RawKey:
        """The key from which to read on. KeyUnfit where no row has one that can be asked with again."""
        for row in reversed(rows):
            if all(part is not None for part in row.key):
                if not all(resumable(part) for part in row.key):
                    raise KeyUnfit(self._table.name_in_source, "a column is of a type that has no exact value")
                return row.key
        raise KeyUnfit(self._table.name_in_source, "a whole page of rows has none")


def key_digest(row: RawRow) -> str:
    """What a row is known by among those told lately."""
    return digest_of(repr(row.key))


def state_digest(row: RawRow) -> str:
    """What a row says, watermark included."""
    return digest_of(repr((row.watermark, row.values)))
