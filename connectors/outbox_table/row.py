"""One row of a change log -> its records: table, operation, before and after as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from connectors.source import (
    ABSENT,
    Capture,
    Change,
    Ignored,
    Operation,
    Record,
    SourceChanged,
    Unreadable,
    Value,
    Version,
)
from connectors.wire.captured import CapturedTable, CapturedTables, NoKey, SchemaLacking
from connectors.wire.strict_json import NotStrictJson, read_strict_json
from connectors.wire.times import moment_from_text

_OPERATIONS: Final[Mapping[str, Operation]] = {
    "i": Operation.UPSERT,
    "insert": Operation.UPSERT,
    "c": Operation.UPSERT,
    "u": Operation.UPSERT,
    "update": Operation.UPSERT,
    "d": Operation.DELETE,
    "delete": Operation.DELETE,
    "t": Operation.TRUNCATE,
    "truncate": Operation.TRUNCATE,
}


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row as the driver gives it; `before`, `after` and `row_key` are JSON as text, or what the driver made of it."""

    key: int
    table: object
    operation: object
    before: object = field(repr=False)
    after: object = field(repr=False)
    transaction: object = None
    written: object = None
    row_key: object = field(default=None, repr=False)


class _NotReadable(ValueError):
    """Why a row cannot be understood; quotes nothing of it."""


class LogReader:
    """Reads rows of a change log for one capture. `schema` is that of tables which the log names without one."""

    def __init__(self, capture: Capture, *, epoch: str, schema: str | None, zone: ZoneInfo) -> None:
        self._tables: Final = CapturedTables(capture)
        self._epoch: Final = epoch
        self._schema: Final = schema
        self._zone: Final = zone

    def read(self, row: LogRow) -> tuple[Record, ...]:
        """One record; two (the old key's deletion, the new key's row) where an update changed the key.

        Raises SourceChanged where a mapped column is not in the row, or the table's schema is not told.
        """
        try:
            return self._read(row)
        except (_NotReadable, NotStrictJson, NoKey) as error:
            raw = "\n".join(str(part) for part in (row.before, row.after) if part is not None)
            return (Unreadable(f"outbox key {row.key}", str(error), raw.encode("utf-8", "replace")),)

    def _read(self, row: LogRow) -> tuple[Record, ...]:
        table = self._table(row)
        if table is None:
            return (Ignored("a row of another table"),)
        operation = _OPERATIONS.get(str(row.operation).strip().lower())
        if operation is None:
            raise _NotReadable("an operation that is not known")
        if operation is Operation.TRUNCATE:
            return (self._change(row, table, operation, None, None),)
        before, after = _object(row.before, "before"), _object(row.after, "after")
        if operation is Operation.DELETE:
            return (self._change(row, table, operation, self._deleted_key(row, table, before), None),)
        if after is None:
            raise _NotReadable("a row is told of, and after is null")
        key = table.key(after, None, "")
        values = table.row(after, None, "")
        absent = next((name for name, value in values.items() if value is ABSENT), None)
        if absent is not None:
            raise SourceChanged(
                f"the change log's rows of {table.table.name} lack the mapped column {absent}",
                repair="put the column into the log, or its new name into the mapping (the old one as an earlier name)",
            )
        change = self._change(row, table, operation, key, values)
        if before is not None and table.has_key(before):
            old_key = table.key(before, None, "")
            if old_key != key:
                return (self._change(row, table, Operation.DELETE, old_key, None), change)
        return (change,)

    def _table(self, row: LogRow) -> CapturedTable | None:
        if not isinstance(row.table, str) or not row.table.strip():
            raise _NotReadable("the row names no table")
        schema, _, name = row.table.strip().rpartition(".")
        try:
            return self._tables.find(schema or self._schema, name)
        except SchemaLacking:
            raise SourceChanged(
                "the change log names a mapped table without its schema",
                repair="set source.outbox_table.table_schema to the schema of the tables in the log",
            ) from None

    def _deleted_key(
        self, row: LogRow, table: CapturedTable, before: Mapping[str, object] | None
    ) -> Mapping[str, Value]:
        if before is not None and table.has_key(before):
            return table.key(before, None, "")
        told = _scalar_or_object(row.row_key)
        if isinstance(told, dict):
            return table.key(told, None, "")
        if told is not None and len(table.table.key) == 1:
            return table.key({table.table.key[0]: told}, None, "")
        raise _NotReadable("a deleted row whose key is not told")

    def _change(
        self,
        row: LogRow,
        table: CapturedTable,
        operation: Operation,
        key: Mapping[str, Value] | None,
        values: Mapping[str, Value] | None,
    ) -> Change:
        return Change(
            table=table.table.name,
            operation=operation,
            key=key,
            row=values,
            version=Version(self._epoch, (row.key,)),
            committed_at=_moment(row.written, self._zone),
        )


def _object(part: object, name: str) -> Mapping[str, object] | None:
    document = _scalar_or_object(part)
    if document is None or isinstance(document, dict):
        return document
    raise _NotReadable(f"{name} is not an object")


def _scalar_or_object(part: object) -> object:
    if isinstance(part, str | bytes):
        return read_strict_json(part)
    if isinstance(part, memoryview | bytearray):
        return read_strict_json(bytes(part))
    return part


def _moment(written: object, zone: ZoneInfo) -> datetime | None:
    """When the row was written, UTC; a time without a zone is in the configured one. None where it is not a time."""
    moment: object = moment_from_text(written) if isinstance(written, str) else written
    if not isinstance(moment, datetime):
        return None
    try:
        return moment.replace(tzinfo=moment.tzinfo or zone).astimezone(UTC)
    except OverflowError:
        return None


def same_transaction(one: LogRow, other: LogRow) -> bool:
    """Whether two rows carry the same transaction; rows without one stand alone."""
    return one.transaction is not None and one.transaction == other.transaction
