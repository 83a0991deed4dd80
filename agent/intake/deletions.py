"""The breaker for rows that go in numbers: a table emptied, a mass deletion, rows absent from full scans.

What a person has not confirmed is not booked, and the source stays where it is: nothing is lost by waiting. Confirmed
once is confirmed for that one deletion (`kpr-agent source confirm`); what it owes still meets the gate.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from agent.domain.gate import GateLimits
from agent.ledger.transaction import LedgerTransaction
from connectors.source import Position, SourceError

HELD: Final = "source: held deletion"
CONFIRMED: Final = "source: confirmed deletion"
"""Notes in the ledger: the deletion that waits for a person, and the one that a person has let through."""


class DeletionHeld(SourceError):
    """More rows go at once than a normal day takes away: stop, un-acknowledged, and ask a person."""

    code = "KPR-105"

    def __init__(self, deletion: "Deletion") -> None:
        super().__init__(
            f"{deletion.what}: nothing of it was booked, and nothing more is read until a person has decided",
            repair="find out whether the EPJ meant it; then `kpr-agent source confirm FILE`, or mend the EPJ",
        )
        self.deletion: Final = deletion


@dataclass(frozen=True, slots=True)
class Deletion:
    """Rows that go together. rows: how many go, by table; emptied: the tables that TRUNCATE emptied.

    absent: nothing said that they were deleted, full scans no longer tell them.
    """

    rows: Mapping[str, int]
    emptied: frozenset[str] = frozenset()
    absent: bool = False

    @property
    def what(self) -> str:
        """What goes, for a person: tables and numbers only."""
        return ", ".join(self._of(table, count) for table, count in sorted(self.rows.items()))

    def _of(self, table: str, count: int) -> str:
        if table in self.emptied:
            return f"{table} was emptied (TRUNCATE) and had {count} rows"
        return f"{count} rows of {table} {'are missing from full scans' if self.absent else 'go at once'}"


def check_deletion(tx: LedgerTransaction, limits: GateLimits, deletion: Deletion) -> None:
    """Raise DeletionHeld where too much goes and no person has confirmed it. A TRUNCATE is always too much.

    The limit is that of the gate: a share of the table's rows, with an absolute minimum. Absent rows are still kept
    when this is asked, deleted ones are not.
    """
    large = {
        table: count
        for table, count in deletion.rows.items()
        if count
        and (
            table in deletion.emptied or count > limits.limit(tx.count_rows(table) + (0 if deletion.absent else count))
        )
    }
    if large and tx.note(CONFIRMED) != _place(tx.position()):
        raise DeletionHeld(Deletion(large, deletion.emptied, deletion.absent))


def settle_deletion(tx: LedgerTransaction) -> None:
    """What a person had to confirm is booked: another deletion asks again."""
    tx.set_note(HELD, None)
    tx.set_note(CONFIRMED, None)


def keep_held(tx: LedgerTransaction, deletion: Deletion) -> None:
    """Remember what waits for a person, so that status shows it."""
    tx.set_note(HELD, deletion.what)


def confirm_deletion(tx: LedgerTransaction) -> str | None:
    """Let through the deletion that waits behind the present position; what it is, or None when none does."""
    what = tx.note(HELD)
    if what is not None:
        tx.set_note(CONFIRMED, _place(tx.position()))
    return what


def _place(position: Position | None) -> str:
    """The deletion's own name: it is the one that comes next behind this position."""
    place: Any = None if position is None else [position.incarnation, sorted(position.place.items())]
    return sha256(json.dumps(place).encode()).hexdigest()[:32]
