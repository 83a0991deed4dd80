"""The outbox table on a real PostgreSQL, whose own bookkeeping tells which gaps can still be filled."""

import asyncio
import random
import threading
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.source import PositionLost, SourceChanged, SourceRefused, SourceUnavailable, Unreadable
from tests.contract.outbox_behaviour import OutboxBehaviour, keys_of
from tests.contract.outbox_stage import OutboxStage
from tests.contract.source_behaviour import PATIENCE_S, Seen, Written, caught_up, read_all, read_until, reading
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    name = f"outbox_{uuid.uuid4().hex[:8]}"
    yield postgres.create_database(name)
    postgres.sql(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def stage(database: str, tmp_path: Path) -> Iterator[OutboxStage]:
    url_file = tmp_path / "url"
    url_file.write_text(database + "\n")
    engine = sa.create_engine(database.replace("postgresql:", "postgresql+psycopg:"), pool_size=20)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS endringslogg"))
    yield OutboxStage(engine, {"url_file": url_file})
    engine.dispose()


class TestOutboxTableOnPostgres(OutboxBehaviour):
    pass


def gaps(seen: Seen) -> bool:
    place = seen.position.place
    return place["low"] != place["high"]


def findings(seen: Seen) -> list[Unreadable]:
    records = [record for transaction in seen.transactions for record in transaction.records]
    return [record for record in records if isinstance(record, Unreadable)]


async def test_a_row_committed_late_is_waited_for_and_read(stage: OutboxStage) -> None:
    """However long it takes: the configured longest transaction does not count here."""
    late, early = stage.engine.connect(), stage.engine.connect()
    with late, early:
        slow = late.begin()
        stage.insert(late, Written(1, "late"))
        with early.begin():
            stage.insert(early, Written(2, "early"))
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            assert seen.told == [(2, "early")]
            for _ in range(5):
                stage.clock.now_s += 3600
                await read_until(stream, caught_up, seen)
            assert gaps(seen)
            slow.commit()
            await read_until(stream, lambda seen: len(seen.changes) == 2, seen)
    assert seen.told == [(2, "early"), (1, "late")]
    assert findings(seen) == []


async def test_a_key_taken_before_the_first_write_is_waited_for(stage: OutboxStage) -> None:
    """A transaction that has taken a key and not yet written has no transaction id that a snapshot could show."""
    with stage.engine.connect() as late:
        slow = late.begin()
        nr = late.execute(sa.text("SELECT nextval('endringslogg_nr_seq')")).scalar_one()
        stage.write([Written(2, "early")])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            for _ in range(5):
                await read_until(stream, caught_up, seen)
            stage.insert(late, Written(1, "late"), nr=nr)
            slow.commit()
            await read_until(stream, lambda seen: len(seen.changes) == 2, seen)
    assert seen.told == [(2, "early"), (1, "late")]


async def test_a_gap_of_a_transaction_rolled_back_closes_without_a_finding(stage: OutboxStage) -> None:
    with stage.engine.connect() as lost:
        undone = lost.begin()
        stage.insert(lost, Written(1, "undone"))
        stage.write([Written(2, "kept")])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            await read_until(stream, caught_up, seen)
            assert gaps(seen)
            undone.rollback()
            await read_until(stream, lambda seen: not gaps(seen), seen)
    assert findings(seen) == []
    assert seen.told == [(2, "kept")]


async def test_a_later_transaction_does_not_hold_an_older_gap_open(stage: OutboxStage) -> None:
    with stage.engine.connect() as lost, stage.engine.connect() as later:
        undone = lost.begin()
        stage.insert(lost, Written(1, "undone"))
        stage.write([Written(2, "kept")])
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            with later.begin():
                stage.insert(later, Written(3, "later"))
                undone.rollback()
                await read_until(stream, lambda seen: not gaps(seen), seen)


async def test_a_late_row_is_read_after_a_restart(stage: OutboxStage) -> None:
    with stage.engine.connect() as late:
        slow = late.begin()
        stage.insert(late, Written(1, "late"))
        stage.write([Written(2, "early")])
        first = await read_all(stage.open(None))
        second = await read_all(stage.open(first.position))
        slow.commit()
        third = await read_all(stage.open(second.position))
    assert first.told + second.told + third.told == [(2, "early"), (1, "late")]


async def test_many_writers_out_of_order_nothing_skipped_nothing_doubled(stage: OutboxStage) -> None:
    """Eight writers hold their transactions open at random, some roll back; the reader is restarted now and then."""
    done = threading.Event()
    committed: set[int] = set()
    lock = threading.Lock()

    def write(writer: int) -> None:
        chance = random.Random(writer)
        with stage.engine.connect() as connection:
            for number in range(60):
                keys = [writer * 100_000 + number * 10 + part for part in range(chance.randint(1, 4))]
                transaction = connection.begin()
                for key in keys:
                    stage.insert(connection, Written(key, "a"))
                    if chance.random() < 0.1:
                        connection.execute(sa.text("SELECT pg_sleep(:s)"), {"s": chance.random() * 0.15})
                if chance.random() < 0.1:
                    transaction.rollback()
                    continue
                with lock:
                    committed.update(keys)
                transaction.commit()

    def write_all() -> None:
        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        done.set()

    writing = asyncio.create_task(asyncio.to_thread(write_all))
    chance = random.Random(1)
    seen, position = Seen(), None
    while True:
        was_done = done.is_set()
        limit = chance.randint(20, 200)

        def enough(part: Seen, limit: int = limit) -> bool:
            return len(part.changes) >= limit or (done.is_set() and caught_up(part))

        async with reading(stage.open(position, batch_rows=500)) as stream:
            part = await read_until(stream, enough)
        seen.changes += part.changes
        seen.transactions += part.transactions
        position = part.position
        if was_done and not part.changes:
            break
    await asyncio.wait_for(writing, PATIENCE_S)
    keys = [key for key, _ in seen.told]
    order = keys_of(seen.transactions)
    late = sum(later < earlier for earlier, later in pairwise(order))
    assert late, "no key came out of order: the test shows nothing"
    assert len(keys) == len(set(keys))
    assert set(keys) == committed
    assert findings(seen) == []


async def test_a_sequence_that_hands_out_keys_ahead_is_refused(stage: OutboxStage) -> None:
    with stage.engine.begin() as connection:
        connection.execute(sa.text("ALTER SEQUENCE endringslogg_nr_seq CACHE 20"))
    with pytest.raises(SourceRefused) as refusal:
        await read_all(stage.open(None))
    assert "CACHE 1" in refusal.value.repair


async def test_an_emptied_log_that_begins_again_is_a_lost_position(stage: OutboxStage) -> None:
    stage.write([Written(number, "a") for number in range(5)])
    position = (await read_all(stage.open(None))).position
    with stage.engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE endringslogg RESTART IDENTITY"))
    stage.write([Written(9, "b")])
    with pytest.raises(PositionLost):
        await read_all(stage.open(position))


async def test_a_wrong_password_is_refused_and_not_quoted(stage: OutboxStage, tmp_path: Path, database: str) -> None:
    (tmp_path / "wrong").write_text(database.replace(":test-pw@", ":hemmelig@"))
    with pytest.raises(SourceRefused) as refusal:
        await read_all(stage.open(None, url_file=tmp_path / "wrong"))
    assert "hemmelig" not in str(refusal.value)


async def test_a_closed_port_is_unavailable(stage: OutboxStage, tmp_path: Path) -> None:
    (tmp_path / "closed").write_text("postgresql://postgres:x@127.0.0.1:1/postgres")
    with pytest.raises(SourceUnavailable):
        await read_all(stage.open(None, url_file=tmp_path / "closed"))


async def test_a_connection_that_dies_while_reading_is_unavailable(stage: OutboxStage) -> None:
    stage.write([Written(1, "a")])
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        with stage.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'kpr-agent' AND datname = current_database()"
                )
            )
        with pytest.raises(SourceUnavailable):
            await read_until(stream, lambda _: False, seen)


async def test_a_missing_column_and_a_missing_right_are_told_apart(
    stage: OutboxStage, tmp_path: Path, database: str
) -> None:
    with pytest.raises(SourceChanged):
        await read_all(stage.open(None, columns=stage.settings.columns.model_copy(update={"after": "borte"})))
    with stage.engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS kpr_uten_rett"))
        connection.execute(sa.text("CREATE ROLE kpr_uten_rett LOGIN PASSWORD 'test-pw'"))
    (tmp_path / "other").write_text(database.replace("//postgres:", "//kpr_uten_rett:"))
    with pytest.raises(SourceRefused):
        await read_all(stage.open(None, url_file=tmp_path / "other"))


async def test_an_ordinary_user_with_only_the_right_to_read_reads_and_waits(
    stage: OutboxStage, tmp_path: Path, database: str
) -> None:
    """Others' transactions are seen without any right beyond reading the log."""
    with stage.engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS kpr_leser"))
        connection.execute(sa.text("CREATE ROLE kpr_leser LOGIN PASSWORD 'test-pw'"))
        connection.execute(sa.text("GRANT SELECT ON endringslogg TO kpr_leser"))
    (tmp_path / "reader").write_text(database.replace("//postgres:", "//kpr_leser:"))
    with stage.engine.connect() as late:
        slow = late.begin()
        stage.insert(late, Written(1, "late"))
        stage.write([Written(2, "early")])
        source = stage.open(None, url_file=tmp_path / "reader")
        async with reading(source) as stream:
            assert "unknown" not in await source.identity()
            seen = await read_until(stream, caught_up)
            for _ in range(3):
                await read_until(stream, caught_up, seen)
            assert gaps(seen)
            slow.commit()
            await read_until(stream, lambda seen: len(seen.changes) == 2, seen)
            await read_until(stream, lambda seen: not gaps(seen), seen)
