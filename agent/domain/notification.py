"""A notification: one event of one service as the register is told of it, with its place in the chain.

HIS 1135:2021 (the pilot specification, version 56.0.0.5), classes Notifikasjon, the five events and Bruker.
What has a place in the chain never changes (invariant 4).
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from uuid import UUID

FIRST_PREVIOUS_GUID = UUID(int=0)
"""`notifikasjonForrigeGUID` of the first notification in a chain."""


class Event(Enum):
    """The five events; the value is the element's name in the message."""

    START = "TjenesteStart"
    PAUSE_FROM = "MidlertidigStoppFra"
    PAUSE_TO = "MidlertidigStoppTil"
    PROVIDER = "TjenesteutforerEndret"
    END = "TjenesteSlutt"


class Status(Enum):
    """Code system 7316; T (supplement) must not be used."""

    NEW = "N"
    REPLACE = "M"
    ANNUL = "C"


@dataclass(frozen=True, slots=True)
class ReportedPerson:
    """`Bruker`: whom an event is about. Every field but the GUID and the type code stays out of repr.

    identity: `fid`, a number or a birth date `ddmmyy`; identity_type: `typeID`, code system 9032;
    user_number: `brukerNr`; district: `bydel`.
    """

    patient_guid: UUID
    user_number: str = field(repr=False)
    identity: str = field(repr=False)
    identity_type: str
    district: str | None = field(default=None, repr=False)

    def same_as(self, other: "ReportedPerson") -> bool:
        """Whether both are told of as the same person; a new district alone is nothing (docs/owed.md)."""
        return (self.patient_guid, self.user_number, self.identity, self.identity_type) == (
            other.patient_guid,
            other.user_number,
            other.identity,
            other.identity_type,
        )


@dataclass(frozen=True, slots=True)
class Content:
    """What an event says, in one version of it.

    on: `hendelseDato`, the day of the fact in Norway; registered_at: `hendelseRegTid`, aware;
    organisation_number: `tjenesteOrgNr`; service_type: `tjenesteType`, code system 9151.
    """

    service_type: str
    on: date
    registered_at: datetime
    organisation_number: str | None
    person: ReportedPerson


@dataclass(frozen=True, slots=True)
class Notification:
    """One link of a reporting unit's chain.

    number: `notifikasjonLopeNr`; original_guid: `notifikasjonRef`, the GUID of the status-N notification, None for N;
    event_guid: `hendelseGUID`; arisen_at: `notifikasjonTid`, aware; pause_id: `midlertidigStoppID`, only pause events.
    """

    number: int
    guid: UUID
    previous_guid: UUID
    original_guid: UUID | None
    status: Status
    event: Event
    event_guid: UUID
    service_id: str
    pause_id: str | None
    arisen_at: datetime
    content: Content
