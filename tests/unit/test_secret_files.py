"""The files that settings name are looked at and never opened."""

import fcntl
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from agent.settings.secret_files import unusable

_TRY_TO_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(7)
"""


class _Names(BaseModel):
    sqlite_file: Path


def _locked_for_others(file: Path) -> bool:
    return subprocess.run([sys.executable, "-c", _TRY_TO_LOCK, file], check=False, timeout=60).returncode == 7


def test_looking_at_a_file_leaves_the_locks_that_this_process_holds_on_it(tmp_path: Path) -> None:
    """SQLite's locks are the process's: closing any other handle of the file would drop them."""
    file = tmp_path / "epj.db"
    file.write_bytes(b"rows")
    with file.open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        assert list(unusable(_Names(sqlite_file=file))) == []
        assert _locked_for_others(file)


def test_an_empty_and_a_missing_file_are_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    told = [text for path in (empty, tmp_path / "none") for _, text in unusable(_Names(sqlite_file=path))]
    assert told[0] == "the file is empty"
    assert told[1].startswith("the file cannot be read (No such file")
