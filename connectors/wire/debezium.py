"""One record in Debezium's forms -> a Record.

Read here: the envelope, with or without JsonConverter's schema and payload (key and value each), as objects or as JSON
text; rows flattened by ExtractNewRecordState; tombstones, heartbeats, transaction marks, schema changes, messages.
Debezium's documentation, "Data change events" of each connector, and recordings of version 3.7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from connectors.source import Capture, Change, Ignored, Operation, Record, Unreadable, Value
from connectors.wire.captured import CapturedTable, CapturedTables, NoKey, SchemaLacking, Semantics
from connectors.wire.debezium_schema import semantics_of
from connectors.wire.debezium_version import is_snapshot, version_of
from connectors.wire.strict_json import LARGEST_DOCUMENT_BYTES, NotStrictJson, read_strict_json

BEFORE_IS_COMPLETE: Final = frozenset({"mysql", "mariadb", "oracle", "sqlserver", "db2"})
"""Connectors whose `before` holds the true row. PostgreSQL's may hold "", 0 and 1970-01-01 beside the true key."""

_WHEN_PROCESSED: Final = frozenset({"__ts_ms", "__ts_us", "__ts_ns"})
_TIME_FIELDS: Final = frozenset({"ts_ms", "ts_us", "ts_ns"})
_TRANSACTION_FIELDS: Final = _TIME_FIELDS | {"status", "id", "event_count", "data_collections"}
_SCHEMA_CHANGE_FIELDS: Final = frozenset({"ddl", "databaseName", "tableChanges"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _NotReadable(ValueError):
    """Why a record cannot be understood; quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An envelope or a flattened row, in one shape."""

    operation: str
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    source: Mapping[str, object]
    connector: str
    schema: str | None
    table: str
    before_semantics: Semantics | None
    after_semantics: Semantics | None


class DebeziumReader:
    """Reads records of any topic for one capture. Holds no state between records.

    `epoch` comes before that of every version: what is newer is only comparable within it.
    """

    def __init__(
        self, capture: Capture, *, largest_record_bytes: int = LARGEST_DOCUMENT_BYTES, epoch: str = ""
    ) -> None:
        self._tables: Final = CapturedTables(capture)
        self._largest_bytes: Final = largest_record_bytes
        self._epoch: Final = epoch

    def read(self, topic: str | None, key: object, value: object, *, place: str, raw: bytes) -> Record:
        """The record: a Change of a wanted table, Ignored or Unreadable; never raises for what a record holds.

        `key` and `value` are JSON as bytes or text, or what `read_strict_json` made of it; None is null. `place` and
        `raw` go into an Unreadable.
        """
        try:
            return self._read(topic, self._document(key), self._document(value))
        except (_NotReadable, NotStrictJson, NoKey, SchemaLacking) as error:
            return Unreadable(place, str(error), raw)

    def _document(self, part: object) -> object:
        if isinstance(part, bytes | str):
            return read_strict_json(part, largest_bytes=self._largest_bytes)
        return part

    def _read(self, topic: str | None, key: object, value: object) -> Record:
        value_schema, value = _unwrapped(value)
        if value is None:
            return Ignored("a tombstone")
        if not isinstance(value, dict):
            raise _NotReadable("the value is not an object")
        mark = _mark(topic, value)
        if mark is not None:
            return Ignored(mark)
        event = _event(topic, value, value_schema)
        if event is None:
            return Ignored("a message that is not a row")
        table = self._tables.find(event.schema, event.table)
        if table is None:
            return Ignored("a row of another table")
        key_schema, key = _unwrapped(key)
        return _change(table, event, key, semantics_of(key_schema), self._epoch)


def _unwrapped(document: object) -> tuple[object, object]:
    """(schema, payload) of what JsonConverter wraps; (None, the document) of what it does not."""
    if isinstance(document, dict) and document.keys() == {"schema", "payload"}:
        schema = document["schema"]
        if schema is None or (isinstance(schema, dict) and "type" in schema):
            return schema, document["payload"]
    return None, document


def _mark(topic: str | None, value: Mapping[str, object]) -> str | None:
    """What the record is, where it is no row at all."""
    if (value and value.keys() <= _TIME_FIELDS) or (topic is not None and topic.startswith("__debezium-heartbeat")):
        return "a heartbeat"
    if value.get("status") in {"BEGIN", "END"} and value.keys() <= _TRANSACTION_FIELDS:
        return "a transaction mark"
    if "op" not in value and "source" in value and not _SCHEMA_CHANGE_FIELDS.isdisjoint(value):
        return "a schema change"
    return None


def _event(topic: str | None, value: Mapping[str, object], schema: object) -> _Event | None:
    operation = value.get("op")
    if isinstance(operation, str) and (isinstance(value.get("source"), dict) or "after" in value or "before" in value):
        return None if operation == "m" else _enveloped(topic, operation, value, schema)
    return _flattened(topic, value, schema)


def _enveloped(topic: str | None, operation: str, value: Mapping[str, object], value_schema: object) -> _Event:
    source = value.get("source")
    if not isinstance(source, dict):
        source = {}
    schema, table = source.get("schema"), source.get("table")
    if not isinstance(schema, str) or not schema:
        schema = source.get("db")  # MySQL and MariaDB have no schema between the database and the table
    if not isinstance(table, str) or not table:
        schema, table = _table_of_topic(topic)
    return _Event(
        operation=operation,
        before=_row(value, "before"),
        after=_row(value, "after"),
        source=source,
        connector=_text(source.get("connector")),
        schema=_text(schema) or None,
        table=table,
        before_semantics=semantics_of(value_schema, "before"),
        after_semantics=semantics_of(value_schema, "after"),
    )


def _row(value: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    row = value.get(name)
    if row is None or isinstance(row, dict):
        return row
    raise _NotReadable(f"{name} is not an object")


def _flattened(topic: str | None, value: Mapping[str, object], value_schema: object) -> _Event:
    """ExtractNewRecordState: the row itself, with what was asked to be added under names that begin with `__`."""
    added = {
        name.removeprefix("__").removeprefix("source_"): field
        for name, field in value.items()
        if name.startswith("__") and name not in _WHEN_PROCESSED
    }
    connector = _text(added.get("connector"))
    if not connector and isinstance(added.get("lsn"), int):
        connector = "postgresql"  # the only connector whose source has a field of this name
    schema, table = _text(added.get("schema")) or None, _text(added.get("table"))
    if not table or not schema:
        topic_schema, topic_table = _table_of_topic(topic, otherwise=table)
        if not table or topic_table == table:
            schema, table = topic_schema, topic_table
    operation = _text(added.get("op")) or "u"
    if str(added.get("deleted")).lower() == "true":
        operation = "d"
    added["db"] = _text(added.get("db")) or (topic or "").partition(".")[0]
    semantics = semantics_of(value_schema)
    return _Event(
        operation=operation,
        before=None,
        after=None if operation == "t" else value,
        source=added,
        connector=connector,
        schema=schema,
        table=table,
        before_semantics=semantics,
        after_semantics=semantics,
    )


def _table_of_topic(topic: str | None, *, otherwise: str = "") -> tuple[str | None, str]:
    """(schema, table) from a topic's last two parts."""
    if not topic:
        if not otherwise:
            raise _NotReadable("neither the record nor a topic names a table")
        return None, otherwise
    parts = topic.split(".")
    return (parts[-2] if len(parts) > 1 else None), parts[-1]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _change(table: CapturedTable, event: _Event, key: object, key_semantics: Semantics | None, epoch: str) -> Change:
    operation = _OPERATIONS.get(event.operation)
    if operation is None:
        raise _NotReadable("an operation that is not known")
    row: Mapping[str, Value] | None = None
    found: Mapping[str, Value] | None = None
    if operation is Operation.UPSERT:
        if event.after is None:
            raise _NotReadable("a row is told of, and after is null")
        row = table.row(event.after, event.after_semantics, event.connector)
    if operation is not Operation.TRUNCATE:
        found = _key(table, event, key, key_semantics, operation)
    return Change(
        table=table.table.name,
        operation=operation,
        key=found,
        row=row,
        version=version_of(event.connector, event.source, epoch),
        committed_at=_committed_at(event.source),
        snapshot=event.operation == "r" or is_snapshot(event.source),
    )


_OPERATIONS: Final[Mapping[str, Operation]] = {
    "c": Operation.UPSERT,
    "r": Operation.UPSERT,
    "u": Operation.UPSERT,
    "d": Operation.DELETE,
    "t": Operation.TRUNCATE,
}


def _key(
    table: CapturedTable, event: _Event, key: object, semantics: Semantics | None, operation: Operation
) -> Mapping[str, Value]:
    """From the record's key; else from the row, where its key columns can be trusted."""
    if isinstance(key, dict) and table.has_key(key):
        return table.key(key, semantics, event.connector)
    if operation is Operation.UPSERT and event.after is not None:
        return table.key(event.after, event.after_semantics, event.connector)
    if event.before is None:
        raise _NotReadable("a deleted row whose key is not told")
    if key is not None and event.connector not in BEFORE_IS_COMPLETE:
        raise _NotReadable("a deleted row whose key lacks a key column of the mapping, and before may be filler")
    return table.key(event.before, event.before_semantics, event.connector)


def _committed_at(source: Mapping[str, object]) -> datetime | None:
    """The commit in the source's database, UTC: `ts_us` where it is there, else `ts_ms`; 0 is not known."""
    micros, millis = source.get("ts_us"), source.get("ts_ms")
    try:
        if type(micros) is int and micros > 0:
            return _EPOCH + timedelta(microseconds=micros)
        if type(millis) is int and millis > 0:
            return _EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return None
    return None
