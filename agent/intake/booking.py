"""One source transaction, booked: its rows are kept, the services they touch examined, the position moved, together.

Every change is counted once, when it is applied (invariant 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from agent.domain.finding import Finding, Severity
from agent.examine import Ending, Examination, examine_groups
from agent.intake.apply import Applied, apply_change
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit, clock_at
from connectors.source import Change, Ignored, Operation, Transaction, Unreadable


class Category(Enum):
    """How a change ended; the value is the counter's name. Where several fit, the first counts."""

    REPORTED = "reported"
    PARKED = "parked"
    HELD = "held"
    NOTHING = "nothing_to_report"


@dataclass(slots=True)
class Booked:
    """What one transaction brought: counts by name, and the examination's result."""

    counts: dict[str, int] = field(default_factory=dict)
    examination: Examination | None = None

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


class Booking:
    """Books a source's transactions, one after the other. Parts of a large one are remembered until its last."""

    def __init__(self, unit: ReportingUnit, *, approved: bool = False) -> None:
        """`approved`: what is owed goes whatever the breaker says (a dry run)."""
        self._unit = unit
        self._approved = approved
        self._open: list[Applied] = []
        self._ignored = 0
        self._unreadable = 0

    def book(self, tx: LedgerTransaction, transaction: Transaction, now: datetime) -> Booked:
        """Keep the rows, mark and examine the services, move the position: one ledger transaction."""
        for record in transaction.records:
            match record:
                case Unreadable():
                    self._unreadable += 1
                    self._keep(tx, record, now)
                case Ignored():
                    self._ignored += 1
                case Change(operation=Operation.TRUNCATE):
                    self._ignored += 1
                    tx.add_finding(_truncated(record.table), now)
                case Change():
                    applied = apply_change(tx, self._unit, record, now)
                    if applied is None:
                        self._ignored += 1
                    else:
                        self._open.append(applied)
        if not transaction.final:
            tx.set_open_transaction(True)
            return Booked()
        booked = self._close(tx, now)
        tx.set_open_transaction(False)
        tx.set_position(transaction.position)
        if transaction.seen_through is not None:
            tx.set_seen_through(transaction.seen_through)
        return booked

    def _close(self, tx: LedgerTransaction, now: datetime) -> Booked:
        booked = Booked()
        if self._open:
            booked.examination = self._examine(tx, now)
        for applied in self._open:
            booked.count(_category(applied, booked.examination).value)
        changes = len(self._open)
        for name, by in (
            ("lines", changes + self._ignored + self._unreadable),
            ("changes", changes),
            ("ignored", self._ignored),
            ("unreadable", self._unreadable),
        ):
            booked.count(name, by)
        for name, by in booked.counts.items():
            if by:
                tx.count(name, by)
        self._open, self._ignored, self._unreadable = [], 0, 0
        return booked

    def _examine(self, tx: LedgerTransaction, now: datetime) -> Examination:
        """Every service touched once, in the order of the changes; those that changes tie together form a group."""
        causes: dict[str, str] = {}
        for applied in self._open:
            for key in applied.services:
                causes.setdefault(key, applied.cause)
        groups = _groups([applied.services for applied in self._open])
        if self._unit.settle:
            for key, cause in causes.items():
                tx.mark_due([key], not_before=now + self._unit.settle, cause=cause)
            return Examination(dict.fromkeys(causes, Ending.HELD))
        return examine_groups(tx, self._unit, groups, clock_at(now), causes=causes, approved=self._approved)

    def _keep(self, tx: LedgerTransaction, record: Unreadable, now: datetime) -> None:
        tx.keep_unreadable(record.place, record.why, record.raw, now)
        text = f"{record.place} cannot be read: {record.why}; it is kept, and nothing of it was applied"
        tx.add_finding(Finding("Q21", Severity.BLOCK, None, text), now)


def _groups(touched: Sequence[Sequence[str]]) -> list[list[str]]:
    """Services that a change touches together, over all changes: in one group the annulments go first.

    A pause that moves must be annulled there before it is told here, also where another change of the transaction has
    touched the new service before. Groups, and the services in each, are in the order in which they were touched.
    """
    group_of: dict[str, list[str]] = {}
    for keys in touched:
        joined = list({id(group_of[key]): group_of[key] for key in keys if key in group_of}.values())
        group = joined[0] if joined else []
        for other in joined[1:]:
            group.extend(other)
            group_of.update(dict.fromkeys(other, group))
        for key in keys:
            if group_of.get(key) is not group:
                group.append(key)
                group_of[key] = group
    in_order: dict[int, list[str]] = {}
    for key, group in group_of.items():  # a dict: in the order in which the services were touched first
        in_order.setdefault(id(group), []).append(key)
    return list(in_order.values())


def _category(applied: Applied, examination: Examination | None) -> Category:
    """docs/owed.md, "Counting": the first that fits."""
    if applied.known:
        return Category.NOTHING
    if applied.defective:
        return Category.PARKED
    endings = {examination.endings.get(key, Ending.NOTHING) for key in applied.services} if examination else set()
    for ending, category in (
        (Ending.REPORTED, Category.REPORTED),
        (Ending.PARKED, Category.PARKED),
        (Ending.HELD, Category.HELD),
    ):
        if ending in endings:
            return category
    return Category.NOTHING


def _truncated(table: str) -> Finding:
    text = f"{table} was emptied (TRUNCATE): nothing was annulled for it; see what the register should still hold"
    return Finding("Q22", Severity.BLOCK, None, text)
