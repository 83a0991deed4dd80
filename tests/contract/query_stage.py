"""A table that is asked with plain queries, for table_query's tests on SQLite, PostgreSQL and MariaDB."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from connectors.source import Capture, Position
from connectors.table_query.settings import QueriedTableSettings, TableQuerySettings, WatermarkSettings
from connectors.table_query.source import TableQuerySource
from connectors.table_query.timetable import Clocks
from tests.contract.source_behaviour import CAPTURE, WANTED, Written

CREATE: Final = {
    "sqlite": "CREATE TABLE tjeneste (tjeneste_id integer PRIMARY KEY, status text, start_dato text, endret integer)",
    "postgresql": "CREATE TABLE tjeneste (tjeneste_id bigint PRIMARY KEY, status text, start_dato date,"
    " endret timestamptz)",
    "mysql": "CREATE TABLE tjeneste (tjeneste_id bigint PRIMARY KEY, status varchar(40), start_dato date,"
    " endret datetime(6))",
}
NOW: Final = {
    "sqlite": "(SELECT coalesce(max(endret), 0) + 1 FROM tjeneste)",
    "postgresql": "clock_timestamp()",
    "mysql": "utc_timestamp(6)",
}
NUMBER: Final = WatermarkSettings(column="endret", kind="number", safety_numbers=3)
MODIFIED: Final = WatermarkSettings(column="endret", kind="modified", safety_lag_s=30.0)
FOUND_AS_BARE: Final = Capture((replace(CAPTURE.tables[0], found_as="tjeneste"),))


class HandClocks:
    """Clocks that stand still; a sleep moves both by as much as it was to take, and is written down."""

    def __init__(self, now: datetime = datetime(2026, 3, 2, 12, tzinfo=UTC)) -> None:
        self.at = now
        self.run_s = 0.0
        self.slept_s: list[float] = []

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.run_s += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.at, lambda: self.run_s, self.sleep)


class QueryStage:
    """The table `tjeneste` behind `engine`, with a watermark `endret`.

    where: the source's setting that finds it. anew: puts an empty database in its place.
    """

    start: Position | None = None

    def __init__(self, engine: sa.Engine, where: dict[str, Path], anew: Callable[[], None]) -> None:
        self.engine = engine
        self.anew = anew
        self.hand = HandClocks()
        mark = NUMBER if engine.dialect.name == "sqlite" else MODIFIED
        self.settings = TableQuerySettings(
            **where,
            tables={WANTED: QueriedTableSettings(watermark=mark)},
            poll_s=0.01,
            chunk_rows=7,
            rows_per_second=None,
            time_zone="UTC",
        )
        self.create()

    def create(self) -> None:
        self.do(CREATE[self.engine.dialect.name])

    def do(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def write(self, changes: Sequence[Written]) -> None:
        for change in changes:
            if change.table == WANTED:
                with self.engine.begin() as connection:
                    self.put(connection, change)

    def put(self, connection: sa.Connection, change: Written) -> None:
        values = {"key": change.key, "status": change.status}
        if change.status is None:
            connection.execute(sa.text("DELETE FROM tjeneste WHERE tjeneste_id = :key"), values)
            return
        now = NOW[self.engine.dialect.name]
        update = f"UPDATE tjeneste SET status = :status, endret = {now} WHERE tjeneste_id = :key"
        if connection.execute(sa.text(update), values).rowcount == 0:
            insert = f"INSERT INTO tjeneste SELECT :key, :status, {self.day}, {now}"
            connection.execute(sa.text(insert), values)

    def put_at(self, key: int, status: str, behind: int) -> None:
        """A row whose watermark is so many numbers, or seconds, behind the highest one."""
        mark = {
            "sqlite": "(SELECT max(endret) FROM tjeneste) - :behind",
            "postgresql": "(SELECT max(endret) FROM tjeneste) - :behind * interval '1 second'",
            "mysql": "(SELECT max(endret) FROM (SELECT endret FROM tjeneste) AS x) - INTERVAL :behind SECOND",
        }[self.engine.dialect.name]
        statement = f"INSERT INTO tjeneste SELECT :key, :status, {self.day}, {mark}"
        self.do(statement, key=key, status=status, behind=behind)

    @property
    def day(self) -> str:
        return "'2026-01-15'" if self.engine.dialect.name == "sqlite" else "DATE '2026-01-15'"

    def open(self, position: Position | None, **settings: object) -> TableQuerySource:
        return TableQuerySource(self.settings.model_copy(update=settings), FOUND_AS_BARE, position)

    def open_by_hand(
        self, position: Position | None, capture: Capture = FOUND_AS_BARE, **settings: object
    ) -> TableQuerySource:
        """The same on clocks that are moved by hand."""
        changed = self.settings.model_copy(update=settings)
        return TableQuerySource(changed, capture, position, clocks=self.hand.clocks)

    def exchange(self) -> None:
        self.engine.dispose()
        self.anew()
        self.create()
        self.write([Written(number, "other") for number in range(5)])

    def remove(self) -> None:
        self.do("DROP TABLE tjeneste")
