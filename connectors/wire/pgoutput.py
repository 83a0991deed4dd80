"""pgoutput's messages, version 1 of its protocol: bytes -> what happened. No I/O, no meaning, nothing skipped.

PostgreSQL's documentation, "Logical Replication Message Formats". Numbers are big-endian, texts end in NUL, moments
are microseconds since 2000-01-01 UTC.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

_IS_IDENTITY: Final = 1
_TRUNCATE_CASCADE: Final = 1
_TRUNCATE_RESTART_IDENTITY: Final = 2


class NotPgoutput(ValueError):
    """Bytes that are no message of this protocol. The text quotes nothing of them."""


class Unchanged(Enum):
    """A large value (TOAST) that the change left as it was: it is not sent."""

    TOAST = "unchanged"


Cell = bytes | Unchanged | None
"""A column's value in PostgreSQL's text form, NULL, or not sent."""

Cells = tuple[Cell, ...]
"""One for each column of the relation, in its order."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction's first message. `commit_lsn` is where its commit record stands, `committed_at` its clock."""

    commit_lsn: int
    committed_at: datetime
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction's last message. `end_lsn` is behind its commit record: where reading goes on."""

    commit_lsn: int
    end_lsn: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction came by replication from another database."""

    commit_lsn: int
    name: str


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """`is_identity`: it belongs to the replica identity, so that old keys hold it."""

    name: str
    type_oid: int
    type_modifier: int
    is_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """What a table looks like from here on. `identity`: d default, n nothing, f full, i an index."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """A type that PostgreSQL does not bring along; for a domain `schema` and `name` are those of what it is made of."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Insert:
    relation: int
    new: Cells = field(repr=False)


@dataclass(frozen=True, slots=True)
class Update:
    """`old` is there when the replica identity's columns changed (only they are filled), or whole under FULL."""

    relation: int
    old: Cells | None = field(repr=False)
    new: Cells = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """`old`: the replica identity's columns are filled; under FULL, all."""

    relation: int
    old: Cells = field(repr=False)


@dataclass(frozen=True, slots=True)
class Truncate:
    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class Logical:
    """What somebody wrote into the log with pg_logical_emit_message."""

    lsn: int
    prefix: str
    transactional: bool
    content: bytes = field(repr=False)


Message = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | Logical


def decode(payload: bytes) -> Message:
    """The one message that `payload` is, from its first byte to its last. Raises NotPgoutput."""
    if not payload:
        raise NotPgoutput("an empty message")
    read = _READERS.get(payload[:1])
    if read is None:
        raise NotPgoutput(f"a message of type 0x{payload[0]:02x}, which protocol version 1 does not have")
    reader = _Reader(payload)
    try:
        message = read(reader)
    except struct.error:
        raise NotPgoutput(f"a message of type {chr(payload[0])} that ends too early") from None
    except UnicodeDecodeError:
        raise NotPgoutput(f"a message of type {chr(payload[0])} with a name that is not UTF-8") from None
    except OverflowError:
        raise NotPgoutput(f"a message of type {chr(payload[0])} with a moment outside the calendar") from None
    if reader.at != len(payload):
        raise NotPgoutput(f"a message of type {chr(payload[0])} with something behind its end")
    return message


def relation_of(payload: bytes) -> int | None:
    """The table that an Insert, Update or Delete is about, without reading further; None for any other message."""
    if payload[:1] in {b"I", b"U", b"D"} and len(payload) >= 5:
        return int.from_bytes(payload[1:5], "big")
    return None


def moment_of(microseconds: int) -> datetime:
    """The protocol's clock as a moment in UTC. Raises OverflowError outside the calendar."""
    return POSTGRES_EPOCH + timedelta(microseconds=microseconds)


_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_UINT32: Final = struct.Struct(">I")
_INT64: Final = struct.Struct(">q")
_UINT64: Final = struct.Struct(">Q")


class _Reader:
    """A message, read from left to right, behind its type byte. Raises struct.error at its end."""

    __slots__ = ("at", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload: Final = payload
        self.at = 1

    def number(self, form: struct.Struct) -> int:
        (value,) = form.unpack_from(self.payload, self.at)
        self.at += form.size
        return int(value)

    def octet(self) -> int:
        return self.octets(1)[0]

    def octets(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.payload):
            raise struct.error
        found = self.payload[self.at : end]
        self.at = end
        return found

    def text(self) -> str:
        end = self.payload.find(b"\0", self.at)
        if end < 0:
            raise struct.error
        found = self.payload[self.at : end]
        self.at = end + 1
        return found.decode()

    def cells(self) -> Cells:
        payload, at = self.payload, self.at
        (count,) = _INT16.unpack_from(payload, at)
        at += 2
        found: list[Cell] = []
        for _ in range(count):
            kind = payload[at : at + 1]
            at += 1
            if kind == b"t":
                (size,) = _INT32.unpack_from(payload, at)
                at += 4
                end = at + size
                if size < 0 or end > len(payload):
                    raise struct.error
                found.append(payload[at:end])
                at = end
            elif kind == b"n":
                found.append(None)
            elif kind == b"u":
                found.append(Unchanged.TOAST)
            elif not kind:
                raise struct.error
            else:
                raise NotPgoutput("a value that is not in text form")  # binary is sent only where it is asked for
        self.at = at
        return tuple(found)


def _begin(reader: _Reader) -> Begin:
    lsn, at = reader.number(_UINT64), moment_of(reader.number(_INT64))
    return Begin(lsn, at, reader.number(_UINT32))


def _commit(reader: _Reader) -> Commit:
    reader.octet()  # flags, of which there are none yet
    lsn, end = reader.number(_UINT64), reader.number(_UINT64)
    return Commit(lsn, end, moment_of(reader.number(_INT64)))


def _origin(reader: _Reader) -> Origin:
    lsn = reader.number(_UINT64)
    return Origin(lsn, reader.text())


def _relation(reader: _Reader) -> Relation:
    oid = reader.number(_UINT32)
    schema = reader.text() or "pg_catalog"
    name, identity = reader.text(), chr(reader.octet())
    columns = []
    for _ in range(reader.number(_INT16)):
        flags = reader.octet()
        column, type_oid = reader.text(), reader.number(_UINT32)
        columns.append(RelationColumn(column, type_oid, reader.number(_INT32), bool(flags & _IS_IDENTITY)))
    return Relation(oid, schema, name, identity, tuple(columns))


def _type(reader: _Reader) -> Type:
    oid = reader.number(_UINT32)
    schema = reader.text() or "pg_catalog"
    return Type(oid, schema, reader.text())


def _insert(reader: _Reader) -> Insert:
    relation = reader.number(_UINT32)
    _expect(reader, b"N")
    return Insert(relation, reader.cells())


def _update(reader: _Reader) -> Update:
    relation = reader.number(_UINT32)
    kind = reader.octets(1)
    old = None
    if kind in {b"K", b"O"}:
        old = reader.cells()
        kind = reader.octets(1)
    if kind != b"N":
        raise NotPgoutput("an update without its new row")
    return Update(relation, old, reader.cells())


def _delete(reader: _Reader) -> Delete:
    relation = reader.number(_UINT32)
    _expect(reader, b"KO")
    return Delete(relation, reader.cells())


def _truncate(reader: _Reader) -> Truncate:
    count, options = reader.number(_INT32), reader.octet()
    relations = tuple(reader.number(_UINT32) for _ in range(count))
    return Truncate(relations, bool(options & _TRUNCATE_CASCADE), bool(options & _TRUNCATE_RESTART_IDENTITY))


def _logical(reader: _Reader) -> Logical:
    transactional = bool(reader.octet())
    lsn, prefix = reader.number(_UINT64), reader.text()
    return Logical(lsn, prefix, transactional, reader.octets(reader.number(_INT32)))


def _expect(reader: _Reader, kinds: bytes) -> None:
    if reader.octets(1) not in {kinds[place : place + 1] for place in range(len(kinds))}:
        raise NotPgoutput("a row that is neither old nor new")


_READERS: Final[Mapping[bytes, Callable[[_Reader], Message]]] = {
    b"B": _begin,
    b"C": _commit,
    b"O": _origin,
    b"R": _relation,
    b"Y": _type,
    b"I": _insert,
    b"U": _update,
    b"D": _delete,
    b"T": _truncate,
    b"M": _logical,
}
