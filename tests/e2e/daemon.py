"""The real daemon as a process, and the real command line beside it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("kpr-agent")
_STOP_LIMIT_S = 60
_CALL_LIMIT_S = 120


class Daemon:
    """`kpr-agent run FILE`; its log lines of all runs are in `log_file`."""

    def __init__(self, file: Path, log_file: Path) -> None:
        self._file = file
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._began_at_byte = 0

    def start(self) -> None:
        assert self._process is None
        self._began_at_byte = self._log_file.stat().st_size if self._log_file.exists() else 0
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "run", self._file], stdout=log, stderr=log)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._running().kill()
        code = await asyncio.to_thread(self._wait)
        assert code == -signal.SIGKILL, f"the daemon had ended by itself with {code}: {self.last_lines()}"

    async def stop(self) -> None:
        """SIGTERM; the daemon must drain and exit 0."""
        self._running().terminate()
        code = await asyncio.to_thread(self._wait)
        assert code == 0, f"the daemon ended with {code}: {self.last_lines()}"

    def discard(self) -> None:
        """End it whatever happens, after a test that failed."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def has_told(self, event: str) -> bool:
        """Whether this run of the daemon has logged the event."""
        return any(line.get("event") == event for line in self._lines(self._began_at_byte))

    def counts(self, event: str) -> list[int]:
        """The `count` of each such line, of all runs."""
        return [int(line["count"]) for line in self._lines(0) if line.get("event") == event]

    def alarms(self) -> set[str]:
        """The alarms of all runs: the event, and what kind of error where in the code, where there was one."""
        told = ("event", "loop", "error_type", "error_code", "error_at")
        alarms = (line for line in self._lines(0) if line.get("level") == "alarm")
        return {" ".join(str(line[name]) for name in told if name in line) for line in alarms}

    def check_alive(self) -> None:
        code = self._running().poll()
        assert code is None, f"the daemon ended by itself with {code}: {self.last_lines()}"

    def last_lines(self) -> str:
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "no daemon was started"
        return self._process

    def _wait(self) -> int:
        assert self._process is not None
        code = self._process.wait(_STOP_LIMIT_S)
        self._process = None
        return code

    def _lines(self, first_byte: int) -> Iterator[dict[str, Any]]:
        with self._log_file.open("rb") as log:
            log.seek(first_byte)
            for line in log.read().splitlines():
                if line.startswith(b"{") and line.endswith(b"}"):  # a killed process may leave half a line
                    yield json.loads(line)


async def call(*arguments: str | Path) -> Any:
    """The JSON that a verb prints; it must exit 0."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(_CALL_LIMIT_S):
        out, err = await process.communicate()
    assert process.returncode == 0, (
        f"kpr-agent {arguments[0]} exited {process.returncode}: {err.decode()}{out.decode()}"
    )
    return json.loads(out)
