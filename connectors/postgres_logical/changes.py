"""pgoutput's messages -> transactions of records: which table, which key, what row, in parts of bounded size.

A source's own knowledge of the tables is what the stream has described so far; each message is read by that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from connectors.source import Capture, Change, Ignored, Operation, Record, Table, Unreadable, Value, Version
from connectors.wire.captured import NoKey
from connectors.wire.pgoutput import (
    Begin,
    Cells,
    Commit,
    Delete,
    Insert,
    Logical,
    NotPgoutput,
    Origin,
    Relation,
    Truncate,
    Type,
    Unchanged,
    Update,
    decode,
    relation_of,
)
from connectors.wire.postgres_rows import Described, TableReader
from connectors.wire.postgres_types import built_in

ANOTHER_TABLE: Final = Ignored("another table")
A_MESSAGE: Final = Ignored("a message in the log")

_FULL: Final = "f"


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one transaction: all of it, or as many as come at once. `index`: how many came before its end."""

    records: tuple[Record, ...]
    lsn: int
    index: int
    is_final: bool


@dataclass(slots=True)
class _Open:
    """The transaction that is being read."""

    commit_lsn: int
    committed_at: datetime
    index: int = 0
    changes: int = 0
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Told:
    """A wanted table as the stream has described it last."""

    reader: TableReader
    is_full: bool


class Unwanted(Enum):
    """A table that nobody wants by its name. (A partition is described beside its root, and its rows as the root's.)"""

    NOT_LOOKED_AT = "not looked at"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A change of a table that is not wanted by its name, the first one: is it a partition of one that is?"""

    oid: int


class ChangeReader:
    """Reads messages in the stream's order. `epoch` is that of every version.

    A table is wanted by its name, or by its number as it was found at the start: the log may still call it otherwise.
    """

    def __init__(self, capture: Capture, numbers: Mapping[int, Table], *, epoch: str, chunk_rows: int) -> None:
        self._wanted: Final = {table.name_in_source: table for table in capture.tables}
        self._numbers: Final = dict(numbers)
        self._epoch: Final = epoch
        self._chunk_rows: Final = chunk_rows
        self._told: Final[dict[int, _Told | Unwanted]] = {}
        self._types: Final[dict[int, int | None]] = {}
        self._open: _Open | None = None

    @property
    def is_between(self) -> bool:
        """Whether no transaction is open."""
        return self._open is None

    def read(self, payload: bytes) -> Part | Unknown | None:
        """A part when it is full or the transaction at its end, else None; Unknown: say `leave`, and read it again.

        Raises NotPgoutput, and ColumnUnfit and KeyUnfit where a wanted table no longer is what is mapped.
        """
        relation = relation_of(payload)
        if relation is not None and self._told.get(relation) is Unwanted.LEFT:
            return self._add(ANOTHER_TABLE)
        message = decode(payload)
        about = message.relations if isinstance(message, Truncate) else (relation,)
        for oid in about:
            if oid is not None and self._told.get(oid) is Unwanted.NOT_LOOKED_AT:
                return Unknown(oid)
        match message:
            case Begin():
                if self._open is not None:
                    raise NotPgoutput("a transaction that begins within another")
                self._open = _Open(message.commit_lsn, message.committed_at)
            case Commit():
                return self._close(message)
            case Relation():
                self._describe(message)
            case Type():
                self._types[message.oid] = built_in(message.schema, message.name)
            case Insert() | Update() | Delete():
                return self._add(*self._changes(message, payload))
            case Truncate():
                return self._add(*self._truncated(message))
            case Logical():
                return self._add(A_MESSAGE) if message.transactional else None
            case Origin():
                pass
        return None

    def leave(self, unknown: Unknown) -> None:
        """The table is not wanted: its changes are counted, and no more."""
        self._told[unknown.oid] = Unwanted.LEFT

    def _describe(self, relation: Relation) -> None:
        full = f"{relation.schema}.{relation.name}"
        table = self._wanted.get(full) or self._wanted.get(relation.name) or self._numbers.get(relation.oid)
        if table is None:
            if self._told.get(relation.oid) is not Unwanted.LEFT:
                self._told[relation.oid] = Unwanted.NOT_LOOKED_AT
            return
        described = [
            Described(column.name, self._types.get(column.type_oid) or column.type_oid, column.is_identity)
            for column in relation.columns
        ]
        self._told[relation.oid] = _Told(TableReader(table, described), relation.identity == _FULL)

    def _add(self, *records: Record) -> Part | None:
        transaction = self._within()
        transaction.records += records
        transaction.index += len(records)
        if len(transaction.records) < self._chunk_rows:
            return None
        part = Part(tuple(transaction.records), transaction.commit_lsn, transaction.index, is_final=False)
        transaction.records = []
        return part

    def _close(self, commit: Commit) -> Part:
        transaction = self._within()
        self._open = None
        return Part(tuple(transaction.records), commit.end_lsn, transaction.index, is_final=True)

    def _within(self) -> _Open:
        if self._open is None:
            raise NotPgoutput("a change outside a transaction")
        return self._open

    def _changes(self, message: Insert | Update | Delete, payload: bytes) -> Iterator[Record]:
        told = self._told.get(message.relation)
        if not isinstance(told, _Told):
            raise NotPgoutput("a change of a table that was not described")
        try:
            yield from self._read_changes(told, message)
        except NoKey as error:
            transaction = self._within()
            place = f"{told.reader.table.name_in_source}, {transaction.commit_lsn:X} {transaction.index}"
            yield Unreadable(place, str(error), payload)

    def _read_changes(self, told: _Told, message: Insert | Update | Delete) -> list[Record]:
        reader = told.reader
        rows = [message.old] if isinstance(message, Delete) else [message.new]
        if isinstance(message, Update) and message.old is not None:
            rows.append(message.old)
        if any(len(row) != reader.width for row in rows):
            raise NotPgoutput("a row with more or fewer columns than its table was said to have")
        match message:
            case Insert():
                return [self._change(reader, Operation.UPSERT, reader.key(message.new), message.new)]
            case Delete():
                return [self._change(reader, Operation.DELETE, reader.key(message.old))]
            case Update():
                if message.old is None:
                    return [self._change(reader, Operation.UPSERT, reader.key(message.new), message.new)]
                whole = _filled(message.new, message.old)
                old_key, new_key = reader.key(message.old), reader.key(whole)
                gone = [] if old_key == new_key else [self._change(reader, Operation.DELETE, old_key)]
                # Only FULL's old row has more than the identity's columns: there it also knows what was not sent.
                row = whole if told.is_full else message.new
                return [*gone, self._change(reader, Operation.UPSERT, new_key, row)]

    def _truncated(self, message: Truncate) -> list[Record]:
        tables = [self._told.get(relation) for relation in message.relations]
        return [
            self._change(told.reader, Operation.TRUNCATE, None) if isinstance(told, _Told) else ANOTHER_TABLE
            for told in tables
        ]

    def _change(
        self, reader: TableReader, operation: Operation, key: dict[str, Value] | None, row: Cells | None = None
    ) -> Change:
        """The version is the commit's place: a change record may stand before a snapshot that does not hold it yet."""
        transaction = self._within()
        transaction.changes += 1
        return Change(
            table=reader.table.name,
            operation=operation,
            key=key,
            row=None if row is None else reader.row(row),
            version=Version(self._epoch, (transaction.commit_lsn, transaction.changes)),
            committed_at=transaction.committed_at,
        )


def _filled(new: Cells, old: Cells) -> Cells:
    """The new row, with the old one's value where one was not sent because it did not change."""
    return tuple(was if isinstance(now, Unchanged) else now for now, was in zip(new, old, strict=True))
