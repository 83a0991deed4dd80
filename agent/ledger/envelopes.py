"""The room of envelopes: what carries notifications to the register, with its bytes and how far it has come.

The states are those of agent/domain/delivery.py; here they are texts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from agent.ledger.errors import LedgerError
from agent.ledger.moments import microseconds, microseconds_or_none, moment, moment_or_none
from agent.ledger.room import Room

_COLUMNS = (
    "SELECT id, msg_id, message_id, first_number, last_number, state, attempts, created_at, sent_at, closed_at,"
    " next_try_at, superseded_by FROM envelope "
)


class Unset(Enum):
    """The default of an argument that changes nothing, where None means "none"."""

    UNSET = "unset"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message. msg_id: MsgHead `MsgId`; message_id: AMQP; first_number .. last_number: the notifications in it.

    attempts: how often it was sent; superseded_by: the envelope that carries the same notifications now.
    """

    id: int
    msg_id: str
    message_id: str
    first_number: int
    last_number: int
    state: str
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    closed_at: datetime | None
    next_try_at: datetime | None
    superseded_by: int | None


class EnvelopesRoom(Room):
    """Envelopes, in ascending order of their ids."""

    __slots__ = ()

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
    ) -> int:
        """The id of a new envelope, higher than all before. `content`: the MsgHead bytes as they will be protected."""
        (highest,) = self._db.execute("SELECT max(id) FROM envelope").fetchone()
        envelope_id: int = (highest or 0) + 1
        self._db.execute(
            "INSERT INTO envelope (id, msg_id, message_id, first_number, last_number, state, created_at, content)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                envelope_id,
                msg_id,
                message_id,
                first_number,
                last_number,
                state,
                microseconds(at),
                self._seal.seal("envelope", envelope_id, content),
            ),
        )
        return envelope_id

    def envelope(self, envelope_id: int) -> Envelope | None:
        """The envelope of that id, or None."""
        return _first(self._db.execute(_COLUMNS + "WHERE id = ?", (envelope_id,)).fetchall())

    def envelope_by_msg_id(self, msg_id: str) -> Envelope | None:
        """The envelope of that MsgHead `MsgId`, upper and lower case alike, or None."""
        return _first(self._db.execute(_COLUMNS + "WHERE msg_id = ?", (msg_id,)).fetchall())

    def envelope_by_message_id(self, message_id: str) -> Envelope | None:
        """The envelope of that AMQP message-id, or None."""
        return _first(self._db.execute(_COLUMNS + "WHERE message_id = ?", (message_id,)).fetchall())

    def envelope_content(self, envelope_id: int) -> bytes | None:
        """The MsgHead bytes; None when they were deleted by retention, or there is no such envelope."""
        found = self._db.execute("SELECT content FROM envelope WHERE id = ?", (envelope_id,)).fetchone()
        if found is None or found[0] is None:
            return None
        return self._seal.open("envelope", envelope_id, found[0])

    def envelopes_with(self, number: int) -> list[Envelope]:
        """The envelopes that carry or carried a notification, in order."""
        found = self._db.execute(
            _COLUMNS + "WHERE last_number >= ? AND first_number <= ? ORDER BY id", (number, number)
        )
        return [_envelope(line) for line in found.fetchall()]

    def set_envelope(
        self,
        envelope_id: int,
        *,
        state: str | Unset = UNSET,
        attempts: int | Unset = UNSET,
        sent_at: datetime | Unset | None = UNSET,
        closed_at: datetime | Unset | None = UNSET,
        next_try_at: datetime | Unset | None = UNSET,
        superseded_by: int | Unset | None = UNSET,
    ) -> None:
        """Change what is given, leave the rest. LedgerError for an envelope that is not there."""
        known = self.envelope(envelope_id)
        if known is None:
            raise LedgerError(f"there is no envelope {envelope_id}")
        self._db.execute(
            "UPDATE envelope SET state = ?, attempts = ?, sent_at = ?, closed_at = ?, next_try_at = ?,"
            " superseded_by = ? WHERE id = ?",
            (
                known.state if isinstance(state, Unset) else state,
                known.attempts if isinstance(attempts, Unset) else attempts,
                microseconds_or_none(known.sent_at if isinstance(sent_at, Unset) else sent_at),
                microseconds_or_none(known.closed_at if isinstance(closed_at, Unset) else closed_at),
                microseconds_or_none(known.next_try_at if isinstance(next_try_at, Unset) else next_try_at),
                known.superseded_by if isinstance(superseded_by, Unset) else superseded_by,
                envelope_id,
            ),
        )

    def envelopes(self, states: Collection[str], limit: int, after_id: int = 0) -> list[Envelope]:
        """The first `limit` envelopes in any of these states whose id is higher than `after_id`, in order."""
        found: list[Envelope] = []
        for state in sorted(set(states)):
            lines = self._db.execute(
                _COLUMNS + "WHERE state = ? AND id > ? ORDER BY id LIMIT ?", (state, after_id, limit)
            )
            found += [_envelope(line) for line in lines]
        return sorted(found, key=lambda envelope: envelope.id)[:limit]

    def count_envelopes(self) -> dict[str, int]:
        """State -> how many envelopes."""
        return dict(self._db.execute("SELECT state, count(*) FROM envelope GROUP BY state ORDER BY state").fetchall())

    def last_enveloped_number(self) -> int:
        """The highest notification number that an envelope carries; 0 before the first."""
        (number,) = self._db.execute("SELECT max(last_number) FROM envelope").fetchone()
        return number or 0

    def oldest_unanswered(self, states: Collection[str]) -> Envelope | None:
        """The envelope that was sent longest ago of those in these states, or None."""
        oldest: list[Envelope] = []
        for state in states:
            lines = self._db.execute(
                _COLUMNS + "WHERE state = ? AND sent_at IS NOT NULL ORDER BY sent_at, id LIMIT 1", (state,)
            )
            oldest += [_envelope(line) for line in lines]
        return min(oldest, key=lambda envelope: (envelope.sent_at or envelope.created_at, envelope.id), default=None)

    def overdue(self, states: Collection[str], sent_before: datetime, limit: int = 100) -> list[Envelope]:
        """The first `limit` envelopes in these states that were sent before that moment, the oldest first."""
        found: list[Envelope] = []
        for state in states:
            lines = self._db.execute(
                _COLUMNS + "WHERE state = ? AND sent_at < ? ORDER BY sent_at, id LIMIT ?",
                (state, microseconds(sent_before), limit),
            )
            found += [_envelope(line) for line in lines]
        return sorted(found, key=lambda envelope: (envelope.sent_at or envelope.created_at, envelope.id))[:limit]

    def count_overdue(self, states: Collection[str], sent_before: datetime) -> int:
        """How many envelopes in these states were sent before that moment."""
        counts = [
            self._db.execute(
                "SELECT count(*) FROM envelope WHERE state = ? AND sent_at < ?", (state, microseconds(sent_before))
            ).fetchone()[0]
            for state in set(states)
        ]
        return sum(counts)


def _first(lines: Sequence[Any]) -> Envelope | None:
    return _envelope(lines[0]) if lines else None


def _envelope(line: tuple[Any, ...]) -> Envelope:
    """The columns of one line, in the order of `_COLUMNS`."""
    envelope_id, msg_id, message_id, first, last, state, attempts, created, sent, closed, next_try, superseded = line
    return Envelope(
        envelope_id,
        msg_id,
        message_id,
        first,
        last,
        state,
        attempts,
        moment(created),
        moment_or_none(sent),
        moment_or_none(closed),
        moment_or_none(next_try),
        superseded,
    )
