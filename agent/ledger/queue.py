"""The room of the one queue: services that are due to be examined, and days on which they will be."""

from collections.abc import Iterable
from datetime import date, datetime

from agent.ledger.moments import microseconds, microseconds_or_none, moment_or_none
from agent.ledger.room import Room


class QueueRoom(Room):
    """Due and planned services."""

    __slots__ = ()

    def mark_due(self, service_keys: Iterable[str], *, not_before: datetime | None, cause: str) -> None:
        """Put services at the end of the queue, in the order given.

        A service already due keeps its place; the newest mark decides `not_before` (None: at once) and the cause.
        """
        seq = self._last_seq()
        later = microseconds_or_none(not_before)
        for service_key in service_keys:
            seq += 1
            self._db.execute(
                "INSERT INTO due (service_id, seq, not_before, cause) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (service_id) DO UPDATE SET not_before = excluded.not_before, cause = excluded.cause",
                (self._service_id_made(service_key), seq, later, cause),
            )

    def mark_all_due(self, cause: str) -> int:
        """How many services there are: all of them are due now. Those that were due before keep their places."""
        self._db.execute("UPDATE due SET not_before = NULL, cause = ?", (cause,))
        self._db.execute(
            "INSERT INTO due (service_id, seq, not_before, cause)"
            " SELECT id, ? + row_number() OVER (ORDER BY id), NULL, ? FROM service"
            " WHERE id NOT IN (SELECT service_id FROM due)",
            (self._last_seq(), cause),
        )
        return self.count_due()

    def due(self, limit: int, now: datetime) -> list[str]:
        """The keys of the first `limit` services whose time has come, in the queue's order."""
        found = self._db.execute(
            "SELECT s.key_hmac, s.key_payload FROM due AS d CROSS JOIN service AS s ON s.id = d.service_id"
            " WHERE d.not_before IS NULL OR d.not_before <= ? ORDER BY d.seq LIMIT ?",
            (microseconds(now), limit),
        ).fetchall()
        return [self._service_key(hmac, sealed) for hmac, sealed in found]

    def due_cause(self, service_key: str) -> str | None:
        """Why a service is due, or None when it is not."""
        found = self._db.execute(
            "SELECT cause FROM due WHERE service_id = ?", (self._service_id(service_key),)
        ).fetchone()
        return None if found is None else str(found[0])

    def next_due_at(self) -> datetime | None:
        """The earliest `not_before` in the queue; None when no service waits for a time."""
        (earliest,) = self._db.execute("SELECT min(not_before) FROM due WHERE not_before IS NOT NULL").fetchone()
        return moment_or_none(earliest)

    def clear_due(self, service_key: str) -> None:
        """Take a service out of the queue, if it is there."""
        self._db.execute("DELETE FROM due WHERE service_id = ?", (self._service_id(service_key),))

    def count_due(self) -> int:
        """How many services are due, now or later."""
        (count,) = self._db.execute("SELECT count(*) FROM due").fetchone()
        return int(count)

    def set_planned(self, service_key: str, on: date | None) -> None:
        """Keep the day on which a service is to be looked at again; None: none."""
        if on is None:
            self._db.execute("DELETE FROM planned WHERE service_id = ?", (self._service_id(service_key),))
            return
        self._db.execute(
            "INSERT INTO planned (service_id, day) VALUES (?, ?)"
            " ON CONFLICT (service_id) DO UPDATE SET day = excluded.day WHERE day <> excluded.day",
            (self._service_id_made(service_key), on.toordinal()),
        )

    def planned(self, through: date, limit: int | None = None) -> list[tuple[date, str]]:
        """The (day, service key) planned up to and including `through`, by day; within a day in no special order.

        A day is not cut in two: past `limit` the rest of its last day comes too, so that a caller can sort it by key.
        """
        last = through.toordinal()
        if limit is not None:
            cut = self._db.execute(
                "SELECT day FROM planned WHERE day <= ? ORDER BY day LIMIT 1 OFFSET ?", (last, max(limit, 1) - 1)
            ).fetchone()
            last = last if cut is None else cut[0]
        found = self._db.execute(
            "SELECT p.day, s.key_hmac, s.key_payload FROM planned AS p CROSS JOIN service AS s ON s.id = p.service_id"
            " WHERE p.day <= ? ORDER BY p.day, p.service_id",
            (last,),
        ).fetchall()
        return [(date.fromordinal(day), self._service_key(hmac, sealed)) for day, hmac, sealed in found]

    def next_planned(self) -> date | None:
        """The earliest planned day, or None."""
        (day,) = self._db.execute("SELECT min(day) FROM planned").fetchone()
        return None if day is None else date.fromordinal(day)

    def count_planned(self) -> int:
        """How many services have a planned day."""
        (count,) = self._db.execute("SELECT count(*) FROM planned").fetchone()
        return int(count)

    def _last_seq(self) -> int:
        (seq,) = self._db.execute("SELECT max(seq) FROM due").fetchone()
        return seq or 0
