"""A service after the rules: for each fact whether it may be told, and what the rules found.

Compare reads only this. A fact that is WRONG, or unknown, leaves what stands for it as it stands; a fact that is NONE
or LATER is not there today (docs/owed.md, principle 1: a date that has not come is not yet a fact).
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum

from agent.domain.finding import Finding


class FactState(Enum):
    RIGHT = "right"
    NONE = "none"
    LATER = "later"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class DateFact:
    """A date and whether it may be told today. `on` is there for RIGHT and LATER, and for what is WRONG but a date."""

    state: FactState
    on: date | None = None
    since: datetime | None = None

    @property
    def right(self) -> bool:
        return self.state is FactState.RIGHT

    @property
    def gone(self) -> bool:
        """Nothing is there today: what stands for it is annulled."""
        return self.state in (FactState.NONE, FactState.LATER)

    @property
    def within(self) -> bool:
        """A date that the rules accept, come or not."""
        return self.state in (FactState.RIGHT, FactState.LATER)


class Withdrawal(Enum):
    """Why everything that stands is annulled, whatever else is wrong or missing."""

    DELETED = "deleted"
    ANNULLED = "annulled"
    NOT_REPORTED = "not reported"  # its type is known, and no reported one
    FICTITIOUS = "fictitious"


class LeftOut(Enum):
    """Why a service of which nothing stands owes nothing."""

    UNMAPPED = "unmapped"
    NOT_REPORTED = "not reported"
    NO_START = "no start"
    BEFORE_CUT_OFF = "before cut-off"
    FICTITIOUS = "fictitious"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class JudgedPerson:
    """Whom to tell of. `key` leads to the patient GUID; since: number, type or user number registered, or moved."""

    key: str = field(repr=False)
    user_number: str = field(repr=False)
    identity: str = field(repr=False)
    identity_type: str
    district: str | None = field(repr=False)
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class JudgedPause:
    key: str
    begins: DateFact
    ends: DateFact
    sort_key: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class JudgedNumber:
    """The provider's organisation number: `usable` False where it is bad, away or required and missing."""

    number: str | None
    usable: bool
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class JudgedPlacement:
    key: str
    begins: DateFact
    provider: JudgedNumber


@dataclass(frozen=True, slots=True)
class Judged:
    """A judged service.

    frozen: nothing may be derived from its rows now (a defective record, a row on the way missing). service_type and
    person are None where the fact is wrong or unknown. `placements` None: the EPJ does not date its providers, and
    `provider`, dated by `provider_changed_on` where a column says so, is the one of today.
    looks_again_on: the first day on which a date that lies ahead becomes a fact.
    """

    key: str
    findings: tuple[Finding, ...]
    withdrawal: Withdrawal | None = None
    withdrawn_at: datetime | None = None
    left_out: LeftOut | None = None
    frozen: bool = False
    service_type: str | None = None
    type_since: datetime | None = None
    person: JudgedPerson | None = None
    start: DateFact = DateFact(FactState.NONE)
    end: DateFact = DateFact(FactState.NONE)
    provider: JudgedNumber = JudgedNumber(None, usable=False)
    provider_changed_on: DateFact | None = None
    placements: tuple[JudgedPlacement, ...] | None = None
    pauses: tuple[JudgedPause, ...] = ()
    gone_pauses: dict[str, datetime | None] = field(default_factory=dict)
    looks_again_on: date | None = None
