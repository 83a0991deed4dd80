"""A change log that the EPJ's database keeps: a table with an ordered key, read in any database SQLAlchemy reaches.

Each row is a change: the table it is of, the operation, the row before and after as JSON. The position is a low-water
key and what has been seen above it, so that rows committed out of key order by concurrent transactions are not skipped
(connectors/outbox_table/keys.py). Keys come from a sequence or an identity that hands them out one at a time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field

from connectors.outbox_table.keys import Gap, Noticed, PassedKeys, digest_of
from connectors.outbox_table.row import LogReader, LogRow, same_transaction
from connectors.section import ConnectorSection, DatabaseSection, ZoneName
from connectors.source import (
    Capture,
    Position,
    PositionLost,
    SourceError,
    SourceUnavailable,
    Transaction,
    Unreadable,
)
from connectors.worker_thread import WorkerThread

if TYPE_CHECKING:
    from connectors.outbox_table.database import LogDatabase, Reading

Result = TypeVar("Result")

_CLOSE_TIMEOUT_S: Final = 5.0
_MOST_GAPS: Final = 1000
_REPAIR: Final = (
    "find out whether the database was restored or exchanged; then follow 'A position is lost' in docs/operations.md"
)


class OutboxColumns(ConnectorSection):
    """The change log's columns by what they hold."""

    key: str = Field(description="The ordered key: an integer from a sequence or an identity, one at a time.")
    table: str = Field(description="The name of the table that changed, as schema.table or table.")
    operation: str = Field(description="The operation: I, U, D; insert, update, delete; or c, u, d; in any case.")
    before: str = Field(description="The row before the change, as a JSON object; null for an insert.")
    after: str = Field(description="The whole row after the change, as a JSON object; null for a delete.")
    transaction: str | None = Field(
        default=None,
        description="The transaction's id: neighbouring rows that share it are examined together. "
        "Left out: each row alone.",
    )
    time: str | None = Field(default=None, description="When the row was written; told as the moment of registration.")
    row_key: str | None = Field(
        default=None, description="The changed row's key, as a JSON object or a single value, where before is left out."
    )


class OutboxTableSettings(DatabaseSection):
    """A change log in the EPJ's database."""

    table: str = Field(description="The log's name, as schema.table or table.")
    columns: OutboxColumns = Field(description="What the log's columns are called.")
    table_schema: str | None = Field(
        default=None, description="The schema of tables that the log names without one; none by default."
    )
    time_zone: ZoneName = Field(default="UTC", description="The zone of columns.time where its values carry none.")
    identity: str = Field(
        default="", description="A name for this log. Give it another one when the database is exchanged on purpose."
    )
    poll_s: float = Field(
        default=1.0, ge=0.01, le=60, description="The wait between two looks at a quiet log, seconds."
    )
    batch_rows: int = Field(default=500, ge=1, le=10_000, description="How many rows are read at a time.")
    longest_transaction_s: float = Field(
        default=300.0,
        ge=0,
        description="The longest transaction of the EPJ, in seconds. A missing key is waited for so long "
        "(PostgreSQL tells by itself).",
    )
    operation_timeout_s: float = Field(
        default=30.0, gt=0, le=60, description="How long the database may take for one look, in seconds."
    )


class OutboxTableSource:
    """The log as a Source. `clock` is a monotonic clock in seconds, for gaps in databases that cannot tell."""

    def __init__(
        self,
        settings: OutboxTableSettings,
        capture: Capture,
        position: Position | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings: Final = settings
        self._capture: Final = capture
        self._position: Final = position
        self._clock: Final = clock
        self._worker: WorkerThread | None = None
        self._database: LogDatabase | None = None
        self._keys: PassedKeys | None = None
        self._is_used = self._is_read = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        self._worker = WorkerThread("outbox-table")
        try:
            self._keys = await self._run(self._open)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end(self._close, _CLOSE_TIMEOUT_S, of_no_matter=SourceError)

    async def identity(self) -> str:
        """`outbox:` with the database's and the table's own identity (PostgreSQL), or the configured one."""
        return await self._run(lambda: self._opened().identity(self._settings.identity))

    async def transactions(self) -> AsyncIterator[Transaction]:
        """Rows in key order, late ones when they come; after the last one an empty transaction at every look."""
        keys = self._keys
        if keys is None or self._is_read:
            raise RuntimeError("transactions() is read once, inside the source's context")
        self._is_read = True
        reader = LogReader(
            self._capture,
            epoch=keys.incarnation,
            schema=self._settings.table_schema,
            zone=ZoneInfo(self._settings.time_zone),
        )
        unfinished: LogRow | None = None
        while True:
            reading = await self._run(lambda: self._look(keys))
            noticed = Noticed(self._clock(), reading.database_at, reading.running_after)
            for group, is_final in _groups(reading, self._settings.batch_rows):
                if unfinished is not None and not same_transaction(unfinished, group[0]):
                    yield Transaction((), keys.position())
                records = tuple(record for row in group for record in reader.read(row))
                for row in group:
                    keys.add(row.key, noticed, _digest(row))
                unfinished = None if is_final else group[-1]
                yield Transaction(records, keys.position(), final=is_final)
            for transaction in self._given_up(keys, reading, noticed):
                yield transaction
            if reading.is_cut:
                continue
            unfinished = None
            yield Transaction((), keys.position(), seen_through=self._seen_through(keys, reading))
            await asyncio.sleep(self._settings.poll_s)

    async def acknowledge(self, position: Position) -> None:
        """Nothing: the log's owner decides when old rows go."""

    def _given_up(self, keys: PassedKeys, reading: "Reading", noticed: Noticed) -> Iterator[Transaction]:
        """Forget the gaps that are never filled; where only the configured time says so, with a finding."""
        if reading.is_cut:
            return
        if reading.running_before is not None:
            if not reading.has_prepared:
                for gap in _read_again(keys.never_filled(reading.running_before), noticed):
                    keys.give_up(gap)
            return
        for gap in _read_again(keys.older_than(noticed.at_s, self._settings.longest_transaction_s), noticed):
            keys.give_up(gap)
            if not gap.is_before_all:
                place = f"outbox keys {gap.first} to {gap.last}"
                why = f"no row came for these keys within {self._settings.longest_transaction_s} s: given up"
                yield Transaction((Unreadable(place, why, b""),), keys.position())

    def _seen_through(self, keys: PassedKeys, reading: "Reading") -> datetime:
        """The look's moment; with open gaps, the moment before which none of their transactions can have begun."""
        if not keys.gaps:
            return reading.database_at
        oldest = min(gap.noticed.at for gap in keys.gaps)
        return oldest - timedelta(seconds=self._settings.longest_transaction_s)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._worker is None:
            raise RuntimeError("the source is used inside its context")
        try:
            return await self._worker.run(work, self._settings.operation_timeout_s)
        except TimeoutError:
            raise SourceUnavailable(
                f"the outbox table's database did not answer in {self._settings.operation_timeout_s} s",
                repair="check that the database answers",
            ) from None

    # In the worker's thread:

    def _opened(self) -> "LogDatabase":
        if self._database is None:
            raise RuntimeError("the source is used inside its context")
        return self._database

    def _open(self) -> PassedKeys:
        # SQLAlchemy is 20 MiB that only this source needs
        from connectors.outbox_table.database import LogDatabase, LogTable  # noqa: PLC0415
        from connectors.sql_connection import read_url, url_text  # noqa: PLC0415

        settings, columns = self._settings, self._settings.columns
        log = LogTable(name=settings.table, **columns.model_dump())
        self._database = LogDatabase(
            read_url(url_text(settings.sqlite_file, settings.url_file)), log, timeout_s=settings.operation_timeout_s
        )
        incarnation = self._database.identity(settings.identity)
        if self._position is not None and self._position.incarnation != incarnation:
            raise PositionLost("another database, or another outbox table, answers than before", repair=_REPAIR)
        noticed = Noticed(self._clock(), self._database.now(), self._database.running())
        keys = PassedKeys(incarnation, self._position, noticed)
        if keys.anchor is not None:
            _check_anchor(self._database, keys.anchor)
        _check_highest(self._database.highest(), keys)
        return keys

    def _look(self, keys: PassedKeys) -> "Reading":
        gaps = [(gap.first, gap.last) for gap in keys.gaps]
        with_new = len(gaps) < _MOST_GAPS  # else wait for old gaps before making new ones
        reading = self._opened().read(gaps, keys.high, self._settings.batch_rows, with_new=with_new)
        _check_highest(reading.highest, keys)
        return reading

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _digest(row: LogRow) -> str:
    return digest_of(row.key, row.table, row.operation, row.transaction, row.written)


def _check_anchor(database: "LogDatabase", anchor: tuple[int, str]) -> None:
    """The row that was the highest when the position was stored is still the same row, if it is there."""
    row = database.row(anchor[0])
    if row is not None and _digest(row) != anchor[1]:
        raise PositionLost("the outbox table holds another row under a key that was read before", repair=_REPAIR)


def _check_highest(highest: int | None, keys: PassedKeys) -> None:
    if highest is not None and highest < keys.high:
        raise PositionLost("the outbox table's keys have gone backwards", repair=_REPAIR)


def _read_again(gaps: list[Gap], noticed: Noticed) -> list[Gap]:
    """Those of `gaps` that were there before this look, so that it has read them again."""
    return [gap for gap in gaps if gap.noticed is not noticed]


def _groups(reading: "Reading", batch_rows: int) -> Iterator[tuple[list[LogRow], bool]]:
    """Neighbouring rows of one transaction, and whether the group is whole.

    Of a reading that was cut the last group may go on: it is left for the next look, where it comes first, unless it
    fills a whole batch; then it comes in parts.
    """
    group: list[LogRow] = []
    for row in reading.rows:
        if group and not same_transaction(group[-1], row):
            yield group, True
            group = []
        group.append(row)
    if not group:
        return
    is_open = reading.is_cut and group[-1].transaction is not None
    if not is_open:
        yield group, True
    elif len(group) >= batch_rows:
        yield group, False
