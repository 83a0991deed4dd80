"""The reading of one table: full scans in key order, and looks by watermark in between. Blocking; moves its TableState.

Each page is a query of its own, so nothing is held open in the database between two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from connectors.source import Record, Unreadable
from connectors.table_query.database import QueriedDatabase
from connectors.table_query.rows import RawRow, RowReader, key_digest, state_digest
from connectors.table_query.state import MOST_ANCHORS, Anchor, TableState
from connectors.table_query.statements import Select, Statements
from connectors.table_query.troubles import RowsWentBack, WatermarkUnusable
from connectors.table_query.watermark import Level, Watermark, WatermarkKind


@dataclass(frozen=True, slots=True)
class Page:
    """What one query gave. records: what is to be told of it; rows: how many rows were read; is_last: no more now."""

    records: tuple[Record, ...] = field(repr=False)
    rows: int
    is_last: bool


@dataclass(slots=True)
class Look:
    """One look by watermark under way. began: by the database's clock (UTC).

    low: where the next query begins, None for the very beginning; ceiling: below which it ends, None for no end. slice:
    more rows than a page hold one moment, and are read from `low` up to it in key order, behind the key `after`.
    """

    began: datetime
    low: Level | None
    like: object
    ceiling: object
    slice: Level | None = None
    after: tuple[object, ...] | None = None


class TableReading:
    """Reads one table. `has_scans`: full scans come again, so a row without a watermark is found in the end."""

    def __init__(
        self,
        database: QueriedDatabase,
        statements: Statements,
        watermark: Watermark | None,
        state: TableState,
        *,
        page_rows: int,
        has_scans: bool,
    ) -> None:
        self.state: Final = state
        self._database: Final = database
        self._statements: Final = statements
        self._watermark: Final = watermark
        self._reader: Final = RowReader(statements.table)
        self._page_rows: Final = page_rows
        self._has_scans: Final = has_scans
        self._last_seen_by: datetime | None = None
        self._looked: datetime | None = None

    @property
    def name(self) -> str:
        """The table's name in the mapping."""
        return self._statements.table.name

    @property
    def looks(self) -> bool:
        """Whether there is a watermark to look by. The first scan tells everything and comes before the first look."""
        return self._watermark is not None and self.state.complete_from is not None

    @property
    def seen_through(self) -> datetime | None:
        """Every change committed before (UTC) has been told; None before the first scan is complete.

        By watermark: all but deletions, and what committed later than the lag allows. Otherwise as of the last scan.
        """
        if self._watermark is None or self.state.complete_from is None:
            return self.state.complete_from
        if self._looked is None:
            return self.state.complete_from
        is_timed = self._watermark.kind is WatermarkKind.MODIFIED
        return self._looked - timedelta(seconds=self._watermark.lag_s if is_timed else 0)

    def check_anchors(self) -> None:
        """Raise RowsWentBack where the rows read last are all gone, or one is older than it was."""
        anchors = self.state.anchors
        if not anchors:
            return
        there = self._database.rows(self._statements, self._statements.these([anchor.key for anchor in anchors]))
        name = self._statements.table.name_in_source
        if not there and len(anchors) == MOST_ANCHORS:
            raise RowsWentBack(name, f"the {MOST_ANCHORS} rows that were the last ones read are all gone")
        if self._watermark is None:
            return
        known = {anchor.key: self._watermark.level(anchor.watermark) for anchor in anchors}
        for row in there:
            level = None if row.watermark is None else self._watermark.level(row.watermark)
            if row.key in known and (level is None or self._watermark.went_back(known[row.key], level)):
                raise RowsWentBack(name, f"{self._watermark.column} of a row is older than when it was read")

    # Full scans:

    def begin_scan(self, ours: datetime) -> tuple[Record, ...]:
        """Begin a scan; what there is to say of rows that it cannot tell. The first one says where looks begin."""
        theirs = self._database.now()
        if self._watermark is not None and self.state.last is None:
            self._keep_last(self._highest(self._watermark, theirs), theirs)
        without_key = self._database.scalar(self._statements.without_key())
        self.state.begin_scan(ours, theirs)
        if not without_key:
            return ()
        why = f"{without_key} rows have no {self._statements.table.key[0]}, which is a column of the key"
        return (Unreadable(f"rows of {self.name}", why, b""),)

    def scan_page(self) -> Page:
        """The next page of the scan under way, all of its rows."""
        found = self._rows(self._statements.page(self.state.after, self._page_rows + 1))
        self._reader.check_order(found)
        page, is_last = found[: self._page_rows], len(found) <= self._page_rows
        if page:
            self.state.after = None if is_last and self._is_keyless(page) else self._reader.last_key(page)
            self.state.step += 1
        self._remember(page)
        self._anchor(page, self.state.scan_began_there)
        return Page(tuple(self._reader.read(row, snapshot=True) for row in page), len(found), is_last)

    def end_scan(self) -> None:
        """The scan's last page was told."""
        self.state.end_scan()

    # Looks by watermark:

    def begin_look(self) -> Look:
        """A look from the floor that the last one left."""
        watermark, state = self._required(), self.state
        began = self._database.now()
        ceiling = None
        if watermark.kind is WatermarkKind.ROWVERSION:
            ceiling = self._database.lowest_rowversion_at_work()
            if state.last is not None and watermark.went_back(watermark.level(state.last), watermark.level(ceiling)):
                raise RowsWentBack(self._statements.table.name_in_source, "the database's rowversion has gone back")
        if state.last is None:
            return Look(began, None, None, ceiling)
        self._last_seen_by = self._last_seen_by or began
        quiet = (self._looked - self._last_seen_by).total_seconds() if self._looked is not None else 0.0
        return Look(began, watermark.level(watermark.floor(state.last, max(0.0, quiet))), state.last, ceiling)

    def look_page(self, look: Look) -> Page:
        """The next page of a look: its rows that were not told in this state before."""
        found = self._look_rows(look)
        page, is_cut = found[: self._page_rows], len(found) > self._page_rows
        records = self._new(page)
        if records:
            self.state.step += 1
        if look.slice is not None:
            self._after_slice(look, page, is_cut)
            return Page(records, len(found), is_last=False)
        self._keep_last(page, look.began)
        self._anchor(page, look.began)
        if is_cut:
            self._read_on(look, page)
        else:
            self._end_look(look)
        return Page(records, len(found), is_last=not is_cut)

    def _look_rows(self, look: Look) -> list[RawRow]:
        watermark, limit = self._required(), self._page_rows + 1
        low = None if look.low is None else watermark.value(look.low, look.like)
        if look.slice is None or low is None:
            return self._rows(self._statements.since(low, look.ceiling, limit))
        until = watermark.value(look.slice, look.like)
        found = self._rows(self._statements.between(low, until, look.after, limit))
        self._reader.check_order(found)
        return found

    def _read_on(self, look: Look, page: Sequence[RawRow]) -> None:
        """From a little before the page's last row; where that is no progress, in key order up to the next moment."""
        watermark = self._required()
        if look.low is None:
            look.like = page[0].watermark
            look.low = watermark.level(watermark.value(watermark.level(look.like), look.like))
        back = watermark.before(watermark.level(page[-1].watermark))
        step = watermark.after(look.low)
        if _is_at_least(back, step):
            look.low = back
        else:
            look.slice, look.after = step, None

    def _after_slice(self, look: Look, page: Sequence[RawRow], is_cut: bool) -> None:
        if is_cut:
            look.after = self._reader.last_key(page)
        else:
            look.low, look.slice, look.after = look.slice, None, None

    def _end_look(self, look: Look) -> None:
        watermark = self._required()
        if look.ceiling is not None:
            self.state.last = look.ceiling
        self._looked = look.began
        if self.state.last is not None:
            self.state.recent.forget_below(watermark.level(watermark.floor(self.state.last)))

    # What both remember:

    def _new(self, rows: Sequence[RawRow]) -> tuple[Record, ...]:
        watermark, recent = self._required(), self.state.recent
        return tuple(
            self._reader.read(row, snapshot=False)
            for row in rows
            if recent.is_new(key_digest(row), state_digest(row), watermark.level(row.watermark))
        )

    def _remember(self, rows: Sequence[RawRow]) -> None:
        """Rows that a scan tells: those that a look would read again are known, of others no older state is."""
        if self._watermark is None:
            return
        last = self.state.last
        floor = None if last is None else self._watermark.level(self._watermark.floor(last))
        for row in rows:
            if row.watermark is None:
                self._refuse_lost_row()
                self.state.recent.forget(key_digest(row))
                continue
            level = self._watermark.level(row.watermark)
            if floor is None or _is_at_least(level, floor):
                self.state.recent.is_new(key_digest(row), state_digest(row), level)
            else:
                self.state.recent.forget(key_digest(row))

    def _refuse_lost_row(self) -> None:
        if not self._has_scans:
            why = "some rows have none, and no full scan would find what changes in them"
            raise WatermarkUnusable(self._statements.table.name_in_source, self._required().column, why)

    def _keep_last(self, rows: Sequence[RawRow], now: datetime) -> None:
        """The highest watermark of these rows, in their order, that lies not ahead of the database's clock."""
        watermark = self._required()
        for row in reversed(rows):
            if not watermark.may_be_last(row.watermark, now):
                continue
            level = watermark.level(row.watermark)
            if self.state.last is None or _is_above(level, watermark.level(self.state.last)):
                self.state.last, self._last_seen_by = row.watermark, None
            return

    def _highest(self, watermark: Watermark, now: datetime) -> list[RawRow]:
        """Where looks begin: the highest watermark that is not ahead of the database's clock."""
        if watermark.kind is WatermarkKind.ROWVERSION:
            return [RawRow((), self._database.lowest_rowversion_at_work(), ())]
        highest = self._database.scalar(self._statements.highest())
        if highest is not None and not watermark.may_be_last(highest, now):
            at_most = watermark.value(watermark.now_of(highest, now), highest)
            highest = self._database.scalar(self._statements.highest(at_most))
        return [] if highest is None else [RawRow((), highest, ())]

    def _anchor(self, rows: Sequence[RawRow], now: datetime | None) -> None:
        """The highest watermarks that are not ahead of the database's clock, else the last keys of a scan."""
        watermark = self._watermark
        keyed = [row for row in rows if all(part is not None for part in row.key)]
        if watermark is None:
            self.state.anchor([Anchor(row.key) for row in keyed[-MOST_ANCHORS:]])
            return
        marked = [
            Anchor(row.key, row.watermark)
            for row in keyed
            if row.watermark is not None and now is not None and watermark.may_be_last(row.watermark, now)
        ]
        known = {anchor.key: anchor for anchor in (*self.state.anchors, *marked)}
        ordered = sorted(known.values(), key=lambda anchor: watermark.level(anchor.watermark))
        self.state.anchors = ordered[-MOST_ANCHORS:]

    def _rows(self, statement: Select) -> list[RawRow]:
        return self._database.rows(self._statements, statement)

    def _required(self) -> Watermark:
        if self._watermark is None:
            raise ValueError(f"{self.name} has no watermark")
        return self._watermark

    @staticmethod
    def _is_keyless(page: Sequence[RawRow]) -> bool:
        return all(any(part is None for part in row.key) for row in page)


def _is_above(level: Level, other: Level) -> bool:
    """Levels of one table are of one type."""
    return level > other  # type: ignore[operator]


def _is_at_least(level: Level, other: Level) -> bool:
    return level >= other  # type: ignore[operator]
