"""The room of retention: content that has served its time goes, what it was stays countable."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from agent.ledger.moments import microseconds
from agent.ledger.room import Room


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many of each were forgotten in one go."""

    messages: int = 0
    notifications: int = 0
    receipts: int = 0
    unreadable: int = 0

    def __bool__(self) -> bool:
        return any((self.messages, self.notifications, self.receipts, self.unreadable))


class RetentionRoom(Room):
    """Forgetting."""

    __slots__ = ()

    def forget(
        self,
        *,
        closed: Collection[str],
        message_bytes_before: datetime | None = None,
        notification_fields_before: datetime | None = None,
        receipts_before: datetime | None = None,
        unreadable_before: datetime | None = None,
        limit: int = 1000,
    ) -> Forgotten:
        """What was forgotten: at most `limit` of each, so that a transaction stays short; call again until it is false.

        closed: the states of envelopes that nothing will send again. message_bytes: MsgHead bytes of envelopes closed
        before then. notification_fields: every version of an event that was annulled before then and whose envelopes
        are closed; the place in the chain stays. receipts: their content; the digest stays, so that a duplicate is
        still known. unreadable: the whole record. None: that class is kept.
        """
        return Forgotten(
            0 if message_bytes_before is None else self._forget_messages(closed, message_bytes_before, limit),
            0
            if notification_fields_before is None
            else self._forget_notifications(closed, notification_fields_before, limit),
            0 if receipts_before is None else self._forget_receipts(receipts_before, limit),
            0 if unreadable_before is None else self._forget_unreadable(unreadable_before, limit),
        )

    def _forget_messages(self, closed: Collection[str], before: datetime, limit: int) -> int:
        done = 0
        for state in sorted(set(closed)):
            done += self._db.execute(
                "UPDATE envelope SET content = NULL WHERE id IN (SELECT id FROM envelope"
                " WHERE state = ? AND closed_at < ? AND content IS NOT NULL LIMIT ?)",
                (state, microseconds(before), limit - done),
            ).rowcount
        return done

    def _forget_notifications(self, closed: Collection[str], before: datetime, limit: int) -> int:
        # Only what lies wholly before the first envelope that may still be sent, built again or be disputed.
        open_from = [
            first
            for state, first in self._db.execute("SELECT state, min(first_number) FROM envelope GROUP BY state")
            if state not in closed
        ]
        (enveloped,) = self._db.execute("SELECT coalesce(max(last_number), 0) FROM envelope").fetchone()
        below = min([*open_from, enveloped + 1])
        return self._db.execute(
            "UPDATE notification SET payload = NULL WHERE number IN (SELECT number FROM notification"
            " WHERE payload IS NOT NULL AND number < ?1 AND coalesce(original_guid, guid) IN"
            " (SELECT original_guid FROM notification WHERE status = 'C' AND chained_at < ?2 AND number < ?1)"
            " LIMIT ?3)",
            (below, microseconds(before), limit),
        ).rowcount

    def _forget_receipts(self, before: datetime, limit: int) -> int:
        return self._db.execute(
            "UPDATE receipt SET payload = NULL WHERE id IN (SELECT id FROM receipt"
            " WHERE booked_at < ? AND payload IS NOT NULL LIMIT ?)",
            (microseconds(before), limit),
        ).rowcount

    def _forget_unreadable(self, before: datetime, limit: int) -> int:
        return self._db.execute(
            "DELETE FROM unreadable WHERE id IN (SELECT id FROM unreadable WHERE kept_at < ? LIMIT ?)",
            (microseconds(before), limit),
        ).rowcount
