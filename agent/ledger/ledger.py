"""The ledger of one reporting unit: the only durable truth of the agent. One SQLite file, one writer, one epoch.

`run` and `run_now` are the only ways to write: a piece of work sees one transaction and either all of it is on the
disk when they return, or none of it.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from agent.ledger.errors import LedgerError, LedgerReadOnly, LedgerSuperseded, LedgerUnavailable
from agent.ledger.identity import stored_epoch
from agent.ledger.key import LedgerKey
from agent.ledger.lock import WriterLock
from agent.ledger.opening import Entered, Origin, open_in_memory, open_to_read, open_to_write
from agent.ledger.schema import Migration, migrations
from agent.ledger.sqlite import MEMORY, connect_reader, errors_of
from agent.ledger.transaction import LedgerTransaction
from agent.ledger.turn import LONGEST_WAIT_S, Turn

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """An open ledger. Made by `open`; closed by `close`, or as a context manager."""

    def __init__(
        self, path: Path | str, entered: Entered, *, lock: WriterLock | None, clock: Callable[[], datetime]
    ) -> None:
        self.path = path
        self.installation_id = entered.identity.installation_id
        self.unit = entered.identity.unit
        self.unit_secret = entered.identity.unit_secret
        self._seal = entered.identity.seal
        self._connection = entered.connection
        self._epoch = entered.epoch
        self._lock = lock
        self._clock = clock
        self._file = _file_of(path)
        self._turn = Turn(path)
        # A file is read through a connection of its own, made when it is first wanted.
        self._reader: sqlite3.Connection | None = None if self._reads_apart else entered.connection
        self._reading_turn = Turn(path) if self._reads_apart else self._turn
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ledger-{self.unit}")
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        unit: str,
        key: LedgerKey | None,
        read_only: bool = False,
        clock: Callable[[], datetime] = _now,
        steps: Sequence[Migration] | None = None,
    ) -> Self:
        """The ledger at `path`, made where there is none and brought up to date; blocks while it does.

        ":memory:" gives a throw-away one without lock; there `key` may be None. read_only: for verbs that look while
        a daemon writes. clock: the moments that are written where a caller gives none. steps: other migrations than
        the program's, for tests. Raises LedgerBusy, LedgerWrongKey, LedgerWrongUnit, LedgerTooNew, LedgerTooOld,
        LedgerMissing, LedgerCorrupt, LedgerUnavailable.
        """
        steps = migrations() if steps is None else steps
        if path == MEMORY:
            origin = Origin(path, unit, key or LedgerKey.throw_away(unit), steps, clock())
            return cls(path, open_in_memory(origin), lock=None, clock=clock)
        if key is None:
            raise ValueError("a ledger in a file needs a key")
        path = Path(path).absolute()
        origin = Origin(path, unit, key, steps, clock())
        if read_only:
            return cls(path, open_to_read(origin), lock=None, clock=clock)
        lock = WriterLock(path)
        try:
            return cls(path, open_to_write(origin), lock=lock, clock=clock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r}, unit={self.unit!r})"

    async def run(self, work: Callable[[LedgerTransaction], T]) -> T:
        """What `work` gives, once its transaction is on the disk; on the writer's thread, one after the other.

        What `work` raises undoes the transaction and is raised here. When the caller is cancelled, work that has
        begun is waited for first: afterwards it is either done or undone, and never still under way.
        """
        future = self._thread.submit(self.run_now, work)
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiting}, timeout=LONGEST_WAIT_S)
        except asyncio.CancelledError:
            if not future.cancel():
                await asyncio.wait({waiting}, timeout=LONGEST_WAIT_S)
                if waiting.done() and not waiting.cancelled():
                    waiting.exception()  # looked at, so that asyncio does not report it as forgotten
            raise
        if not done:
            raise LedgerUnavailable(f"the ledger {self.path} gave no answer in {LONGEST_WAIT_S:.0f} s")
        return waiting.result()

    def run_now(self, work: Callable[[LedgerTransaction], T]) -> T:
        """The same, in the caller's thread, which it blocks: for verbs, dry runs and tests."""
        if self._epoch is None:
            raise LedgerReadOnly(f"{self.path} is open for reading only")
        with self._turn.taken(), errors_of(self.path):
            self._refuse_when_closed()
            return self._write(work)

    def read(self, work: Callable[[LedgerTransaction], T]) -> T:
        """What `work` reads, all of it from one committed state, in the caller's thread. Writing is refused.

        A file is read through a connection of its own, so that reading never waits for a commit.
        """
        with self._reading_turn.taken(), errors_of(self.path):
            self._refuse_when_closed()
            if self._reader is None:
                self._reader = connect_reader(Path(self.path))
            return self._read_from(self._reader, work)

    def settings(self) -> dict[str, str]:
        """What a promise rests on, as SQLite itself says it."""
        with self._turn.taken(), errors_of(self.path):
            self._refuse_when_closed()
            asked = {
                name: str(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
            }
        return {"sqlite": sqlite3.sqlite_version, **asked}

    def close(self) -> None:
        """Wait for the transaction under way, close the file and let go of the lock. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._turn.taken():
            self._connection.close()
            if self._lock is not None:
                self._lock.release()
        with self._reading_turn.taken():
            if self._reader is not None:
                self._reader.close()

    def _write(self, work: Callable[[LedgerTransaction], T]) -> T:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._refuse_when_superseded()
            transaction = LedgerTransaction(connection, self._seal, self._clock)
            result = work(transaction)
            transaction.write_progress()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _read_from(self, connection: sqlite3.Connection, work: Callable[[LedgerTransaction], T]) -> T:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        try:
            transaction = LedgerTransaction(connection, self._seal, self._clock)
            result = work(transaction)
            transaction.write_progress()  # nothing; SQLite refuses it where `work` has written
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("PRAGMA query_only = OFF")
        return result

    @property
    def _reads_apart(self) -> bool:
        return self._epoch is not None and self.path != MEMORY

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LedgerError(f"the ledger {self.path} is closed")

    def _refuse_when_superseded(self) -> None:
        """Invariant 11, where no lock helps: a process that was stopped, replaced and continued."""
        epoch = stored_epoch(self._connection)
        if epoch != self._epoch:
            raise LedgerSuperseded(f"another process has opened the ledger {self.path} since: this one must end")
        if _file_of(self.path) != self._file:
            raise LedgerSuperseded(f"another file was put in the place of the ledger {self.path}: this one must end")


def _file_of(path: Path | str) -> tuple[int, int] | None:
    """Which file stands at the path now; None for memory, and where it is gone."""
    if path == MEMORY:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 (asked in each transaction: without the object around it)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
