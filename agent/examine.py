"""Due services are looked at: assembled, judged, compared, and what is owed enters the chain, if the gate is open.

All of a look happens in one ledger transaction. Looking owes nothing twice: what was told is stored, and compare gives
only the difference (invariant 5).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final

from agent.domain.assemble import assemble, withdrawn
from agent.domain.care import CareService, Dependency, Person
from agent.domain.chain import ChainEnd, extend
from agent.domain.compare import Clock, Comparison, Owed, compare, compare_superseded
from agent.domain.finding import Severity
from agent.domain.gate import GateReason, GateState, count_owed, too_much
from agent.domain.judged import Judged
from agent.domain.notification import Status
from agent.domain.quality import judge
from agent.domain.quality.person import has_right_number
from agent.domain.reported import Reported
from agent.domain.rows import sort_key
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit, clock_at, midnight

SERVICES_A_BATCH: Final = 500

CONFIGURATION = "configuration"
"""The cause of a service that is due because mapping, rules or service types have changed."""

APPLIED_DIGEST = "gate: applied digest"
SEEN_DIGEST = "gate: seen digest"
TRIPPED = "gate: tripped"
READ_AGAIN = "gate: read again"
RESTORED_TO = "source: restored to"
"""Notes in the ledger that the gate is made of; RESTORED_TO goes with READ_AGAIN."""


class Ending(Enum):
    """How looking at one service ended."""

    REPORTED = "reported"
    PARKED = "parked"
    HELD = "held"
    NOTHING = "nothing"


@dataclass(slots=True)
class Look:
    """One service as it was found. `service` None: no row of it was ever seen."""

    key: str
    service: CareService | None
    reported: Reported
    judged: Judged | None
    comparison: Comparison
    dependencies: frozenset[Dependency]
    told: int = 0

    def has(self, severity: Severity) -> bool:
        return self.judged is not None and any(finding.severity is severity for finding in self.judged.findings)


@dataclass(slots=True)
class Examination:
    """What a look at several services gave; `gate` says why nothing was chained, None when the gate was open.

    owed: by status, how many services owe such an event.
    """

    endings: dict[str, Ending] = field(default_factory=dict)
    owed: dict[Status, int] = field(default_factory=dict)
    notifications: int = 0
    gate: GateReason | None = None


def look_at(tx: LedgerTransaction, unit: ReportingUnit, key: str, clock: Clock, cause: str = "") -> Look:
    """Assemble, judge and compare one service; nothing is written. `cause`: what brought it here, for its times."""
    if cause == CONFIGURATION:
        clock = replace(clock, carried=False)
    reported = tx.reported(key) or Reported(service_id=key)
    known = reported.anew if reported.superseded else reported
    assembled = assemble(unit.mapping, key, tx, zone=unit.rows_zone, followed_pauses=known.followed_pauses)
    service = assembled.service
    if service is None and _rows_went(tx, unit, key, reported):
        service = withdrawn(key, deleted=True, at=None)
    if service is None:
        return Look(key, None, reported, None, Comparison(), assembled.dependencies)
    patient_guid = None
    if isinstance(service.person, Person):
        record = tx.person(service.person.key)
        patient_guid = (record.patient_guid if record else None) or unit.patient_guid(service.person.key)
        if record is not None and record.number_was_right:
            service = replace(service, person=replace(service.person, number_was_right=True))
    judged = judge(service, known, unit.rules, unit.names, clock.today)
    comparison = compare(known, judged, patient_guid, clock)
    if reported.superseded:
        comparison = compare_superseded(reported, comparison, clock)
    return Look(key, service, reported, judged, comparison, assembled.dependencies)


def _rows_went(tx: LedgerTransaction, unit: ReportingUnit, key: str, reported: Reported) -> bool:
    """Whether a service of many rows had some and has none: deleted rows are not found by the service's key.

    A service that stands without having been looked at was imported, and its rows are still to come.
    """
    mapping = unit.mapping.service
    if mapping.key == unit.mapping.tables[mapping.table].key:
        return False
    before = tx.outcome(key)
    return before is not None and (before.standing or not reported.standing)


def examine_groups(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    groups: Sequence[Sequence[str]],
    clock: Clock,
    *,
    causes: Mapping[str, str],
    approved: bool = False,
) -> Examination:
    """Look at every service and chain what is owed; a group's annulments go before its other events.

    `causes`: service -> the table whose change brought it here, for the trace. `approved`: a person let it go, so the
    breaker does not count it.
    """
    batches = list(_batches(groups))
    looks = _look_at_all(tx, unit, batches[0], clock, causes) if batches else {}
    owed = Counter(count_owed(look.comparison for look in looks.values()))
    for batch in batches[1:]:  # looked at twice, so that a large transaction takes no more memory than a batch
        owed.update(count_owed(look.comparison for look in _look_at_all(tx, unit, batch, clock, causes).values()))
    examination = Examination(gate=gate_reason(tx, unit), owed=dict(owed))
    if examination.gate is None and not approved and _trips(tx, unit, owed, clock):
        examination.gate = GateReason.TOO_MUCH
    for number, batch in enumerate(batches):
        if number:
            looks = _look_at_all(tx, unit, batch, clock, causes)
        if examination.gate is None:
            for group in batch:
                _chain(tx, unit, [looks[key] for key in group], clock, causes, approved=approved)
        for look in looks.values():
            if look.told and not look.reported.standing:
                look.judged = look_at(tx, unit, look.key, clock).judged  # nothing stands any more: judged as such
            _remember(tx, look, clock)
            examination.endings[look.key] = _ending(look, gated=examination.gate is not None)
            examination.notifications += look.told
        _keep_due(tx, batch, looks, examination.gate, causes)
    return examination


def _look_at_all(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    groups: Sequence[Sequence[str]],
    clock: Clock,
    causes: Mapping[str, str],
) -> dict[str, Look]:
    return {key: look_at(tx, unit, key, clock, causes.get(key, "")) for group in groups for key in group}


def _batches(groups: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """The groups in order, so many at a time that about SERVICES_A_BATCH services are in memory; no group is cut."""
    batch: list[Sequence[str]] = []
    services = 0
    for group in groups:
        batch.append(group)
        services += len(group)
        if services >= SERVICES_A_BATCH:
            yield batch
            batch, services = [], 0
    if batch:
        yield batch


def gate_state(tx: LedgerTransaction, unit: ReportingUnit) -> GateState:
    """The gate as the ledger remembers it."""
    return GateState(
        shadow=unit.shadow,
        digest=unit.digest,
        applied_digest=tx.note(APPLIED_DIGEST),
        tripped=tx.note(TRIPPED) is not None,
        read_again=tx.note(READ_AGAIN) is not None,
    )


def gate_reason(tx: LedgerTransaction, unit: ReportingUnit) -> GateReason | None:
    """Why the gate is closed; None when it is open."""
    return gate_state(tx, unit).reason()


def open_gate(tx: LedgerTransaction, unit: ReportingUnit) -> None:
    """A person has seen the plan: what is owed under these rules may go. Shadow mode stays closed."""
    tx.set_note(APPLIED_DIGEST, unit.digest)
    tx.set_note(TRIPPED, None)
    tx.set_note(READ_AGAIN, None)
    tx.set_note(RESTORED_TO, None)


def notice_rules(tx: LedgerTransaction, unit: ReportingUnit) -> bool:
    """Whether mapping, rules or service types are new to this ledger: then every service is due again."""
    if tx.note(SEEN_DIGEST) == unit.digest:
        return False
    tx.set_note(SEEN_DIGEST, unit.digest)
    tx.index_again(unit.lookups)
    tx.mark_all_due(CONFIGURATION)
    return True


def examine_due(
    tx: LedgerTransaction, unit: ReportingUnit, now: datetime, *, limit: int, approved: bool = False
) -> Examination | None:
    """Look at up to `limit` services that are due, in order; None when none is, or a transaction is half written."""
    if tx.open_transaction():
        return None
    keys = tx.due(limit, now)
    if not keys:
        return None
    causes = {key: tx.due_cause(key) or "" for key in keys}
    return examine_groups(tx, unit, [[key] for key in keys], clock_at(now), causes=causes, approved=approved)


def examine_planned(tx: LedgerTransaction, unit: ReportingUnit, now: datetime, *, limit: int) -> Examination | None:
    """Look at services whose day has come, by date, then key.

    A day counts only when the source has shown progress past its midnight, so that a backlog is read first.
    """
    clock = clock_at(now)
    seen = tx.seen_through()
    if tx.open_transaction() or seen is None or seen < midnight(clock.today):
        return None
    described = unit.mapping.tables[unit.mapping.service.table]
    planned = sorted(
        tx.planned(clock.today, limit), key=lambda one: (one[0], sort_key(described, unit.mapping.service.key, one[1]))
    )
    if not planned:
        return None
    keys = [key for _, key in planned]
    return examine_groups(tx, unit, [[key] for key in keys], clock, causes=dict.fromkeys(keys, "a day that has come"))


def due_looks(tx: LedgerTransaction, unit: ReportingUnit, now: datetime) -> Iterator[Look]:
    """A look at every service that is due, in order, with nothing written: what a plan is made of."""
    clock = clock_at(now)
    for key in tx.due(tx.count_due(), now):
        yield look_at(tx, unit, key, clock, tx.due_cause(key) or "")


def _trips(tx: LedgerTransaction, unit: ReportingUnit, owed: Mapping[Status, int], clock: Clock) -> bool:
    if not any(owed.values()):
        return False
    since = clock.now - unit.gate_window
    recent = {status: tx.recent_services(status, since) for status in (Status.REPLACE, Status.ANNUL) if owed[status]}
    if all(owed[status] + recent.get(status, 0) <= unit.limits.owed_minimum for status in Status):
        return False  # most days: nothing is counted
    standing = tx.count_services().standing
    status = too_much(owed, recent, standing, unit.limits)
    if status is None:
        return False
    limit = unit.limits.limit(standing)
    tx.set_note(TRIPPED, f"{owed[status] + recent.get(status, 0)} services owe {status.value}; the limit is {limit}")
    return True


def _chain(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    looks: Sequence[Look],
    clock: Clock,
    causes: Mapping[str, str],
    *,
    approved: bool,
) -> None:
    """Annulments of all of them first, each last booked first; then the others, service by service."""
    for look in looks:
        _book(tx, unit, look, look.comparison.annulments, clock, causes, approved=approved)
        if look.reported.superseded:  # what stood for the key's first service is annulled: the other one begins
            look.reported = look.reported.anew
            tx.put_reported(look.key, look.reported)
    for look in looks:
        _book(tx, unit, look, look.comparison.events, clock, causes, approved=approved)


def _book(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    look: Look,
    owed: Sequence[Owed],
    clock: Clock,
    causes: Mapping[str, str],
    *,
    approved: bool,
) -> None:
    if not owed:
        return
    number_and_guid = tx.chain_end()
    end = ChainEnd(*number_and_guid) if number_and_guid is not None else ChainEnd()
    notifications, look.reported, _ = extend(end, look.reported, owed, namespace=unit.namespace, arisen_at=clock.now)
    trace = {"table": unit.mapping.service.table, "key": look.key, "cause": causes.get(look.key, "")}
    for notification in notifications:
        tx.add_notification(notification, look.key, trace, approved=approved, at=clock.now)
    tx.put_reported(look.key, look.reported)
    person = look.service.person if look.service is not None else None
    if isinstance(person, Person) and person.defect is None:
        _remember_person(tx, unit, person)
    look.told += len(notifications)


def _remember_person(tx: LedgerTransaction, unit: ReportingUnit, person: Person) -> None:
    """A person's GUID is made once and read ever after."""
    record = tx.person(person.key)
    if record is None or record.patient_guid is None:
        was_right = record.number_was_right if record is not None else False
        tx.put_person(person.key, unit.patient_guid(person.key), number_was_right=was_right)


def _remember(tx: LedgerTransaction, look: Look, clock: Clock) -> None:
    """What the look found: findings, dependencies, the next day to look again, parked or held."""
    if look.judged is None:
        if look.reported.ever or tx.outcome(look.key) is not None:
            tx.set_dependencies(look.key, look.dependencies)
        return
    before = tx.outcome(look.key)
    if look.service is not None and isinstance(look.service.person, Person) and has_right_number(look.service.person):
        tx.put_person(look.service.person.key, None, number_was_right=True)
    tx.set_findings(look.key, look.judged.findings, clock.now)
    tx.set_dependencies(look.key, look.dependencies)
    tx.set_planned(look.key, look.judged.looks_again_on)
    missing = any(finding.rule == "H01" for finding in look.judged.findings)
    missing_since = (before.missing_since if before is not None else None) or clock.now if missing else None
    tx.set_outcome(
        look.key,
        parked=look.has(Severity.BLOCK),
        held=look.has(Severity.HOLD),
        standing=bool(look.reported.standing),
        missing_since=missing_since,
    )


def _ending(look: Look, *, gated: bool) -> Ending:
    """docs/owed.md, "Counting": the first that fits."""
    if look.told:
        return Ending.REPORTED
    if look.judged is None:
        return Ending.HELD  # a part came before the service's own row
    if look.judged.left_out is not None and not look.reported.standing:
        return Ending.NOTHING
    if look.has(Severity.BLOCK):
        return Ending.PARKED
    if look.has(Severity.HOLD) or (gated and look.comparison):
        return Ending.HELD
    return Ending.NOTHING


def _keep_due(
    tx: LedgerTransaction,
    groups: Sequence[Sequence[str]],
    looks: Mapping[str, Look],
    gate: GateReason | None,
    causes: Mapping[str, str],
) -> None:
    """Behind a closed gate the services that owe something stay due, in the order in which they came."""
    for group in groups:
        for key in group:
            if gate is not None and looks[key].comparison:
                tx.mark_due([key], not_before=None, cause=causes.get(key, ""))
            else:
                tx.clear_due(key)
