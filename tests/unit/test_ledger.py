"""The SQLite ledger: the behaviour of every ledger, and what is its own: file, lock, epoch, keys, threads."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.ledger.errors import (
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    LedgerMissing,
    LedgerReadOnly,
    LedgerSuperseded,
    LedgerUnavailable,
    LedgerWrongKey,
    LedgerWrongUnit,
)
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.sqlite import errors_of
from agent.ledger.transaction import LedgerTransaction
from tests.contract.ledger_behaviour import LedgerBehaviour, fill_chain

KEY = LedgerKey(bytes(range(32)))
LONG_S = 60.0  # a bound for what takes milliseconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kinn.db"


def opened(path: Path, **more: object) -> Ledger:
    return Ledger.open(path, **{"unit": "kinn", "key": KEY, **more})


class TestLedgerInAFile(LedgerBehaviour):
    @pytest.fixture
    def ledger(self, path: Path) -> Iterator[Ledger]:
        with opened(path) as ledger:
            yield ledger

    @pytest.fixture
    def reopened(self, ledger: Ledger, path: Path) -> Iterator[Callable[[], Ledger]]:
        made: list[Ledger] = []

        def reopen() -> Ledger:
            ledger.close()
            made.append(opened(path))
            return made[0]

        yield reopen
        for one in made:
            one.close()


class TestLedgerInMemory(LedgerBehaviour):
    @pytest.fixture
    def ledger(self) -> Iterator[Ledger]:
        with Ledger.open(":memory:", unit="kinn", key=None) as ledger:
            yield ledger

    @pytest.fixture
    def reopened(self) -> None:
        return None


def test_a_throw_away_ledger_has_the_same_unit_secret_each_time_and_each_unit_its_own() -> None:
    secrets = [Ledger.open(":memory:", unit=unit, key=None).unit_secret for unit in ("kinn", "kinn", "bykle")]
    assert secrets[0] == secrets[1] != secrets[2]


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    with opened(path) as ledger:
        ledger.run_now(lambda tx: tx.count("x"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("kinn.db", "kinn.db-wal", "kinn.db-shm", "kinn.db.lock"), 0o600)


def test_commits_are_synced_in_full_and_logged_ahead_invariant_1(path: Path) -> None:
    with opened(path) as ledger:
        settings = ledger.settings()
    assert (settings["journal_mode"], settings["synchronous"], settings["foreign_keys"]) == ("wal", "2", "1")


def test_a_second_writer_is_refused_and_told_who_the_first_is_invariant_11(path: Path) -> None:
    with opened(path), pytest.raises(LedgerBusy, match=f"process {os.getpid()} holds"):
        opened(path)
    opened(path).close()


def test_a_zombie_whose_lock_was_taken_over_is_refused_invariant_11(path: Path) -> None:
    with opened(path) as zombie:
        zombie.run_now(lambda tx: fill_chain(tx, 1))
        (path.parent / "kinn.db.lock").unlink()
        with opened(path) as successor:
            with pytest.raises(LedgerSuperseded):
                zombie.run_now(lambda tx: fill_chain(tx, 2))
            assert successor.read(lambda tx: tx.chain_end()[0]) == 1
            successor.run_now(lambda tx: fill_chain(tx, 2))


def test_a_writer_whose_file_was_replaced_is_refused_invariant_11(path: Path) -> None:
    with opened(path) as ledger:
        path.rename(path.with_name("away.db"))
        with pytest.raises(LedgerSuperseded):
            ledger.run_now(lambda tx: tx.count("x"))


def test_a_writer_in_the_middle_of_a_transaction_is_not_overtaken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.ledger.sqlite._BUSY_WAIT_S", 0.05)
    with opened(path) as ledger:

        def work(tx: LedgerTransaction) -> None:
            tx.count("x")
            (path.parent / "kinn.db.lock").unlink()
            with pytest.raises(LedgerBusy):
                opened(path)

        ledger.run_now(work)
        assert ledger.read(lambda tx: tx.counters()) == {"x": 1}


def test_another_key_or_unit_is_refused_and_changes_nothing(path: Path) -> None:
    opened(path).close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(LedgerWrongKey):
            opened(path, key=LedgerKey(b"x" * 32), read_only=read_only)
        with pytest.raises(LedgerWrongUnit):
            opened(path, unit="bykle", read_only=read_only)
    assert path.read_bytes() == before
    opened(path).close()  # the refused ones left no lock behind


def test_a_file_without_a_key_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="needs a key"):
        opened(path, key=None)


def test_a_reader_sees_what_is_committed_while_the_writer_writes(path: Path) -> None:
    with opened(path) as ledger, opened(path, read_only=True) as reader:
        ledger.run_now(lambda tx: tx.count("x"))

        def work(tx: LedgerTransaction) -> None:
            tx.count("x")
            assert reader.read(lambda other: other.counters()) == {"x": 1}
            assert ledger.read(lambda other: other.counters()) == {"x": 1}

        ledger.run_now(work)
        assert reader.read(lambda other: other.counters()) == {"x": 2}
        assert (reader.unit_secret, reader.installation_id) == (ledger.unit_secret, ledger.installation_id)
        with pytest.raises(LedgerReadOnly):
            reader.run_now(lambda tx: tx.counters())


def test_a_reader_needs_a_ledger_that_is_there(path: Path) -> None:
    with pytest.raises(LedgerMissing):
        opened(path, read_only=True)
    assert not path.exists()


def test_a_reader_reads_a_ledger_at_rest(path: Path) -> None:
    with opened(path) as ledger:
        ledger.run_now(lambda tx: tx.count("x"))
    with opened(path, read_only=True) as reader:
        assert reader.read(lambda tx: tx.counters()) == {"x": 1}


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_ledger_is_refused(path: Path, read_only: bool) -> None:
    path.write_bytes(b"this is not a database, by any means" * 100)
    with pytest.raises(LedgerCorrupt):
        opened(path, read_only=read_only)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(LedgerCorrupt, match="something else"):
        opened(path, read_only=read_only)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="No such file"):
        opened(tmp_path / "missing" / "kinn.db")


def test_a_full_disk_undoes_the_transaction_and_can_be_gone_on_from(path: Path) -> None:
    with opened(path) as ledger:
        ledger.run_now(lambda tx: tx.count("x"))
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(LedgerUnavailable, match="SQLITE_FULL"):
            ledger.run_now(lambda tx: [tx.count("x"), tx.keep_unreadable("a", "b", b"x" * 100_000)])
        ledger._connection.execute("PRAGMA max_page_count = 1000000")
        assert ledger.run_now(lambda tx: (tx.counters(), tx.count_unreadable())) == ({"x": 1}, 0)
        ledger.run_now(lambda tx: tx.keep_unreadable("a", "b", b"x" * 100_000))


def test_what_sqlite_says_is_never_quoted() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (x TEXT PRIMARY KEY, CHECK (x <> 'canary'))")
    with pytest.raises(LedgerError) as caught, errors_of("kinn.db"):
        connection.execute("INSERT INTO t VALUES ('canary')")
    assert "canary" not in str(caught.value)
    assert "SQLITE_CONSTRAINT_CHECK" in str(caught.value)


def test_what_has_a_place_in_the_chain_cannot_be_changed_by_any_statement_invariant_4(path: Path) -> None:
    with opened(path) as ledger:
        ledger.run_now(lambda tx: fill_chain(tx, 2))
        for statement in (
            "DELETE FROM notification WHERE number = 2",
            "UPDATE notification SET previous_guid = guid",
            "UPDATE notification SET payload = x'00' WHERE number = 1",
        ):
            with pytest.raises(LedgerError, match="CONSTRAINT"):
                ledger.run_now(lambda tx, statement=statement: tx._db.execute(statement))


async def test_the_event_loop_goes_on_while_a_transaction_works(path: Path) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(tx: LedgerTransaction) -> str:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(LONG_S)
        tx.count("x")
        return threading.current_thread().name

    with opened(path) as ledger:
        task = asyncio.create_task(ledger.run(work))
        async with asyncio.timeout(LONG_S):
            await begun.wait()  # only a loop that is not blocked gets here
            go_on.set()
            assert (await task).startswith("ledger-kinn")


async def test_cancelled_work_that_has_begun_is_over_when_the_cancellation_arrives(path: Path) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(tx: LedgerTransaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(LONG_S)
        tx.count("begun")

    with opened(path) as ledger:
        first = asyncio.create_task(ledger.run(work))
        async with asyncio.timeout(LONG_S):
            await begun.wait()
            second = asyncio.create_task(ledger.run(lambda tx: tx.count("not begun")))
            await asyncio.wait({second}, timeout=0)  # lets it be queued
            second.cancel()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert not first.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await first
        assert ledger.read(lambda tx: tx.counters()) == {"begun": 1}
