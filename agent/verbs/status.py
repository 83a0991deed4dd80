"""The state of one municipality, as `kpr-agent status` shows it: nothing personal, nothing that needs the daemon."""

from datetime import UTC, datetime
from typing import Any

from agent.composition import reporting_unit
from agent.domain.delivery import HALTING, UNANSWERED, State
from agent.examine import TRIPPED, gate_reason
from agent.intake.deletions import HELD
from agent.intake.loop import TROUBLE
from agent.ledger.errors import LedgerError
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.settings import Municipality
from agent.unit import ReportingUnit


def status_of(municipality: Municipality, now: datetime | None = None) -> dict[str, Any]:
    """The state as plain data; with "error" and "code" where the ledger cannot be read."""
    settings = municipality.settings
    head = {"municipality": municipality.unit, "profile": settings.profile, "mode": settings.mode}
    try:
        key = LedgerKey.from_file(settings.ledger.key_file)
        with Ledger.open(settings.ledger.path, unit=municipality.unit, key=key, read_only=True) as ledger:
            unit = reporting_unit(municipality, ledger.unit_secret)
            overdue_after = settings.receipts.overdue_after
            at = now or datetime.now(UTC)
            return head | ledger.read(lambda tx: _state(tx, unit, at, at - overdue_after))
    except LedgerError as error:
        return head | {"error": str(error), "code": error.code}


def _state(tx: LedgerTransaction, unit: ReportingUnit, now: datetime, overdue_before: datetime) -> dict[str, Any]:
    found = tx.status(unanswered=[state.value for state in UNANSWERED], overdue_before=overdue_before)
    reason = gate_reason(tx, unit)
    envelopes = {state.value: found.envelopes.get(state.value, 0) for state in State}
    return {
        "position": None
        if found.position is None
        else {stream: list(place) for stream, place in found.position.place.items()},
        "incarnation": found.position.incarnation if found.position is not None else None,
        "lag_s": None if found.seen_through is None else max(0.0, (now - found.seen_through).total_seconds()),
        "seen_through": found.seen_through.isoformat() if found.seen_through is not None else None,
        "gate": reason.value if reason is not None else "open",
        "gate_detail": found.notes.get(TRIPPED),
        "source_trouble": found.notes.get(TROUBLE),
        "held_deletion": found.notes.get(HELD),
        "due": found.due,
        "planned": found.planned,
        "next_planned": found.next_planned.isoformat() if found.next_planned is not None else None,
        "services": found.services.known,
        "standing": found.services.standing,
        "parked": found.services.parked,
        "held": found.services.held,
        "notifications": found.notifications,
        "waiting": found.waiting + envelopes[State.READY.value] + envelopes[State.IN_FLIGHT.value],
        "sent": envelopes[State.SENT.value] + envelopes[State.UNCLEAR.value],
        "receipted": envelopes[State.RECEIPTED.value],
        "rejected": sum(envelopes[state.value] for state in HALTING),
        "overdue": found.overdue,
        "halted": any(envelopes[state.value] for state in HALTING),
        "messages": envelopes,
        "unreadable": found.unreadable,
        "findings": {f"{rule}:{severity.value}": count for (rule, severity), count in _by_text(found.findings)},
        "counts": dict(sorted(found.counters.items())),
    }


def _by_text(findings: Any) -> list[tuple[tuple[str, Any], int]]:
    return sorted(findings.items(), key=lambda one: (one[0][0], one[0][1].value))
