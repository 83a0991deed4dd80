"""A reporting unit: all that intake and examination know of one municipality, made once from its settings."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from hashlib import sha256
from uuid import UUID
from zoneinfo import ZoneInfo

from agent.domain.chain import unit_namespace
from agent.domain.compare import Clock
from agent.domain.gate import GateLimits
from agent.domain.mapping import Columns, EpjMapping
from agent.domain.quality import FieldNames, Rules

NORWAY = ZoneInfo("Europe/Oslo")
"""The zone of days: what "today" means, and the date of a moment."""


@dataclass(frozen=True, slots=True)
class Share:
    """This unit's rows where several units share tables: those of `tables` whose `column` holds `value`."""

    column: str
    value: str
    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReportingUnit:
    """One municipality. `name` is its own for ever; `secret` seeds the persons' GUIDs; `digest` names its rules.

    settle: how long a service must be quiet; gate_window: over how long corrections are counted.
    """

    name: str
    mapping: EpjMapping
    rules: Rules
    digest: str
    secret: bytes = field(repr=False)
    limits: GateLimits
    shadow: bool = False
    settle: timedelta = timedelta(0)
    gate_window: timedelta = timedelta(hours=1)
    share: Share | None = None
    fictitious_name: Callable[[str], bool] = field(default=lambda _name: False, repr=False)
    names: FieldNames = field(init=False)
    namespace: UUID = field(init=False)
    lookups: dict[str, frozenset[Columns]] = field(init=False)
    ending_columns: frozenset[tuple[str, str]] = field(init=False)
    optional_columns: frozenset[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", FieldNames.of(self.mapping))
        object.__setattr__(self, "namespace", unit_namespace(self.name))
        object.__setattr__(self, "lookups", self.mapping.lookups())
        object.__setattr__(self, "ending_columns", self.mapping.ending_columns())
        object.__setattr__(self, "optional_columns", self.mapping.optional_columns())

    @property
    def rows_zone(self) -> tzinfo:
        """The zone of the EPJ's TIMESTAMP columns."""
        return ZoneInfo(self.mapping.zone)

    def patient_guid(self, person_key: str) -> UUID:
        """A person's `pasientGUID`, which gives nothing of the key away: an HMAC with the unit's own secret."""
        digest = hmac.new(self.secret, f"{self.name}\0{person_key}".encode(), sha256).digest()
        return UUID(bytes=digest[:16], version=4)


def clock_at(now: datetime) -> Clock:
    """The clock of a look at `now`: its day is the day in Norway."""
    return Clock(now.astimezone(NORWAY).date(), now.astimezone(UTC), NORWAY)


def midnight(day: date) -> datetime:
    """The moment at which a day begins in Norway."""
    return datetime(day.year, day.month, day.day, tzinfo=NORWAY)
