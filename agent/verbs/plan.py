"""What a person may do to one municipality's ledger: look at the plan, apply it, send again, ask for the status.

Each is a function over an open ledger, so that the daemon and the command line do the same (agent/control.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from agent.domain.compare import Owed
from agent.domain.gate import GateReason
from agent.domain.notification import Status
from agent.examine import TRIPPED, Examination, Look, due_looks, examine_due, gate_reason, open_gate
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit

T = TypeVar("T")
Run = Callable[[Callable[[LedgerTransaction], T]], Awaitable[T]]

SAMPLES_A_CAUSE: Final = 3
_SERVICES_A_TRANSACTION: Final = 200


@dataclass(slots=True)
class PlanLine:
    """One cause of one event and status: how many, and the keys of a few services."""

    event: str
    status: str
    cause: str
    count: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go if the gate were opened now. `reason`: why it is closed, None when it is open."""

    reason: GateReason | None
    detail: str | None
    due: int
    lines: tuple[PlanLine, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "gate": self.reason.value if self.reason is not None else "open",
            "detail": self.detail,
            "due": self.due,
            "notifications": sum(line.count for line in self.lines),
            "owed": [
                {
                    "event": line.event,
                    "status": line.status,
                    "cause": line.cause,
                    "count": line.count,
                    "samples": line.samples,
                }
                for line in self.lines
            ],
        }


def make_plan(tx: LedgerTransaction, unit: ReportingUnit, now: datetime) -> Plan:
    """Examine everything that is due, without the chain: counts by cause, with samples."""
    lines: dict[tuple[str, str, str], PlanLine] = {}
    for look in due_looks(tx, unit, now):
        for owed in (*look.comparison.annulments, *look.comparison.events):
            cause = cause_of(owed, look)
            key = (owed.event.value, owed.status.value, cause)
            line = lines.setdefault(key, PlanLine(*key))
            line.count += 1
            if len(line.samples) < SAMPLES_A_CAUSE and look.key not in line.samples:
                line.samples.append(look.key)
    ordered = sorted(lines.values(), key=lambda line: (line.status, line.event, line.cause))
    return Plan(gate_reason(tx, unit), tx.note(TRIPPED), tx.count_due(), tuple(ordered))


def cause_of(owed: Owed, look: Look) -> str:
    """Why an event is owed, in a few words."""
    if owed.original is None:
        return "a new event" if not look.reported.ever else "a new event of a reported service"
    if owed.status is Status.ANNUL:
        if look.reported.superseded:
            return "the key means another service since the EPJ was restored"
        judged = look.judged
        if judged is not None and judged.withdrawal is not None:
            return f"the service is {judged.withdrawal.value}"
        return "the start is gone" if judged is not None and judged.start.gone else "the fact is gone"
    told, tells = owed.original.content, owed.content
    causes = []
    if not tells.person.same_as(told.person):
        causes.append("person")
    if tells.service_type != told.service_type:
        causes.append("type")
    if tells.on != told.on:
        causes.append("date")
    if tells.organisation_number != told.organisation_number:
        causes.append("organisation number")
    return " and ".join(causes) + " corrected"


async def apply_plan(run: Run[Any], unit: ReportingUnit, clock: Callable[[], datetime]) -> dict[str, Any]:
    """A person lets go what is owed: opens the gate and chains everything due, part by part.

    Shadow mode stays closed, and says so. What trips the breaker meanwhile closes the gate again.
    """
    if unit.shadow:
        return {"applied": False, "text": "mode is shadow: set mode: live in the municipality's file first"}
    await run(lambda tx: open_gate(tx, unit))
    notifications = services = 0
    while True:
        found: Examination | None = await run(
            lambda tx: examine_due(tx, unit, clock(), limit=_SERVICES_A_TRANSACTION, approved=True)
        )
        if found is None:
            break
        notifications += found.notifications
        services += len(found.endings)
        if found.gate is not None:
            return {"applied": False, "text": found.gate.value, "services": services, "notifications": notifications}
    return {"applied": True, "services": services, "notifications": notifications}
