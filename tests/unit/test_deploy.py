"""The systemd unit: as closed as it says, and true of the program."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from agent.app import tell_service_manager
from agent.cli import EXIT_CONFIGURATION
from agent.dispatch.loop import DispatchSettings

UNIT = Path(__file__).parents[2] / "deploy/systemd/kpr-agent.service"
MOST_EXPOSED = 15  # tenths: 1.5


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.fail("systemd-analyze is not here: apt-get install systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_its_exposure_is_low(tmp_path: Path) -> None:
    judged = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(UNIT))
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr

    opened = tmp_path / UNIT.name
    opened.write_text(UNIT.read_text(encoding="utf-8").replace("SystemCallFilter", "#").replace("User", "#"))
    assert analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(opened)).returncode != 0


def test_it_does_what_the_program_expects() -> None:
    unit = directives()
    assert unit["Type"] == ["notify"]  # agent/app.py says READY=1
    assert unit["KillSignal"] == ["SIGTERM"]
    assert int(unit["TimeoutStopSec"][0]) > DispatchSettings().drain_s + 10
    assert unit["RestartPreventExitStatus"] == [str(EXIT_CONFIGURATION)]
    assert "exec /opt/kpr-agent/.venv/bin/kpr-agent run " in unit["ExecStart"][0]
    assert "AF_UNIX" in unit["RestrictAddressFamilies"][0]  # the control socket, and the service manager's


def test_only_its_own_user_reads_what_it_writes() -> None:
    unit = directives()
    assert unit["User"] == ["kpr-agent"]
    assert unit["UMask"] == ["0077"]
    assert (unit["StateDirectoryMode"], unit["RuntimeDirectoryMode"]) == (["0700"], ["0700"])
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["LimitCORE"] == ["0"]


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool) -> None:
    name = f"kpr-agent-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if is_abstract else name)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if is_abstract else name)
        tell_service_manager("READY=1")
        assert manager.recv(64) == b"READY=1"


def test_without_a_service_manager_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_service_manager("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    tell_service_manager("READY=1")
