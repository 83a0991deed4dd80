"""How the demo's register reads a message: a reader of its own, which shares nothing with the agent's writer.

Sources: Hodemelding v1.2 and HIS 1135:2021 (`Melding` 56.0.0), with the receiver's own checks. A fault names an element
and an attribute and quotes no value.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from lxml import etree

from agent.demo.told import END, PAUSE_FROM, PAUSE_TO, PROVIDER, START

MSGHEAD: Final = "http://www.kith.no/xmlstds/msghead/2006-05-24"
MELDING: Final = "http://www.npr.no/xmlstds/56_0_0_ipl"
NOT_XML: Final = "T01"
NOT_VALID: Final = "T02"
OTHER: Final = "X99"
"""Codes of code system 8221."""

_MAX_SIZE_BYTES: Final = 16 * 1024 * 1024
_GUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LOCAL_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_EVENTS: Final = frozenset({START, END, PROVIDER, PAUSE_FROM, PAUSE_TO})
_PAUSES: Final = frozenset({PAUSE_FROM, PAUSE_TO})
_NUMBER_NEEDED: Final = frozenset({"18", "19", "20", "21"})

_NOTIFICATION: Final = {
    "statusNotifikasjon": "[NMC]",
    "notifikasjonTid": _LOCAL_TIME,
    "notifikasjonGUID": _GUID,
    "notifikasjonForrigeGUID": _GUID,
    "notifikasjonLopeNr": r"\d{1,18}",
    "notifikasjonRef": f"({_GUID})?",
}
_EVENT: Final = {
    "tjenesteType": "18|19|20|21|29",
    "hendelseRegTid": _LOCAL_TIME + r"[+-]\d\d:\d\d",
    "hendelseDato": r"\d{4}-\d\d-\d\d",
    "tjenesteID": ".{1,100}",
    "hendelseGUID": _GUID,
    "tjenesteOrgNr": r"(\d{9}0?)?",
    "midlertidigStoppID": ".{0,100}",
}
_PERSON: Final = {
    "pasientGUID": _GUID,
    "brukerNr": ".{1,100}",
    "fid": ".{1,20}",
    "typeID": "[1-9]|10|12",
    "bydel": r"(\d{2,6})?",
}


@dataclass(frozen=True, slots=True)
class RegisterFault:
    """Why the register refuses a message. `guid`: the notification it is about, empty for the whole message."""

    code: str
    text: str
    guid: str = ""


class NotTaken(Exception):
    """What arrived is no message with a head: there is nobody to answer."""

    code = "KPR-901"


@dataclass(frozen=True, slots=True)
class PartyRead:
    """A party of the head: its name and HER-id, and those of its service."""

    name: str
    her_id: str
    service_name: str
    service_her_id: str


@dataclass(frozen=True, slots=True)
class NotificationRead:
    """One notification, its attributes as they were written. `digest` is of the whole element."""

    notification: Mapping[str, str] = field(repr=False)
    event: str
    facts: Mapping[str, str] = field(repr=False)
    person: Mapping[str, str] = field(repr=False)
    digest: str

    @property
    def number(self) -> int:
        return int(self.notification["notifikasjonLopeNr"])

    @property
    def guid(self) -> str:
        return self.notification["notifikasjonGUID"]

    @property
    def status(self) -> str:
        return self.notification["statusNotifikasjon"]


@dataclass(frozen=True, slots=True)
class MessageRead:
    """A message whose head could be read. `faults`: what is wrong with what stands inside; then nothing is taken."""

    msg_id: str
    type_code: str
    type_text: str
    generated_at: str
    sender: PartyRead
    receiver: PartyRead
    notifications: tuple[NotificationRead, ...]
    faults: tuple[RegisterFault, ...]


def read_message(content: bytes) -> MessageRead:
    """The message in `content` (plain MsgHead bytes). Raises NotTaken where no head can be read."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(content, parser) if len(content) <= _MAX_SIZE_BYTES else None
    except etree.XMLSyntaxError:
        root = None  # its text quotes the message
    if root is None or root.tag != f"{{{MSGHEAD}}}MsgHead" or b"<!DOCTYPE" in content:
        raise NotTaken("no hodemelding")
    head = _Head(root)
    notifications, faults = _read_melding(root)
    return MessageRead(
        msg_id=head.text("MsgInfo/MsgId"),
        type_code=head.attribute("MsgInfo/Type", "V"),
        type_text=head.attribute("MsgInfo/Type", "DN"),
        generated_at=head.text("MsgInfo/GenDate"),
        sender=head.party("Sender"),
        receiver=head.party("Receiver"),
        notifications=tuple(notifications),
        faults=tuple(faults),
    )


class _Head:
    def __init__(self, root: etree._Element) -> None:
        self._root = root

    def element(self, path: str) -> etree._Element:
        found = self._root.find("/".join(f"{{{MSGHEAD}}}{name}" for name in path.split("/")))
        if found is None:
            raise NotTaken(f"the head has no {path}")
        return found

    def text(self, path: str) -> str:
        return (self.element(path).text or "").strip()

    def attribute(self, path: str, name: str) -> str:
        return self.element(path).get(name, "")

    def party(self, role: str) -> PartyRead:
        outer = f"MsgInfo/{role}/Organisation"
        inner = f"{outer}/Organisation"
        return PartyRead(
            name=self.text(f"{outer}/OrganisationName"),
            her_id=self.text(f"{outer}/Ident/Id"),
            service_name=self.text(f"{inner}/OrganisationName"),
            service_her_id=self.text(f"{inner}/Ident/Id"),
        )


def _read_melding(root: etree._Element) -> tuple[list[NotificationRead], list[RegisterFault]]:
    path = "/".join(f"{{{MSGHEAD}}}{name}" for name in ("Document", "RefDoc", "Content"))
    contents = root.findall(path)
    if len(contents) != 1 or len(contents[0]) != 1 or contents[0][0].tag != f"{{{MELDING}}}Melding":
        return [], [RegisterFault(NOT_VALID, "Content: not exactly one Melding 56.0.0")]
    melding = contents[0][0]
    names = [etree.QName(child).localname for child in melding]
    faults = list(_melding_faults(melding, names))
    read: list[NotificationRead] = []
    for element in (child for child in melding if etree.QName(child).localname == "Notifikasjon"):
        found = _read_notification(element)
        if isinstance(found, NotificationRead):
            read.append(found)
            faults += _content_faults(found)
        else:
            faults.append(found)
    numbers = [notification.number for notification in read]
    if numbers != sorted(set(numbers)):
        faults.append(RegisterFault(NOT_VALID, "Notifikasjon: not in ascending order of notifikasjonLopeNr"))
    return read, faults


def _melding_faults(melding: etree._Element, names: list[str]) -> Iterator[RegisterFault]:
    if (melding.get("versjon"), melding.get("meldingstype")) != ("56.0.0", "K"):
        yield RegisterFault(NOT_VALID, "Melding: another versjon or meldingstype")
    order = ["Notifikasjon", "Kontaktperson", "Kommune"]
    if set(names) - set(order) or names != sorted(names, key=order.index):
        yield RegisterFault(NOT_VALID, "Melding: elements unknown or out of order")
    if names.count("Kommune") != 1 or not re.fullmatch(r"\d{4}", melding[-1].get("kommuneNr", "")):
        yield RegisterFault(NOT_VALID, "Kommune: not exactly one, with four digits")
    roles = {child.get("typeKontaktperson") for child in melding if etree.QName(child).localname == "Kontaktperson"}
    if not roles >= {"16", "17"}:
        yield RegisterFault(NOT_VALID, "Kontaktperson: types 16 and 17 are both needed")


def _read_notification(element: etree._Element) -> NotificationRead | RegisterFault:
    """The notification, or the first thing that is wrong with its form."""
    attributes = _plain(element)
    guid = attributes.get("notifikasjonGUID", "")
    events = [child for child in element if etree.QName(child).localname in _EVENTS]
    if len(events) != 1 or len(element) != 1 or [etree.QName(child).localname for child in events[0]] != ["Bruker"]:
        return RegisterFault(NOT_VALID, "Notifikasjon: not exactly one event with one Bruker", guid)
    event = events[0]
    for found, allowed in ((element, _NOTIFICATION), (event, _EVENT), (event[0], _PERSON)):
        wrong = _wrong_attribute(_plain(found), allowed)
        if wrong:
            return RegisterFault(NOT_VALID, f"{etree.QName(found).localname}/@{wrong}", guid)
    return NotificationRead(
        notification=attributes,
        event=str(etree.QName(event).localname),
        facts=_plain(event),
        person=_plain(event[0]),
        digest=hashlib.sha256(etree.tostring(element, method="c14n", exclusive=True)).hexdigest(),
    )


def _wrong_attribute(found: Mapping[str, str], allowed: Mapping[str, str]) -> str:
    unknown = next((name for name in found if name not in allowed), "")
    return unknown or next((name for name, form in allowed.items() if not re.fullmatch(form, found.get(name, ""))), "")


def _content_faults(read: NotificationRead) -> Iterator[RegisterFault]:
    facts, guid = read.facts, read.guid
    if (read.event in _PAUSES) != bool(facts.get("midlertidigStoppID")):
        yield RegisterFault(NOT_VALID, f"{read.event}/@midlertidigStoppID", guid)
    needed = facts["tjenesteType"] in _NUMBER_NEEDED or read.event == PROVIDER
    if needed and not facts.get("tjenesteOrgNr") and read.status != "C":
        yield RegisterFault(NOT_VALID, f"{read.event}/@tjenesteOrgNr is missing", guid)
    if (read.status == "N") != (not read.notification.get("notifikasjonRef")):
        yield RegisterFault(NOT_VALID, "Notifikasjon/@notifikasjonRef", guid)
    try:
        too_early = datetime.fromisoformat(facts["hendelseRegTid"]).date() < date.fromisoformat(facts["hendelseDato"])
        datetime.fromisoformat(read.notification["notifikasjonTid"])
    except ValueError:
        yield RegisterFault(NOT_VALID, f"{read.event}: a date or time that is none", guid)
        return
    if too_early:
        yield RegisterFault(NOT_VALID, f"{read.event}/@hendelseDato lies after @hendelseRegTid", guid)


def _plain(element: etree._Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.attrib.items()}
