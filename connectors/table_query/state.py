"""How far the reading of one table has come, and that as a position: the place moves forward, the detail resumes it.

The place of a table is (scan, step): the number of the scan that was begun last, and the transactions given since. The
detail is JSON, one object for each table. It holds keys: the ledger encrypts it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from connectors.source import Position
from connectors.table_query.watermark import RecentRows

RawKey = tuple[Any, ...]
"""A key's columns as the driver gave them: what the next query is asked with."""

MOST_ANCHORS: Final = 5


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row that was read: its key, and its watermark where the table has one."""

    key: RawKey = field(repr=False)
    watermark: object = field(default=None, repr=False)


@dataclass(slots=True)
class TableState:
    """One table's reading. Times are UTC.

    scan, step: the place. last: the highest watermark told, as the driver gave it; None before the first scan, or where
    the table was empty then. after: in a scan, the key told last. scan_began: by our clock, for the timetable.
    scan_began_there, complete_from: by the database's clock, the beginning of the scan under way, and of the last
    complete one: what was committed before the latter has been told. anchors: the rows with the highest watermarks, or
    the last keys of a scan.
    """

    scan: int = 0
    step: int = 0
    is_scanning: bool = False
    after: RawKey | None = field(default=None, repr=False)
    last: object = field(default=None, repr=False)
    scan_began: datetime | None = None
    scan_began_there: datetime | None = None
    complete_from: datetime | None = None
    anchors: list[Anchor] = field(default_factory=list, repr=False)
    recent: RecentRows = field(default_factory=RecentRows, repr=False)

    def begin_scan(self, ours: datetime, theirs: datetime) -> None:
        """A new scan, from the first key."""
        self.scan, self.step, self.is_scanning, self.after = self.scan + 1, 0, True, None
        self.scan_began, self.scan_began_there = ours, theirs

    def end_scan(self) -> None:
        """Every row that is there was told."""
        self.is_scanning, self.after, self.complete_from = False, None, self.scan_began_there
        self.step += 1

    def anchor(self, rows: Sequence[Anchor]) -> None:
        """Remember these rows, the newest last, instead of older ones."""
        keys = {row.key for row in rows}
        self.anchors = [*(known for known in self.anchors if known.key not in keys), *rows][-MOST_ANCHORS:]


def position_of(incarnation: str, states: Mapping[str, TableState]) -> Position:
    """Where these states resume."""
    place = {table: (state.scan, state.step) for table, state in states.items()}
    detail = {table: _to_json(state) for table, state in states.items()}
    return Position(incarnation, place, json.dumps(detail, separators=(",", ":"), ensure_ascii=False))


def states_of(tables: Sequence[str], position: Position | None) -> dict[str, TableState]:
    """The states that a position resumes; a table that it does not know, or no longer in detail, is read anew."""
    detail = {} if position is None or not position.detail else json.loads(position.detail)
    states = {}
    for table in tables:
        place = () if position is None else position.place.get(table, ())
        scan, step = place if len(place) == 2 else (0, 0)
        states[table] = _from_json(scan, step, detail[table]) if table in detail else TableState(scan, step)
    return states


def _to_json(state: TableState) -> dict[str, object]:
    told = {
        "scanning": state.is_scanning or None,
        "after": None if state.after is None else [_tagged(part) for part in state.after],
        "last": _tagged(state.last),
        "scan_began": _tagged(state.scan_began),
        "scan_began_there": _tagged(state.scan_began_there),
        "complete_from": _tagged(state.complete_from),
        "anchors": [[[_tagged(part) for part in row.key], _tagged(row.watermark)] for row in state.anchors] or None,
        "recent": state.recent.kept() or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _from_json(scan: int, step: int, told: Mapping[str, Any]) -> TableState:
    after = told.get("after")
    return TableState(
        scan,
        step,
        bool(told.get("scanning")),
        None if after is None else tuple(_untagged(part) for part in after),
        _untagged(told.get("last")),
        _untagged(told.get("scan_began")),
        _untagged(told.get("scan_began_there")),
        _untagged(told.get("complete_from")),
        [Anchor(tuple(_untagged(part) for part in key), _untagged(mark)) for key, mark in told.get("anchors", ())],
        RecentRows((key, row) for key, row in told.get("recent", ())),
    )


def resumable(raw: object) -> bool:
    """Whether a key's part can be kept in a position and asked with again. A fraction is not exact."""
    return isinstance(raw, str | int | Decimal | date | UUID | bytes)


def _tagged(raw: object) -> object:
    """A driver's value as JSON: text and integers as they are, others in an object that names their type."""
    match raw:
        case None | bool() | int() | str():
            return raw
        case datetime():
            return {"time": raw.isoformat()}
        case date():
            return {"day": raw.isoformat()}
        case Decimal():
            return {"decimal": str(raw)}
        case UUID():
            return {"uuid": str(raw)}
        case bytes():
            return {"octets": raw.hex()}
    raise TypeError(f"a {type(raw).__name__} is not kept in a position")


def _untagged(told: Any) -> Any:
    if not isinstance(told, dict):
        return told
    ((tag, text),) = told.items()
    return _READERS[tag](text)


_READERS: Final[Mapping[str, Any]] = {
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "octets": bytes.fromhex,
}
