"""Which keys of a change log have been passed: everything up to a low-water key, and above it all but the gaps.

Concurrent transactions commit out of key order: key 7 can be visible before key 6, or key 6 never be. So a gap is
remembered, and read again, until nothing can fill it any more. Pure.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from connectors.source import Position, PositionLost

FLOOR: Final = -(2**63)
"""Below every key. What lies between it and the first key seen is a gap like any other: its rows may still come."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """When gaps were noticed: by our monotonic clock, by the database's clock, and the transactions then at work."""

    at_s: float
    at: datetime
    running: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Gap:
    """Keys `first` to `last`, none of them seen, below a key that was."""

    first: int
    last: int
    noticed: Noticed

    @property
    def is_before_all(self) -> bool:
        """Whether the gap reaches below the first key that the table held when it was first read."""
        return self.first == FLOOR + 1


class PassedKeys:
    """The keys passed so far, as a Position tells them.

    `place` holds three streams, each of which only grows: the low-water key, the highest key, and how many keys were
    passed or given up. `detail` holds the gaps, and a digest of the highest row by which another log is told apart.
    """

    def __init__(self, incarnation: str, position: Position | None, noticed: Noticed) -> None:
        """Starts behind `position`; its gaps count as noticed now. Raises PositionLost if it is not an outbox's."""
        self.incarnation: Final = incarnation
        self.high = FLOOR
        self.passed = 0
        self.anchor: tuple[int, str] | None = None
        self.gaps: list[Gap] = []
        if position is not None:
            self._resume(position, noticed)

    def _resume(self, position: Position, noticed: Noticed) -> None:
        try:
            (low,), (self.high,), (self.passed,) = (position.place[name] for name in ("low", "high", "passed"))
            detail = json.loads(position.detail) if position.detail else None
            # without its detail (units that stand at different places share this one) nothing above low is known
            gaps = [(low + 1, self.high)] if detail is None else [(first, last) for first, last in detail["gaps"]]
            anchor = None if detail is None else detail["anchor"]
        except (KeyError, ValueError, TypeError):
            raise PositionLost(
                "the stored position is not one of an outbox table", repair="check which source the municipality had"
            ) from None
        self.gaps = [Gap(first, last, noticed) for first, last in gaps if first <= last]
        self.anchor = None if anchor is None else (anchor[0], anchor[1])

    @property
    def low(self) -> int:
        """The key up to which nothing is open."""
        return self.gaps[0].first - 1 if self.gaps else self.high

    def add(self, key: int, noticed: Noticed, digest: str) -> None:
        """Pass a key; a key above the highest opens a gap below itself where it does not follow directly."""
        self.passed += 1
        if key > self.high:
            if key > self.high + 1:
                self.gaps.append(Gap(self.high + 1, key - 1, noticed))
            self.high = key
            self.anchor = (key, digest)
            return
        self.gaps = [part for gap in self.gaps for part in _without(gap, key)]

    def give_up(self, gap: Gap) -> None:
        """Hold the gap for one that is never filled."""
        self.gaps.remove(gap)
        self.passed += 1

    def position(self) -> Position:
        place = {"low": (self.low,), "high": (self.high,), "passed": (self.passed,)}
        detail = {"gaps": [(gap.first, gap.last) for gap in self.gaps], "anchor": self.anchor}
        return Position(self.incarnation, place, json.dumps(detail, separators=(",", ":")))

    def never_filled(self, running: frozenset[str]) -> list[Gap]:
        """Gaps that nothing can fill: every transaction at work when they were noticed has ended (`running` now)."""
        return [gap for gap in self.gaps if gap.noticed.running.isdisjoint(running)]

    def older_than(self, now_s: float, longest_s: float) -> list[Gap]:
        """Gaps noticed longer ago than the longest transaction lasts."""
        return [gap for gap in self.gaps if now_s - gap.noticed.at_s > longest_s]


def _without(gap: Gap, key: int) -> Iterator[Gap]:
    if not gap.first <= key <= gap.last:
        yield gap
        return
    if gap.first < key:
        yield replace(gap, last=key - 1)
    if key < gap.last:
        yield replace(gap, first=key + 1)


def digest_of(*fields: object) -> str:
    """A short digest of a row's fields that hold no person's data: its key, table, operation, transaction and time."""
    return hashlib.blake2b(repr(tuple(str(field) for field in fields)).encode(), digest_size=8).hexdigest()
