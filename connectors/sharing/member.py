"""One unit of a shared source: what waits for it, how far it has come, and when it has stood still for too long."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from connectors.sharing.capture import OwnPart, furthest, is_ahead
from connectors.source import Capture, Position, Transaction

MOST_TRANSACTIONS: Final = 64
MOST_RECORDS: Final = 4000
IDLE_EVERY_S: Final = 5.0
"""How often a unit is told of progress that has nothing for it: each such position costs its ledger a write."""


@dataclass(eq=False, slots=True)
class Member:
    """A unit that reads, or that has left and may come back.

    `seen`: what has been put into its queue reaches so far; None while it reads its tables for the first time.
    `acknowledged`: what is durable there; None while nothing is. A `moved_at` is on the monotonic clock, in seconds.
    """

    capture: Capture
    seen: Position | None
    acknowledged: Position | None
    clock: Callable[[], float]
    moved_at_s: float
    keep_s: float = float("inf")
    """How long its place is kept from when it last moved."""
    opened: "asyncio.Future[str] | None" = None
    is_aside: bool = False
    held_s: float = 0.0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    _part: OwnPart = field(init=False)
    _queue: "deque[Transaction]" = field(default_factory=deque)
    _records: int = 0
    _is_in_parts: bool = False
    _idle_at_s: float = float("-inf")
    _has_ended: bool = False
    _trouble: Exception | None = None

    def __post_init__(self) -> None:
        self._part = OwnPart(self.capture)

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= MOST_TRANSACTIONS or self._records >= MOST_RECORDS

    @property
    def is_over(self) -> bool:
        """Whether the stream came to its end, and all of it was taken."""
        return self._has_ended and self._trouble is None and not self._queue

    @property
    def stands_still(self) -> bool:
        """Whether it has something to take or to acknowledge, and has done neither for as long as it may."""
        owes = self.seen is not None and (self.acknowledged is None or is_ahead(self.seen, self.acknowledged))
        return owes and self.clock() - self.moved_at_s > self.keep_s

    def wants(self, transaction: Transaction, *, with_ignored: bool) -> Transaction | None:
        """Its part of a transaction, or None where there is nothing that it must be told now."""
        if self.is_aside or self.seen is None:
            return None
        if _says_nothing(transaction) and transaction.seen_through is not None:
            # The stream has nothing more: told to everybody, but not into the middle of a transaction that is open.
            return None if self._is_in_parts else transaction
        if not is_ahead(transaction.position, self.seen):
            return None
        own = self._part.of(transaction, with_ignored=with_ignored)
        if own.records or own.scan is not None or (own.final and self._is_in_parts):
            return own
        is_due = own.final and self.clock() - self._idle_at_s >= IDLE_EVERY_S
        return own if is_due else None

    def read_by_itself(self, transaction: Transaction) -> Transaction:
        """Its own part of what a source of its own has told: only the names change."""
        return self._part.of(transaction, with_ignored=True)

    def put(self, own: Transaction) -> None:
        """Queue its part; progress that was not taken yet is replaced by the newer one."""
        if self.seen is None:
            raise RuntimeError("a unit that reads its tables for the first time is in no stream")
        self.seen = furthest(own.position, self.seen)
        own = replace(own, position=self.seen)
        self._is_in_parts = not own.final
        if _says_nothing(own):
            self._idle_at_s = self.clock()
            if self._queue and _says_nothing(self._queue[-1]):
                self._queue.pop()
        if not self._queue:
            self.moved_at_s = self.clock()  # it had nothing to take until now
        self._queue.append(own)
        self._records += len(own.records)
        self.arrived.set()

    def end(self, trouble: Exception | None) -> None:
        """The stream is over for it, once it has taken what is queued."""
        self._has_ended, self._trouble = True, trouble
        if self.opened is not None and not self.opened.done():
            if trouble is None:
                self.opened.cancel()
            else:
                self.opened.set_exception(trouble)
        self.arrived.set()

    def drop(self, trouble: Exception | None) -> None:
        """The stream is over for it, and what is queued is forgotten."""
        self._queue.clear()
        self._records = 0
        self.end(trouble)

    def take(self) -> Transaction | None:
        """The next transaction; None where there is none now. Raises what ended the stream."""
        if self._queue:
            own = self._queue.popleft()
            self._records -= len(own.records)
            self.moved()
            if not self.is_full:
                self.room.set()
            return own
        if self._has_ended and self._trouble is not None:
            raise self._trouble
        if not self._has_ended:
            self.arrived.clear()
        return None

    def moved(self) -> None:
        self.moved_at_s = self.clock()


def _says_nothing(transaction: Transaction) -> bool:
    return transaction.final and not transaction.records and transaction.scan is None
