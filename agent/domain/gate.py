"""Step 4: may this much go out? What enters the chain cannot be called back.

The gate stands between compare and chain. It lets through what a normal day brings, and holds the whole municipality
otherwise, so that the order stays true, until a person has seen the plan and applied it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from agent.domain.compare import Comparison
from agent.domain.notification import Status


class GateReason(Enum):
    """Why a gate is closed; the value is what status and plan show."""

    SHADOW = "shadow mode: nothing is chained"
    FIRST_LOAD = "first load: nothing was ever applied"
    CHANGED_RULES = "mapping, rules or service types have changed"
    READ_AGAIN = "the source is read again from its beginning"
    TOO_MUCH = "more is owed at once than a normal day brings"


@dataclass(frozen=True, slots=True)
class GateState:
    """What the ledger remembers: the digest a person last applied, and a reason that a person must lift."""

    shadow: bool
    digest: str
    applied_digest: str | None
    tripped: bool = False
    read_again: bool = False

    def reason(self) -> GateReason | None:
        """Why the gate is closed before anything is looked at; None when it is open."""
        if self.shadow:
            return GateReason.SHADOW
        if self.applied_digest is None:
            return GateReason.FIRST_LOAD
        if self.applied_digest != self.digest:
            return GateReason.CHANGED_RULES
        if self.read_again:
            return GateReason.READ_AGAIN
        return GateReason.TOO_MUCH if self.tripped else None


@dataclass(frozen=True, slots=True)
class GateLimits:
    """owed_share: of the standing services (0.05 is 5 %); owed_minimum: services, below which nothing is too much."""

    owed_share: float
    owed_minimum: int

    def limit(self, standing_services: int) -> int:
        """How many services may owe the same kind of event within the window."""
        return max(self.owed_minimum, int(self.owed_share * standing_services))


def count_owed(comparisons: Iterable[Comparison]) -> dict[Status, int]:
    """By status, how many services owe at least one such event."""
    counts = dict.fromkeys(Status, 0)
    for comparison in comparisons:
        statuses = {owed.status for owed in (*comparison.annulments, *comparison.events)}
        for status in statuses:
            counts[status] += 1
    return counts


def too_much(
    owed: Mapping[Status, int], recent: Mapping[Status, int], standing_services: int, limits: GateLimits
) -> Status | None:
    """The first status of which more is owed than may go; `recent`: services already told so within the window.

    New events are counted in one look only: a busy morning of admissions is a normal day. Corrections and annulments
    are counted over the window, because a mass change often comes row by row.
    """
    limit = limits.limit(standing_services)
    if owed.get(Status.NEW, 0) > limit:
        return Status.NEW
    for status in (Status.REPLACE, Status.ANNUL):
        if owed.get(status, 0) and owed.get(status, 0) + recent.get(status, 0) > limit:
            return status
    return None
