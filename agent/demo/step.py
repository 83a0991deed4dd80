"""A step of a demo history: one transaction of the EPJ, as rows that come, change and go."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum
from typing import Final

Cell = str | int | date | datetime | None
"""A column's value; a datetime is wall-clock time in Norway, without zone."""

Row = Mapping[str, Cell]
"""Every column of a row."""

TABLES: Final[Mapping[str, str]] = {
    "bruker": "bruker_id",
    "enhet": "enhet_id",
    "tjeneste": "tjeneste_id",
    "pause": "pause_id",
}
"""The tables of the demo's EPJ and their keys."""


class Action(Enum):
    """What happens to a row; the value is the letter that the change log writes."""

    INSERT = "I"
    UPDATE = "U"
    DELETE = "D"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row's change. `key` is the key before it; `row` is the whole row after it (its key may differ), None for
    DELETE. Both stay out of repr.
    """

    table: str
    action: Action
    key: int = field(repr=False)
    row: Row | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction. `at` is when it is registered (wall-clock time in Norway); `note` says what happens."""

    at: datetime
    note: str
    changes: tuple[RowChange, ...]


@dataclass(frozen=True, slots=True)
class PacedStep:
    """A step of a stream: wait `delay_s` seconds after the one before, then apply it."""

    delay_s: float
    step: Step


def inserted(table: str, row: Row) -> RowChange:
    """A new row."""
    return RowChange(table, Action.INSERT, key_of(table, row), row)


def updated(table: str, row: Row, key: int | None = None) -> RowChange:
    """A changed row; `key` only where the key itself changed: the one it had."""
    return RowChange(table, Action.UPDATE, key_of(table, row) if key is None else key, row)


def deleted(table: str, row: Row) -> RowChange:
    """A row that goes."""
    return RowChange(table, Action.DELETE, key_of(table, row), None)


def key_of(table: str, row: Row) -> int:
    """The key of a row."""
    key = row[TABLES[table]]
    if not isinstance(key, int):
        raise TypeError(f"{table}: the key must be an integer")
    return key


def registered_now(step: Step, at: datetime) -> Step:
    """The step as if it were registered at `at`: a demo that runs now writes rows with moments of now."""
    changes = tuple(replace(change, row=_stamped(change, at)) for change in step.changes)
    return replace(step, at=at, changes=changes)


def paced(steps: Iterable[Step], seconds: float, *, backlog_share: float = 0.6) -> Iterator[PacedStep]:
    """The first `backlog_share` of the steps at once (what the EPJ held already), the others over `seconds` seconds.

    The gaps are even, so that something is to be seen all the time.
    """
    every = list(steps)
    backlog = int(len(every) * backlog_share)
    live = len(every) - backlog
    for number, step in enumerate(every):
        yield PacedStep(0.0 if number < backlog else seconds / live, step)


def _stamped(change: RowChange, at: datetime) -> Row | None:
    if change.row is None:
        return None
    created = at if change.action is Action.INSERT else change.row["registrert_tid"]
    return {**change.row, "registrert_tid": created, "endret_tid": at}
