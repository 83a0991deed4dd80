"""`kpr-agent demo` as a person runs it: it ends by itself, agrees, leaves nothing behind, and says when it differs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.kept_demo import DEMO_LIMIT_S, ROOT, KeptDemo, run_kept_demo

LONG_S = 60.0


def run(*arguments: object, temporary: Path, code: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """The demo with these arguments; `code`: Python to run instead of the command line."""
    command = ["-c", code] if code is not None else ["-m", "agent", "demo", *map(str, arguments)]
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, capture_output=True, timeout=DEMO_LIMIT_S, check=False, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory: pytest.TempPathFactory) -> KeptDemo:
    return run_kept_demo(tmp_path_factory.getbasetemp())


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_json_is_one_object_and_nothing_stays_behind(temporary: Path) -> None:
    done = run("--seconds", "6", "--json", "--seed", "2", temporary=temporary)
    told = json.loads(done.stdout)
    assert (done.returncode, told["agrees"], told["differences"], told["unfinished"]) == (0, True, [], "")
    assert told["agent"]["notifications"] > 100
    assert told["agent"]["receipted"] > 10
    assert told["register"]["refused"] > 0
    assert told["agent"]["resent"] > 0
    assert told["parked"] + told["held"] > 5
    assert sum(count for name, count in told["findings"].items() if name.endswith(":block")) >= told["parked"]
    assert 3 < told["seconds"] < DEMO_LIMIT_S
    assert b"EPJ and register agree." in done.stderr
    assert list(temporary.iterdir()) == []


def test_it_shows_what_a_person_types_and_ends_with_the_reconciliation(kept_demo: KeptDemo) -> None:
    lines = kept_demo.stdout.decode().splitlines()
    assert (kept_demo.code, kept_demo.stderr) == (0, b"")
    file = kept_demo.folder / "demo.yaml"
    wanted = [
        "Making keys and certificates",
        f"kpr-agent plan {file}",
        "TjenesteStart N: a new event",
        f"kpr-agent apply {file}",
        f"kpr-agent resend {file}",
        "go again, in order",
        "The EPJ rests now.",
        "differences: 0",
        "EPJ and register agree.",
    ]
    places = [next(number for number, line in enumerate(lines) if text in line) for text in wanted]
    assert places == sorted(places)
    assert not [line for line in lines if "\x1b" in line]  # no terminal: plain lines


def test_what_is_kept_can_be_looked_at_with_the_ordinary_verbs(kept_demo: KeptDemo) -> None:
    file = str(kept_demo.folder / "demo.yaml")

    def verb(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "agent", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LONG_S, check=False)

    assert verb("check", "--files", file).returncode == 0
    [status] = json.loads(verb("status", file, "--json").stdout)
    assert (status["gate"], status["due"], status["waiting"], status["sent"]) == ("open", 0, 0, 0)
    assert status["receipted"] > 10
    assert json.loads(verb("plan", file, "--json").stdout)["notifications"] == 0
    secrets = [path for path in (kept_demo.folder / "secrets").iterdir() if path.name.endswith((".key.pem", ".key"))]
    assert len(secrets) == 4
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "something").touch()
    done = run("--keep", tmp_path, "--seconds", "5", temporary=temporary)
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"is not empty" in done.stderr


def test_teeth_a_register_that_lost_an_event_is_told_with_exit_1(temporary: Path) -> None:
    code = """
import sys
from agent.demo.register import Register
from agent.demo.run import run_demo
whole = Register.picture
def without_one(self, sender=None):
    held = whole(self, sender)
    held.pop(min(held))
    return held
Register.picture = without_one
sys.exit(run_demo(seconds=5, seed=1, keep=None, as_json=True))
"""
    done = run(temporary=temporary, code=code)
    told = json.loads(done.stdout)
    assert (done.returncode, told["agrees"], len(told["differences"])) == (1, False, 1)
    assert told["differences"][0].endswith("TjenesteStart does not stand and should")
    assert list(temporary.iterdir()) == []


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_leaves_nothing_behind(temporary: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "demo", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(LONG_S):
        async for line in process.stdout:
            if b"applied:" in line:
                break
        assert names_in(temporary)
        process.send_signal(number)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"interrupted\n")
    assert names_in(temporary) == []
