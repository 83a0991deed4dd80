"""The rules that a `Melding` must meet before it is kept: the project's own schema, and what no schema can say.

Sources: HIS 1135:2021 (version 56.0.0.5), its schema and its receiver checks. The official schema lets much through
that the receiver deletes or that makes no sense; all of that is refused here. No problem text quotes a value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final
from uuid import UUID

from lxml import etree

from agent.domain.codes import (
    CONTACT_ROLES,
    IDENTITY_TYPES,
    SERVICE_TYPES,
    is_reported,
    organisation_number_required,
)
from agent.domain.identifiers import check_number, kommunenummer_problem, organisation_number_problem
from agent.domain.melding import PILOT_FORMAT, MeldingFormat
from agent.domain.notification import FIRST_PREVIOUS_GUID, Status
from agent.domain.schemas import melding_schema
from agent.domain.xml_reading import children, local_name


@dataclass(frozen=True, slots=True)
class Window:
    """The days an event may have happened on: from `earliest` to `days_ahead` days after the notification arose."""

    earliest: date = date(1990, 1, 1)
    days_ahead: int = 730


USUAL_WINDOW: Final = Window()


@dataclass(frozen=True, slots=True)
class MeldingProblem:
    """Why a message is refused. `place` names elements and an attribute; neither it nor `text` quotes a value."""

    place: str
    text: str


def check_melding(
    melding: etree._Element, zone: tzinfo, *, form: MeldingFormat = PILOT_FORMAT, window: Window = USUAL_WINDOW
) -> list[MeldingProblem]:
    """What is wrong with a `Melding`: the project's own schema first, then the rules it cannot say. Empty when valid.

    The rules are judged only where the schema finds nothing, so they may trust the forms. `zone` as in `build_melding`.
    """
    defects = melding_schema(form.namespace, form.version).defects(melding)
    if defects:
        return [MeldingProblem(defect.place, defect.text) for defect in defects]
    notifications = children(melding, "Notifikasjon")
    problems = list(_problems_of_contacts(melding))
    problems += _problems_of_chain(notifications)
    for number, notification in enumerate(notifications, start=1):
        place = f"Melding[1]/Notifikasjon[{number}]"
        problems += _problems_of_status(notification, place)
        problems += _problems_of_event(notification, place, zone, window)
    return problems


def _problems_of_contacts(melding: etree._Element) -> Iterator[MeldingProblem]:
    roles = {contact.get("typeKontaktperson") for contact in children(melding, "Kontaktperson")}
    for role, text in CONTACT_ROLES.items():
        if role not in roles:
            yield MeldingProblem("Melding[1]/Kontaktperson", f"there is none of type {role} ({text})")
    problem = kommunenummer_problem(_value(children(melding, "Kommune")[0], "kommuneNr"))
    if problem:
        yield MeldingProblem("Melding[1]/Kommune[1]/@kommuneNr", problem)


def _problems_of_chain(notifications: Sequence[etree._Element]) -> Iterator[MeldingProblem]:
    """Numbers rise by one, each points at the one before, a reference inside the message points at its own N."""
    seen: dict[str, etree._Element] = {}
    before: etree._Element | None = None
    for index, notification in enumerate(notifications, start=1):
        place = f"Melding[1]/Notifikasjon[{index}]"
        number, guid = int(_value(notification, "notifikasjonLopeNr")), _value(notification, "notifikasjonGUID")
        previous = _value(notification, "notifikasjonForrigeGUID")
        first = previous == str(FIRST_PREVIOUS_GUID)
        if guid == str(FIRST_PREVIOUS_GUID):
            yield MeldingProblem(f"{place}/@notifikasjonGUID", "is the empty GUID")
        if before is not None and number != int(_value(before, "notifikasjonLopeNr")) + 1:
            yield MeldingProblem(f"{place}/@notifikasjonLopeNr", "does not follow the one before it by one")
        if before is not None and previous != _value(before, "notifikasjonGUID"):
            yield MeldingProblem(f"{place}/@notifikasjonForrigeGUID", "does not point at the one before it")
        if before is None and (previous == guid or (number == 1 and not first)):
            yield MeldingProblem(f"{place}/@notifikasjonForrigeGUID", "does not fit its place in the chain")
        original = seen.get(notification.get("notifikasjonRef") or "")
        if original is not None and not _is_original_of(original, notification):
            yield MeldingProblem(f"{place}/@notifikasjonRef", "points at something else than the event's original")
        seen[guid] = before = notification


def _is_original_of(original: etree._Element, notification: etree._Element) -> bool:
    return _value(original, "statusNotifikasjon") == Status.NEW.value and original[0].tag == notification[0].tag


def _problems_of_status(notification: etree._Element, place: str) -> Iterator[MeldingProblem]:
    status, reference = Status(_value(notification, "statusNotifikasjon")), notification.get("notifikasjonRef")
    place = f"{place}/@notifikasjonRef"
    if status is Status.NEW and reference is not None:
        yield MeldingProblem(place, "must not be there when the status is N")
    if status is not Status.NEW and reference is None:
        yield MeldingProblem(place, f"is missing, and the status is {status.value}")
    if reference is not None and (
        UUID(reference) == FIRST_PREVIOUS_GUID or reference == _value(notification, "notifikasjonGUID")
    ):
        yield MeldingProblem(place, "points at no original")


def _problems_of_event(
    notification: etree._Element, place: str, zone: tzinfo, window: Window
) -> Iterator[MeldingProblem]:
    event = notification[0]
    place = f"{place}/{local_name(event)}[1]"
    yield from _problems_of_type(event, place, Status(_value(notification, "statusNotifikasjon")))
    yield from _problems_of_dates(event, place, _value(notification, "notifikasjonTid"), zone, window)
    yield from _problems_of_person(event[0], f"{place}/Bruker[1]")


def _problems_of_type(event: etree._Element, place: str, status: Status) -> Iterator[MeldingProblem]:
    service_type, number = _value(event, "tjenesteType"), event.get("tjenesteOrgNr")
    if service_type not in SERVICE_TYPES:
        yield MeldingProblem(f"{place}/@tjenesteType", "is no code of 9151")
    elif status is not Status.ANNUL and not is_reported(service_type):
        # What was reported once may always be annulled, also when its type is reported no more.
        yield MeldingProblem(f"{place}/@tjenesteType", "is a service type that is not reported")
    if number is None and organisation_number_required(service_type):
        yield MeldingProblem(f"{place}/@tjenesteOrgNr", "is missing, and the service type requires it")
    problem = None if number is None else organisation_number_problem(number)
    if problem:
        yield MeldingProblem(f"{place}/@tjenesteOrgNr", problem)


def _problems_of_dates(
    event: etree._Element, place: str, arisen: str, zone: tzinfo, window: Window
) -> Iterator[MeldingProblem]:
    day = date.fromisoformat(_value(event, "hendelseDato"))
    registered = datetime.fromisoformat(_value(event, "hendelseRegTid"))
    last_day = datetime.fromisoformat(arisen).date() + timedelta(days=window.days_ahead)
    if not window.earliest <= day <= last_day:
        yield MeldingProblem(f"{place}/@hendelseDato", "is outside the days that are reported")
    if day > registered.astimezone(zone).date():
        yield MeldingProblem(f"{place}/@hendelseDato", "is after the day it was registered")
    if registered.utcoffset() != registered.astimezone(zone).utcoffset():
        yield MeldingProblem(f"{place}/@hendelseRegTid", "is not in local time")


def _problems_of_person(person: etree._Element, place: str) -> Iterator[MeldingProblem]:
    identity_type = _value(person, "typeID")
    if identity_type not in IDENTITY_TYPES:
        yield MeldingProblem(f"{place}/@typeID", "is no code of 9032")
        return
    problem = check_number(_value(person, "fid"), identity_type)
    if problem:
        yield MeldingProblem(f"{place}/@fid", str(problem))


def _value(element: etree._Element, name: str) -> str:
    """An attribute that the schema has found to be there."""
    return str(element.attrib[name])
