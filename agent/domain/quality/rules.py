"""What the rules are told by configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum


class Profile(Enum):
    """Decides who may be sent, and to whom (invariant 13)."""

    TEST = "test"
    QA = "qa"
    PRODUCTION = "production"


NOT_REPORTED = "none"
"""The word in `service_types` for a local type that is known and not reported."""


@dataclass(frozen=True, slots=True)
class Rules:
    """service_types: local type -> code of 9151 or NOT_REPORTED. The window of dates is inclusive at both ends.

    fictitious_numbers are never sent; allowed_numbers are real-series numbers that may be sent in QA.
    """

    profile: Profile
    service_types: Mapping[str, str]
    cut_off: date = date(2021, 1, 1)
    earliest_date: date = date(1990, 1, 1)
    latest_days_ahead: int = 730
    fictitious_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    allowed_numbers: frozenset[str] = field(default=frozenset(), repr=False)

    def latest_date(self, today: date) -> date:
        """The last day that a date may lie on, seen from today."""
        return today + timedelta(days=self.latest_days_ahead)
