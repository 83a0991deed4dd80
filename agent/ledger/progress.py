"""The room of progress: how far the source was read, what was counted, what could not be read, and notes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from agent.ledger.errors import PositionConflict
from agent.ledger.moments import microseconds, moment, moment_or_none
from agent.ledger.payload import position_from_bytes, position_to_bytes, unreadable_from_bytes, unreadable_to_bytes
from agent.ledger.room import Room
from connectors.source import Position, goes_backwards


@dataclass(frozen=True, slots=True)
class StoredUnreadable:
    """A record of the source that could not be understood, kept for a person."""

    id: int
    place: str
    why: str
    raw: bytes = field(repr=False)
    kept_at: datetime


class ProgressRoom(Room):
    """Position, counters, notes and unreadable records."""

    __slots__ = ()

    def position(self) -> Position | None:
        """Where the source is to resume; None before the first transaction."""
        (sealed,) = self._db.execute("SELECT position FROM progress").fetchone()
        return None if sealed is None else position_from_bytes(self._seal.open("progress", 1, sealed))

    def set_position(self, position: Position) -> None:
        """Keep the position that the rows of this transaction lead to (invariant 2).

        PositionConflict for another incarnation, or where a stream went backwards. A stream that `position` does not
        name keeps its place.
        """
        stored = self.position()
        if stored is not None:
            if stored.incarnation != position.incarnation:
                raise PositionConflict(
                    "the source is another one than the ledger's position was read from: a database restored, replaced"
                    " or promoted, or another behind the address. A person decides how to go on"
                )
            if goes_backwards(stored, position):
                raise PositionConflict(
                    "the source gave a position behind the one that is stored: the source, or this ledger, was restored"
                    " from a backup. A person decides how to go on"
                )
            if stored.place.keys() - position.place.keys():
                position = Position(position.incarnation, {**stored.place, **position.place}, position.detail)
        self._db.execute(
            "UPDATE progress SET position = ?", (self._seal.seal("progress", 1, position_to_bytes(position)),)
        )

    def forget_position(self) -> None:
        """Read the source again from its beginning, whatever it is now: a person has looked and said so."""
        self._db.execute("UPDATE progress SET position = NULL, seen_through = NULL, open_transaction = 0")

    def seen_through(self) -> datetime | None:
        """The moment before which the source has no change still to come; None when it never said."""
        (number,) = self._db.execute("SELECT seen_through FROM progress").fetchone()
        return moment_or_none(number)

    def set_seen_through(self, seen: datetime) -> None:
        """Keep that moment as told."""
        self._db.execute("UPDATE progress SET seen_through = ?", (microseconds(seen),))

    def open_transaction(self) -> bool:
        """Whether a large source transaction is partly written: nothing is examined until its final part."""
        (flag,) = self._db.execute("SELECT open_transaction FROM progress").fetchone()
        return bool(flag)

    def set_open_transaction(self, is_open: bool) -> None:
        """Keep that."""
        self._db.execute("UPDATE progress SET open_transaction = ?", (is_open,))

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter (invariant 3); it is made where it is new."""
        self._db.execute(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
            (name, by, by),
        )

    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        return dict(self._db.execute("SELECT name, value FROM counter ORDER BY name").fetchall())

    def note(self, name: str) -> str | None:
        """A note (an approved digest, why the gate is closed, ..), or None."""
        found = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def set_note(self, name: str, value: str | None) -> None:
        """Keep a note, in clear text: nothing personal may stand in it. None takes it away."""
        if value is None:
            self._db.execute("DELETE FROM note WHERE name = ?", (name,))
            return
        self._db.execute(
            "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def notes(self) -> dict[str, str]:
        """Every note by name."""
        return dict(self._db.execute("SELECT name, value FROM note ORDER BY name").fetchall())

    def keep_unreadable(self, place: str, why: str, raw: bytes, at: datetime | None = None) -> int:
        """The number under which a record that cannot be understood was kept; `at`: now, where it is not given."""
        kept_at = microseconds(at or self._clock())
        made = self._db.execute("INSERT INTO unreadable (kept_at, payload) VALUES (?, x'')", (kept_at,)).lastrowid or 0
        sealed = self._seal.seal("unreadable", made, unreadable_to_bytes(place, why, raw))
        self._db.execute("UPDATE unreadable SET payload = ? WHERE id = ?", (sealed, made))
        return made

    def unreadable(self) -> Iterator[StoredUnreadable]:
        """The records that could not be understood, in the order in which they came; read as it is asked for."""
        for number, kept_at, sealed in self._db.execute("SELECT id, kept_at, payload FROM unreadable ORDER BY id"):
            place, why, raw = unreadable_from_bytes(self._seal.open("unreadable", number, sealed))
            yield StoredUnreadable(number, place, why, raw, moment(kept_at))

    def count_unreadable(self) -> int:
        """How many such records are kept (the counters know how many there ever were)."""
        (count,) = self._db.execute("SELECT count(*) FROM unreadable").fetchone()
        return int(count)
