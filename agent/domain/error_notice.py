"""What arrives on the error queue: notices in message properties, and SOAP faults. Read, booked, never answered.

Sources: NHN's reference client (how it writes notices), SOAP 1.1 and SOAP 1.2. Senders differ: some clone the original
message's properties, some leave out the condition, some send a body that means nothing here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from agent.domain.xml_reading import NotRead, children, local_name, normalised_id, read_xml, text_of

SOAP_FAULT_SUBJECT: Final = "AMQP_SOAP_FAULT"

_REVOKED: Final = "transport:revoked-certificate"
_REVOCATION_UNKNOWN: Final = "unable to determine revocation status"
_CONDITION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}(?::[A-Za-z0-9_.-]{1,60})?")
_BOMS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class ErrorNotice:
    """What the other side says went wrong with a message of ours.

    original_message_id: the AMQP message-id it is about (never the MsgHead MsgId), lower case, no braces, None where
    none is named; candidate_ids: every id that it may be about, likeliest first; condition: such as
    "transport:invalid-field-value", empty where none is given; temporary: it will pass by itself; received_at: the
    other side's own time as text: UTC, or its local time from older clients.
    """

    original_message_id: str | None
    candidate_ids: tuple[str, ...]
    condition: str
    description: str = field(repr=False)
    data: tuple[str, ...] = field(repr=False)
    temporary: bool
    received_at: str


@dataclass(frozen=True, slots=True)
class _Fault:
    """A SOAP fault, 1.1 or 1.2 alike. `ids` are those it names in its detail or header."""

    condition: str
    text: str = field(repr=False)
    ids: tuple[str, ...]


_NO_FAULT: Final = _Fault("", "", ())


def read_error_notice(
    *,
    subject: str | None,
    content_type: str | None,
    properties: Mapping[str, str],
    correlation_id: str | None,
    message_id: str | None,
    body: bytes,
) -> ErrorNotice:
    """The notice that a message on the error queue holds. Never raises; what is missing is empty.

    The properties come first, then a SOAP fault in the body, then correlation-id and message-id, which some senders
    clone from the original. Property names are compared without regard to case.
    """
    known = {name.lower(): str(value).strip() for name, value in properties.items()}
    fault = _fault(subject, content_type, body)
    candidates = (known.get("originalmessageid"), *fault.ids, correlation_id, message_id)
    ids = tuple(dict.fromkeys(normalised for each in candidates if each and (normalised := normalised_id(each))))
    condition, odd = _condition_of(known.get("errorcondition", "") or fault.condition)
    description = " ".join(part for part in (known.get("errordescription", ""), fault.text, odd) if part)
    return ErrorNotice(
        original_message_id=ids[0] if ids else None,
        candidate_ids=ids,
        condition=condition,
        description=description,
        data=tuple(part for each in known.get("errorconditiondata", "").split(";") if (part := each.strip())),
        temporary=is_temporary(condition, description),
        received_at=known.get("receivertimestamp", ""),
    )


def is_temporary(condition: str, description: str) -> bool:
    """Whether a condition passes by itself: only the pair tells, because a revoked certificate proper does not."""
    return condition == _REVOKED and _REVOCATION_UNKNOWN in description.casefold()


def _condition_of(text: str) -> tuple[str, str]:
    """The condition, and what was written in its place where that is no condition and may quote anything."""
    return (text.lower(), "") if _CONDITION.fullmatch(text) else ("", text)


def _fault(subject: str | None, content_type: str | None, body: bytes) -> _Fault:
    named = (subject or "").strip().upper() == SOAP_FAULT_SUBJECT or "xml" in (content_type or "").lower()
    if not (named or body.lstrip().startswith((b"<", *_BOMS))):
        return _NO_FAULT  # nothing, or an encrypted body that some senders put here
    root = read_xml(body)
    if isinstance(root, NotRead):
        return _NO_FAULT
    element = _find_fault(root)
    return _NO_FAULT if element is None else _read_fault(element)


def _find_fault(root: etree._Element) -> etree._Element | None:
    """The fault, also where it stands as text (CDATA) inside another element."""
    direct = next((each for each in root.iter() if local_name(each) == "Fault"), None)
    if direct is not None:
        return direct
    quoted = (text for each in root.iter() if "Fault" in (text := (each.text or "").strip()) and text.startswith("<"))
    for text in quoted:
        inner = read_xml(_without_declaration(text).encode("utf-8"))
        if isinstance(inner, NotRead):
            continue
        found = next((each for each in inner.iter() if local_name(each) == "Fault"), None)
        if found is not None:
            return found
    return None


def _without_declaration(text: str) -> str:
    # The text is Unicode now, whatever encoding its own declaration names.
    return re.sub(r"\A<\?xml[^>]*\?>", "", text).lstrip()


def _read_fault(fault: etree._Element) -> _Fault:
    return _Fault(
        condition=_deepest_code(fault),
        text=" ".join(text_of(each) for name in ("Reason", "faultstring") for each in children(fault, name)),
        ids=_ids(fault),
    )


def _deepest_code(fault: etree._Element) -> str:
    """SOAP 1.1: faultcode. SOAP 1.2: the innermost Subcode's value, else the code's own."""
    for code in children(fault, "faultcode"):
        return text_of(code)
    found = ""
    level = children(fault, "Code")
    while level:
        found = next((text_of(value) for value in children(level[0], "Value")), found)
        level = children(level[0], "Subcode")
    return found


def _ids(fault: etree._Element) -> tuple[str, ...]:
    """Ids named in the fault's detail (originalMessageId before messageId), then in the envelope's RelatesTo."""
    details = [each for name in ("Detail", "detail") for each in children(fault, name)]
    named: dict[str, list[str]] = {"originalmessageid": [], "messageid": []}
    for each in (inner for detail in details for inner in detail.iter()):
        if local_name(each).lower() in named:
            named[local_name(each).lower()].append(text_of(each))
    related = [text_of(each) for each in fault.getroottree().iter() if local_name(each) == "RelatesTo"]
    return (*named["originalmessageid"], *named["messageid"], *related)
