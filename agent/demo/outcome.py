"""What came of a demo, as lines for a person and as one JSON object. Names services and events, never a person."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.demo.reconciliation import Reconciliation, lines


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` None: the demo did not get as far as a reconciliation, and `unfinished` says where it stopped.

    transactions: what the EPJ had; taken, refused: the register's answers; status: the agent's, at the end.
    """

    seed: int
    seconds: float
    transactions: int
    taken: int
    refused: int
    resent: int
    status: Mapping[str, Any]
    result: Reconciliation | None
    unfinished: str = ""

    @property
    def agrees(self) -> bool:
        return self.result is not None and self.result.agrees and not self.unfinished

    def as_json(self) -> dict[str, Any]:
        """Plain data: counts, findings by rule, differences, seconds."""
        result = self.result
        return {
            "agrees": self.agrees,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "epj": {"transactions": self.transactions, "services": result.services if result else None},
            "agent": {
                "counts": dict(self.status.get("counts", {})),
                "notifications": self.status.get("notifications", 0),
                "receipted": self.status.get("receipted", 0),
                "resent": self.resent,
            },
            "register": {
                "taken": self.taken,
                "refused": self.refused,
                "standing_services": result.standing_services if result else None,
                "standing_events": result.standing_events if result else None,
            },
            "findings": dict(self.status.get("findings", {})),
            "parked": len(result.parked) if result else None,
            "held": len(result.held) if result else None,
            "differences": list(result.differences) if result else [],
            "unfinished": self.unfinished,
        }


def told(outcome: Outcome, keep: Path | None) -> Iterator[str]:
    """The outcome as lines; `keep`: the folder that stays, if any."""
    yield ""
    if outcome.result is not None:
        yield from lines(outcome.result, most=8)
    findings = outcome.status.get("findings", {})
    yield "findings: " + (", ".join(f"{name} {count}" for name, count in findings.items()) or "none")
    yield (
        f"register: {outcome.taken} messages taken, {outcome.refused} refused; "
        f"{outcome.resent} were sent again in new envelopes"
    )
    if outcome.unfinished:
        yield f"not finished: {outcome.unfinished}"
    if outcome.result is not None:
        yield "EPJ and register agree." if outcome.agrees else "EPJ and register DIFFER."
    if keep is not None:
        yield f"Kept in {keep}: look with  kpr-agent status {keep}/demo.yaml  and at {keep}/agent.log"
