"""What the rows of one service mean, before anything is judged: the picture that the EPJ gives of it.

`since` is the moment at which the EPJ registered a fact as it is now (aware UTC), None where nothing says it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Absent:
    """A referenced row that is not there: never seen, or deleted. `table` is named to people, the key is not.

    many: any number of rows could have been there, and none is; most facts are then empty, and wait for nothing.
    """

    table: str
    deleted: bool
    since: datetime | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class Dated:
    """A date of a fact, or None where there is none (empty, open, infinity).

    `away`: the row that holds it is not there; `defect`: why it cannot be read. Nothing is known of the date then.
    """

    on: date | None
    since: datetime | None = None
    away: Absent | None = None
    defect: str | None = None

    @property
    def known(self) -> bool:
        """Whether `on` None means that there is no date."""
        return self.away is None and self.defect is None


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a service is for. `key` is the person's own key in the EPJ and may be an identity number: hidden.

    number_was_right: the number was valid at some time. changed_at: when number, type or user number was registered;
    moved_at: when the service was last put on this person. `defect`: why the person's row cannot be read; `away`: a row
    that the person's row points to is not there.
    """

    key: str = field(repr=False)
    number: str | None = field(repr=False)
    number_type: str | None
    user_number: str | None = field(repr=False)
    birth_date: date | None = field(repr=False)
    district: str | None = field(repr=False)
    fictitious_name: bool = False
    number_was_right: bool = False
    changed_at: datetime | None = None
    moved_at: datetime | None = None
    defect: str | None = None
    away: Absent | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """The providing unit: its organisation number as the EPJ writes it, None where it is empty."""

    organisation_number: str | None
    since: datetime | None = None
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A provider from a day on, where the EPJ dates its providers. `provider` None: the placement names no unit."""

    key: str
    begins: Dated
    provider: Provider | Absent | None
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A temporary stop; `ends.on` None: it goes on. `sort_key` orders pauses of one day by their keys."""

    key: str
    begins: Dated
    ends: Dated
    sort_key: tuple[tuple[int, int, str], ...]
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class CareService:
    """One service. `deleted` and `annulled` withdraw it, `withdrawn_at` says when. `placements` None: not dated.

    `gone_pauses`: pauses once reported that are no longer this service's -> when they went. `labels`: what a person
    sees beside the key (a case number), never a name. `person` None: the service names none. `waits_for`: the row with
    its type, which is not there.
    """

    key: str
    local_type: str | None
    type_since: datetime | None
    start: Dated
    end: Dated
    person: Person | Absent | None
    provider: Provider | Absent | None
    provider_changed_on: Dated
    provider_dated: bool
    placements: tuple[Placement, ...] | None
    pauses: tuple[Pause, ...]
    gone_pauses: dict[str, datetime | None]
    deleted: bool = False
    annulled: bool = False
    withdrawn_at: datetime | None = None
    defect: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    waits_for: Absent | None = None


@dataclass(frozen=True, slots=True)
class RowRead:
    """A dependency: the row of `table` with `key` was asked for, whether it was there or not."""

    table: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RowsFound:
    """A dependency: the rows of `table` whose `columns` equal `value` were asked for."""

    table: str
    columns: tuple[str, ...]
    value: str = field(repr=False)


Dependency = RowRead | RowsFound


@dataclass(frozen=True, slots=True)
class Assembled:
    """A service (None: no row of it was ever seen) and what was read to make it.

    A change in any of the dependencies makes the service due.
    """

    service: CareService | None
    dependencies: frozenset[Dependency]
