"""Rows as the agent keeps them: mapped columns only, as canonical text, each with the moment its value was registered.

Canonical text is the same whatever the source: integers in decimal, text right-trimmed, GUIDs in lower case, dates
`YYYY-MM-DD`, timestamps ISO without zone, instants ISO in UTC, infinities "infinity" and "-infinity".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from agent.domain.mapping import Columns, Meaning, TableMapping

FICTITIOUS_NAME = "(fictitious name)"
"""The pseudo-column that says whether a person's name matched when the row arrived; names are not kept."""

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class RowVersion:
    """The source's own order for a key: `order` compares within one `epoch` only."""

    epoch: str
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeptRow:
    """What is known of one row. `since`: column -> when its present value was registered (aware, UTC).

    A deleted row keeps its key, its version and, under the empty column name, the moment of its deletion. `defect`
    says why the newest record of the row could not be read; the values are then those of the last good one.
    """

    table: str
    key: str = field(repr=False)
    values: Values = field(repr=False)
    since: Mapping[str, datetime] = field(default_factory=dict, repr=False)
    version: RowVersion | None = None
    deleted: bool = False
    defect: str | None = None


class Rows(Protocol):
    """How assembling reads rows: from the ledger, or from a dict in a test."""

    def row(self, table: str, key: str) -> KeptRow | None:
        """The row of that key, deleted ones included; None when it was never seen."""
        ...

    def find(self, table: str, columns: Columns, value: str) -> Sequence[KeptRow]:
        """The rows that are not deleted whose `columns`, joined by `key_text`, equal `value`, in no special order."""
        ...


def key_text(parts: Sequence[str | None]) -> str | None:
    """A key as one text: a single part as it is, several joined by "|" ("|" and "\\" escaped); None if a part is."""
    if any(part is None for part in parts):
        return None
    if len(parts) == 1:
        return parts[0]
    return "|".join((part or "").replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def key_of(columns: Columns, values: Values) -> str | None:
    """The key text of a row's columns; None when one of them is empty."""
    return key_text([values.get(column) for column in columns])


def sort_key(table: TableMapping, columns: Columns, key: str) -> tuple[tuple[int, int, str], ...]:
    """An order for keys by their type: integers as numbers, everything else as text (docs/owed.md)."""
    parts = key.split("|") if len(columns) > 1 else [key]
    meanings = [table.columns.get(column, Meaning.TEXT) for column in columns]
    meanings += [Meaning.TEXT] * (len(parts) - len(meanings))
    return tuple(_sortable(meaning, part) for meaning, part in zip(meanings, parts, strict=False))


def _sortable(meaning: Meaning, part: str) -> tuple[int, int, str]:
    if meaning is Meaning.INTEGER:
        try:
            return (0, int(part), "")
        except ValueError:
            pass
    return (1, 0, part)
