"""A second, tiny model of the register: replays notification values and asserts every rule of the chain.

It shares no code with compare, chain or the demo's register. Texts name numbers and GUIDs of the chain, never a person.
"""

from dataclasses import dataclass, field
from uuid import UUID
from zoneinfo import ZoneInfo

from agent.demo.told import Slot, Told, provider_last_told
from agent.domain.notification import FIRST_PREVIOUS_GUID, Event, Notification, Status

NORWAY = ZoneInfo("Europe/Oslo")


class ChainRuleBroken(AssertionError):
    """A notification that the register would refuse."""


@dataclass
class RegisterModel:
    """`picture`: service -> slot -> what stands. Replay notifications in the order of the chain.

    dated_providers: the EPJ dates its providers; else a change of provider, once told, goes only with its start.
    """

    picture: dict[str, dict[Slot, Told]] = field(default_factory=dict)
    last: Notification | None = None
    dated_providers: bool = False
    _slots: dict[UUID, tuple[str, Slot]] = field(default_factory=dict)
    _guids: set[UUID] = field(default_factory=set)
    _event_guids: set[UUID] = field(default_factory=set)
    _version: dict[UUID, UUID] = field(default_factory=dict)
    _patients: dict[str, UUID] = field(default_factory=dict)
    _alone: dict[str, Notification] = field(default_factory=dict)

    def replay(self, notifications: list[Notification]) -> "RegisterModel":
        for notification in notifications:
            self.take(notification)
        for n in self._alone.values():
            self._require(self.dated_providers, n, "annuls a change of provider whose start stands on")
        return self

    def take(self, n: Notification) -> None:
        self._check_link(n)
        self._check_content(n)
        if n.status is Status.NEW:
            self._take_new(n)
        else:
            self._take_change(n)
        self._guids.add(n.guid)
        self.last = n

    def _check_link(self, n: Notification) -> None:
        number, guid = (self.last.number, self.last.guid) if self.last else (0, FIRST_PREVIOUS_GUID)
        self._require(n.number == number + 1, n, f"follows number {number}")
        self._require(n.previous_guid == guid, n, "points to another notification than the one before it")
        self._require(n.guid not in self._guids, n, "has a GUID that was used before")
        self._require(not self.last or n.arisen_at >= self.last.arisen_at, n, "arose before the one before it")

    def _check_content(self, n: Notification) -> None:
        content, is_pause = n.content, n.event in (Event.PAUSE_FROM, Event.PAUSE_TO)
        self._require((n.pause_id is not None) == is_pause, n, "has a pause id where it should not, or none")
        number_due = content.service_type in {"18", "19", "20", "21"} or n.event is Event.PROVIDER
        told = content.organisation_number is not None
        self._require(told or not number_due or n.status is Status.ANNUL, n, "lacks its organisation number")
        registered_on = content.registered_at.astimezone(NORWAY).date()
        self._require(registered_on >= content.on, n, "was registered before the day of its fact")
        patient = self._patients.setdefault(content.person.user_number, content.person.patient_guid)
        self._require(patient == content.person.patient_guid, n, "gives a known user another pasientGUID")

    def _take_new(self, n: Notification) -> None:
        self._require(n.original_guid is None, n, "is an N and refers to another")
        held = self.picture.setdefault(n.service_id, {})
        slot = self._slot(n)
        self._require(slot not in held, n, "is an N of an event that stands")
        self._require(n.event is Event.START or (Event.START.value, "") in held, n, "has no start that stands")
        self._require(n.event is not Event.PAUSE_TO or (Event.PAUSE_FROM.value, slot[1]) in held, n, "ends no pause")
        # Dated changes may be exchanged in one look, an M behind the N: their course is judged as a whole.
        repeats = n.event is Event.PROVIDER and provider_last_told(held) == n.content.organisation_number
        repeats = repeats and not self.dated_providers
        self._require(not repeats, n, "tells of the provider that was told last")
        self._new_version(n)
        self._slots[n.guid], self._version[n.guid] = (n.service_id, slot), n.event_guid
        held[slot] = self._told(n, n.number)

    def _take_change(self, n: Notification) -> None:
        original = n.original_guid
        self._require(original in self._slots, n, "refers to no N")
        assert original is not None
        service, slot = self._slots[original]
        held = self.picture.get(service, {})
        self._require(slot in held and original in self._version, n, "refers to an N that does not stand")
        self._require((service, slot[0]) == (n.service_id, n.event.value), n, "refers to an N of another event")
        first_number = held[slot].first_number
        if n.status is Status.REPLACE:
            self._new_version(n)
            self._version[original] = n.event_guid
            self._require(self._told(n, first_number) != held[slot], n, "replaces nothing of what was told")
            held[slot] = self._told(n, first_number)
            return
        self._require(n.event_guid == self._version.pop(original), n, "annuls another version than the last")
        self._require(self._told(n, first_number) == held[slot], n, "annuls with other content than was last told")
        del held[slot]
        if n.event is Event.PROVIDER:
            self._alone[n.service_id] = n
        elif n.event is Event.START:
            self._alone.pop(n.service_id, None)
        self._require(n.event is not Event.START or not held, n, "annuls a start on which events stand")
        if not held:
            del self.picture[service]

    def _new_version(self, n: Notification) -> None:
        self._require(n.event_guid not in self._event_guids, n, "has a hendelseGUID that was used before")
        self._event_guids.add(n.event_guid)

    @staticmethod
    def _slot(n: Notification) -> Slot:
        return (n.event.value, str(n.number) if n.event is Event.PROVIDER else n.pause_id or "")

    @staticmethod
    def _told(n: Notification, first_number: int) -> Told:
        content, person = n.content, n.content.person
        return Told(
            service_type=content.service_type,
            on=content.on,
            organisation_number=content.organisation_number,
            identity=person.identity,
            identity_type=person.identity_type,
            user_number=person.user_number,
            first_number=first_number,
        )

    @staticmethod
    def _require(holds: bool, n: Notification, what: str) -> None:
        if not holds:
            raise ChainRuleBroken(f"notification {n.number} ({n.event.value} {n.status.value}) {what}")
