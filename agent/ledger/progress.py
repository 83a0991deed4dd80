"""The room of progress: how far the source was read, what was counted, what could not be read, and notes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from agent.ledger.errors import PositionConflict
from agent.ledger.moments import microseconds, microseconds_or_none, moment, moment_or_none
from agent.ledger.payload import position_from_bytes, position_to_bytes, unreadable_from_bytes, unreadable_to_bytes
from agent.ledger.room import Progress, Room
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
        return self._progress().position

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
        progress = self._progress()
        progress.position, progress.changed = position, True

    def forget_position(self) -> None:
        """Read the source again from its beginning, whatever it is now: a person has looked and said so."""
        self._remembered.progress = Progress(None, None, open_transaction=False, changed=True)

    def seen_through(self) -> datetime | None:
        """The moment before which the source has no change still to come; None when it never said."""
        return self._progress().seen_through

    def set_seen_through(self, seen: datetime) -> None:
        """Keep that moment as told."""
        progress = self._progress()
        progress.seen_through, progress.changed = seen, True

    def open_transaction(self) -> bool:
        """Whether a large source transaction is partly written: nothing is examined until its final part."""
        return self._progress().open_transaction

    def set_open_transaction(self, is_open: bool) -> None:
        """Keep that."""
        progress = self._progress()
        progress.open_transaction, progress.changed = is_open, True

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter (invariant 3); it is made where it is new."""
        counts = self._remembered.counts
        counts[name] = counts.get(name, 0) + by

    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        self._write_counts()
        return dict(self._db.execute("SELECT name, value FROM counter ORDER BY name").fetchall())

    def write_progress(self) -> None:
        """Write the progress and the counts: the last thing before the commit, once however many changes it holds."""
        self._write_counts()
        progress = self._remembered.progress
        if progress is None or not progress.changed:
            return
        position, seen = progress.position, progress.seen_through
        sealed = None if position is None else self._seal.seal("progress", 1, position_to_bytes(position))
        self._db.execute(
            "UPDATE progress SET position = ?, seen_through = ?, open_transaction = ?",
            (sealed, microseconds_or_none(seen), progress.open_transaction),
        )
        progress.changed = False

    def _write_counts(self) -> None:
        self._db.executemany(
            "INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
            list(self._remembered.counts.items()),
        )
        self._remembered.counts.clear()

    def _progress(self) -> Progress:
        if self._remembered.progress is None:
            position, seen, is_open = self._db.execute(
                "SELECT position, seen_through, open_transaction FROM progress"
            ).fetchone()
            self._remembered.progress = Progress(
                None if position is None else position_from_bytes(self._seal.open("progress", 1, position)),
                moment_or_none(seen),
                bool(is_open),
            )
        return self._remembered.progress

    def note(self, name: str) -> str | None:
        """A note (an approved digest, why the gate is closed, ..), or None."""
        return self._notes().get(name)

    def set_note(self, name: str, value: str | None) -> None:
        """Keep a note, in clear text: nothing personal may stand in it. None takes it away."""
        notes = self._notes()
        if value is None:
            if notes.pop(name, None) is not None:
                self._db.execute("DELETE FROM note WHERE name = ?", (name,))
            return
        notes[name] = value
        self._db.execute(
            "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def notes(self) -> dict[str, str]:
        """Every note by name."""
        return dict(sorted(self._notes().items()))

    def _notes(self) -> dict[str, str]:
        if self._remembered.notes is None:
            self._remembered.notes = dict(self._db.execute("SELECT name, value FROM note").fetchall())
        return self._remembered.notes

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
