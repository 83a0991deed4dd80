"""Step 3: what stands reported x what the EPJ says today -> the events that close the difference.

A pure function of the two, whatever kind of change brought them about (docs/owed.md, principle 2): a replay, a
duplicate or a snapshot gives the events still owed, usually none.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from typing import Final
from uuid import UUID

from agent.domain.assemble import latest
from agent.domain.codes import organisation_number_required
from agent.domain.judged import FactState, Judged, JudgedPause
from agent.domain.notification import Content, Event, ReportedPerson, Status
from agent.domain.providers import Providers, see_providers
from agent.domain.reported import Reported, Slot, Standing

_RANK: Final = {Event.START: 0, Event.PAUSE_FROM: 1, Event.PAUSE_TO: 1, Event.PROVIDER: 2, Event.END: 3}
"""The order of events of one day (docs/owed.md, "Order")."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One event that the register must still be told of; `original` is what it replaces or annuls, None for N."""

    status: Status
    event: Event
    subject: str
    content: Content
    original: Standing | None = None

    @property
    def slot(self) -> Slot:
        return (self.event, self.subject)


@dataclass(frozen=True, slots=True)
class Comparison:
    """annulments: last booked N first; events: N and M by date. Both in the order in which they enter the chain."""

    annulments: tuple[Owed, ...] = ()
    events: tuple[Owed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.annulments or self.events)


@dataclass(frozen=True, slots=True)
class Clock:
    """today: the day in Norway; now: when we look (aware); zone: Europe/Oslo.

    carried: a row brought us here. A changed configuration does not: the EPJ registered nothing then.
    """

    today: date
    now: datetime
    zone: tzinfo
    carried: bool = True


def compare(reported: Reported, judged: Judged, patient_guid: UUID | None, clock: Clock) -> Comparison:
    """The events owed for one service. `patient_guid` belongs to `judged.person`."""
    if judged.frozen or (judged.left_out is not None and judged.withdrawal is None):
        return Comparison()
    if judged.withdrawal is not None:
        return Comparison(_annul(reported.standing, clock, judged.withdrawn_at))
    if judged.start.gone:
        return Comparison(_annul(reported.standing, clock, judged.start.since))
    return _Difference(reported, judged, patient_guid, clock).whole()


def compare_superseded(reported: Reported, anew: Comparison, clock: Clock) -> Comparison:
    """What is owed where the EPJ has given a key to another service: C of all that stands, then the other one's events.

    `anew`: what `compare` gives for `reported.anew`.
    """
    return Comparison(_annul(reported.standing, clock, None), anew.events)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the EPJ says of one event: its day (None: as it stands), its number where the EPJ dates it, its moment."""

    on: date | None
    since: datetime | None = None
    number: str | None = None


class _Difference:
    """The difference for a service that begins, or has begun."""

    def __init__(self, reported: Reported, judged: Judged, patient_guid: UUID | None, clock: Clock) -> None:
        self._reported = reported
        self._judged = judged
        self._clock = clock
        self._providers: Providers = see_providers(judged, reported, clock.today, clock.now, clock.zone)
        self._person = _person(judged, patient_guid)
        self._service_type = self._type_to_tell()
        self._pauses = {pause.key: pause for pause in judged.pauses}

    def whole(self) -> Comparison:
        wishes = self._wishes()
        begins = self._reported.at(Event.START) is not None or self._start_may_go()
        if not begins:
            return Comparison()
        gone = [standing for standing in self._reported.standing if standing.slot not in wishes]
        events = [owed for slot, wish in wishes.items() if (owed := self._owed(slot, wish, wishes)) is not None]
        annulments: list[Owed] = []
        for standing in gone:
            annulments.extend(_annul((standing,), self._clock, self._gone_since(standing)))
        annulments.sort(key=_last_booked_first)
        return Comparison(tuple(annulments), tuple(sorted(events, key=self._order)))

    # -- what the EPJ wishes told -------------------------------------------------------------------------------

    def _wishes(self) -> dict[Slot, _Wish]:
        """Every event that shall stand; one that is not here, and stands, is annulled."""
        judged = self._judged
        wishes: dict[Slot, _Wish] = {}
        start = judged.start
        wishes[Event.START, ""] = _Wish(
            start.on if start.right else None, start.since, self._providers.first if self._providers.dated else None
        )
        if not judged.end.gone:
            wishes[Event.END, ""] = _Wish(judged.end.on if judged.end.right else None, judged.end.since)
        for pause in judged.pauses:
            if not pause.begins.gone:
                right = pause.begins.right
                wishes[Event.PAUSE_FROM, pause.key] = _Wish(pause.begins.on if right else None, pause.begins.since)
                if not pause.ends.gone:
                    right = pause.ends.right
                    wishes[Event.PAUSE_TO, pause.key] = _Wish(pause.ends.on if right else None, pause.ends.since)
        for change in self._providers.changes:
            wishes[Event.PROVIDER, change.subject] = _Wish(change.on, change.since, change.number)
        return wishes

    def _owed(self, slot: Slot, wish: _Wish, wishes: dict[Slot, _Wish]) -> Owed | None:
        standing = self._reported.at(*slot)
        if standing is not None:
            return self._replacement(standing, wish)
        if wish.on is None or self._person is None or self._service_type is None:
            return None
        event, subject = slot
        if event is Event.START and not self._start_may_go():
            return None
        if event is Event.PAUSE_TO and not self._stands_or_goes((Event.PAUSE_FROM, subject), wishes):
            return None
        if event is Event.PROVIDER and wish.number is None:
            return None
        number = wish.number if event is Event.PROVIDER else self._providers.number_on(wish.on, event)
        registered_at = _registered_at(wish.since, wish.on, self._clock)
        content = Content(self._service_type, wish.on, registered_at, number, self._person)
        return Owed(Status.NEW, event, subject, content)

    def _replacement(self, standing: Standing, wish: _Wish) -> Owed | None:
        """M of one event: its own number as first reported, the new day, the present person and type."""
        told = standing.content
        moments: list[datetime | None] = []
        person, service_type, on, number = told.person, told.service_type, told.on, told.organisation_number
        if self._person is not None and not self._person.same_as(told.person):
            person = self._person
            moments.append(self._judged.person.since if self._judged.person else None)
        if self._person is not None and self._service_type is not None:
            if self._service_type != told.service_type:
                service_type = self._service_type
                moments.append(self._judged.type_since)
            if wish.on is not None and wish.on != told.on:
                on = wish.on
                moments.append(wish.since)
            if wish.number is not None and wish.number != told.organisation_number:
                number = wish.number
                moments.append(self._providers.since)
        if not moments:
            return None
        if number is None and organisation_number_required(service_type):
            number = self._providers.number_on(on, standing.event)
        since = latest(*moments)
        registered_at = _registered_at(since if self._clock.carried else None, on, self._clock)
        content = Content(service_type, on, registered_at, number, self._person or person)
        return Owed(Status.REPLACE, standing.event, standing.subject, content, standing)

    # -- what may be told ---------------------------------------------------------------------------------------

    def _start_may_go(self) -> bool:
        """A start that nothing stands for needs its date, the person, the type and a usable organisation number."""
        return (
            self._judged.start.right
            and self._person is not None
            and self._service_type is not None
            and self._providers.first_usable
        )

    def _stands_or_goes(self, slot: Slot, wishes: dict[Slot, _Wish]) -> bool:
        return self._reported.at(*slot) is not None or (slot in wishes and wishes[slot].on is not None)

    def _type_to_tell(self) -> str | None:
        """The type to tell; None where it is unknown, or needs an organisation number that nobody has."""
        wanted = self._judged.service_type
        if wanted is None or not organisation_number_required(wanted):
            return wanted
        lacking = any(standing.content.organisation_number is None for standing in self._reported.standing)
        return wanted if not lacking or self._providers.present is not None else None

    def _gone_since(self, standing: Standing) -> datetime | None:
        if standing.event is Event.END:
            return self._judged.end.since
        if standing.event is Event.PROVIDER:
            return self._providers.since
        pause = self._pauses.get(standing.subject)
        if pause is None:
            return self._judged.gone_pauses.get(standing.subject)
        return pause.begins.since if pause.begins.gone else pause.ends.since

    # -- order --------------------------------------------------------------------------------------------------

    def _order(self, owed: Owed) -> tuple[object, ...]:
        rank = _RANK[owed.event]
        if owed.event in (Event.PAUSE_FROM, Event.PAUSE_TO):
            begins, sort_key = self._pause_order(owed.subject)
            return (owed.content.on, rank, begins, sort_key, owed.subject, owed.event is Event.PAUSE_TO)
        return (owed.content.on, rank, date.min, (), f"{owed.subject:>20}", False)

    def _pause_order(self, key: str) -> tuple[date, tuple[tuple[int, int, str], ...]]:
        pause: JudgedPause | None = self._pauses.get(key)
        standing = self._reported.at(Event.PAUSE_FROM, key)
        begins = pause.begins.on if pause is not None and pause.begins.state is FactState.RIGHT else None
        if begins is None:
            begins = standing.content.on if standing is not None else date.min
        return begins, pause.sort_key if pause is not None else ()


def _annul(standing: tuple[Standing, ...], clock: Clock, since: datetime | None) -> tuple[Owed, ...]:
    """C of each: what was last reported, with its own times."""
    owed = []
    for told in standing:
        last = told.content
        registered_at = _registered_at(since if clock.carried else None, last.on, clock)
        content = Content(last.service_type, last.on, registered_at, last.organisation_number, last.person)
        owed.append(Owed(Status.ANNUL, told.event, told.subject, content, told))
    return tuple(sorted(owed, key=_last_booked_first))


def _last_booked_first(owed: Owed) -> int:
    return -(owed.original.original_number if owed.original is not None else 0)


def _registered_at(since: datetime | None, on: date, clock: Clock) -> datetime:
    """`hendelseRegTid`: when the EPJ registered it, else when we saw it; never before the day of the fact begins."""
    day_begins = datetime.combine(on, time.min, tzinfo=clock.zone)
    return max(since or clock.now, day_begins)


def _person(judged: Judged, patient_guid: UUID | None) -> ReportedPerson | None:
    person = judged.person
    if person is None or patient_guid is None:
        return None
    return ReportedPerson(
        patient_guid=patient_guid,
        user_number=person.user_number,
        identity=person.identity,
        identity_type=person.identity_type,
        district=person.district,
    )
