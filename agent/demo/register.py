"""The demo's register: it judges messages, keeps its own picture, and answers as a script tells it to.

One chain for each sender. A message is taken whole or not at all. After a refusal everything behind it is refused too,
because the order is checked first, until the refused notifications come again (HIS 1135:2021, continuity).
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from agent.demo.register_reading import OTHER, MessageRead, NotificationRead, RegisterFault, read_message
from agent.demo.told import PAUSE_FROM, PAUSE_TO, PROVIDER, START, Held, Slot, Told

_NOTHING_BEFORE: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Script:
    """What the register does beside its duty. Numbers count the messages that bring something new and are in order.

    refused: answered negatively and not taken, once each; unanswered: taken, never answered; twice: answered twice;
    late_s: number -> seconds before the answer.
    """

    refused: frozenset[int] = frozenset()
    unanswered: frozenset[int] = frozenset()
    twice: frozenset[int] = frozenset()
    late_s: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is answered to a message: positive when there is no fault. times: how many answers; late_s: after how long.

    refused_by_script: the message was right, and refused for show.
    """

    message: MessageRead
    faults: tuple[RegisterFault, ...]
    times: int = 1
    late_s: float = 0.0
    refused_by_script: bool = False


@dataclass(frozen=True, slots=True)
class _Original:
    """The event of an N: its service and slot, its last version, whether it stands."""

    service: str
    slot: Slot
    version: str
    told: Told
    stands: bool = True


@dataclass(slots=True)
class _Chain:
    """What one sender has told. `known`: notification -> digest; `originals`: N -> event; `slots`: who stands where."""

    number: int = 0
    guid: str = _NOTHING_BEFORE
    known: MutableMapping[str, str] = field(default_factory=dict)
    originals: MutableMapping[str, _Original] = field(default_factory=dict)
    slots: MutableMapping[tuple[str, Slot], str | None] = field(default_factory=dict)
    standing: MutableMapping[str, int] = field(default_factory=dict)
    patients: MutableMapping[str, str] = field(default_factory=dict)

    def draft(self) -> "_Chain":
        """A chain on top of this one; nothing below changes until it is absorbed."""
        known: ChainMap[str, str] = ChainMap({}, self.known)
        originals: ChainMap[str, _Original] = ChainMap({}, self.originals)
        slots: ChainMap[tuple[str, Slot], str | None] = ChainMap({}, self.slots)
        standing: ChainMap[str, int] = ChainMap({}, self.standing)
        patients: ChainMap[str, str] = ChainMap({}, self.patients)
        return _Chain(self.number, self.guid, known, originals, slots, standing, patients)

    def absorb(self, draft: "_Chain") -> None:
        self.number, self.guid = draft.number, draft.guid
        for name in ("known", "originals", "slots", "standing", "patients"):
            getattr(self, name).update(getattr(draft, name).maps[0])


class Register:
    """Judges messages one after the other. `accepted` and `refused` count answers of each kind."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self._chains: dict[str, _Chain] = {}
        self._in_order = 0
        self._refused: set[int] = set()
        self.accepted = 0
        self.refused = 0

    def receive(self, content: bytes) -> Judgement:
        """Judge plain MsgHead bytes, and take them where nothing is wrong. Raises NotTaken where nobody can answer."""
        message = read_message(content)
        chain = self._chains.setdefault(message.sender.her_id, _Chain())
        draft = chain.draft()
        faults = message.faults or tuple(_take(draft, message))
        if faults:
            self.refused += 1
            return Judgement(message, faults)
        if draft.number == chain.number:
            self.accepted += 1
            return Judgement(message, ())  # told before, and the same
        self._in_order += 1
        number = self._in_order
        if number in self._script.refused - self._refused:
            self._refused.add(number)
            self.refused += 1
            fault = RegisterFault(OTHER, "refused by the demo's script", message.notifications[0].guid)
            return Judgement(message, (fault,), refused_by_script=True)
        chain.absorb(draft)
        self.accepted += 1
        times = 0 if number in self._script.unanswered else 2 if number in self._script.twice else 1
        return Judgement(message, (), times, self._script.late_s.get(number, 0.0))

    def picture(self, sender: str | None = None) -> dict[str, Held]:
        """What stands for each service, of one sender (its HER-id) or of all."""
        chains = self._chains.values() if sender is None else [self._chains.get(sender, _Chain())]
        held: dict[str, dict[Slot, Told]] = {}
        for chain in chains:
            for original in chain.originals.values():
                if original.stands:
                    held.setdefault(original.service, {})[original.slot] = original.told
        return dict(held)

    def chain_end(self, sender: str) -> int:
        """The last `notifikasjonLopeNr` taken from a sender, 0 before the first."""
        return self._chains.get(sender, _Chain()).number

    @property
    def notifications(self) -> int:
        """How many notifications have been taken, of all senders."""
        return sum(len(chain.known) for chain in self._chains.values())


def _take(chain: _Chain, message: MessageRead) -> Iterator[RegisterFault]:
    """The first fault of each notification that has one; what is right enters the draft."""
    for read in message.notifications:
        known = chain.known.get(read.guid)
        if known is not None:
            if known != read.digest:
                yield RegisterFault(OTHER, "the notification was told before, with other content", read.guid)
            continue
        fault = _link_fault(chain, read) or _reference_fault(chain, read)
        if fault:
            yield RegisterFault(OTHER, fault, read.guid)
            return  # what follows it in the message has nothing to follow
        _book(chain, read)


def _link_fault(chain: _Chain, read: NotificationRead) -> str:
    if read.number != chain.number + 1:
        return f"notifikasjonLopeNr {read.number} does not follow {chain.number}"
    if read.notification["notifikasjonForrigeGUID"] != chain.guid:
        return "notifikasjonForrigeGUID is not the notification before it"
    return ""


def _reference_fault(chain: _Chain, read: NotificationRead) -> str:
    service, slot = read.facts["tjenesteID"], _slot(read)
    if chain.patients.get(read.person["brukerNr"], read.person["pasientGUID"]) != read.person["pasientGUID"]:
        return "the user is known by another pasientGUID"
    if read.status == "N":
        if chain.slots.get((service, slot)):
            return "an N of an event that stands"
        if slot[0] != START and not chain.slots.get((service, (START, ""))):
            return "no TjenesteStart stands for the service"
        no_pause = slot[0] == PAUSE_TO and not chain.slots.get((service, (PAUSE_FROM, slot[1])))
        return "no MidlertidigStoppFra stands for the pause" if no_pause else ""
    original = chain.originals.get(read.notification["notifikasjonRef"])
    if original is None:
        return "notifikasjonRef is no N of this sender"
    if not original.stands:
        return "notifikasjonRef is an N that was annulled"
    if (original.service, original.slot[0]) != (service, read.event):
        return "notifikasjonRef is an N of another event"
    if read.status == "C":
        return _annulment_fault(chain, read, original)
    return ""


def _annulment_fault(chain: _Chain, read: NotificationRead, original: _Original) -> str:
    if read.facts["hendelseGUID"] != original.version:
        return "a C with another hendelseGUID than the version that stands"
    if _told(read, original.told.first_number) != original.told:
        return "a C with other content than was last told"
    others = chain.standing.get(original.service, 0) - 1
    return "a C of a start on which other events stand" if read.event == START and others else ""


def _book(chain: _Chain, read: NotificationRead) -> None:
    service, slot, version = read.facts["tjenesteID"], _slot(read), read.facts["hendelseGUID"]
    chain.number, chain.guid = read.number, read.guid
    chain.known[read.guid] = read.digest
    chain.patients[read.person["brukerNr"]] = read.person["pasientGUID"]
    if read.status == "N":
        chain.originals[read.guid] = _Original(service, slot, version, _told(read, read.number))
        chain.slots[service, slot] = read.guid
        chain.standing[service] = chain.standing.get(service, 0) + 1
        return
    reference = read.notification["notifikasjonRef"]
    original = chain.originals[reference]
    if read.status == "M":
        told = _told(read, original.told.first_number)
        chain.originals[reference] = replace(original, version=version, told=told)
        return
    chain.originals[reference] = replace(original, stands=False)
    chain.slots[original.service, original.slot] = None
    chain.standing[original.service] -= 1


def _slot(read: NotificationRead) -> Slot:
    """A service may change its provider many times: each change is a slot of its own, by the number of its N."""
    return (read.event, str(read.number) if read.event == PROVIDER else read.facts.get("midlertidigStoppID", ""))


def _told(read: NotificationRead, first_number: int) -> Told:
    return Told(
        service_type=read.facts["tjenesteType"],
        on=date.fromisoformat(read.facts["hendelseDato"]),
        organisation_number=read.facts.get("tjenesteOrgNr") or None,
        identity=read.person["fid"],
        identity_type=read.person["typeID"],
        user_number=read.person["brukerNr"],
        first_number=first_number,
    )
