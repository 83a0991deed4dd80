"""What stands reported for a service: the agent's own memory, never derived again from the EPJ."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from agent.domain.notification import Content, Event

Slot = tuple[Event, str]
"""An event of a service: the kind and its subject ("" for start and end, a pause's key, a change's number)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An event that the register holds. `original_*`: of the status-N notification; `content`: what was last told."""

    event: Event
    subject: str
    original_guid: UUID
    original_number: int
    event_guid: UUID
    content: Content

    @property
    def slot(self) -> Slot:
        return (self.event, self.subject)


@dataclass(frozen=True, slots=True)
class Reported:
    """One service as the register knows it.

    service_id: `tjenesteID`, made once. versions: how many versions (N and M) an event has had, ever; they survive an
    annulment, so that what comes back gets new GUIDs. followed_pauses: pauses once reported. changes_told: how many
    undated changes of provider were ever told. superseded: the EPJ has given the key to another service since (it was
    restored from a backup): what stands is annulled, and the other service is told anew.
    """

    service_id: str
    standing: tuple[Standing, ...] = ()
    versions: Mapping[Slot, int] = field(default_factory=dict)
    followed_pauses: frozenset[str] = frozenset()
    changes_told: int = 0
    superseded: bool = False

    @property
    def anew(self) -> "Reported":
        """As the register knows the other service that has the key now: not at all, but for the counts of versions."""
        return replace(self, standing=(), followed_pauses=frozenset(), superseded=False)

    @property
    def ever(self) -> bool:
        """Whether anything was ever reported for the service, annulled since or not."""
        return bool(self.versions)

    def at(self, event: Event, subject: str = "") -> Standing | None:
        """What stands for one event."""
        return next((standing for standing in self.standing if standing.slot == (event, subject)), None)
