"""The stream that several units share: who is in it, from where it is read, what may be acknowledged, who is put aside.

It is opened with all that its units want, at the smallest position of any; each unit drops what it has. A unit that
comes makes it begin again. Only what every unit has acknowledged is acknowledged there (invariant 1). A unit that
stands still is waited for a little, then put aside until it reads again, and after `patience_s` its place is given up,
so that it never holds the others or the database's log (invariant 12). Trouble that is one unit's own, with its
position or its tables, is told to that unit alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from connectors.sharing.capture import furthest, is_ahead, together
from connectors.sharing.member import Member
from connectors.source import (
    Capture,
    Position,
    PositionLost,
    Source,
    SourceChanged,
    SourceUnavailable,
    Transaction,
    smallest,
)

PATIENCE_S: Final = 600.0
MENDING_S: Final = 86_400.0
"""How long the place is kept of a unit whose table or column is gone: a person has to mend its mapping."""
REJOIN_EVERY_S: Final = 30.0
_GATHER_S: Final = 0.1
_REOPEN_S: Final = 15.0
_PROBE_S: Final = 30.0
_MAY_HOLD_S: Final = 1.0
_MAY_HOLD_SHARE: Final = 0.1

OpenStream = Callable[[Capture, Position | None], Source]


class PlaceGivenUp(SourceUnavailable):
    """A unit has taken nothing for so long that the shared stream no longer keeps its place."""

    code = "KPR-161"


@dataclass(frozen=True, slots=True)
class Load:
    """A unit's first reading: the incarnation, its first transaction, and those that follow."""

    identity: str
    first: Transaction
    following: AsyncIterator[Transaction]


class SharedStream:
    """The stream and the members that read it; it runs while there are any."""

    def __init__(
        self,
        open_stream: OpenStream,
        *,
        patience_s: float = PATIENCE_S,
        mending_s: float = MENDING_S,
        rejoin_every_s: float = REJOIN_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_stream: Final = open_stream
        self._patience_s: Final = patience_s
        self._mending_s: Final = mending_s
        self._rejoin_every_s: Final = rejoin_every_s
        self._clock: Final = clock
        self._reading: Final[list[Member]] = []  # in the stream, or in the one that is about to be opened
        self._served: list[Member] = []  # those the open stream began for: it may be past another's place
        self._kept: Final[list[Member]] = []  # reading their tables by themselves, or gone with their place kept
        self._stream: Source | None = None
        self._acknowledged: Position | None = None  # of the stream; the log before it may be gone
        self._pump: asyncio.Task[None] | None = None
        self._is_gathering = False
        self._began_at_s = 0.0
        self._first_load = asyncio.Lock()

    # -- what a unit's source calls -----------------------------------------------------------------------------------

    def member(self, capture: Capture, position: Position | None) -> Member:
        """A new member, whose place holds the log from now on. Raises CapturesDiffer."""
        together([*(member.capture for member in self._reading), capture])
        member = Member(
            capture, position, self._acknowledged if position is None else position, self._clock, self._clock()
        )
        former = next((gone for gone in self._kept if position is not None and gone.acknowledged == position), None)
        if former is not None:  # this unit's own place, or one as good: it comes back
            self._kept.remove(former)
            if former.keep_s == self._mending_s:
                member.moved_at_s = former.moved_at_s
        self._kept.append(member)
        return member

    async def load(self, member: Member, stack: AsyncExitStack) -> "Load":
        """A reading of its own, under way, for a unit that has read nothing yet.

        One at a time until it has said its first word: the first of all makes the slot.
        """
        async with self._first_load:
            async with self._paused() as reopened:  # a source looks at its slot when it is opened: nobody may read it
                source = await self._entered(stack, together([member.capture]), None, reopened=reopened)
            identity = await source.identity()
            transactions = source.transactions()
            stack.push_async_callback(transactions.aclose)  # type: ignore[attr-defined] # they are generators
            first = await anext(transactions)
        if member.acknowledged is not None and member.acknowledged.incarnation != identity:
            member.acknowledged = None
        return Load(identity, first, transactions)

    @contextmanager
    def may_rest(self, member: Member) -> Iterator[None]:
        """While the unit's reader works, and its source does not: it may not stand still for ever."""
        member.keep_s = self._patience_s
        member.moved()
        try:
            yield
        finally:
            member.keep_s = float("inf")

    def now_s(self) -> float:
        return self._clock()

    def rejoin_in_s(self, joined_at_s: float) -> float:
        """How long a unit that was put aside waits before it makes the stream begin again."""
        return max(0.0, joined_at_s + self._rejoin_every_s - self._clock())

    async def join(self, member: Member) -> str:
        """Take the member into the stream; gives the incarnation that answers. Raises what stands against it."""
        if member not in self._all():
            raise _given_up(self._patience_s)
        member.opened = asyncio.get_running_loop().create_future()
        member.keep_s = self._patience_s
        member.is_aside = False
        if member in self._kept:
            self._kept.remove(member)
            self._reading.append(member)
        if member in self._served:
            self._served.remove(member)
        self._begin_again()
        return await member.opened

    def leave(self, member: Member) -> None:
        """The unit reads no more. What it has acknowledged is kept for as long as it may come back."""
        member.drop(None)
        if member in self._reading:
            self._reading.remove(member)
            self._kept.append(member)
            member.moved()
        elif member in self._kept and member.keep_s == float("inf"):
            member.keep_s = self._patience_s
            member.moved()
        if member in self._kept and (member.acknowledged is None or member.seen is None):
            self._kept.remove(member)  # it has read nothing that it could go on from

    async def close_if_unused(self) -> None:
        """End the stream when nobody reads."""
        if not self._reading and self._pump is not None:
            pump, self._pump, self._is_gathering = self._pump, None, False
            await _ended(pump)

    async def acknowledge(self, member: Member, position: Position) -> None:
        """Book what a unit has made durable, and tell the stream what all of them have (invariant 1)."""
        member.acknowledged = position if member.acknowledged is None else furthest(position, member.acknowledged)
        member.moved()
        await self._acknowledge()

    async def _acknowledge(self) -> None:
        floor = self._floor()
        if self._stream is None or floor is None or self._acknowledged is None:
            return
        if is_ahead(floor, self._acknowledged):
            self._acknowledged = floor
            await self._stream.acknowledge(floor)

    def _floor(self) -> Position | None:
        """What every unit has; None while one reads its tables and nobody knows from where it goes on."""
        places = [member.acknowledged for member in (*self._reading, *self._kept)]
        known = [place for place in places if place is not None]
        return smallest(known) if known and len(known) == len(places) else None

    # -- the stream ---------------------------------------------------------------------------------------------------

    def _begin_again(self) -> None:
        """Close the stream, if there is one, and open it for all that are in it now."""
        if self._is_gathering:
            return
        self._is_gathering = True
        self._pump = asyncio.create_task(self._run(self._pump), name="shared-source")

    @asynccontextmanager
    async def _paused(self) -> AsyncIterator[bool]:
        """The stream is closed for a moment; units that come meanwhile wait. Gives whether it was open."""
        pump, self._pump, self._is_gathering = self._pump, None, True
        was_open = pump is not None and not pump.done()
        try:
            if pump is not None:
                await _ended(pump)
            yield was_open
        finally:
            self._is_gathering = False
            if self._reading:
                self._begin_again()

    async def _run(self, former: "asyncio.Task[None] | None") -> None:
        was_open = former is not None and not former.done()
        if former is not None:
            await _ended(former)
        await asyncio.sleep(_GATHER_S)  # units that come together are served by one opening
        self._is_gathering = False
        trouble: Exception | None = None
        try:
            await self._serve(reopened=was_open)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to everybody who reads
            trouble = error
        for member in [member for member in self._served if member in self._reading]:
            self._end(member, trouble)

    async def _serve(self, *, reopened: bool) -> None:
        while self._reading:
            try:
                async with AsyncExitStack() as stack:
                    await self._pass_on(await self._enter(stack, reopened=reopened))
            except (PositionLost, SourceChanged):
                if not await self._tell_whose_it_is():
                    raise
                reopened = True
            else:
                return

    async def _enter(self, stack: AsyncExitStack, *, reopened: bool) -> Source:
        self._served = list(self._reading)
        capture = together([member.capture for member in self._served])
        here = smallest([member.acknowledged for member in self._served if member.acknowledged is not None])
        self._kept[:] = [
            member
            for member in self._kept
            if member.acknowledged is None or member.acknowledged.incarnation == here.incarnation
        ]
        start = smallest([here, *(member.acknowledged for member in self._kept if member.acknowledged is not None)])
        source = await self._entered(stack, capture, start, reopened=reopened)
        self._acknowledged = start
        for member in self._kept:
            member.acknowledged = member.acknowledged or start  # reading its tables: what it reads is newer
        return source

    async def _entered(
        self, stack: AsyncExitStack, capture: Capture, start: Position | None, *, reopened: bool
    ) -> Source:
        """The stream, entered. When we had it before, the server needs a moment to see that we have left it."""
        last_at_s = self._clock() + (_REOPEN_S if reopened else 0)
        wait_s = 0.05
        while True:
            try:
                return await stack.enter_async_context(self._open_stream(capture, start))
            except SourceUnavailable:
                if self._clock() + wait_s > last_at_s:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(1.0, wait_s * 2)

    async def _pass_on(self, source: Source) -> None:
        identity = await source.identity()
        self._began_at_s = self._clock()
        for member in self._served:
            member.held_s = 0.0
            if member.opened is not None and not member.opened.done():
                member.opened.set_result(identity)
        self._stream = source
        try:
            async with aclosing(source.transactions()) as transactions:  # type: ignore[type-var] # they are generators
                async for transaction in transactions:
                    for number, member in enumerate(tuple(self._served)):
                        await self._offer(member, transaction, with_ignored=number == 0)
                    if self._give_up():
                        await self._acknowledge()
        finally:
            self._stream = None

    async def _offer(self, member: Member, transaction: Transaction, *, with_ignored: bool) -> None:
        own = member.wants(transaction, with_ignored=with_ignored)
        if own is None or member not in self._reading:
            return
        if member.is_full:
            await self._wait_for(member)
        if member in self._served and member in self._reading and not member.is_aside:
            member.put(own)

    async def _wait_for(self, member: Member) -> None:
        """Until it has room; it is put aside when the others have waited for it long enough."""
        began_at_s = self._clock()
        while member.is_full and member in self._reading:
            others = [
                other for other in self._served if other in self._reading and other is not member and not other.is_aside
            ]
            held_s = member.held_s + self._clock() - began_at_s
            may_s = _MAY_HOLD_S + _MAY_HOLD_SHARE * (self._clock() - self._began_at_s) - held_s
            if others and may_s <= 0:
                member.is_aside = True
                break
            member.room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(may_s, 0.05) if others else None):
                    await member.room.wait()
        member.held_s += self._clock() - began_at_s

    # -- those who cannot go on ---------------------------------------------------------------------------------------

    def _all(self) -> list[Member]:
        return [*self._reading, *self._kept]

    def _end(self, member: Member, trouble: Exception | None) -> None:
        member.end(trouble)
        if member in self._reading:
            self._reading.remove(member)
            if isinstance(trouble, PositionLost):
                return  # there is nothing to keep
            self._kept.append(member)
            if isinstance(trouble, SourceChanged):
                member.keep_s = max(self._mending_s, self._patience_s)

    def _give_up(self) -> bool:
        """Forget the places of those that have stood still, or stayed away, for too long."""
        kept = [member for member in self._kept if self._clock() - member.moved_at_s <= member.keep_s]
        stuck = [member for member in self._reading if member.stands_still]
        found = bool(stuck) or len(kept) < len(self._kept)
        self._kept[:] = kept
        for member in stuck:
            self._reading.remove(member)
            member.drop(_given_up(member.keep_s))
        return found

    async def _tell_whose_it_is(self) -> bool:
        """Try each unit alone; end those that cannot go on. Whether there are any, and others that can."""
        if len(self._reading) < 2:
            return False
        troubles: dict[int, Exception] = {}
        members = tuple(self._reading)
        for number, member in enumerate(members):
            try:
                async with AsyncExitStack() as stack:
                    if member.acknowledged is None:
                        continue
                    capture = together([member.capture])
                    source = await self._entered(stack, capture, member.acknowledged, reopened=True)
                    stream = source.transactions()
                    stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined] # they are generators
                    with suppress(TimeoutError, StopAsyncIteration):
                        async with asyncio.timeout(_PROBE_S):
                            await anext(stream)
            except (PositionLost, SourceChanged) as error:
                troubles[number] = error
        for number, trouble in troubles.items():
            self._end(members[number], trouble)
        return bool(troubles) and bool(self._reading)


def _given_up(after_s: float) -> PlaceGivenUp:
    return PlaceGivenUp(
        f"this unit took or booked nothing for {after_s:.0f} s: its place in the shared stream is given up, so that "
        "neither the others nor the database's log are held",
        repair="find out why its ledger stood still; if its position is lost by now, everything is to be read again",
    )


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel the task and wait for its end, also when we are cancelled meanwhile."""
    task.cancel()
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
