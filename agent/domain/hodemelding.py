"""The hodemelding (MsgHead v1.2) around a Melding: who sends it to whom, and the bytes that are kept until the receipt.

Sources: Hodemelding v1.2 (2006-05-24); HIS 1135:2021 for what stands inside. Type, receiver, the spelling of the HER-id
type and whether a receipt is asked for are data: published senders of the sister message write them differently.
"""

from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final
from uuid import UUID

from lxml import etree

from agent.domain.codes import OID_HER_ID
from agent.domain.melding import PILOT_FORMAT, MeldingFormat, NotWritable, root_element, time_with_offset
from agent.domain.melding_rules import USUAL_WINDOW, MeldingProblem, Window, check_melding
from agent.domain.schemas import MSGHEAD_NAMESPACE, hodemelding_schema
from agent.domain.xml_reading import NotRead, children, read_xml

MIG_VERSION: Final = "v1.2 2006-05-24"
MAX_SIZE_BYTES: Final = 16 * 1024 * 1024
"""A broker of the bus takes no more in one message."""


@dataclass(frozen=True, slots=True)
class HerIdType:
    """How `TypeId` of a HER-id is spelled."""

    value: str = "HER"
    text: str = "HER-id"
    system: str = OID_HER_ID


@dataclass(frozen=True, slots=True)
class Party:
    """A sender or receiver: the organisation outside, its service ("Saksbehandling") inside, each with a HER-id."""

    name: str
    her_id: int
    service_name: str
    service_her_id: int


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says. type_code, type_text: `Type`; msg_id: what the receipt answers to; generated_at: aware."""

    type_code: str
    type_text: str
    msg_id: UUID
    generated_at: datetime
    sender: Party
    receiver: Party
    ask_receipt: bool = True
    her_id_type: HerIdType = HerIdType()


def build_hodemelding(head: Head, melding: etree._Element, zone: tzinfo) -> bytes:
    """The whole message: UTF-8 with an XML declaration, the same bytes for the same input. `melding` is copied.

    Nothing is judged here (`check_hodemelding` does that). Raises NotWritable.
    """
    root = root_element(MSGHEAD_NAMESPACE, "MsgHead")
    info = _child(root, "MsgInfo")
    _child(info, "Type", V=head.type_code, DN=head.type_text)
    _text(info, "MIGversion", MIG_VERSION)
    _text(info, "GenDate", time_with_offset(head.generated_at, zone))
    _text(info, "MsgId", str(head.msg_id))
    if head.ask_receipt:
        _child(info, "Ack", V="J", DN="Ja")
    _append_party(_child(info, "Sender"), head.sender, head.her_id_type)
    _append_party(_child(info, "Receiver"), head.receiver, head.her_id_type)
    document = _child(_child(root, "Document"), "RefDoc")
    _child(document, "MsgType", V="XML", DN="XML-instans")
    _child(document, "Content").append(deepcopy(melding))
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def check_hodemelding(
    content: bytes, zone: tzinfo, *, form: MeldingFormat = PILOT_FORMAT, window: Window = USUAL_WINDOW
) -> list[MeldingProblem]:
    """What is wrong with a whole message as bytes, head and Melding; empty when valid. No text quotes a value."""
    root = read_xml(content, max_size_bytes=MAX_SIZE_BYTES)
    if isinstance(root, NotRead):
        return [MeldingProblem("", root.fault.value)]
    defects = hodemelding_schema().defects(root)
    if defects:
        return [MeldingProblem(defect.place, defect.text) for defect in defects]
    return check_melding(melding_in(root), zone, form=form, window=window)


def melding_in(root: etree._Element) -> etree._Element:
    """The element inside `Content` of a hodemelding whose head is right."""
    document = children(children(root, "Document")[0], "RefDoc")[0]
    return children(document, "Content")[0][0]


def _append_party(parent: etree._Element, party: Party, her_id_type: HerIdType) -> None:
    organisation = _child(parent, "Organisation")
    _append_identity(organisation, party.name, party.her_id, her_id_type)
    _append_identity(_child(organisation, "Organisation"), party.service_name, party.service_her_id, her_id_type)


def _append_identity(organisation: etree._Element, name: str, her_id: int, her_id_type: HerIdType) -> None:
    _text(organisation, "OrganisationName", name)
    ident = _child(organisation, "Ident")
    _text(ident, "Id", str(her_id))
    _child(ident, "TypeId", V=her_id_type.value, S=her_id_type.system, DN=her_id_type.text)


def _tag(name: str) -> str:
    return f"{{{MSGHEAD_NAMESPACE}}}{name}"


def _child(parent: etree._Element, name: str, **attributes: str) -> etree._Element:
    made = etree.SubElement(parent, _tag(name))
    for key, value in attributes.items():
        try:
            made.set(key, value)
        except (ValueError, UnicodeEncodeError):
            # The original error carries the value.
            raise NotWritable(f"{name}/@{key} holds a character that XML cannot hold") from None
    return made


def _text(parent: etree._Element, name: str, text: str) -> None:
    made = etree.SubElement(parent, _tag(name))
    try:
        made.text = text
    except (ValueError, UnicodeEncodeError):
        # The original error carries the value.
        raise NotWritable(f"{name} holds a character that XML cannot hold") from None
