"""What dispatch reads and writes in the ledger: one transaction for each turn of its loop, decided here, done there.

One transaction books what was settled, stores what was built, marks what goes next and reads what to prepare, because
each costs an fsync. Nothing of the caller's changes before it has committed.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from agent.dispatch.envelope import NewEnvelope
from agent.domain.delivery import CLOSED, HALTING, OPEN, UNANSWERED, Alarm, Signal, State, step
from agent.domain.notification import Notification
from agent.ledger.chain import StoredNotification
from agent.ledger.envelopes import UNSET, Envelope, Unset

T = TypeVar("T")


class DispatchTransaction(Protocol):
    """The part of a ledger transaction that sending needs."""

    def chain_end(self) -> tuple[int, UUID] | None: ...

    def notifications(self, first: int, last: int) -> Iterator[StoredNotification]: ...

    def last_enveloped_number(self) -> int: ...

    def add_envelope(
        self,
        msg_id: str,
        message_id: str,
        first_number: int,
        last_number: int,
        *,
        content: bytes,
        state: str,
        at: datetime,
    ) -> int: ...

    def envelope(self, envelope_id: int) -> Envelope | None: ...

    def envelope_content(self, envelope_id: int) -> bytes | None: ...

    def envelopes(self, states: Collection[str], limit: int, after_id: int = 0) -> list[Envelope]: ...

    def set_envelope(
        self,
        envelope_id: int,
        *,
        state: str | Unset = UNSET,
        attempts: int | Unset = UNSET,
        sent_at: datetime | Unset | None = UNSET,
        closed_at: datetime | Unset | None = UNSET,
    ) -> None: ...

    def note(self, name: str) -> str | None: ...

    def set_note(self, name: str, value: str | None) -> None: ...


class DispatchLedger(Protocol):
    """The ledger as sending sees it."""

    async def run(self, work: Callable[[DispatchTransaction], T], /) -> T: ...


INVALID_NOTE = "message_invalid"
"""The note that says why sending halted before an envelope was made."""


@dataclass(frozen=True, slots=True)
class Settled:
    """An envelope and what became of its transfer."""

    envelope_id: int
    signal: Signal


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do in the ledger, in the order of these fields.

    settled: outcomes to book. known_id: the highest envelope id that the caller has seen; room: how many more open
    envelopes it wants to see. built: new envelopes to store, in chain order. waiting: ids that are next in line;
    may_begin: how many of these and of the stored ones to mark as in flight; max_unreceipted: asks for a count, and
    lets no more begin than that leaves. built_through: the last notification that is being built or was;
    notifications: how many to read after it.
    """

    at: datetime
    settled: Sequence[Settled] = ()
    known_id: int = 0
    room: int = 0
    built: Sequence[NewEnvelope] = ()
    waiting: Sequence[int] = ()
    may_begin: int = 0
    max_unreceipted: int | None = None
    built_through: int = 0
    notifications: int = 0


@dataclass(frozen=True, slots=True)
class Fresh:
    """An open envelope that the caller had not seen, with its bytes."""

    envelope: Envelope
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Taken:
    """What a turn did. alarms: of booked outcomes. begun and dropped: ids of the waiting or stored ones.

    stored: ids of the built ones; None: they do not follow the last envelope and are to be built anew.
    to_build: notifications that no envelope carries, in order. unreceipted: counted only when it was asked for.
    """

    alarms: list[tuple[Envelope, Signal, Alarm]] = field(default_factory=list)
    fresh: list[Fresh] = field(default_factory=list)
    more: bool = False
    stored: list[Envelope] | None = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    halted_by: Envelope | None = None
    unreceipted: int | None = None
    to_build: list[Notification] = field(default_factory=list)
    more_to_build: bool = False


def take_turn(tx: DispatchTransaction, turn: Turn) -> Taken:
    """Do one turn. Raises what the ledger raises; then nothing was done."""
    taken = Taken()
    for settled in turn.settled:
        _book(tx, settled, turn.at, taken)
    _read_open(tx, turn, taken)
    _store_built(tx, turn, taken)
    halting = tx.envelopes(_values(HALTING), 1)
    taken.halted_by = halting[0] if halting else None
    allowed = turn.may_begin
    if turn.max_unreceipted is not None:
        taken.unreceipted = len(tx.envelopes(_values(UNANSWERED), turn.max_unreceipted))
        allowed = min(allowed, turn.max_unreceipted - taken.unreceipted)
    line = [*turn.waiting, *(fresh.envelope.id for fresh in taken.fresh), *(made.id for made in taken.stored or ())]
    _begin(tx, line, allowed, taken)
    _read_waiting(tx, turn, taken)
    return taken


def restart(tx: DispatchTransaction) -> int:
    """Everything that was in flight when the program ended goes again (invariant 9). Returns how many."""
    flying = tx.envelopes([State.IN_FLIGHT.value], _ALL)
    for envelope in flying:
        tx.set_envelope(envelope.id, state=step(State.IN_FLIGHT, Signal.RESTARTED).state.value)
    return len(flying)


_ALL = 1_000_000


def _values(states: Collection[State]) -> list[str]:
    return [state.value for state in states]


def _book(tx: DispatchTransaction, settled: Settled, at: datetime, taken: Taken) -> None:
    envelope = tx.envelope(settled.envelope_id)
    if envelope is None:
        return
    found = step(State(envelope.state), settled.signal)
    accepted = settled.signal is Signal.ACCEPTED and envelope.sent_at is None
    tx.set_envelope(
        envelope.id,
        state=found.state.value,
        sent_at=at if accepted else UNSET,
        closed_at=at if found.state in CLOSED and envelope.closed_at is None else UNSET,
    )
    if found.alarm is not None:
        taken.alarms.append((envelope, settled.signal, found.alarm))


def _read_open(tx: DispatchTransaction, turn: Turn, taken: Taken) -> None:
    """Open envelopes that the caller has not seen: of an earlier run, or re-issued by a person."""
    if turn.room <= 0:
        taken.more = True
        return
    found = tx.envelopes(_values(OPEN), turn.room, turn.known_id)
    taken.more = len(found) == turn.room
    for envelope in found:
        content = tx.envelope_content(envelope.id)
        if content is not None:  # retention never forgets the bytes of what is open
            taken.fresh.append(Fresh(envelope, content))


def _store_built(tx: DispatchTransaction, turn: Turn, taken: Taken) -> None:
    if not turn.built or taken.more or taken.fresh:
        taken.stored = []  # older ones first: ids are the order of sending
        return
    if turn.built[0].first_number != tx.last_enveloped_number() + 1:
        taken.stored = None
        return
    stored = []
    for made in turn.built:
        envelope_id = store_envelope(tx, made, turn.at)
        envelope = tx.envelope(envelope_id)
        if envelope is not None:
            stored.append(envelope)
    if tx.note(INVALID_NOTE) is not None:
        tx.set_note(INVALID_NOTE, None)
    taken.stored = stored


def store_envelope(tx: DispatchTransaction, made: NewEnvelope, at: datetime) -> int:
    """The id of an envelope that was just built, ready to be sent after all before it."""
    return tx.add_envelope(
        str(made.msg_id),
        str(made.message_id),
        made.first_number,
        made.last_number,
        content=made.content,
        state=State.READY.value,
        at=at,
    )


def _begin(tx: DispatchTransaction, line: Sequence[int], allowed: int, taken: Taken) -> None:
    """Mark what goes next, in order, before anything of it is transferred."""
    for envelope_id in line:
        if len(taken.begun) >= allowed:
            return
        if taken.halted_by is not None and envelope_id > taken.halted_by.id:
            return
        envelope = tx.envelope(envelope_id)
        begun = None if envelope is None else step(State(envelope.state), Signal.SEND_BEGUN).state
        if envelope is None or begun is not State.IN_FLIGHT:
            taken.dropped.append(envelope_id)  # answered or re-issued meanwhile
            continue
        tx.set_envelope(envelope_id, state=begun.value, attempts=envelope.attempts + 1)
        taken.begun.append(envelope_id)


def _read_waiting(tx: DispatchTransaction, turn: Turn, taken: Taken) -> None:
    """Notifications that no envelope carries and nobody builds one for."""
    end = tx.chain_end()
    if end is None or turn.notifications <= 0 or taken.more or taken.halted_by is not None:
        return
    first = max(tx.last_enveloped_number(), turn.built_through) + 1
    last = min(end[0], first + turn.notifications - 1)
    if first > last:
        return
    taken.to_build = [stored.notification for stored in tx.notifications(first, last)]
    taken.more_to_build = last < end[0]
