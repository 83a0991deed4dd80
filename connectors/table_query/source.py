"""Plain queries, where the database administrator grants SELECT and nothing more: any database SQLAlchemy reaches.

Rows are told as they are when they are read; what happened between two readings is not seen. A table with a watermark
is looked at every `poll_s` for rows above it (connectors/table_query/watermark.py says why none is missed). Every table
is read whole from time to time, in pages by its key: that finds what a watermark does not, and it is all there is for a
table without one. Full scans tell every row: whoever keeps rows compares, and finds those that are there no more. Each
page is one transaction. The order within a key is that of reading.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self, TypeVar
from zoneinfo import ZoneInfo

from connectors.source import (
    Capture,
    Mark,
    Position,
    Record,
    Scan,
    SourceError,
    Table,
    Transaction,
)
from connectors.table_query.settings import TableQuerySettings
from connectors.table_query.state import TableState, position_of, states_of
from connectors.table_query.timetable import Clocks, Pace, Timetable, read_hours
from connectors.table_query.troubles import AnotherDatabase, QueryUnanswered, TablesUnfit
from connectors.table_query.watermark import WatermarkKind
from connectors.worker_thread import WorkerThread

if TYPE_CHECKING:
    from connectors.table_query.database import QueriedDatabase
    from connectors.table_query.reading import TableReading

Result = TypeVar("Result")

_CLOSE_TIMEOUT_S: Final = 5.0
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class TableQuerySource:
    """The tables as a Source. `clocks`: for the hours and the pace; a test moves them by hand."""

    def __init__(
        self,
        settings: TableQuerySettings,
        capture: Capture,
        position: Position | None,
        *,
        clocks: Clocks | None = None,
    ) -> None:
        clocks = clocks or Clocks()
        hours = None if settings.scan_between is None else read_hours(settings.scan_between)
        self._settings: Final = settings
        self._capture: Final = capture
        self._position: Final = position
        self._clocks: Final = clocks
        self._timetable: Final = Timetable(hours, ZoneInfo(settings.time_zone), clocks)
        self._pace: Final = Pace(settings.rows_per_second, clocks)
        self._states: Final[dict[str, TableState]] = states_of([table.name for table in capture.tables], position)
        self._worker: WorkerThread | None = None
        self._database: QueriedDatabase | None = None
        self._readings: tuple[TableReading, ...] = ()
        self._incarnation = ""
        self._is_used = self._is_read = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        self._worker = WorkerThread("table-query")
        try:
            await self._run(self._connect)
            for table in self._capture.tables:
                await self._run(lambda table=table: self._begin(table))  # type: ignore[misc]  # bound at once
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end(self._close, _CLOSE_TIMEOUT_S, of_no_matter=SourceError)

    async def identity(self) -> str:
        """`query:` with the cluster's and the database's own identity (PostgreSQL), and the configured one."""
        return await self._run(lambda: self._opened().identity(self._settings.identity))

    async def transactions(self) -> AsyncIterator[Transaction]:
        """Pages of full scans as their hours and the pace allow, and in between, every poll_s, what looks find."""
        if self._worker is None or self._is_read:
            raise RuntimeError("transactions() is read once, inside the source's context")
        self._is_read = True
        position = self._here()
        next_look_s = self._clocks.monotonic_s()
        looked_last = False  # looks and a scan's pages take turns: the rows that looks read again never starve a scan
        while True:
            scanned = self._to_scan()
            if scanned is None or (self._clocks.monotonic_s() >= next_look_s and not looked_last):
                next_look_s = self._clocks.monotonic_s() + self._settings.poll_s
                looked_last = True
                for reading in self._readings:
                    async for records in self._look(reading):
                        position = self._here()
                        yield Transaction(records, position)
            if scanned is None:
                yield Transaction((), position, seen_through=self._seen_through())
                await self._clocks.sleep(self._settings.poll_s)
            elif (wait_s := self._pace.wait_s()) > 0:
                yield Transaction((), position)
                await self._clocks.sleep(min(wait_s, self._settings.poll_s))
            else:
                looked_last = False
                async for transaction in self._scan(scanned):
                    position = transaction.position
                    yield transaction

    async def acknowledge(self, position: Position) -> None:
        """Nothing: the database keeps no place for us."""

    def _to_scan(self) -> "TableReading | None":
        """The one table whose scan is under way, else the one that has waited longest; None outside the hours."""
        if not self._timetable.is_open():
            return None
        under_way = next((reading for reading in self._readings if reading.state.is_scanning), None)
        if under_way is not None:
            return under_way
        due = [reading for reading in self._readings if self._is_due(reading)]
        return min(due, key=lambda reading: reading.state.scan_began or _NEVER, default=None)

    def _is_due(self, reading: "TableReading") -> bool:
        return self._timetable.is_due(self._settings.scans_of(reading.name), reading.state.scan_began)

    async def _scan(self, reading: "TableReading") -> AsyncIterator[Transaction]:
        """The next page of a table's scan, its beginning before the first one and its end behind the last."""
        if not reading.state.is_scanning:
            ours = self._clocks.now()
            records = await self._run(lambda: reading.begin_scan(ours))
            yield self._of_scan(reading, Mark.BEGIN, records)
        page = await self._run(reading.scan_page)
        self._pace.took(page.rows)
        if page.records:
            yield self._of_scan(reading, Mark.INSIDE, page.records)
        if page.is_last:
            reading.end_scan()
            yield self._of_scan(reading, Mark.END, ())

    def _of_scan(self, reading: "TableReading", mark: Mark, records: tuple[Record, ...]) -> Transaction:
        scan = Scan(mark, (reading.name,), self._settings.delete_after_scans)
        return Transaction(records, self._here(), scan=scan)

    async def _look(self, reading: "TableReading") -> AsyncIterator[tuple[Record, ...]]:
        """What a table's watermark shows to be new, page by page."""
        if not reading.looks:
            return
        look = await self._run(reading.begin_look)
        is_last = False
        while not is_last:
            while (wait_s := self._pace.wait_s()) > 0:
                await self._clocks.sleep(wait_s)
            page = await self._run(lambda: reading.look_page(look))
            self._pace.took(page.rows)
            is_last = page.is_last
            if page.records:
                yield page.records

    def _seen_through(self) -> datetime | None:
        moments = [reading.seen_through for reading in self._readings]
        known = [moment for moment in moments if moment is not None]
        return min(known) if known and len(known) == len(moments) else None

    def _here(self) -> Position:
        return position_of(self._incarnation, self._states)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._worker is None:
            raise RuntimeError("the source is used inside its context")
        try:
            return await self._worker.run(work, self._settings.operation_timeout_s)
        except TimeoutError:
            raise QueryUnanswered(f"did not answer in {self._settings.operation_timeout_s} s") from None

    # In the worker's thread:

    def _opened(self) -> "QueriedDatabase":
        if self._database is None:
            raise RuntimeError("the source is used inside its context")
        return self._database

    def _connect(self) -> None:
        # SQLAlchemy is 20 MiB that only a few sources need
        from connectors.sql_connection import read_url, url_text  # noqa: PLC0415
        from connectors.table_query.database import QueriedDatabase  # noqa: PLC0415

        settings = self._settings
        url = read_url(url_text(settings.sqlite_file, settings.url_file))
        self._database = QueriedDatabase(url, timeout_s=settings.operation_timeout_s)
        self._check_tables(self._database.dialect)
        self._incarnation = self._database.identity(settings.identity)
        if self._position is not None and self._position.incarnation != self._incarnation:
            raise AnotherDatabase

    def _begin(self, table: Table) -> None:
        from connectors.table_query.reading import TableReading  # noqa: PLC0415  loads SQLAlchemy

        database, settings = self._opened(), self._settings
        watermark = settings.watermark_of(table)
        reading = TableReading(
            database,
            database.find(table, None if watermark is None else watermark.column),
            watermark,
            self._states[table.name],
            page_rows=settings.page_rows,
            has_scans=settings.scans_of(table.name) is not None,
        )
        reading.check_anchors()
        self._readings = (*self._readings, reading)

    def _check_tables(self, dialect: str) -> None:
        """Settings that the mapping has no table for, and tables that nothing would read again."""
        names = {table.name for table in self._capture.tables}
        if unknown := sorted(set(self._settings.tables) - names):
            raise TablesUnfit(
                f"source.table_query.tables names {', '.join(unknown)}, which the mapping has not",
                "write the tables as the mapping has them",
            )
        for table in self._capture.tables:
            watermark = self._settings.watermark_of(table)
            if watermark is None and self._settings.scans_of(table.name) is None:
                raise TablesUnfit(
                    f"{table.name} has neither a watermark nor full scans: nothing would be read twice",
                    "set scan_every_s, or give the table a watermark",
                )
            if watermark is not None and watermark.kind is WatermarkKind.ROWVERSION and dialect != "mssql":
                raise TablesUnfit(
                    f"the watermark of {table.name} is a rowversion, which only SQL Server has",
                    "use modified or number, or full scans alone",
                )

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
