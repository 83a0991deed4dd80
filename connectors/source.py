"""The contract of a Source: the changes of one database, in order, with a place to resume from.

A source is single-use. Trouble raises an error named by the reaction it calls for; the caller opens a new source from
the stored position. A source never retries, never decides what is owed and never forgets a change.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Final, Protocol, Self


class Kind(Enum):
    """What a column means, whatever its encoding. A mapping says it once for an EPJ product."""

    TEXT = "text"
    INTEGER = "integer"
    DATE = "date"
    TIMESTAMP = "timestamp"  # wall-clock time without a zone
    INSTANT = "instant"  # a moment with a zone


class Encoding(Enum):
    """How a number stands for a date or a time, where no schema says it. Never guessed from the number's size."""

    DAYS = "days"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"


@dataclass(frozen=True, slots=True)
class Column:
    """A column the agent wants. `earlier_names` are tried, in order, where `name` is not there."""

    name: str
    kind: Kind
    encoding: Encoding | None = None
    earlier_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table the agent wants: its name in the mapping ("schema.table" or "table"), its key, every mapped column.

    `found_as`: its name in the source where that is another one (a schema for each unit); changes carry `name`.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    found_as: str = ""

    @property
    def name_in_source(self) -> str:
        """What the source calls it."""
        return self.found_as or self.name


@dataclass(frozen=True, slots=True)
class Capture:
    """All that one reporting unit wants of a source. Other tables and columns are counted, never kept."""

    tables: tuple[Table, ...]


class Infinity(Enum):
    """PostgreSQL's open ends of time. Where a mapping expects a date they mean "no date"."""

    PLUS = "infinity"
    MINUS = "-infinity"


class Missing(Enum):
    """A value that the change does not carry: unchanged TOAST. It is taken from what is known of the row."""

    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A value that cannot be read as its column's kind. `why` quotes no value."""

    why: str


ABSENT: Final = Undecodable("the column is not in the change")
"""A wanted column that a change does not have at all, under any of its names."""

Value = str | int | Decimal | bool | date | datetime | Infinity | Missing | Undecodable | None
"""TEXT gives str, INTEGER int, DATE date, TIMESTAMP a naive datetime, INSTANT an aware UTC datetime; None is NULL."""


class Operation(Enum):
    UPSERT = "upsert"  # a snapshot row, an insert, an update: the row as it is now
    DELETE = "delete"
    TRUNCATE = "truncate"  # every row of the table


@dataclass(frozen=True, slots=True)
class Version:
    """What is newer, for one key: `order` compares within one `epoch` (cluster, timeline, topic id) only."""

    epoch: str
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it is after a change. `key` and `row` hold only wanted columns and stay out of repr.

    `row` is None for DELETE and TRUNCATE; `key` is None for TRUNCATE. `version` None counts as new (incremental
    snapshots). `committed_at` is the commit in the source's database where it is known (UTC).
    """

    table: str
    operation: Operation
    key: Mapping[str, Value] | None = field(repr=False)
    row: Mapping[str, Value] | None = field(repr=False)
    version: Version | None = None
    committed_at: datetime | None = None
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something in the stream that is not a row of a wanted table: a tombstone, a heartbeat, another table."""

    why: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be understood at all. `raw` is kept, encrypted, for a person; `why` quotes nothing of it."""

    place: str
    why: str
    raw: bytes = field(repr=False)


Record = Change | Ignored | Unreadable


@dataclass(frozen=True, slots=True)
class Position:
    """Where to resume: `place` has one ordered tuple for each stream of an `incarnation` (what the source is).

    A position precedes another of the same incarnation when none of its parts is ahead. `detail` is the connector's
    own (such as the keys already seen above a low-water mark) and is not compared.
    """

    incarnation: str
    place: Mapping[str, tuple[int, ...]]
    detail: str = ""


class Mark(Enum):
    """Where a transaction stands in a scan."""

    BEGIN = "begin"
    INSIDE = "inside"
    END = "end"  # complete: every row that is there has been told


@dataclass(frozen=True, slots=True)
class Scan:
    """Reading whole tables row by row: an initial load, a full scan. `tables` by their names in the mapping.

    A scan that is broken off has no end and says nothing of rows that it did not tell; it may begin again, or go on.
    `absent_after`: a row that so many complete scans, one after the other, have not told is deleted; None: it stays,
    and is listed for a person.
    """

    mark: Mark
    tables: tuple[str, ...]
    absent_after: int | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """Records that belong together, in order, and the position behind them.

    An empty transaction reports progress only. `seen_through` is a moment (UTC) before which no change is still to
    come. A large transaction comes in parts: `final` is False for all but the last, and the position counts only then.
    `scan`: this is a part of one; its changes have `snapshot` True. A transaction may be begin or end alone, or empty.
    """

    records: tuple[Record, ...]
    position: Position
    final: bool = True
    seen_through: datetime | None = None
    scan: Scan | None = None


class SourceError(Exception):
    """Trouble with a source. `code` is stable, `repair` says what a person does; neither quotes a row."""

    code: str = "KPR-100"

    def __init__(self, text: str, *, repair: str = "") -> None:
        super().__init__(text)
        self.repair: Final = repair


class SourceUnavailable(SourceError):
    """The database or platform does not answer: open a new source after a while."""

    code = "KPR-101"


class SourceRefused(SourceError):
    """Credentials or rights are wrong: a person mends them; try again at minutes' pace."""

    code = "KPR-102"


class PositionLost(SourceError):
    """The stored position no longer exists, or another database answers (invariant 2): stop, never "from now"."""

    code = "KPR-103"


class SourceChanged(SourceError):
    """A wanted table or column is gone or of another type: stop, un-acknowledged, until the mapping knows it."""

    code = "KPR-104"


class Source(Protocol):
    """The changes of one database. Enter, read `transactions()` once, acknowledge what is durable, exit."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def identity(self) -> str:
        """The incarnation that answers now; compared with the stored position's at every start and reconnection."""
        ...

    def transactions(self) -> AsyncIterator[Transaction]:
        """Every transaction after the position the source was opened with, in the source's order, each at least once.

        Yields empty transactions while nothing happens, so that progress shows. A source with an end (a file) ends.
        """
        ...

    async def acknowledge(self, position: Position) -> None:
        """Say that everything up to `position` is durable (invariant 1). May be a no-op."""
        ...


def smallest(positions: Sequence[Position]) -> Position:
    """The position that none of `positions` precedes: where a source that serves several units starts.

    All must share one incarnation. A stream that one of them lacks starts where its owner says, so it is left out.
    """
    first = positions[0]
    if any(position.incarnation != first.incarnation for position in positions):
        raise PositionLost("the units of one source have positions in different incarnations")
    shared = set(first.place).intersection(*(set(position.place) for position in positions))
    place = {stream: min(position.place[stream] for position in positions) for stream in sorted(shared)}
    detail = next((position.detail for position in positions if dict(position.place) == place), "")
    return Position(first.incarnation, place, detail)


def goes_backwards(stored: Position, new: Position) -> bool:
    """Whether `new` is behind `stored` in any stream of the same incarnation (invariant 2)."""
    return any(stream in new.place and new.place[stream] < place for stream, place in stored.place.items())
