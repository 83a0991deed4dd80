"""PostgreSQL's own log as a Source: every committed transaction of the published tables, whole and in order.

The position is (where the log goes on, records told of a transaction that is not at its end); the second is 0 wherever
a ledger stops. Two connections: the replication stream, and one for questions.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Self

from connectors.postgres_logical.catalog import (
    Cluster,
    Known,
    Slot,
    check_history,
    check_incarnation,
    durable_until,
    log_kept,
    read_cluster,
    read_slot,
    ready_slot,
    slot_holder,
)
from connectors.postgres_logical.changes import ChangeReader, Part, Unknown
from connectors.postgres_logical.connection import read_parameters
from connectors.postgres_logical.load import adopt_snapshot, read_rows, take_snapshot
from connectors.postgres_logical.published import Published, Unfit, is_under, read_published
from connectors.postgres_logical.session import Refused, Session, open_session
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.stream import KeepAlive, ReplicationStream
from connectors.postgres_logical.troubles import (
    ColumnChanged,
    IdentityLacking,
    PublicationChanged,
    SlotInUse,
    SlotInvalidated,
    SlotMissing,
    StreamUnreadable,
    TableGone,
)
from connectors.source import Capture, Mark, Position, Scan, SourceChanged, SourceError, Transaction, Version
from connectors.wire.pgoutput import NotPgoutput
from connectors.wire.postgres_rows import ColumnUnfit, KeyUnfit

_WAL: Final = "wal"
_LOOK_AT_TABLES_EVERY_S: Final = 60.0
COMMIT_MARGIN: Final = timedelta(seconds=10)
"""A commit takes its time before its record is durable: with synchronous_commit off up to three wal_writer_delays
(0.6 s as PostgreSQL is delivered), and however long a disk takes to write it. Only then can it be read."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """Whom we talk to, and what was found at the start."""

    watch: Session
    replication: Session
    cluster: Cluster
    slot: Slot | None
    published: tuple[Published, ...]


class PostgresLogicalSource:
    """The log as a Source. Without a position it begins with a load: the rows as they are, then what changes them."""

    def __init__(self, settings: PostgresLogicalSettings, capture: Capture, position: Position | None) -> None:
        self._settings: Final = settings
        self._capture: Final = capture
        self._position: Final = position
        self._sessions: Final[list[Session]] = []
        self._opened: _Opened | None = None
        self._stream: ReplicationStream | None = None
        self._detail = ""
        self._is_used = self._is_read = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        try:
            self._opened = await self._open()
        except BaseException as error:
            await self.__aexit__()
            if isinstance(error, Refused):
                raise error.trouble() from None
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._opened = None
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__()
        for session in self._sessions:
            session.close()

    async def identity(self) -> str:
        """`postgres:` with the cluster's system identifier and the database's number."""
        return self._inside().cluster.incarnation

    async def transactions(self) -> AsyncIterator[Transaction]:
        """A load where there was no position; then every transaction behind it, and now and then that there is none."""
        opened = self._inside()
        if self._is_read:
            raise RuntimeError("transactions() is read once, inside the source's context")
        self._is_read = True
        try:
            lsn, replication = _lsn(self._position), opened.replication
            if lsn is None:
                loading = self._load(opened)
                async with contextlib.aclosing(loading):  # type: ignore[type-var]  # it is a generator
                    async for transaction in loading:
                        lsn = transaction.position.place[_WAL][0]
                        yield transaction
                replication = await self._connect(replication=True)
            following = self._follow(opened, replication, lsn or 0)
            async with contextlib.aclosing(following):  # type: ignore[type-var]  # it is a generator
                async for transaction in following:
                    yield transaction
        except Refused as refusal:
            raise refusal.trouble() from None

    async def acknowledge(self, position: Position) -> None:
        """The server may forget what lies before `position`: the ledger holds it (invariant 1)."""
        lsn, told = position.place[_WAL]
        if self._stream is not None and not told:
            self._stream.confirm(lsn)

    async def _open(self) -> _Opened:
        settings, timeout_s = self._settings, self._settings.operation_timeout_s
        watch = await self._connect()
        replication = await self._connect(replication=True)
        cluster = await read_cluster(replication, timeout_s=timeout_s)
        lsn, known = _lsn(self._position), Known.read(self._position.detail if self._position is not None else "")
        if self._position is not None and lsn is not None:
            check_incarnation(cluster, self._position.incarnation)
            await check_history(replication, cluster, known.timeline, lsn, timeout_s=timeout_s)
        slot = await ready_slot(watch, settings.slot, cluster, lsn, timeout_s=timeout_s)
        if slot is None and not settings.create_slot:
            raise SlotMissing(settings.slot, was_read=False)
        published = await self._published(watch, known.tables)
        self._detail = Known(cluster.timeline, {one.table.name_in_source: one.oid for one in published}).written()
        return _Opened(watch, replication, cluster, slot, published)

    async def _connect(self, *, replication: bool = False) -> Session:
        """A new connection, by the connection file as it is now. `close` of all is `__aexit__`'s."""
        settings = self._settings
        options = {"wal_sender_timeout": f"{settings.quiet_timeout_s * 1000:.0f}"} if replication else {}
        session = await open_session(
            read_parameters(settings.connection_file),
            timeout_s=settings.connect_timeout_s,
            replication=replication,
            **options,
        )
        self._sessions.append(session)
        return session

    async def _published(self, watch: Session, numbers: Mapping[str, int]) -> tuple[Published, ...]:
        """What is published now. Raises where the stream falls silent on a table, or did: it left, or was made anew."""
        settings = self._settings
        try:
            found = await read_published(
                watch, settings.publication, self._capture, timeout_s=settings.operation_timeout_s
            )
        except Unfit as unfit:
            raise await self._stop(watch, unfit.trouble) from None
        for published in found:
            name = published.table.name_in_source
            if numbers.get(name, published.oid) != published.oid:
                made_anew = "is another table than it was: what became of the old one's rows is not in the log"
                raise await self._stop(watch, partial(TableGone, name, made_anew))
        return found

    async def _stop(self, watch: Session, trouble: Callable[[str], SourceChanged]) -> SourceChanged:
        """The trouble, with how long the log will last for whoever mends it."""
        return trouble(await log_kept(watch, self._settings.slot, timeout_s=self._settings.operation_timeout_s))

    async def _load(self, opened: _Opened) -> AsyncIterator[Transaction]:
        settings = self._settings
        snapshot = await take_snapshot(
            opened.replication, opened.slot, settings.slot, timeout_s=settings.slot_timeout_s
        )
        session = await self._connect()
        await adopt_snapshot(session, snapshot, timeout_s=settings.operation_timeout_s)
        opened.replication.close()  # a temporary slot goes with it; our transaction keeps the snapshot
        position = self._place(opened.cluster, snapshot.resume_lsn)
        tables = tuple(table.name for table in self._capture.tables)
        yield Transaction((), position, final=False, scan=Scan(Mark.BEGIN, tables))
        chunks = read_rows(
            session,
            opened.published,
            Version(opened.cluster.incarnation, (snapshot.lsn, 0)),
            chunk_rows=settings.chunk_rows,
            quiet_timeout_s=settings.quiet_timeout_s,
        )
        async with contextlib.aclosing(chunks):  # type: ignore[type-var]  # it is a generator
            async for records in chunks:
                yield Transaction(records, position, final=False, scan=Scan(Mark.INSIDE, tables))
        session.close()
        yield Transaction((), position, scan=Scan(Mark.END, tables))

    async def _follow(self, opened: _Opened, replication: Session, lsn: int) -> AsyncIterator[Transaction]:
        """The stream behind `lsn`. `aim`: where the log ended, and when, at the last look; reached, we have seen it."""
        settings, cluster = self._settings, opened.cluster
        numbers = {published.oid: published.table for published in opened.published}
        reader = ChangeReader(self._capture, numbers, epoch=cluster.incarnation, chunk_rows=settings.chunk_rows)
        reached = told = lsn
        async with ReplicationStream(replication, opened.watch, quiet_timeout_s=settings.quiet_timeout_s) as stream:
            aim: tuple[int, datetime] | None = await durable_until(opened.watch, timeout_s=settings.operation_timeout_s)
            await self._start(opened, stream, lsn)
            look_at_s, tables_at_s = 0.0, time.monotonic() + _LOOK_AT_TABLES_EVERY_S
            while True:
                try:
                    frame = await stream.take()
                except Refused as refusal:
                    raise await self._broken_off(opened, refusal) from None
                now_s = time.monotonic()
                if frame is None:
                    if now_s >= look_at_s:
                        if reader.is_between and reached > told:  # a server that never rests is behind us all the time
                            told = reached
                            yield Transaction((), self._place(cluster, reached))
                        aim = aim or await durable_until(opened.watch, timeout_s=settings.operation_timeout_s)
                        if now_s >= tables_at_s:
                            await self._published(
                                opened.watch, {one.table.name_in_source: one.oid for one in opened.published}
                            )
                            tables_at_s = now_s + _LOOK_AT_TABLES_EVERY_S
                        stream.ask()
                        look_at_s = now_s + settings.idle_interval_s
                    await stream.wait(look_at_s - now_s)
                    continue
                is_urgent = isinstance(frame, KeepAlive) and frame.is_urgent
                if isinstance(frame, KeepAlive):
                    reached = max(reached, frame.end_lsn) if reader.is_between else reached
                    if is_urgent:
                        await stream.answer()
                elif (part := await self._part(opened, reader, frame.payload)) is not None:
                    if part.is_final:
                        reached = max(reached, part.lsn)
                    # A transaction that has been told of in parts ends with its last one, be it empty.
                    if part.index and (part.lsn > lsn or (part.lsn == lsn and not part.is_final)):
                        told = part.lsn
                        yield Transaction(part.records, self._place_of(cluster, part), final=part.is_final)
                if not reader.is_between:
                    continue
                if aim is not None and reached >= aim[0]:
                    told = reached
                    yield Transaction((), self._place(cluster, reached), seen_through=aim[1] - COMMIT_MARGIN)
                    aim = None
                elif is_urgent and reached > told:  # a server that stops waits until all is confirmed
                    told = reached
                    yield Transaction((), self._place(cluster, reached))

    async def _start(self, opened: _Opened, stream: ReplicationStream, lsn: int) -> None:
        settings = self._settings
        try:
            await stream.start(settings.slot, settings.publication, lsn, timeout_s=settings.operation_timeout_s)
        except Refused as refusal:
            raise await self._not_started(opened, refusal) from None
        self._stream = stream
        slot = await read_slot(opened.watch, settings.slot, timeout_s=settings.operation_timeout_s)
        if slot is not None:
            slot.check_reaches(lsn)  # nobody has read from it since we looked: now it is ours

    async def _not_started(self, opened: _Opened, refusal: Refused) -> SourceError:
        """START_REPLICATION's refusals: what the slot looked like a moment ago is no longer so."""
        slot = self._settings.slot
        match refusal.sqlstate:
            case "42704":  # undefined_object
                return SlotMissing(slot, was_read=True)
            case "55006":  # object_in_use
                timeout_s = self._settings.operation_timeout_s
                return SlotInUse(slot, await slot_holder(opened.watch, slot, timeout_s=timeout_s))
            case "55000":  # object_not_in_prerequisite_state
                return SlotInvalidated(slot, "the server cannot read from it any more")
        return await self._broken_off(opened, refusal)

    async def _broken_off(self, opened: _Opened, refusal: Refused) -> SourceError:
        """What the server gives as its reason to end the stream."""
        match refusal.sqlstate:
            case "42704":  # undefined_object
                publication = self._settings.publication
                why = "is not there, or was not yet there at the place of the log that is read"
                return await self._stop(opened.watch, partial(PublicationChanged, publication, why))
            case "58P01":  # undefined_file
                return SlotInvalidated(self._settings.slot, "the server has removed a part of its log")
        return refusal.trouble()

    async def _part(self, opened: _Opened, reader: ChangeReader, payload: bytes) -> Part | None:
        """The part that the message ends, if it does; changes of an unwanted table only when it is truly unwanted."""
        try:
            found = reader.read(payload)
            if isinstance(found, Unknown):
                await self._refuse_partition(opened, found.oid)
                reader.leave(found)
                return await self._part(opened, reader, payload)
        except NotPgoutput as error:
            raise StreamUnreadable(str(error)) from None
        except ColumnUnfit as unfit:
            trouble: Callable[[str], SourceChanged] = partial(ColumnChanged, unfit.table, unfit.column, unfit.why)
            raise await self._stop(opened.watch, trouble) from None
        except KeyUnfit as unfit:
            raise await self._stop(opened.watch, partial(IdentityLacking, unfit.table, unfit.columns)) from None
        return found

    async def _refuse_partition(self, opened: _Opened, oid: int) -> None:
        """A partition of a wanted table must not pass for a table that nobody wants."""
        if not any(published.is_partitioned for published in opened.published):
            return
        root = await is_under(opened.watch, oid, self._capture, timeout_s=self._settings.operation_timeout_s)
        if root is not None:
            why = f"tells of {root} under its partitions' names: publish_via_partition_root must be true"
            raise await self._stop(opened.watch, partial(PublicationChanged, self._settings.publication, why))

    def _place(self, cluster: Cluster, lsn: int, told: int = 0) -> Position:
        return Position(cluster.incarnation, {_WAL: (lsn, told)}, self._detail)

    def _place_of(self, cluster: Cluster, part: Part) -> Position:
        return self._place(cluster, part.lsn, 0 if part.is_final else part.index)

    def _inside(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the source is used inside its context")
        return self._opened


def _lsn(position: Position | None) -> int | None:
    return None if position is None else position.place[_WAL][0] if _WAL in position.place else 0
