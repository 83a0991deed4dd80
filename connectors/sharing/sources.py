"""One slot for many units: each municipality of a database has a Source of its own on one stream.

How the stream is shared stands in stream.py; here is what a unit sees of it, and which units share one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Final, Self

from connectors.catalog import SourceSettings, open_source
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.sharing.capture import furthest
from connectors.sharing.member import Member
from connectors.sharing.stream import Load, SharedStream
from connectors.source import Capture, Mark, Position, Source, SourceRefused, Transaction


class SettingsDiffer(SourceRefused):
    """Two units name one slot and differ in other settings of their source."""

    code = "KPR-162"


class Sources:
    """Every source of one process: units that name the same slot share a stream, the others have one of their own."""

    def __init__(self, open_stream: Callable[[SourceSettings, Capture, Position | None], Source] = open_source) -> None:
        self._open: Final = open_stream
        self._shared: Final[dict[tuple[str, str], tuple[PostgresLogicalSettings, SharedStream]]] = {}

    def open(self, settings: SourceSettings, capture: Capture, position: Position | None) -> Source:
        """A source behind `position`, not yet entered. Raises SettingsDiffer."""
        if not isinstance(settings, PostgresLogicalSettings):
            return self._open(settings, capture, position)
        shared_settings, shared = self._shared.setdefault(
            (str(settings.connection_file), settings.slot),
            (settings, SharedStream(lambda capture, position: self._open(settings, capture, position))),
        )
        if shared_settings != settings:
            raise SettingsDiffer(
                f"the units that share the slot {settings.slot} have different source.postgres_logical settings",
                repair="make them the same in every unit's file, and restart",
            )
        return UnitSource(shared, capture, position)


class UnitSource:
    """A unit's Source on the shared stream, behind `position`; with None it first reads the unit's tables by itself."""

    def __init__(self, shared: SharedStream, capture: Capture, position: Position | None) -> None:
        self._shared: Final = shared
        self._capture: Final = capture
        self._position: Final = position
        self._stack: Final = AsyncExitStack()
        self._member: Member | None = None
        self._load: Load | None = None  # while the unit reads its tables
        self._identity = ""
        self._is_used = self._is_read = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        self._member = self._shared.member(self._capture, self._position)
        try:
            if self._position is None:
                self._load = await self._shared.load(self._member, self._stack)
                self._identity = self._load.identity
            else:
                self._identity = await self._shared.join(self._member)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        member, self._member = self._member, None
        try:
            await self._stack.aclose()
        finally:
            if member is not None:
                self._shared.leave(member)
                await self._shared.close_if_unused()

    async def identity(self) -> str:
        """The incarnation that answered when the stream, or the first reading, was opened."""
        return self._identity

    async def transactions(self) -> AsyncGenerator[Transaction]:
        """This unit's part of the stream, from its own place. Raises what ends the stream, and PlaceGivenUp."""
        member = self._member
        if member is None or self._is_read:
            raise RuntimeError("transactions() is read once, inside the source's context")
        self._is_read = True
        if self._load is not None:
            async with aclosing(self._first_reading(self._load, member)) as first_reading:
                async for transaction in first_reading:
                    yield transaction
            await self._stack.aclose()
            await self._shared.join(member)
        joined_at_s = self._shared.now_s()
        while not member.is_over:
            taken = member.take()
            if taken is not None:
                yield taken
            elif member.is_aside:
                await asyncio.sleep(self._shared.rejoin_in_s(joined_at_s))
                await self._shared.join(member)
                joined_at_s = self._shared.now_s()
            else:
                await member.arrived.wait()

    async def _first_reading(self, load: Load, member: Member) -> AsyncGenerator[Transaction]:
        """The tables, and the stream's place behind them: never before the place that the stream has let go of."""
        transaction = load.first
        while True:
            part = member.read_by_itself(transaction)
            if part.final and (part.scan is None or part.scan.mark is Mark.END):
                break
            with self._shared.may_rest(member):
                yield part
            transaction = await anext(load.following)
        if member.acknowledged is not None:
            part = replace(part, position=furthest(part.position, member.acknowledged))
        member.seen = member.acknowledged = part.position
        yield part

    async def acknowledge(self, position: Position) -> None:
        """Say that everything up to `position` is durable in this unit (invariant 1)."""
        if self._member is not None:
            await self._shared.acknowledge(self._member, position)
