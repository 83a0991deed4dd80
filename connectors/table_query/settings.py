"""The settings of table_query: which tables have a watermark, when the full scans are, and how much load is allowed."""

from typing import Final
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from connectors.section import ConnectorSection, DatabaseSection, ZoneName
from connectors.source import Table
from connectors.table_query.timetable import read_hours
from connectors.table_query.watermark import Watermark, WatermarkKind

_LONGEST_PAUSE_S: Final = 10.0
"""A page is made smaller where the rows a second that are allowed would make it wait longer for the next one."""


class WatermarkSettings(ConnectorSection):
    """A column that each INSERT and UPDATE sets to more than it was anywhere in the table."""

    column: str = Field(description="The column's name. It needs an index, best together with the key.")
    kind: WatermarkKind = Field(
        description="rowversion: SQL Server's own; modified: a time that each write sets; "
        "number: a number that each write takes from one sequence."
    )
    safety_lag_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="For modified: how far back each look reads again, in seconds. A change that commits later than "
        "so long after the time it wrote is found by the next full scan only.",
    )
    safety_numbers: int = Field(
        default=1000, ge=0, le=100_000, description="For number: how many numbers each look reads again."
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _kind_by_name(cls, kind: object) -> object:
        names = [known.value for known in WatermarkKind]
        return WatermarkKind(kind) if isinstance(kind, str) and kind in names else kind


class QueriedTableSettings(ConnectorSection):
    """How one table is read."""

    watermark: WatermarkSettings | None = Field(
        default=None, description="The column by which changes are found between full scans; none by default."
    )
    scan_every_s: float | None = Field(
        default=None, gt=0, description="The full scans of this table, in seconds; those of all tables by default."
    )


class TableQuerySettings(DatabaseSection):
    """SELECT on the mapped tables or views, and nothing more."""

    tables: dict[str, QueriedTableSettings] = Field(
        default={}, description="What differs from table to table, by the tables' names in the mapping."
    )
    scan_every_s: float | None = Field(
        default=86_400.0,
        gt=0,
        description="How often each table is read whole, in seconds from beginning to beginning. null: only once, "
        "which every table then needs a watermark for; deleted rows are then never noticed.",
    )
    scan_between: str | None = Field(
        default=None,
        description="The hours in which full scans may read, the first one too, such as 22:00-06:00; "
        "the whole day by default. A scan that is not done goes on the next day.",
    )
    time_zone: ZoneName = Field(
        default="Europe/Oslo", description="The zone of scan_between, and of a modified time that carries none."
    )
    delete_after_scans: int | None = Field(
        default=None,
        ge=2,
        description="A row that so many full scans, one after the other, have not found is taken as deleted. "
        "null: it stays, and is listed for a person.",
    )
    rows_per_second: float | None = Field(
        default=1000.0, gt=0, description="The most rows read in a second, over all tables; null for no limit."
    )
    chunk_rows: int = Field(default=500, ge=1, le=10_000, description="How many rows one query gives.")
    poll_s: float = Field(default=5.0, ge=0.01, le=60, description="The wait between two looks, in seconds.")
    identity: str = Field(
        default="", description="A name for this database. Give it another one when it is exchanged on purpose."
    )
    operation_timeout_s: float = Field(
        default=30.0, gt=0, le=60, description="How long the database may take for one query, in seconds."
    )

    @field_validator("scan_between")
    @classmethod
    def _readable_hours(cls, text: str | None) -> str | None:
        if text is not None:
            read_hours(text)
        return text

    def scans_of(self, table: str) -> float | None:
        """The period of a table's full scans in seconds; None for the first one only."""
        own = self.tables.get(table)
        return own.scan_every_s if own is not None and own.scan_every_s is not None else self.scan_every_s

    def watermark_of(self, table: Table) -> Watermark | None:
        """A table's watermark, if it has one."""
        own = self.tables.get(table.name)
        if own is None or own.watermark is None:
            return None
        told = own.watermark
        zone = ZoneInfo(self.time_zone)
        return Watermark(table.name_in_source, told.column, told.kind, told.safety_lag_s, told.safety_numbers, zone)

    @property
    def page_rows(self) -> int:
        """The rows of one query: `chunk_rows`, or what may be read in a few seconds if that is less."""
        if self.rows_per_second is None:
            return self.chunk_rows
        return min(self.chunk_rows, max(1, int(self.rows_per_second * _LONGEST_PAUSE_S)))
