"""What stands reported for a service: the agent's own memory, never derived again from the EPJ."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    undated changes of provider were ever told.
    """

    service_id: str
    standing: tuple[Standing, ...] = ()
    versions: Mapping[Slot, int] = field(default_factory=dict)
    followed_pauses: frozenset[str] = frozenset()
    changes_told: int = 0

    @property
    def ever(self) -> bool:
        """Whether anything was ever reported for the service, annulled since or not."""
        return bool(self.versions)

    def at(self, event: Event, subject: str = "") -> Standing | None:
        """What stands for one event."""
        return next((standing for standing in self.standing if standing.slot == (event, subject)), None)
