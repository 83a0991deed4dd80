"""The initial load on a real PostgreSQL: one snapshot, then the log, with nothing between and nothing twice."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from connectors.postgres_logical.troubles import RightsMissing, SlotMissing, SlotNotMade
from connectors.source import Change, Mark, Operation, Transaction, Unreadable, Version
from tests.contract.postgres_stage import PostgresStage, staged
from tests.contract.source_behaviour import HISTORY, WANTED, Seen, Written, caught_up, read_all, read_until, reading
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture
def stage(postgres: Postgres, tmp_path: Path) -> Iterator[PostgresStage]:
    """No slot yet: the first start makes it."""
    for stage in staged(postgres, tmp_path):
        stage.drop_slot()
        yield stage


class Kept:
    """Rows as the ledger keeps them: an older version is dropped (what agent/intake does)."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Version, str | None]] = {}

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.key is not None
            assert change.version is not None
            key = change.key["tjeneste_id"]
            known = self.rows.get(key)
            if known is not None and known[0].epoch == change.version.epoch and change.version.order < known[0].order:
                continue
            self.rows[key] = (change.version, None if change.row is None else change.row["status"])

    @property
    def there(self) -> dict[int, str]:
        return {key: status for key, (_, status) in self.rows.items() if status is not None}


def loaded(seen: Seen) -> bool:
    return any(transaction.scan is not None and transaction.scan.mark is Mark.END for transaction in seen.transactions)


def marks(transactions: Sequence[Transaction]) -> list[Mark]:
    return [transaction.scan.mark for transaction in transactions if transaction.scan is not None]


def values(numbers: range) -> str:
    return ", ".join(f"({number}, 'v{number}', '2026-01-15')" for number in numbers)


async def test_a_load_tells_every_row_once_and_ends_with_its_mark(stage: PostgresStage) -> None:
    stage.run(f"INSERT INTO demo.tjeneste VALUES {values(range(20))}")
    seen = await read_all(stage.open(None))
    assert sorted(seen.told) == [(number, f"v{number}") for number in range(20)]
    assert all(change.snapshot for change in seen.changes)
    assert marks(seen.transactions) == [Mark.BEGIN, Mark.INSIDE, Mark.INSIDE, Mark.INSIDE, Mark.END]
    assert [transaction.final for transaction in seen.transactions] == [False, False, False, False, True, True]
    assert seen.transactions[0].scan is not None
    assert seen.transactions[0].scan.tables == (WANTED,)
    assert all(len(transaction.records) <= 7 for transaction in seen.transactions)


async def test_a_load_of_nothing_begins_and_ends(stage: PostgresStage) -> None:
    seen = await read_all(stage.open(None))
    assert marks(seen.transactions) == [Mark.BEGIN, Mark.END]
    assert seen.changes == []


async def test_the_log_goes_on_where_the_loads_snapshot_ends_while_eight_write(stage: PostgresStage) -> None:
    """Nothing between the load and the stream is missing, nothing is told twice: counted change by change."""
    stage.run("CREATE TABLE demo.skrevet (n bigint)")
    stop = threading.Event()
    written = [0] * 8

    def write(writer: int) -> None:
        with stage.connect() as connection:
            while not stop.is_set() and written[writer] < 400:
                key = writer * 1000 + written[writer]
                with connection.transaction():
                    connection.execute(f"INSERT INTO demo.tjeneste VALUES ({key}, 'ny', '2026-01-15')")
                written[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    try:
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, loaded)
            in_load = len(seen.changes)
            await read_until(stream, lambda seen: len(seen.changes) >= in_load + 200, seen)
            stop.set()
            for thread in threads:
                thread.join(30)
            await read_until(stream, lambda seen: len(seen.changes) >= sum(written), seen)
            await read_until(stream, caught_up, seen)
    finally:
        stop.set()
    keys = [key for key, _ in seen.told]
    assert len(keys) == len(set(keys)) == sum(written)
    assert set(keys) == set(stage.rows())


async def test_a_load_that_was_broken_off_ends_as_the_database_stands(stage: PostgresStage) -> None:
    """Rows deleted, inserted, changed, and deleted and made again between the first and the second snapshot."""
    stage.run(f"INSERT INTO demo.tjeneste VALUES {values(range(50))}")
    kept = Kept()
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 21)
    kept.apply(seen.changes)
    seen_keys = [key for key, _ in seen.told]
    first, second, third, *_, unseen = [*seen_keys, next(key for key in range(50) if key not in seen_keys)]
    stage.write(
        [
            Written(first, None), Written(second, "endret"), Written(third, None), Written(third, "igjen"),
            Written(unseen, None), Written(100, "ny"), Written(101, "kort"), Written(101, None),
        ]
    )  # fmt: skip
    kept_slot = stage.slot_state()["confirmed_flush_lsn"]
    async with reading(stage.open(None)) as stream:
        again = await read_until(stream, loaded)
        assert stage.slot_state()["confirmed_flush_lsn"] == kept_slot
        stage.write([Written(102, "efter")])
        await read_until(stream, lambda seen: (102, "efter") in seen.told, again)
    kept.apply(again.changes)
    assert kept.there == stage.rows()
    assert first not in kept.there


async def test_the_snapshots_rows_are_older_than_what_commits_after_it_and_newer_than_what_did_before(
    stage: PostgresStage,
) -> None:
    stage.start = stage.make_slot()
    stage.write([Written(1, "foer")])
    seen = await read_all(stage.open(None))
    stage.write([Written(1, "efter")])
    rest = await read_all(stage.open(seen.position))
    versions = {change.row["status"]: [] for change in [*seen.changes, *rest.changes] if change.row}
    for change in [*seen.changes, *rest.changes]:
        assert change.row is not None
        versions[change.row["status"]].append((change.snapshot, change.version.order if change.version else ()))
    ((_, of_snapshot),) = [one for one in versions["foer"] if one[0]]
    ((_, of_stream),) = [one for one in versions["foer"] if not one[0]]
    ((_, after),) = versions["efter"]
    assert of_stream < of_snapshot < after


async def test_a_change_that_waits_for_its_commit_over_the_snapshot_is_told_after_it(stage: PostgresStage) -> None:
    stage.start = stage.make_slot()
    stage.write([Written(1, "foer")])
    late = stage.connect()
    late.autocommit = False
    late.execute("UPDATE demo.tjeneste SET status = 'sent' WHERE tjeneste_id = 1")
    kept = Kept()
    try:
        reading_all = asyncio.create_task(read_all(stage.open(None)))
        await stage.until("SELECT count(*) = 1 FROM pg_replication_slots WHERE temporary AND database = %s", stage.name)
        assert not reading_all.done()  # making the temporary slot waits for the transaction that is open
        late.commit()
        seen = await reading_all
    finally:
        late.close()
    kept.apply(seen.changes)
    assert kept.there == {1: "sent"}


async def test_a_slot_that_cannot_be_made_for_open_transactions_names_them(stage: PostgresStage) -> None:
    with stage.connect() as slow:
        slow.autocommit = False
        slow.execute("INSERT INTO demo.notat VALUES (1, 'x', '2026-01-15')")
        with pytest.raises(SlotNotMade) as trouble:
            await read_all(stage.open(None, slot_timeout_s=0.5))
        assert "pg_stat_activity" in trouble.value.repair
        slow.rollback()
    stage.write(HISTORY[:5])
    assert len((await read_all(stage.open(None))).changes) == 5


async def test_only_mapped_columns_leave_the_database(stage: PostgresStage) -> None:
    """A role that may read the mapped columns alone suffices for the load."""
    stage.run(
        "ALTER TABLE demo.tjeneste ADD COLUMN hemmelig text DEFAULT 'HEMMELIG'",
        f"INSERT INTO demo.tjeneste VALUES {values(range(3))}",
        f"CREATE ROLE {stage.name} LOGIN REPLICATION PASSWORD 'prove'",
        f"GRANT USAGE ON SCHEMA demo TO {stage.name}",
        f"GRANT SELECT (tjeneste_id, status, start_dato) ON demo.tjeneste TO {stage.name}",
    )
    stage.connection_file.write_text(stage.url.replace("postgres:test-pw@", f"{stage.name}:prove@"))
    try:
        assert len((await read_all(stage.open(None))).changes) == 3
        stage.run(f"REVOKE SELECT ON ALL TABLES IN SCHEMA demo FROM {stage.name}")
        stage.run(f"REVOKE ALL (tjeneste_id, status, start_dato) ON demo.tjeneste FROM {stage.name}")
        with pytest.raises(RightsMissing, match=r"reading demo\.tjeneste"):
            await read_all(stage.open(None))
    finally:
        stage.run(f"DROP OWNED BY {stage.name}", f"DROP ROLE {stage.name}")


async def test_row_security_stops_the_load_and_never_hides_a_row(stage: PostgresStage) -> None:
    stage.run(
        f"INSERT INTO demo.tjeneste VALUES {values(range(3))}",
        "ALTER TABLE demo.tjeneste ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {stage.name} LOGIN REPLICATION PASSWORD 'prove'",
        f"GRANT USAGE ON SCHEMA demo TO {stage.name}",
        f"GRANT SELECT ON demo.tjeneste TO {stage.name}",
    )
    stage.connection_file.write_text(stage.url.replace("postgres:test-pw@", f"{stage.name}:prove@"))
    try:
        with pytest.raises(RightsMissing):
            await read_all(stage.open(None))
    finally:
        stage.run(f"DROP OWNED BY {stage.name}", f"DROP ROLE {stage.name}")


async def test_no_slot_and_none_to_be_made_stops(stage: PostgresStage) -> None:
    with pytest.raises(SlotMissing):
        await read_all(stage.open(None, create_slot=False))
    assert stage.slot_state() == {}


async def test_odd_text_comes_through_copy_as_it_is(stage: PostgresStage) -> None:
    odd = "tab\there\nline \\N back\\slash \r æøå \x08\x0b\x0c '"
    with stage.connect() as connection:
        connection.execute("INSERT INTO demo.tjeneste VALUES (1, %s, NULL), (2, '\\N', NULL), (3, '', NULL)", [odd])
        connection.execute("INSERT INTO demo.tjeneste VALUES (4, NULL, '2026-01-15')")
    seen = await read_all(stage.open(None))
    assert dict(seen.told) == {1: odd, 2: "\\N", 3: "", 4: None}


async def test_a_row_filter_of_the_publication_holds_for_the_load_too(stage: PostgresStage) -> None:
    if stage.server.version.startswith("14"):
        pytest.fail("row filters begin with version 15: run the suite on a newer one")
    stage.run(
        "DROP PUBLICATION kpr_agent",
        "CREATE PUBLICATION kpr_agent FOR TABLE demo.tjeneste WHERE (tjeneste_id < 10)",
        f"INSERT INTO demo.tjeneste VALUES {values(range(8, 12))}",
    )
    assert sorted((await read_all(stage.open(None))).told) == [(8, "v8"), (9, "v9")]


async def test_a_temporary_slot_does_not_outlive_the_load(stage: PostgresStage) -> None:
    stage.start = stage.make_slot()
    stage.write(HISTORY[:5])
    async with reading(stage.open(None)) as stream:
        await read_until(stream, loaded)
        await stage.until("SELECT count(*) = 1 FROM pg_replication_slots WHERE database = %s", stage.name)
        assert stage.slot_state() != {}


async def test_a_row_whose_key_cannot_be_read_is_kept_for_a_person(stage: PostgresStage) -> None:
    stage.run(
        "ALTER TABLE demo.tjeneste ALTER COLUMN tjeneste_id TYPE text", "INSERT INTO demo.tjeneste VALUES ('x1', 'a')"
    )
    seen = await read_all(stage.open(None))
    (found,) = [r for transaction in seen.transactions for r in transaction.records]
    assert isinstance(found, Unreadable)
    assert "x1" not in found.why


async def test_a_delete_behind_the_load_is_told(stage: PostgresStage) -> None:
    stage.write([Written(1, "a")])
    seen = await read_all(stage.open(None))
    stage.write([Written(1, None)])
    (gone,) = (await read_all(stage.open(seen.position))).changes
    assert (gone.operation, gone.key) == (Operation.DELETE, {"tjeneste_id": 1})
