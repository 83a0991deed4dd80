"""What receiving writes to the ledger: a booking and what it does to its message, in one transaction."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

import orjson

from agent.domain.delivery import CLOSED, UNANSWERED, Alarm, Signal, State, step
from agent.domain.error_notice import ErrorNotice
from agent.domain.receipt import Receipt, ReceiptVerdict
from agent.ledger.envelopes import UNSET, Envelope, Unset
from connectors.inbox import Incoming, Settlement

SIGNALS: Final = {
    ReceiptVerdict.POSITIVE: Signal.RECEIPT_POSITIVE,
    ReceiptVerdict.PARTIAL: Signal.RECEIPT_PARTIAL,
    ReceiptVerdict.NEGATIVE: Signal.RECEIPT_NEGATIVE,
    ReceiptVerdict.UNCLEAR: Signal.RECEIPT_UNCLEAR,
}
OVERDUE_NOTE: Final = "overdue_told_through"
"""The note that holds the id of the last envelope whose missing receipt was told."""

_AT_A_TIME: Final = 200


class ReceiveTransaction(Protocol):
    """The part of a ledger transaction that receiving needs."""

    def envelope_by_msg_id(self, msg_id: str) -> Envelope | None: ...

    def envelope_by_message_id(self, message_id: str) -> Envelope | None: ...

    def envelopes(self, states: Collection[str], limit: int, after_id: int = 0) -> list[Envelope]: ...

    def set_envelope(
        self, envelope_id: int, *, state: str | Unset = UNSET, closed_at: datetime | Unset | None = UNSET
    ) -> None: ...

    def book_receipt(
        self, envelope_id: int | None, kind: str, verdict: str, *, digest: bytes, content: bytes, at: datetime
    ) -> bool: ...

    def keep_unreadable(self, place: str, why: str, raw: bytes, at: datetime | None = None) -> int: ...

    def count(self, name: str, by: int = 1) -> None: ...

    def note(self, name: str) -> str | None: ...

    def set_note(self, name: str, value: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceiptRead:
    """A message of the register that was decrypted, verified and read. `content` is the AppRec as it came."""

    receipt: Receipt
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that can never be read: kept for a person. `why` is a slug, `raw` the bytes as far as they came."""

    why: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A message that is not ours, and why: a slug."""

    why: str


Understood = ReceiptRead | ErrorNotice | Unreadable | Foreign


@dataclass(frozen=True, slots=True)
class Booked:
    """What became of a message in the ledger. settlement None: it is not ours, and the policy decides.

    duplicate: it was booked before and changed nothing.
    """

    settlement: Settlement | None
    why: str = ""
    envelope: Envelope | None = None
    state: State | None = None
    verdict: str = ""
    codes: tuple[str, ...] = ()
    condition: str = ""
    alarm: Alarm | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Parties:
    """The HER-ids of both sides, on both levels, as text."""

    ours: frozenset[str]
    register: frozenset[str]

    def foreign_by_properties(self, properties: Mapping[str, str]) -> str | None:
        """Why the properties name another sender or receiver; None where they name ours, or none."""
        named = _lowered(properties)
        if named.get("toherid", "") not in self.ours | {""}:
            return "to_another_her_id"
        if named.get("fromherid", "") not in self.register | {""}:
            return "from_another_her_id"
        return None

    def foreign_by_receipt(self, receipt: Receipt) -> str | None:
        """The same of the HER-ids inside the receipt."""
        if receipt.sender_her_ids and self.register.isdisjoint(receipt.sender_her_ids):
            return "receipt_of_another_sender"
        if receipt.receiver_her_ids and self.ours.isdisjoint(receipt.receiver_her_ids):
            return "receipt_to_another_receiver"
        return None

    def strangers_in(self, properties: Mapping[str, str]) -> bool:
        """Whether an error notice names somebody else. Some senders swap the ids, some clone the original's."""
        named = _lowered(properties)
        ids = {named.get("toherid", ""), named.get("fromherid", "")} - {""}
        return not ids <= self.ours | self.register


def from_her_id(properties: Mapping[str, str]) -> str:
    """The sender's HER-id as the properties name it, empty where they do not."""
    return _lowered(properties).get("fromherid", "")


def _lowered(properties: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in properties.items()}


def book(tx: ReceiveTransaction, incoming: Incoming, understood: Understood, parties: Parties, at: datetime) -> Booked:
    """Book one message. What is foreign is only counted."""
    match understood:
        case ReceiptRead():
            return _book_receipt(tx, understood, parties, at)
        case ErrorNotice():
            return _book_notice(tx, incoming, understood, parties, at)
        case Unreadable():
            tx.keep_unreadable(f"{incoming.queue.value} queue", understood.why, understood.raw, at)
            tx.count("receipts_unreadable")
            return Booked(Settlement.DEAD_LETTER, why=understood.why)
        case Foreign():
            return _foreign(tx, understood.why)


def _foreign(tx: ReceiveTransaction, why: str) -> Booked:
    tx.count("receipts_foreign")
    return Booked(None, why=why)


def _book_receipt(tx: ReceiveTransaction, read: ReceiptRead, parties: Parties, at: datetime) -> Booked:
    receipt = read.receipt
    why = parties.foreign_by_receipt(receipt)
    if why is not None:
        return _foreign(tx, why)
    envelope = tx.envelope_by_msg_id(receipt.original_msg_id)
    if envelope is None:
        # Perhaps another program's, through the same queue; perhaps this ledger is older than it should be.
        tx.count("receipts_unmatched")
        return _foreign(tx, "answers_no_message_of_ours")
    new = tx.book_receipt(
        envelope.id,
        "receipt",
        receipt.verdict.value,
        digest=hashlib.sha256(read.content).digest(),
        content=read.content,
        at=at,
    )
    codes = tuple(error.code for error in receipt.errors if error.code)
    return _applied(tx, envelope, SIGNALS[receipt.verdict], at, new, receipt.verdict.value, codes, "")


def _book_notice(
    tx: ReceiveTransaction, incoming: Incoming, notice: ErrorNotice, parties: Parties, at: datetime
) -> Booked:
    if parties.strangers_in(incoming.properties):
        return _foreign(tx, "names_another_her_id")
    found = (tx.envelope_by_message_id(each) for each in notice.candidate_ids)
    envelope = next((each for each in found if each is not None), None)
    if envelope is None:
        return _foreign(tx, "names_no_message_of_ours")
    verdict = "temporary" if notice.temporary else "final"
    content = orjson.dumps(
        {
            "message_id": incoming.message_id,
            "correlation_id": incoming.correlation_id,
            "subject": incoming.subject,
            "properties": dict(incoming.properties),
            "body": incoming.body.hex(),
        },
        option=orjson.OPT_SORT_KEYS,
    )
    new = tx.book_receipt(
        envelope.id, "error_notice", verdict, digest=hashlib.sha256(content).digest(), content=content, at=at
    )
    signal = Signal.ERROR_NOTICE_TEMPORARY if notice.temporary else Signal.ERROR_NOTICE_FINAL
    return _applied(tx, envelope, signal, at, new, verdict, (), notice.condition)


def _applied(
    tx: ReceiveTransaction,
    envelope: Envelope,
    signal: Signal,
    at: datetime,
    new: bool,
    verdict: str,
    codes: tuple[str, ...],
    condition: str,
) -> Booked:
    """What the delivery table says of it; a duplicate says nothing (invariant 7)."""
    state = State(envelope.state)
    if not new:
        tx.count("receipts_duplicate")
        return Booked(Settlement.ACCEPT, "", envelope, state, verdict, codes, condition, None, duplicate=True)
    found = step(state, signal)
    if found.state is not state:
        tx.set_envelope(envelope.id, state=found.state.value, closed_at=at if found.state in CLOSED else UNSET)
    tx.count("receipts_booked")
    return Booked(Settlement.ACCEPT, "", envelope, found.state, verdict, codes, condition, found.alarm)


def overdue(tx: ReceiveTransaction, now: datetime, after: timedelta) -> list[Envelope]:
    """The envelopes whose receipt has become overdue since this was last asked, each once. Nothing is sent again.

    Envelopes are sent in the order of their ids, so the last one told is all that need be remembered.
    """
    told = int(tx.note(OVERDUE_NOTE) or 0)
    found: list[Envelope] = []
    while True:
        some = tx.envelopes([state.value for state in UNANSWERED], _AT_A_TIME, told)
        late = [envelope for envelope in some if envelope.sent_at is not None and envelope.sent_at <= now - after]
        found += [each for each in late if step(State(each.state), Signal.OVERDUE).alarm is not None]
        if late:
            told = late[-1].id
        if len(late) < len(some) or len(some) < _AT_A_TIME:
            break
    if found:
        tx.set_note(OVERDUE_NOTE, str(told))
    return found
