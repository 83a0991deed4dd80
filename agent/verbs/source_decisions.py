"""What a person decides about a source: that it is another one now, that rows may go, that what vanished is deleted.

Each is a function over one ledger transaction, so that the daemon and the command line do the same (agent/control.py).
Whatever they let through still meets the gate.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from agent.examine import READ_AGAIN, RESTORED_TO
from agent.intake.apply import INCARNATION, delete_rows
from agent.intake.deletions import confirm_deletion, settle_deletion
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit

SAMPLES: Final = 50


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting another incarnation means: how many rows must be told again, by table; the services first told
    after the moment to which the EPJ was restored, whose keys it may give to others.
    """

    kept: dict[str, int]
    first_told_since: tuple[str, ...]


def accept_new_incarnation(
    tx: LedgerTransaction, unit: ReportingUnit, now: datetime, *, restored_to: datetime | None = None
) -> Accepted:
    """A person has looked: the source, whatever it is now, is read again from its beginning, behind a closed gate.

    Rows as they come replace what is kept, whatever their versions, and only the difference to what stands reported is
    owed. Rows that do not come again stay until a person says that they are deleted (`delete_vanished`). `restored_to`:
    the moment of the backup; a key first told after it that comes again is another service's: C, and a new N.
    """
    kept = {table: count for table in unit.mapping.tables if (count := tx.count_rows(table))}
    tx.forget_position()
    tx.set_note(INCARNATION, str(int(tx.note(INCARNATION) or 0) + 1))
    tx.set_note(READ_AGAIN, now.isoformat(timespec="seconds"))
    tx.set_note(RESTORED_TO, restored_to.isoformat() if restored_to is not None else None)
    settle_deletion(tx)
    tx.end_reading(unit.mapping.tables)  # one that was broken off was of the earlier incarnation
    tx.begin_reading(unit.mapping.tables)
    since = () if restored_to is None else tuple(tx.first_told_after(restored_to))
    return Accepted(kept, since)


def confirm(tx: LedgerTransaction) -> dict[str, Any]:
    """Let the deletion through that the source stands before: what it is, or that none waits."""
    what = confirm_deletion(tx)
    if what is None:
        return {"confirmed": False, "text": "no deletion waits for a person"}
    return {"confirmed": True, "text": what}


def vanished(tx: LedgerTransaction, unit: ReportingUnit) -> dict[str, Any]:
    """The kept rows that the source's last reading has not told: how many by table, and the keys of some services."""
    service = unit.mapping.service
    counts = {table: count for table in unit.mapping.tables if (count := tx.count_absent(table))}
    keys = []
    if service.key == unit.mapping.tables[service.table].key and service.table in counts:
        keys = [row.key for row in tx.absent_rows(service.table, limit=SAMPLES)]
    return {"rows": counts, "services": keys}


def delete_vanished(tx: LedgerTransaction, unit: ReportingUnit, now: datetime) -> dict[str, Any]:
    """Treat those rows as deleted: what they were part of is due, and what is owed for it meets the gate."""
    found = vanished(tx, unit)
    for table in found["rows"]:
        for applied in delete_rows(tx, unit, table, partial(tx.absent_rows, table, 1), now):
            tx.mark_due(applied.services, not_before=None, cause=f"{table} vanished")
    return {"deleted": found["rows"]}
