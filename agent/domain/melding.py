"""`Melding`: notifications written as the register's own message. Source: HIS 1135:2021, version 56.0.0.5.

Nothing is judged here: agent/domain/melding_rules.py does that to what was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from lxml import etree

from agent.domain.codes import MESSAGE_TYPE_CONTINUOUS
from agent.domain.notification import Notification
from agent.domain.schemas import MELDING_NAMESPACE, MELDING_VERSION


@dataclass(frozen=True, slots=True)
class Contact:
    """`Kontaktperson`: who receives the register's answers, which hold sensitive content.

    role: code system 8471, "16" or "17"; one person who holds both is written twice.
    """

    name: str = field(repr=False)
    email: str = field(repr=False)
    mobile: str | None = field(repr=False)
    second_email: str | None = field(repr=False)
    role: str


@dataclass(frozen=True, slots=True)
class MeldingFormat:
    """Which edition of the message is written. Both are data: the register has moved a sister message before."""

    namespace: str = MELDING_NAMESPACE
    version: str = MELDING_VERSION


PILOT_FORMAT: Final = MeldingFormat()
"""`Melding` 56.0.0."""


@dataclass(frozen=True, slots=True)
class MeldingHead:
    """What every message of a reporting unit says beside its notifications.

    vendor, product, product_version: the EPJ; program_version: this program; at most 100 characters each;
    local_id: `lokalident`, free text of ours.
    """

    vendor: str
    product: str
    product_version: str
    program_version: str
    contacts: tuple[Contact, ...]
    kommunenummer: str
    local_id: str | None = None
    form: MeldingFormat = PILOT_FORMAT


class NotWritable(ValueError):
    """A value that XML cannot hold (a control character, half a surrogate pair): park what it came from."""

    code = "KPR-604"


def build_melding(head: MeldingHead, notifications: Sequence[Notification], zone: tzinfo) -> etree._Element:
    """The `Melding` element. Notifications go in the order given; `zone` is the register's local time (Europe/Oslo).

    Raises NotWritable, naming the element and the attribute.
    """
    melding = _element(None, head.form, "Melding", _head_attributes(head))
    for notification in notifications:
        _append_notification(melding, head.form, notification, zone)
    for contact in head.contacts:
        attributes = {
            "kontPerson": contact.name,
            "meldTelefon": contact.mobile,
            "meldEpost1": contact.email,
            "meldEpost2": contact.second_email,
            "typeKontaktperson": contact.role,
        }
        _element(melding, head.form, "Kontaktperson", attributes)
    _element(melding, head.form, "Kommune", {"kommuneNr": head.kommunenummer})
    return melding


def _head_attributes(head: MeldingHead) -> dict[str, str | None]:
    return {
        "versjon": head.form.version,
        "meldingstype": MESSAGE_TYPE_CONTINUOUS,
        "leverandor": head.vendor,
        "navnEPJ": head.product,
        "versjonEPJ": head.product_version,
        "versjonUt": head.program_version,
        "lokalident": head.local_id,
    }


def _append_notification(
    melding: etree._Element, form: MeldingFormat, notification: Notification, zone: tzinfo
) -> None:
    content, person = notification.content, notification.content.person
    attributes = {
        "statusNotifikasjon": notification.status.value,
        "notifikasjonTid": local_time(notification.arisen_at, zone),
        "notifikasjonGUID": str(notification.guid),
        "notifikasjonForrigeGUID": str(notification.previous_guid),
        "notifikasjonLopeNr": str(notification.number),
        "notifikasjonRef": None if notification.original_guid is None else str(notification.original_guid),
    }
    facts = {
        "tjenesteType": content.service_type,
        "hendelseRegTid": time_with_offset(content.registered_at, zone),
        "tjenesteOrgNr": content.organisation_number,
        "hendelseDato": content.on.isoformat(),
        "tjenesteID": notification.service_id,
        "hendelseGUID": str(notification.event_guid),
        "midlertidigStoppID": notification.pause_id,
    }
    about = {
        "pasientGUID": str(person.patient_guid),
        "brukerNr": person.user_number,
        "fid": person.identity,
        "typeID": person.identity_type,
        "bydel": person.district,
    }
    event = _element(_element(melding, form, "Notifikasjon", attributes), form, notification.event.value, facts)
    _element(event, form, "Bruker", about)


def local_time(moment: datetime, zone: tzinfo) -> str:
    """A moment as `notifikasjonTid` is written: local, whole seconds, no zone. Raises ValueError when not aware."""
    return _in_zone(moment, zone).replace(tzinfo=None).isoformat(timespec="seconds")


def time_with_offset(moment: datetime, zone: tzinfo) -> str:
    """A moment as `hendelseRegTid` is written: local, whole seconds, with offset. Raises ValueError when not aware."""
    return _in_zone(moment, zone).isoformat(timespec="seconds")


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    if moment.tzinfo is None:
        # astimezone would take the machine's own zone in silence.
        raise ValueError("a moment must be aware")
    return moment.astimezone(zone)


def _element(
    parent: etree._Element | None, form: MeldingFormat, name: str, attributes: Mapping[str, str | None]
) -> etree._Element:
    tag = f"{{{form.namespace}}}{name}"
    made = root_element(form.namespace, name) if parent is None else etree.SubElement(parent, tag)
    for key, value in attributes.items():
        if value is None:
            continue
        try:
            made.set(key, value)
        except (ValueError, UnicodeEncodeError):
            # The original error carries the value.
            raise NotWritable(f"{name}/@{key} holds a character that XML cannot hold") from None
    return made


def root_element(namespace: str, name: str) -> etree._Element:
    """A new element whose namespace is the default one, so that no prefix is written."""
    nsmap = {None: namespace}
    return etree.Element(f"{{{namespace}}}{name}", nsmap=nsmap)  # type: ignore[arg-type]  # lxml-stubs lack None
