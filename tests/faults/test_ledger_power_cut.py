"""What was committed is there after a kill at any moment, and nothing that was not (invariants 1, 4, 9 and 11).

A kill leaves the kernel's cache whole, so it cannot show a missing fsync: that is what the settings' test is for.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from tests.contract.ledger_behaviour import LOOKUPS, SERVICES, envelope, row

KEY = LedgerKey(b"k" * 32)
ROOT = Path(__file__).parents[2]
LONG_S = 60.0  # a bound for what takes a second
STEPS_OF_A_VIRTUAL_MACHINE = 7  # how often SQLite asks the progress handler: between any two of its own steps, nearly


def write_group(tx: LedgerTransaction, number: int) -> None:
    """Everything that one change brings, over most tables; the counter tells what has been written."""
    tx.put_row(row(str(number), order=number), LOOKUPS)
    tx.mark_due([str(number)], not_before=None, cause="change")
    envelope(tx, number)
    tx.keep_unreadable("place", "why", b"x" * 2000)
    tx.count("groups")


def child(path: str, kill_at: int) -> None:
    """Write group after group and say so after each commit. kill_at > 0: die at that moment of SQLite's work."""
    moments = 0

    def dies() -> int:
        nonlocal moments
        moments += 1
        if moments == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    ledger = Ledger.open(path, unit="kinn", key=KEY)
    if kill_at > 0:
        ledger._connection.set_progress_handler(dies, STEPS_OF_A_VIRTUAL_MACHINE)
    number = ledger.read(lambda tx: tx.counters().get("groups", 0))
    while True:
        number += 1
        ledger.run_now(lambda tx, number=number: write_group(tx, number))
        os.write(1, f"{number}\n".encode())


def start(path: Path, kill_at: int = 0) -> subprocess.Popen[bytes]:
    code = f"from tests.faults.test_ledger_power_cut import child; child({str(path)!r}, {kill_at})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)


def last_told(process: subprocess.Popen[bytes]) -> int:
    out, _ = process.communicate(timeout=LONG_S)
    assert process.returncode == -signal.SIGKILL
    told = out.split(b"\n")[:-1]  # what stands after the last line end was cut off
    return int(told[-1]) if told else 0


def assert_whole(path: Path, told: int) -> int:
    """How many groups are there: all that were told, at most one more, and each of them whole."""
    with Ledger.open(path, unit="kinn", key=KEY) as ledger:

        def look(tx: LedgerTransaction) -> int:
            groups = tx.counters().get("groups", 0)
            assert len(tx.find(SERVICES, ("bruker_id",), "7")) == groups
            assert [one.notification.number for one in tx.notifications(1, groups + 9)] == list(range(1, groups + 1))
            assert all(tx.envelope_content(one.id) for one in tx.envelopes(["ready"], groups + 9))
            counts = (tx.count_rows(SERVICES), tx.count_envelopes().get("ready", 0), tx.count_unreadable())
            assert counts == (groups,) * 3
            assert tx.last_enveloped_number() == groups
            return groups

        groups = ledger.read(look)
        assert ledger._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert ledger._connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert told <= groups <= told + 1
    return groups


def test_a_kill_at_any_step_of_sqlite_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """The same ledger is killed again and again, each time at another step of a transaction."""
    moments = random.Random(20261121)
    path, groups = tmp_path / "kinn.db", 0
    for _ in range(8):
        told = last_told(start(path, kill_at=moments.randrange(1, 1500)))
        groups = assert_whole(path, max(told, groups))
    assert groups > 8


def test_a_kill_from_outside_in_the_middle_of_commits_loses_nothing(tmp_path: Path) -> None:
    moments = random.Random(20261122)
    path, groups = tmp_path / "kinn.db", 0
    for _ in range(6):
        process = start(path)
        assert process.stdout is not None
        read = [int(process.stdout.readline()) for _ in range(moments.randrange(1, 60))]
        process.kill()
        groups = assert_whole(path, max(read[-1], last_told(process)))
    assert groups > 6


def test_a_process_that_was_stopped_replaced_and_continued_is_refused_invariant_11(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    zombie = start(path)
    assert zombie.stdout is not None
    try:
        assert zombie.stdout.readline()
        stop_outside_a_transaction(zombie, path)
        (tmp_path / "kinn.db.lock").unlink()
        with Ledger.open(path, unit="kinn", key=KEY) as successor:
            before = successor.read(lambda tx: tx.counters()["groups"])
            zombie.send_signal(signal.SIGCONT)
            out, _ = zombie.communicate(timeout=LONG_S)
            assert zombie.returncode == 1  # it ended by itself, with LedgerSuperseded
            after = successor.read(lambda tx: tx.counters()["groups"])
        assert after == before
        told = [int(line) for line in out.split()]
        assert max(told, default=0) <= before  # told nothing that is not there
    finally:
        zombie.kill()
        zombie.wait(timeout=LONG_S)


def stop_outside_a_transaction(process: subprocess.Popen[bytes], path: Path) -> None:
    """Stop it; where that hit the middle of a transaction, which nobody can take over, let it go on and try again."""
    for _ in range(1000):
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        if not is_writing(path):
            return
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline()
    pytest.fail("the child was in a transaction each of 1000 times")


def is_writing(path: Path) -> bool:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False
