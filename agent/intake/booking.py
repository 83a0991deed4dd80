"""One source transaction, booked: its rows are kept, the services they touch examined, the position moved, together.

Every change is counted once, when it is applied (invariant 3).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import partial

from agent.domain.finding import Finding, Severity
from agent.domain.rows import KeptRow
from agent.examine import Ending, Examination, examine_groups
from agent.intake.apply import Applied, apply_change, delete_rows
from agent.intake.deletions import Deletion, check_deletion, settle_deletion
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit, clock_at
from connectors.source import Change, Ignored, Mark, Operation, Scan, Transaction, Unreadable


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


@dataclass(slots=True)
class _Open:
    """What the parts of a transaction have brought so far. Changes that came to the same are counted together, so that
    memory grows with the services that are touched and not with the changes.
    """

    applied: dict[Applied, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    emptied: frozenset[str] = frozenset()
    ignored: int = 0
    unreadable: int = 0
    new: int = 0  # how many of the last in `applied` the present part has brought

    def copy(self) -> "_Open":
        return replace(self, applied=dict(self.applied), deleted=dict(self.deleted))

    def add(self, table: str, applied: Applied) -> None:
        times = self.applied.get(applied, 0)
        self.applied[applied] = times + 1
        self.new += times == 0
        if applied.deleted:
            self.deleted[table] = self.deleted.get(table, 0) + 1


class Booking:
    """Books a source's transactions, one after the other. Parts of a large one are remembered until its last."""

    def __init__(self, unit: ReportingUnit, *, approved: bool = False) -> None:
        """`approved`: what is owed goes whatever the breakers say (a dry run)."""
        self._unit = unit
        self._approved = approved
        self._open = _Open()

    def remembered(self) -> "Booking":
        """This booking as it stands: what to go on from when a ledger transaction is rolled back."""
        other = Booking(self._unit, approved=self._approved)
        other._open = self._open.copy()
        return other

    def book(self, tx: LedgerTransaction, transaction: Transaction, now: datetime) -> Booked:
        """Keep the rows, mark and examine the services, move the position: one ledger transaction.

        Raises DeletionHeld where more rows go than a person has confirmed; nothing of this transaction may be
        committed then.
        """
        scan = transaction.scan
        if scan is not None and scan.mark is Mark.BEGIN:
            tx.begin_reading(scan.tables)
        for record in transaction.records:
            match record:
                case Unreadable():
                    self._open.unreadable += 1
                    self._keep(tx, record, now)
                case Ignored():
                    self._open.ignored += 1
                case Change(operation=Operation.TRUNCATE):
                    self._open.ignored += 1
                    self._empty(tx, record, now)
                case Change():
                    applied = apply_change(tx, self._unit, record, now)
                    if applied is None:
                        self._open.ignored += 1
                    else:
                        self._open.add(record.table, applied)
        if scan is not None and scan.mark is Mark.END:
            self._end_scan(tx, scan, now)
        if not transaction.final and scan is None:
            self._leave_open(tx)
            return Booked()
        if self._open.deleted:
            self._check(tx, Deletion(self._open.deleted, self._open.emptied, absent=scan is not None))
            settle_deletion(tx)
        booked = self._close(tx, now, later=scan is not None)
        tx.set_open_transaction(not transaction.final)
        if transaction.final:
            tx.set_position(transaction.position)
            if transaction.seen_through is not None:
                tx.set_seen_through(transaction.seen_through)
        return booked

    def _leave_open(self, tx: LedgerTransaction) -> None:
        """A part is kept before the rest has come. Its services are due from now on: were we to end here, its rows
        would be known when the transaction comes again, and nothing else would say that they were never looked at.
        """
        tx.set_open_transaction(True)
        for applied, _ in zip(reversed(self._open.applied), range(self._open.new), strict=False):
            tx.mark_due(applied.services, not_before=None, cause=applied.cause)
        self._open.new = 0

    def _check(self, tx: LedgerTransaction, deletion: Deletion) -> None:
        if not self._approved:
            check_deletion(tx, self._unit.limits, deletion)

    def _empty(self, tx: LedgerTransaction, truncated: Change, now: datetime) -> None:
        """Every row of a table goes. A person is asked before a row is touched: what was deleted in one part of a
        transaction would not be counted again when the transaction comes again.
        """
        table = truncated.table
        count = tx.count_rows(table)
        if count:
            self._open.emptied |= {table}
            self._check(tx, Deletion({table: count}, self._open.emptied))
            self._delete(tx, table, partial(tx.present_rows, table), now)

    def _end_scan(self, tx: LedgerTransaction, scan: Scan, now: datetime) -> None:
        """A scan is complete: rows that too many scans have not told are deleted; others wait for a person."""
        tx.end_reading(scan.tables)
        after = scan.absent_after
        if after is None:
            return
        absent = {table: count for table in scan.tables if (count := tx.count_absent(table, after))}
        self._check(tx, Deletion(absent, absent=True))
        for table in absent:
            self._delete(tx, table, partial(tx.absent_rows, table, after), now)

    def _delete(
        self, tx: LedgerTransaction, table: str, page: Callable[[int], Sequence[KeptRow]], now: datetime
    ) -> None:
        for applied in delete_rows(tx, self._unit, table, page, now):
            self._open.add(table, applied)

    def _close(self, tx: LedgerTransaction, now: datetime, *, later: bool) -> Booked:
        """Examine what was touched and count; `later`: in its turn (a scan tells states, and in no order of events)."""
        brought, self._open = self._open, _Open()
        booked = Booked()
        if brought.applied:
            booked.examination = self._examine(tx, brought.applied, now, later=later)
        for applied, times in brought.applied.items():
            booked.count(_category(applied, booked.examination).value, times)
        changes = sum(brought.applied.values())
        for name, by in (
            ("lines", changes + brought.ignored + brought.unreadable),
            ("changes", changes),
            ("ignored", brought.ignored),
            ("unreadable", brought.unreadable),
        ):
            booked.count(name, by)
        for name, by in booked.counts.items():
            if by:
                tx.count(name, by)
        return booked

    def _examine(self, tx: LedgerTransaction, brought: Iterable[Applied], now: datetime, *, later: bool) -> Examination:
        """Every service touched once, in the order of the changes; those that changes tie together form a group."""
        causes: dict[str, str] = {}
        for applied in brought:
            for key in applied.services:
                causes.setdefault(key, applied.cause)
        if self._unit.settle or later:
            not_before = now + self._unit.settle if self._unit.settle else None
            for key, cause in causes.items():
                tx.mark_due([key], not_before=not_before, cause=cause)
            return Examination(dict.fromkeys(causes, Ending.HELD))
        groups = _groups([applied.services for applied in brought])
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
