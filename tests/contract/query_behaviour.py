"""What table_query does on every database, beyond the contract of a source."""

import random
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import sqlalchemy as sa

from connectors.source import (
    Capture,
    Change,
    Column,
    Kind,
    Mark,
    Position,
    PositionLost,
    SourceChanged,
    Table,
    Transaction,
    Unreadable,
)
from connectors.table_query.settings import QueriedTableSettings
from connectors.table_query.source import TableQuerySource
from tests.contract.query_stage import FOUND_AS_BARE, QueryStage
from tests.contract.source_behaviour import (
    AnySourceBehaviour,
    Seen,
    Written,
    caught_up,
    read_all,
    read_until,
    reading,
)

DAY_S = 86_400.0
ROWS = [Written(number, f"v{number}") for number in range(40)]
TOLD = [(row.key, row.status) for row in ROWS]
NO_WATERMARK: dict[str, QueriedTableSettings] = {}
STAY = Capture((Table("opphold", ("a", "b", "c"), (Column("status", Kind.TEXT),)),))


def scans(seen: Seen) -> list[Mark]:
    return [transaction.scan.mark for transaction in seen.transactions if transaction.scan is not None]


def ended(times: int) -> "object":
    return lambda seen: scans(seen).count(Mark.END) >= times


def told_by(transactions: Iterable[Transaction], *, snapshot: bool) -> list[tuple[object, object]]:
    """Key and status of the changes that scans (or looks) told."""
    return [
        (change.key["tjeneste_id"], change.row["status"])
        for transaction in transactions
        for change in transaction.records
        if isinstance(change, Change) and change.key and change.row and change.snapshot is snapshot
    ]


async def caught_up_again(stream: object, seen: Seen, times: int = 2) -> Seen:
    """Look so many times."""
    for _ in range(times):
        await read_until(stream, caught_up, seen)  # type: ignore[arg-type]  # the stream of `reading`
    return seen


class QueryBehaviour(AnySourceBehaviour):
    """Inherit with a fixture `stage` that is a QueryStage."""

    history: ClassVar[list[Written]] = ROWS  # type: ignore[misc]  # each key once: what is told is what was written

    # Full scans:

    async def test_a_scan_tells_every_row_once_between_its_marks(self, stage: QueryStage) -> None:
        stage.write(ROWS)
        seen = await read_all(stage.open(None, delete_after_scans=2))
        assert scans(seen) == [Mark.BEGIN, *[Mark.INSIDE] * 6, Mark.END]
        assert told_by(seen.transactions, snapshot=True) == TOLD
        assert {(change.snapshot, change.version) for change in seen.changes} == {(True, None)}
        marked = [transaction.scan for transaction in seen.transactions if transaction.scan]
        assert {(scan.tables, scan.absent_after) for scan in marked} == {(("demo.tjeneste",), 2)}
        assert all(transaction.final for transaction in seen.transactions)

    async def test_an_empty_table_is_scanned_too(self, stage: QueryStage) -> None:
        seen = await read_all(stage.open(None))
        assert scans(seen) == [Mark.BEGIN, Mark.END]
        stage.write(ROWS[:3])
        assert (await read_all(stage.open(seen.position))).told == TOLD[:3]

    @pytest.mark.parametrize("rows", [6, 7, 8, 14, 15])
    async def test_no_row_is_passed_where_a_page_ends(self, stage: QueryStage, rows: int) -> None:
        stage.write(ROWS[:rows])
        assert (await read_all(stage.open(None))).told == TOLD[:rows]

    async def test_a_scan_broken_off_goes_on_behind_the_last_key_without_a_new_beginning(
        self, stage: QueryStage
    ) -> None:
        stage.write(ROWS)
        async with reading(stage.open(None)) as stream:
            broken = await read_until(stream, lambda seen: len(seen.changes) >= 14)
        rest = await read_all(stage.open(broken.position))
        assert broken.told + rest.told == TOLD
        assert scans(broken) + scans(rest) == [Mark.BEGIN, *[Mark.INSIDE] * 6, Mark.END]

    async def test_the_next_scan_begins_when_its_time_has_come_and_not_before(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        first = await read_all(stage.open_by_hand(None))
        stage.hand.move(DAY_S - 1)
        early = await read_all(stage.open_by_hand(first.position))
        assert scans(early) == []
        stage.hand.move(2)
        second = await read_all(stage.open_by_hand(early.position))
        assert scans(second) == [Mark.BEGIN, Mark.INSIDE, Mark.END]
        assert told_by(second.transactions, snapshot=True) == TOLD[:3]
        assert [transaction.position.place["demo.tjeneste"][0] for transaction in second.transactions] == [2, 2, 2, 2]

    async def test_a_deleted_row_is_what_a_complete_scan_does_not_tell(self, stage: QueryStage) -> None:
        stage.write(ROWS[:10])
        first = await read_all(stage.open_by_hand(None))
        stage.write([Written(4, None)])
        stage.hand.move(DAY_S)
        second = await read_all(stage.open_by_hand(first.position, delete_after_scans=2))
        assert scans(second)[-1] is Mark.END
        assert told_by(second.transactions, snapshot=True) == [row for row in TOLD[:10] if row[0] != 4]

    async def test_without_a_watermark_scans_alone_tell_changes(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        first = await read_all(stage.open_by_hand(None, tables=NO_WATERMARK))
        stage.write([Written(1, "changed")])
        unseen = await read_all(stage.open_by_hand(first.position, tables=NO_WATERMARK))
        assert unseen.told == []
        stage.hand.move(DAY_S)
        second = await read_all(stage.open_by_hand(unseen.position, tables=NO_WATERMARK))
        assert second.told == [(0, "v0"), (1, "changed"), (2, "v2")]

    async def test_a_scan_keeps_to_its_hours_and_goes_on_the_next_day(self, stage: QueryStage) -> None:
        stage.write(ROWS)
        settings = {"scan_between": "22:00-23:00", "rows_per_second": 7 / 1500, "chunk_rows": 7, "poll_s": 60.0}
        async with reading(stage.open_by_hand(None, **settings)) as stream:
            moments: list[datetime] = []
            seen = Seen()
            while not scans(seen) or scans(seen)[-1] is not Mark.END:
                await read_until(stream, lambda _: True, seen)
                if seen.transactions[-1].scan is not None:
                    moments.append(stage.hand.at)
        assert seen.told == TOLD
        assert {moment.hour for moment in moments} == {22}
        assert len({moment.date() for moment in moments}) > 1

    async def test_looks_go_on_outside_the_hours(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        first = await read_all(stage.open_by_hand(None))
        stage.hand.move(3 * DAY_S)
        stage.write([Written(7, "new")])
        second = await read_all(stage.open_by_hand(first.position, scan_between="22:00-23:00"))
        assert (scans(second), second.told) == ([], [(7, "new")])

    async def test_no_more_rows_are_read_than_the_pace_allows(self, stage: QueryStage) -> None:
        stage.write(ROWS)
        began_s = stage.hand.run_s
        await read_all(stage.open_by_hand(None, rows_per_second=2.0))
        # all rows, and with each of five pages one more, which shows that it is not the last; nothing waits for the
        # last page's own rows
        assert stage.hand.run_s - began_s >= (40 + 5 - 7) / 2.0

    async def test_looks_come_between_the_pages_of_a_slow_scan(self, stage: QueryStage) -> None:
        stage.write(ROWS)
        first = await read_all(stage.open_by_hand(None))
        stage.hand.move(DAY_S)
        async with reading(stage.open_by_hand(first.position, rows_per_second=1.0, poll_s=1.0)) as stream:
            seen = await read_until(stream, lambda seen: len(seen.changes) >= 7)
            stage.write([Written(99, "urgent")])
            await read_until(stream, lambda seen: seen.told[-1] == (99, "urgent"), seen)
            assert Mark.END not in scans(seen)

    # Looks by watermark:

    async def test_a_row_seen_in_the_overlap_is_told_once(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            stage.write([Written(5, "new")])
            await caught_up_again(stream, seen, 4)
        assert seen.told == [*TOLD[:3], (5, "new")]

    async def test_a_value_changed_and_changed_back_is_told_each_time(self, stage: QueryStage) -> None:
        stage.write([Written(1, "a")])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            for status in ("b", "a", "b"):
                stage.write([Written(1, status)])
                await caught_up_again(stream, seen)
        assert seen.told == [(1, "a"), (1, "b"), (1, "a"), (1, "b")]

    async def test_a_change_without_a_new_watermark_is_seen_within_the_overlap(self, stage: QueryStage) -> None:
        """Two writes in one tick of the clock: the later one must not be taken for the earlier one."""
        stage.write([Written(1, "a")])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            for status in ("b", "a"):
                stage.do("UPDATE tjeneste SET status = :status", status=status)
                await caught_up_again(stream, seen)
        assert seen.told == [(1, "a"), (1, "b"), (1, "a")]

    async def test_a_commit_within_the_lag_is_found(self, stage: QueryStage) -> None:
        """Its watermark lies below one that was seen before it committed."""
        stage.write(ROWS[:5])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            stage.put_at(50, "late", behind=2)
            await caught_up_again(stream, seen)
        assert seen.told == [*TOLD[:5], (50, "late")]

    async def test_a_commit_behind_the_lag_is_found_by_the_next_full_scan(self, stage: QueryStage) -> None:
        stage.write(ROWS[:5])
        first = await read_all(stage.open_by_hand(None))
        stage.put_at(50, "too late", behind=40)
        unseen = await read_all(stage.open_by_hand(first.position))
        assert unseen.told == []
        stage.hand.move(DAY_S)
        assert (50, "too late") in (await read_all(stage.open_by_hand(unseen.position))).told

    async def test_more_rows_of_one_moment_than_a_page_are_all_told_once(self, stage: QueryStage) -> None:
        """A vendor's upgrade touches every row in one statement."""
        stage.write(ROWS)
        async with reading(stage.open(None)) as stream:
            await read_until(stream, caught_up)
            highest = "(SELECT max(x.endret) FROM (SELECT endret FROM tjeneste) AS x)"
            stage.do(f"UPDATE tjeneste SET status = 'all', endret = {highest}")
            stage.write([Written(99, "after")])
            later = await read_until(stream, lambda seen: (99, "after") in seen.told and caught_up(seen))
            await caught_up_again(stream, later)
        assert sorted(later.told) == sorted([*((key, "all") for key, _ in TOLD), (99, "after")])

    async def test_a_look_broken_off_is_gone_on_with(self, stage: QueryStage) -> None:
        stage.write(ROWS[:1])
        position = (await read_all(stage.open(None))).position
        stage.write(ROWS[1:])
        told: list[tuple[int, str | None]] = []
        for _ in range(39):
            if len(told) < 39:
                async with reading(stage.open(position)) as stream:
                    part = await read_until(stream, lambda seen: bool(seen.changes))
                told += part.told
                position = part.position
        assert told == TOLD[1:]
        assert (await read_all(stage.open(position))).told == []

    async def test_a_watermark_ahead_of_the_clock_hides_nothing(self, stage: QueryStage) -> None:
        """A date in 2099 is no reason to wait until then. (A number has no clock that it could be ahead of.)"""
        if stage.engine.dialect.name == "sqlite":
            stage.do("DROP TABLE tjeneste")
            stage.do(
                "CREATE TABLE tjeneste (tjeneste_id integer PRIMARY KEY, status text, start_dato text, endret text)"
            )
        now = "strftime('%Y-%m-%dT%H:%M:%f', 'now')" if stage.engine.dialect.name == "sqlite" else "current_timestamp"
        insert = f"INSERT INTO tjeneste SELECT :key, :status, {stage.day}, {{}}"
        modified = {
            "demo.tjeneste": QueriedTableSettings.model_validate(
                {"watermark": {"column": "endret", "kind": "modified"}}
            )
        }
        stage.do(insert.format(now), key=1, status="now")
        stage.do(insert.format("'2099-01-01T00:00:00.000'"), key=2, status="2099")
        async with reading(stage.open(None, tables=modified)) as stream:
            seen = await read_until(stream, caught_up)
            stage.do(insert.format(now), key=3, status="new")
            stage.do(insert.format("'2099-01-01T00:00:00.000'"), key=4, status="2099")
            await caught_up_again(stream, seen, 3)
            stage.do(insert.format(now), key=5, status="newer")
            await caught_up_again(stream, seen, 3)
        assert sorted(seen.told) == [(1, "now"), (2, "2099"), (3, "new"), (4, "2099"), (5, "newer")]

    async def test_progress_is_told_with_the_lag_in_reserve(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        told = (await read_all(stage.open(None))).transactions[-1].seen_through
        assert told is not None
        lag_s = 0 if stage.engine.dialect.name == "sqlite" else 30
        age_s = (datetime.now(UTC) - told).total_seconds()
        assert age_s >= lag_s - 2  # the two clocks are the same machine's

    async def test_idle_progress_costs_no_new_position(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            before = seen.position
            await caught_up_again(stream, seen, 5)
        assert seen.position == before

    async def test_many_writers_and_restarts_leave_the_picture_of_the_database(self, stage: QueryStage) -> None:
        """Writers whose transactions overlap, a reader that is restarted now and then: nothing is missed."""
        stage.write(ROWS)  # MariaDB's inserts would lock each other's gaps
        done = threading.Event()
        is_sqlite = stage.engine.dialect.name == "sqlite"  # its writers take turns: no commit is ever late

        def write(writer: int) -> None:
            chance = random.Random(writer)
            for number in range(30):
                with stage.engine.connect() as connection:
                    transaction = connection.begin()
                    for _ in range(chance.randint(1, 3)):
                        row = chance.randrange(10) * 4 + writer  # each writer has rows of its own: no deadlock
                        stage.put(connection, Written(row, f"{writer}.{number}.{chance.random()}"))
                    done.wait(0 if is_sqlite else chance.random() * 0.03)
                    if chance.random() < 0.2:
                        transaction.rollback()
                    else:
                        transaction.commit()

        writers = [threading.Thread(target=write, args=(number,)) for number in range(1 if is_sqlite else 4)]
        for writer in writers:
            writer.start()
        picture: dict[int, str | None] = {}
        position: Position | None = None
        chance = random.Random(99)
        try:
            while any(writer.is_alive() for writer in writers):
                position = await self._read_some(stage.open(position), chance.randint(1, 12), picture, position)
        finally:
            done.set()
            for writer in writers:
                writer.join()
        rest = await read_all(stage.open(position))
        picture.update(rest.told)
        with stage.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT tjeneste_id, status FROM tjeneste")).all()
        assert picture == {row.tjeneste_id: row.status for row in rows}
        assert any("." in str(status) for status in picture.values())

    @staticmethod
    async def _read_some(
        source: TableQuerySource, transactions: int, picture: dict[int, str | None], position: Position | None
    ) -> Position | None:
        """Read so many transactions; what was told counts as durable but for the last one, which comes again."""
        async with reading(source) as stream:
            seen = await read_until(stream, lambda seen: len(seen.transactions) >= transactions)
        kept = seen.transactions[:-1]
        for transaction in kept:
            for change in transaction.records:
                assert isinstance(change, Change)
                assert change.key is not None
                assert change.row is not None
                picture[int(str(change.key["tjeneste_id"]))] = str(change.row["status"])
        return kept[-1].position if kept else position

    # Keys:

    async def test_a_key_of_several_columns_is_paged_without_loss_or_double(self, stage: QueryStage) -> None:
        chance = random.Random(4)
        keys = sorted({(chance.randrange(4), f"k{chance.randrange(5)}", chance.randrange(4)) for _ in range(60)})
        stage.do(
            "CREATE TABLE opphold (a integer, b varchar(10), c integer, status varchar(10), PRIMARY KEY (a, b, c))"
        )
        for a, b, c in keys:
            stage.do("INSERT INTO opphold VALUES (:a, :b, :c, 'x')", a=a, b=b, c=c)
        source = stage.open_by_hand(None, STAY, tables=NO_WATERMARK)
        seen = await read_all(source)
        told = [tuple((change.key or {}).values()) for change in seen.changes]
        assert told == [(str(a), b, str(c)) for a, b, c in keys]

    async def test_a_view_is_as_good_as_a_table(self, stage: QueryStage) -> None:
        stage.write(ROWS[:10])
        stage.do("CREATE VIEW kpr_tjeneste AS SELECT * FROM tjeneste WHERE tjeneste_id > 2")
        view = Capture((replace(FOUND_AS_BARE.tables[0], found_as="kpr_tjeneste"),))
        seen = await read_all(stage.open_by_hand(None, view))
        assert seen.told == TOLD[3:10]

    async def test_a_view_with_doubled_keys_is_refused_by_its_code(self, stage: QueryStage) -> None:
        stage.write(ROWS[:10])
        stage.do(
            "CREATE VIEW kpr_tjeneste AS SELECT t.* FROM tjeneste AS t"
            " JOIN (SELECT 1 AS n UNION ALL SELECT 2) AS d ON d.n > 0"
        )
        view = Capture((replace(FOUND_AS_BARE.tables[0], found_as="kpr_tjeneste"),))
        for chunk_rows in (1, 2, 7):
            with pytest.raises(SourceChanged) as refusal:
                await read_all(stage.open_by_hand(None, view, chunk_rows=chunk_rows))
            assert (refusal.value.code, bool(refusal.value.repair)) == ("KPR-155", True)

    async def test_rows_without_a_key_are_told_of(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        stage.do(
            "CREATE VIEW kpr_tjeneste AS SELECT NULLIF(tjeneste_id, 1) AS tjeneste_id, status, start_dato, endret"
            " FROM tjeneste"
        )
        view = Capture((replace(FOUND_AS_BARE.tables[0], found_as="kpr_tjeneste"),))
        seen = await read_all(stage.open_by_hand(None, view))
        records = [record for transaction in seen.transactions for record in transaction.records]
        assert [(record.place, record.why) for record in records if isinstance(record, Unreadable)] == [
            ("rows of demo.tjeneste", "1 rows have no tjeneste_id, which is a column of the key")
        ]
        assert seen.told == [TOLD[0], TOLD[2]]

    # What is no longer as it was:

    async def test_a_column_renamed_is_found_by_the_name_that_is_there(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        table = FOUND_AS_BARE.tables[0]
        renamed = tuple(
            replace(column, name="tilstand", earlier_names=("status",)) if column.name == "status" else column
            for column in table.columns
        )
        capture = Capture((replace(table, columns=renamed),))
        for rename in ("ALTER TABLE tjeneste RENAME COLUMN status TO tilstand", "SELECT 1"):
            seen = await read_all(stage.open_by_hand(None, capture))
            assert [change.row["tilstand"] for change in seen.changes if change.row] == ["v0", "v1", "v2"]
            stage.do(rename)

    async def test_a_mapped_column_gone_stops_the_source_and_is_named(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            stage.do("ALTER TABLE tjeneste RENAME COLUMN status TO tilstand")
            with pytest.raises(SourceChanged):
                await read_until(stream, lambda _: False, seen)
        with pytest.raises(SourceChanged, match="tjeneste has no column status") as refusal:
            await read_all(stage.open(seen.position))
        assert refusal.value.code == "KPR-154"
        stage.do("ALTER TABLE tjeneste RENAME COLUMN tilstand TO status")
        assert (await read_all(stage.open(seen.position))).told == []

    async def test_a_table_gone_is_named(self, stage: QueryStage) -> None:
        stage.remove()
        with pytest.raises(SourceChanged, match="tjeneste is not there") as refusal:
            await read_all(stage.open(None))
        assert refusal.value.code == "KPR-153"

    async def test_a_watermark_of_another_type_is_refused(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        for column in ("status", "start_dato"):
            mark = {"column": column, "kind": "modified"}
            tables = {"demo.tjeneste": QueriedTableSettings.model_validate({"watermark": mark})}
            with pytest.raises(SourceChanged) as refusal:
                await read_all(stage.open(None, tables=tables))
            assert refusal.value.code == "KPR-156"

    async def test_rows_older_than_they_were_are_a_lost_position_invariant_2(self, stage: QueryStage) -> None:
        """A backup was restored: the row that was changed last is there in its older state."""
        stage.write(ROWS[:10])
        with stage.engine.connect() as connection:
            old = connection.execute(sa.text("SELECT endret FROM tjeneste WHERE tjeneste_id = 9")).scalar_one()
        stage.write([Written(9, "changed")])
        position = (await read_all(stage.open(None))).position
        stage.do("UPDATE tjeneste SET status = 'v9', endret = :old WHERE tjeneste_id = 9", old=old)
        with pytest.raises(PositionLost) as refusal:
            await read_all(stage.open(position))
        assert (refusal.value.code, bool(refusal.value.repair)) == ("KPR-158", True)

    @pytest.mark.parametrize("tables", [None, NO_WATERMARK], ids=["watermark", "scans"])
    async def test_the_last_rows_all_gone_are_a_lost_position_invariant_2(
        self, stage: QueryStage, tables: dict[str, QueriedTableSettings] | None
    ) -> None:
        settings = {} if tables is None else {"tables": tables}
        stage.write(ROWS[:10])
        position = (await read_all(stage.open(None, **settings))).position
        stage.do("DELETE FROM tjeneste WHERE tjeneste_id >= 6")
        assert (await read_all(stage.open(position, **settings))).told == []
        stage.do("DELETE FROM tjeneste WHERE tjeneste_id >= 5")
        with pytest.raises(PositionLost) as refusal:
            await read_all(stage.open(position, **settings))
        assert refusal.value.code == "KPR-158"

    async def test_another_configured_identity_is_another_database(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        position = (await read_all(stage.open(None))).position
        with pytest.raises(PositionLost) as refusal:
            await read_all(stage.open(position, identity="exchanged"))
        assert refusal.value.code == "KPR-157"

    async def test_a_position_without_its_detail_reads_again_and_never_goes_back(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        first = await read_all(stage.open(None))
        again = await read_all(stage.open(replace(first.position, detail="")))
        assert again.told == first.told
        assert again.position.place["demo.tjeneste"] > first.position.place["demo.tjeneste"]

    async def test_a_table_new_in_the_mapping_is_scanned_and_the_others_go_on(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        position = (await read_all(stage.open(None))).position
        stage.do("CREATE TABLE opphold (a integer, b integer, c integer, status varchar(10), PRIMARY KEY (a, b, c))")
        stage.do("INSERT INTO opphold VALUES (1, 2, 3, 'x')")
        both = Capture((*FOUND_AS_BARE.tables, *STAY.tables))
        seen = await read_all(TableQuerySource(stage.settings, both, position))
        assert [change.table for change in seen.changes] == ["opphold"]

    async def test_nothing_can_be_written_through_its_connection(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        source = stage.open(None)
        async with source:
            database = source._opened()
            with pytest.raises(Exception, match=r"cannot be read|is not there"):
                await source._run(lambda: database.scalar(sa.text("DELETE FROM tjeneste")))
        assert len((await read_all(stage.open(None))).told) == 3

    async def test_seen_through_of_scans_alone_is_the_beginning_of_the_last_one(self, stage: QueryStage) -> None:
        stage.write(ROWS[:3])
        began = datetime.now(UTC) - timedelta(seconds=2)
        first = await read_all(stage.open(None, tables=NO_WATERMARK))
        later = await read_all(stage.open(first.position, tables=NO_WATERMARK))
        told = later.transactions[-1].seen_through
        assert told == first.transactions[-1].seen_through
        assert told is not None
        assert told >= began
