"""Send again, by a person's word: from one message on, in new envelopes with the same notifications, in order.

The register checks order first, so what stood behind a refused message was refused with it: everything from there on
that has no positive receipt goes again. What a notification says, its number and its GUIDs never change (invariant 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from agent.dispatch.envelope import EnvelopeSettings, build_envelope
from agent.dispatch.turn import INVALID_NOTE, DispatchTransaction, store_envelope
from agent.domain.delivery import HALTING, OPEN, UNANSWERED, Signal, State, step
from agent.ledger.envelopes import UNSET, Envelope, Unset

_AT_A_TIME: Final = 200


class ResendRefused(Exception):
    """There is nothing that may be sent again. The text says why, and what to do; nothing was changed."""

    code = "KPR-603"


class ResendTransaction(DispatchTransaction, Protocol):
    """The part of a ledger transaction that a resend needs."""

    def envelope_by_msg_id(self, msg_id: str) -> Envelope | None: ...

    def envelope_by_message_id(self, message_id: str) -> Envelope | None: ...

    def set_envelope(
        self,
        envelope_id: int,
        *,
        state: str | Unset = UNSET,
        attempts: int | Unset = UNSET,
        sent_at: datetime | Unset | None = UNSET,
        closed_at: datetime | Unset | None = UNSET,
        superseded_by: int | Unset | None = UNSET,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Reissued:
    """One message that goes again: its old and its new MsgHead MsgId, the notifications in it."""

    old_msg_id: str
    new_msg_id: str
    first_number: int
    last_number: int


@dataclass(frozen=True, slots=True)
class Resent:
    """What goes again, in order. unanswered_before: messages before it that wait for a receipt still, and stay."""

    reissued: tuple[Reissued, ...]
    unanswered_before: tuple[str, ...]


def resend(
    tx: ResendTransaction,
    message: str | None,
    settings: EnvelopeSettings,
    *,
    at: datetime,
    new_id: Callable[[], UUID],
) -> Resent:
    """Supersede everything from `message` on that has no positive receipt, and store what replaces it.

    message: a MsgId or an AMQP message-id; None: where the chain halts, or else the first one that was answered
    unclearly. Runs in one ledger transaction, so that all of it happens or nothing; the daemon's loop finds the new
    envelopes when it is nudged. Raises ResendRefused, MessageInvalid, and NotificationForgotten.
    """
    start = _first(tx) if message is None else _named(tx, message)
    reissued = []
    for envelope in _from(tx, start.id):
        if step(State(envelope.state), Signal.REISSUED).state is not State.SUPERSEDED:
            continue
        notifications = [
            stored.notification for stored in tx.notifications(envelope.first_number, envelope.last_number)
        ]
        made = build_envelope(notifications, settings, msg_id=new_id(), message_id=new_id(), at=at)
        new = store_envelope(tx, made, at)
        tx.set_envelope(envelope.id, state=State.SUPERSEDED.value, closed_at=at, superseded_by=new)
        reissued.append(Reissued(envelope.msg_id, str(made.msg_id), made.first_number, made.last_number))
    if tx.note(INVALID_NOTE) is not None:
        tx.set_note(INVALID_NOTE, None)
    before = [
        envelope.msg_id
        for envelope in tx.envelopes(_values(UNANSWERED), _AT_A_TIME)
        if envelope.first_number < start.first_number
    ]
    return Resent(tuple(reissued), tuple(before))


def _first(tx: ResendTransaction) -> Envelope:
    """Where the chain halts, or the first one before that whose answer a person has to judge."""
    found = tx.envelopes([*_values(HALTING), State.UNCLEAR.value], 1)
    if not found:
        raise ResendRefused("no message was refused, so there is nothing to send again; name one with --message")
    return found[0]


def _named(tx: ResendTransaction, message: str) -> Envelope:
    wanted = message.strip().strip("{}")
    envelope = tx.envelope_by_msg_id(wanted) or tx.envelope_by_message_id(wanted)
    if envelope is None:
        raise ResendRefused("no message of this ledger has that id: `kpr-agent messages` lists them")
    state = State(envelope.state)
    if state is State.RECEIPTED:
        raise ResendRefused("that message has a positive receipt: the register has it")
    if state is State.SUPERSEDED:
        newer = None if envelope.superseded_by is None else tx.envelope(envelope.superseded_by)
        raise ResendRefused(f"that message was sent again as {newer.msg_id if newer else 'another one'}: name that one")
    halting = tx.envelopes(_values(HALTING), 1)
    if halting and halting[0].id < envelope.id:
        raise ResendRefused(f"the chain halts before that message: begin with {halting[0].msg_id}, or name none")
    return envelope


def _from(tx: ResendTransaction, start_id: int) -> list[Envelope]:
    """Everything from there on that is not closed, in order; read whole before anything is added behind it."""
    found: list[Envelope] = []
    after = start_id - 1
    while True:
        some = tx.envelopes(_values((*OPEN, *UNANSWERED, *HALTING)), _AT_A_TIME, after)
        found += some
        if len(some) < _AT_A_TIME:
            return found
        after = some[-1].id


def _values(states: tuple[State, ...]) -> list[str]:
    return [state.value for state in states]
