"""Several units' captures as one, and back: what a source that many units share is asked for, and what each is given.

The shared capture calls every table by its name in the source; each unit's own names come back in its own changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from connectors.source import (
    Capture,
    Change,
    Column,
    Ignored,
    Position,
    Record,
    SourceRefused,
    Table,
    Transaction,
    Value,
)


class CapturesDiffer(SourceRefused):
    """Two units read the same column of the same table as two kinds, or a table by two keys."""

    code = "KPR-160"

    def __init__(self, table: str, what: str) -> None:
        super().__init__(
            f"another unit of this database reads {what} of the table {table} otherwise",
            repair="make the units' mappings and source.encodings agree, or give this unit a slot of its own",
        )


def together(captures: Sequence[Capture]) -> Capture:
    """Every table and column that any of them wants, by their names in the source. Raises CapturesDiffer."""
    tables: dict[str, Table] = {}
    for table in (table for capture in captures for table in capture.tables):
        name = table.name_in_source
        known = tables.get(name)
        if known is None:
            tables[name] = Table(name, table.key, table.columns)
        elif known.key != table.key:
            raise CapturesDiffer(name, "the key")
        else:
            tables[name] = replace(known, columns=_joined(name, known.columns, table.columns))
    return Capture(tuple(tables.values()))


def _joined(table: str, ours: tuple[Column, ...], theirs: tuple[Column, ...]) -> tuple[Column, ...]:
    columns = {column.name: column for column in ours}
    for column in theirs:
        known = columns.setdefault(column.name, column)
        if (known.kind, known.encoding) != (column.kind, column.encoding):
            raise CapturesDiffer(table, f"the column {column.name}")
        names = dict.fromkeys((*known.earlier_names, *column.earlier_names))
        columns[column.name] = replace(known, earlier_names=tuple(names))
    return tuple(columns.values())


class OwnPart:
    """One unit's part of what a shared source tells."""

    def __init__(self, capture: Capture) -> None:
        self._tables: Final = {table.name_in_source: table for table in capture.tables}
        self._columns: Final = {
            table.name_in_source: frozenset((*table.key, *(column.name for column in table.columns)))
            for table in capture.tables
        }

    def of(self, transaction: Transaction, *, with_ignored: bool) -> Transaction:
        """The transaction with this unit's records and names only; it may be empty.

        `with_ignored`: what belongs to no unit is counted by one of them. What is unreadable may be anybody's.
        """
        records: list[Record] = []
        for record in transaction.records:
            if isinstance(record, Change):
                if record.table in self._tables:
                    records.append(self._own(record))
            elif with_ignored or not isinstance(record, Ignored):
                records.append(record)
        scan = transaction.scan
        if scan is not None:
            names = tuple(self._tables[name].name for name in scan.tables if name in self._tables)
            scan = replace(scan, tables=names) if names else None
        return replace(transaction, records=tuple(records), scan=scan)

    def _own(self, change: Change) -> Change:
        table, columns = self._tables[change.table], self._columns[change.table]
        if change.row is None or columns.issuperset(change.row):
            return change if table.name == change.table else replace(change, table=table.name)
        return replace(change, table=table.name, row=_only(change.row, columns))


def _only(row: Mapping[str, Value], columns: frozenset[str]) -> dict[str, Value]:
    return {name: value for name, value in row.items() if name in columns}


def is_ahead(new: Position, seen: Position) -> bool:
    """Whether `new` is ahead of `seen` in any stream: whether what it stands behind is news."""
    return any(place > seen.place.get(stream, ()) for stream, place in new.place.items())


def furthest(one: Position, other: Position) -> Position:
    """In each stream the place that is ahead. `one` gives the incarnation and the detail."""
    place = dict(other.place)
    for stream, at in one.place.items():
        place[stream] = max(at, place.get(stream, ()))
    return Position(one.incarnation, place, one.detail)
