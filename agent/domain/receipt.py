"""Application receipts (AppRec v1.0 and v1.1) as real systems write them: read first, judged afterwards.

Nothing is validated before it is read, because a reader that validates loses rejections. A receipt is positive only
where nothing in it speaks against that; what is neither clearly positive nor clearly negative goes to a person.
Sources: AppRec v1.0 (2004-11-21) and v1.1 (2012-02-15); code systems 8258 (status) and 8221 (error).
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from lxml import etree

from agent.domain.identifiers import looks_like_identity_number
from agent.domain.xml_reading import NotRead, children, local_name, namespace, normalised_id, read_xml, text_of

NAMESPACES: Final = frozenset(
    {"http://www.kith.no/xmlstds/apprec/2004-11-21", "http://www.kith.no/xmlstds/apprec/2012-02-15"}
)


class ReceiptVerdict(Enum):
    """What a receipt says of the message. UNCLEAR goes to a person; it never closes a message."""

    POSITIVE = "positive"
    PARTIAL = "partial"  # accepted, with an error in a part
    NEGATIVE = "negative"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class ReceiptError:
    """One `Error`. `code` and `system` hold codes only; `text` and `pointer` may hold personal data and stay hidden.

    code: mostly 8221, also 8223 and 8124, empty where none could be told; system: an OID or empty;
    pointer: the part that failed, for us presumably a notifikasjonGUID, normalised as ids are.
    """

    code: str
    system: str
    text: str = field(repr=False)
    pointer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that names its message. `original_msg_id` is our MsgHead MsgId: lower case, no braces.

    generated_at: `GenDate` as it was written; the HER-ids are those of Sender and Receiver, in document order.
    """

    original_msg_id: str
    verdict: ReceiptVerdict
    errors: tuple[ReceiptError, ...]
    receipt_id: str
    generated_at: str
    sender_her_ids: tuple[str, ...]
    receiver_her_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnreadableReceipt:
    """Bytes that are kept for a person and counted; never a verdict. `why` quotes nothing of them."""

    why: str


class _Meaning(Enum):
    """What a status's display text says."""

    ACCEPTED = "accepted"
    IN_PART = "in part"
    REJECTED = "rejected"
    SILENT = "silent"  # none, or words that say neither


_REJECTED: Final = re.compile(r"avvis|reject|\bikke\b|\bnot\b|mislyk|feilet|failed|ugyldig|invalid|refused")
_IN_PART: Final = re.compile(r"delmelding|feil|error|partial|\bpart\b|\bdelvis\b")
_NO_ERROR: Final = re.compile(r"\b(?:ingen|uten|no|without) (?:feil|errors?)\b")
_ACCEPTED: Final = re.compile(r"\bok\b|accept|godkjent|godtatt|mottatt")
_OID: Final = re.compile(r"\d+(?:\.\d+)+")
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,20}")
_HER_ID: Final = re.compile(r"[1-9][0-9]{0,8}")

_AGREES: Final = {
    "1": (ReceiptVerdict.POSITIVE, {_Meaning.ACCEPTED, _Meaning.SILENT}),
    "2": (ReceiptVerdict.NEGATIVE, {_Meaning.REJECTED, _Meaning.SILENT}),
    "3": (ReceiptVerdict.PARTIAL, {_Meaning.ACCEPTED, _Meaning.IN_PART, _Meaning.SILENT}),
}


def read_receipt(content: bytes) -> Receipt | UnreadableReceipt:
    """A receipt, or why there is none. Never raises, whatever the bytes; nothing outside them is fetched."""
    root = read_xml(content)
    if isinstance(root, NotRead):
        return UnreadableReceipt(root.fault.value)
    if local_name(root) != "AppRec":
        return UnreadableReceipt(_why_not_a_receipt(root))
    ids = {
        normalised_id(text_of(found))
        for original in children(root, "OriginalMsgId")
        for found in children(original, "Id")
    }
    ids.discard("")
    if len(ids) != 1:
        return UnreadableReceipt("it names no single original message")
    errors = tuple(error for found in children(root, "Error") if (error := _error(found)) is not None)
    return Receipt(
        original_msg_id=ids.pop(),
        verdict=_verdict(root, errors),
        errors=errors,
        receipt_id=_first_text(root, "Id"),
        generated_at=_first_text(root, "GenDate"),
        sender_her_ids=_her_ids(root, "Sender"),
        receiver_her_ids=_her_ids(root, "Receiver"),
    )


def _why_not_a_receipt(root: etree._Element) -> str:
    if local_name(root) == "MsgHead":
        return "it is a hodemelding, not a receipt"
    if any(local_name(inner) == "AppRec" for inner in root.iter()):
        return "the receipt stands inside another element"
    return "it is not a receipt"


def _verdict(root: etree._Element, errors: tuple[ReceiptError, ...]) -> ReceiptVerdict:
    statuses = children(root, "Status")
    if len(statuses) != 1:
        return ReceiptVerdict.UNCLEAR
    verdict, agreeing = _AGREES.get(_attribute(statuses[0], "V"), (ReceiptVerdict.UNCLEAR, set()))
    if _meaning(_attribute(statuses[0], "DN")) not in agreeing:
        # One vendor swaps the meaning of 2 and 3: where number and text disagree, neither is believed.
        return ReceiptVerdict.UNCLEAR
    if verdict is ReceiptVerdict.POSITIVE and errors:
        return ReceiptVerdict.UNCLEAR
    if verdict is not ReceiptVerdict.NEGATIVE and namespace(root) not in NAMESPACES:
        return ReceiptVerdict.UNCLEAR
    return verdict


def _meaning(text: str) -> _Meaning:
    words = _NO_ERROR.sub("", text.casefold())
    if _REJECTED.search(words):
        return _Meaning.REJECTED
    if _IN_PART.search(words):
        return _Meaning.IN_PART
    return _Meaning.ACCEPTED if _ACCEPTED.search(words) else _Meaning.SILENT


def _error(element: etree._Element) -> ReceiptError | None:
    code, system, text = (_attribute(element, name) for name in ("V", "S", "DN"))
    text = text or text_of(element)
    pointer = normalised_id(_attribute(element, "OT"))
    if not (code or system or text or pointer):
        return None
    if _OID.fullmatch(code) and not _OID.fullmatch(system):
        code, system = system, code
    if not _is_code(code) and _is_code(text):
        code, text = text, code
    if not _is_code(code):
        code, text = "", f"{code} {text}".strip()
    if not _OID.fullmatch(system):
        system, text = "", f"{text} {system}".strip()
    return ReceiptError(code=code, system=system, text=text, pointer=pointer)


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None and not looks_like_identity_number(text)


def _her_ids(root: etree._Element, role: str) -> tuple[str, ...]:
    """HER-ids of a party, those of its departments too. A number that is not a plain HER-id is left out."""
    found: dict[str, None] = {}
    for party in children(root, role):
        for element in party.iter():
            types = children(element, "TypeId") + (
                children(element, "Type") if local_name(element) == "AdditionalId" else []
            )
            if any(_is_her(kind) for kind in types):
                found.update(dict.fromkeys(text_of(number) for number in children(element, "Id")))
    return tuple(number for number in found if _HER_ID.fullmatch(number))


def _is_her(element: etree._Element) -> bool:
    return any(_attribute(element, name).casefold() in {"her", "her-id"} for name in ("V", "DN"))


def _first_text(element: etree._Element, name: str) -> str:
    return next((text_of(child) for child in children(element, name)), "")


def _attribute(element: etree._Element, name: str) -> str:
    """The attribute's value, trimmed, also where it was written with a namespace; empty where it is missing."""
    value = next((value for key, value in element.attrib.items() if etree.QName(key).localname == name), "")
    return str(value).strip()
