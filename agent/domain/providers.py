"""Who provides a service, and since when: the part of compare that differs between EPJs.

Most EPJs keep the present unit only: a change of provider is seen when the number changes, and stays told. Some date
their providers (placements): then the whole course follows from the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from agent.domain.assemble import latest
from agent.domain.codes import organisation_number_required
from agent.domain.judged import DateFact, FactState, Judged, JudgedPlacement
from agent.domain.notification import Event
from agent.domain.reported import Reported, Standing


@dataclass(frozen=True, slots=True)
class ProviderChange:
    """One change of provider that shall stand. `on` None: as it stands. `number` None: as it stands."""

    subject: str
    on: date | None
    number: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Providers:
    """dated: the EPJ dates its providers. first: the number of the start; first_usable: a start may go with it.

    present: a number that may be told now for what needs one. told: the number last told.
    """

    dated: bool
    first: str | None
    first_usable: bool
    present: str | None
    told: str | None
    changes: tuple[ProviderChange, ...]
    since: datetime | None
    course: tuple[tuple[date, str], ...] = ()

    def number_on(self, on: date, event: Event) -> str | None:
        """The organisation number that a new event of that day carries."""
        if not self.dated:
            return self.present if self.present is not None else self.told
        if event is Event.START:
            return self.first
        past = [number for begins, number in self.course if begins <= on]
        return past[-1] if past else self.first or self.told


def see_providers(judged: Judged, reported: Reported, today: date, now: datetime, zone: tzinfo) -> Providers:
    """The providers of a service, and the changes that shall stand."""
    if judged.placements is not None:
        return _dated(judged, reported)
    return _undated(judged, reported, today, now, zone)


def _undated(judged: Judged, reported: Reported, today: date, now: datetime, zone: tzinfo) -> Providers:
    provider = judged.provider
    start, changes = reported.at(Event.START), _changes_told(reported)
    last = changes[-1] if changes else start
    told = last.content.organisation_number if last is not None else None
    wish = [ProviderChange(change.subject, None, None, None) for change in changes]
    present = provider.number if provider.usable else None
    changed_on = judged.provider_changed_on
    if present is not None and start is not None and present != told and not _filled_in(judged, start, told):
        on = _changed_on(changed_on, provider.since, today, now, zone)
        if on is not None:
            wish.append(ProviderChange(str(reported.changes_told + 1), on, present, provider.since))
        elif told is not None:
            present = told  # the change may not be told yet, so the register's provider is still the one before
    elif changes and changed_on is not None and changed_on.right and present == told:
        wish[-1] = ProviderChange(changes[-1].subject, changed_on.on, None, changed_on.since)
    return Providers(
        dated=False,
        first=present,
        first_usable=provider.usable,
        present=present,
        told=told,
        changes=tuple(wish),
        since=provider.since,
    )


def _filled_in(judged: Judged, start: Standing, told: str | None) -> bool:
    """Whether an M of everything brings the number: a type that needs one replaces a type told without."""
    wanted = judged.service_type
    if told is not None or wanted is None or wanted == start.content.service_type:
        return False
    return organisation_number_required(wanted)


def _changed_on(
    changed_on: DateFact | None, since: datetime | None, today: date, now: datetime, zone: tzinfo
) -> date | None:
    """The day of a change: the configured column's, else that of its registration; None while it may not be told."""
    if changed_on is not None and changed_on.state in (FactState.LATER, FactState.WRONG):
        return None
    if changed_on is not None and changed_on.right:
        return changed_on.on
    return min((since or now).astimezone(zone).date(), today)


def _changes_told(reported: Reported) -> list[Standing]:
    told = [standing for standing in reported.standing if standing.event is Event.PROVIDER]
    return sorted(told, key=lambda standing: int(standing.subject) if standing.subject.isdigit() else 0)


def _dated(judged: Judged, reported: Reported) -> Providers:
    """The course that the placements give, from the first one that counts for the start."""
    placements = judged.placements or ()
    come = [placement for placement in placements if placement.begins.state is not FactState.LATER]
    start = reported.at(Event.START)
    start_on = judged.start.on if judged.start.right or start is None else start.content.on
    certain = all(placement.begins.right for placement in come)
    first = _first(come or list(placements), start_on)
    begun_with = start.content.organisation_number if start is not None else None
    measured = certain or start is None  # else the start is what was told, and any placement may be a change
    number = None
    if first is not None and first.provider.usable and measured:
        number = first.provider.number
    here = {placement.key: placement for placement in come}
    course = _Course(reported, here, number if number is not None else begun_with)
    later = come[come.index(first) + 1 :] if first in come else []
    for placement in later if measured else sorted(come, key=course.day_told):
        course.go_on(placement, certain=certain)
    if not certain:
        course.keep_the_rest(come)
    return Providers(
        dated=True,
        first=number,
        first_usable=first.provider.usable if first is not None else judged.provider.usable,
        present=course.number,
        told=course.days[-1][1] if course.days else begun_with or number,
        changes=tuple(course.changes),
        since=latest(*(placement.provider.since for placement in placements)),
        course=tuple(course.days),
    )


class _Course:
    """The changes of provider that dated placements make, one after the other."""

    def __init__(self, reported: Reported, here: Mapping[str, JudgedPlacement], number: str | None) -> None:
        self._reported = reported
        self._here = here
        self.number = number
        self.days: list[tuple[date, str]] = []
        self.changes: list[ProviderChange] = []

    def go_on(self, placement: JudgedPlacement, *, certain: bool) -> None:
        """The next placement. Where it is wrong, what stands for it stays; the same unit again is no change.

        certain: every placement has its day. Otherwise the order is a guess, and what stands is not measured by it.
        """
        begins, number = placement.begins, placement.provider.number
        stands = self._reported.at(Event.PROVIDER, placement.key)
        if not _is_right(placement) or begins.on is None or number is None:
            if stands is not None:
                self._stay(stands)
            return
        if number == self.number and (stands is None or certain):
            return  # another room of the same unit
        if stands is None and not certain and begins.on <= self._told_through():
            return  # it may be one that the start or another change told
        self.number = number
        self.days.append((begins.on, number))
        since = latest(begins.since, placement.provider.since)
        self.changes.append(ProviderChange(placement.key, begins.on, number, since))

    def day_told(self, placement: JudgedPlacement) -> tuple[date, bool, str]:
        """An order for placements whose days are not all right: what stands goes by the day that was told."""
        stands = self._reported.at(Event.PROVIDER, placement.key)
        told = stands.content.on if stands is not None else date.max
        on = placement.begins.on if placement.begins.right else None
        return (on or told, stands is None, placement.key)

    def keep_the_rest(self, come: list[JudgedPlacement]) -> None:
        """What stands for a placement that is still there stays, wherever the order has put it."""
        wished = {change.subject for change in self.changes}
        for placement in come:
            stands = self._reported.at(Event.PROVIDER, placement.key)
            if stands is not None and placement.key not in wished:
                self._stay(stands)

    def _stay(self, stands: Standing) -> None:
        self.changes.append(ProviderChange(stands.subject, None, None, None))
        told = stands.content.organisation_number
        if told is not None and stands.content.on >= self._last_day():
            self.number = told
            self.days.append((stands.content.on, told))

    def _told_through(self) -> date:
        """The last day of which a provider was told, and will stand."""
        standing = self._reported.standing
        told = [one.content.on for one in standing if one.event is Event.START]
        for one in standing:
            placement = self._here.get(one.subject) if one.event is Event.PROVIDER else None
            if placement is not None:  # one whose day is right will stand on that day
                moved = placement.begins.on if _is_right(placement) else None
                told.append(moved or one.content.on)
        return max(told, default=date.min)

    def _last_day(self) -> date:
        if self.days:
            return self.days[-1][0]
        start = self._reported.at(Event.START)
        return start.content.on if start is not None else date.min


def _is_right(placement: JudgedPlacement) -> bool:
    return placement.begins.right and placement.provider.usable


def _first(placements: list[JudgedPlacement], start_on: date | None) -> JudgedPlacement | None:
    """The placement in force when the service begins: the last one from that day or before, else the earliest."""
    before = [
        placement
        for placement in placements
        if placement.begins.right
        and start_on is not None
        and placement.begins.on is not None
        and placement.begins.on <= start_on
    ]
    return before[-1] if before else (placements[0] if placements else None)
