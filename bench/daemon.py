"""The real daemon as a process: its log read as it is written, its memory and processor time from /proc."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bench.stage import at

PROGRAM = Path(sys.executable).with_name("kpr-agent")
MIB = 1024.0
_STOP_LIMIT_S = 60
_TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    """`kpr-agent run FILE`. `times`: event -> the moments at which it was logged, seconds since 1970."""

    def __init__(self, file: Path, log_file: Path) -> None:
        self.times: dict[str, list[float]] = {}
        self.alarms: Counter[str] = Counter()
        self.most_rss_mib = 0.0
        self._log_file = log_file
        self._read = 0
        self._rest = b""
        self.began_at = time.time()
        with log_file.open("wb") as log:
            self._process = subprocess.Popen([PROGRAM, "run", file], stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(_STOP_LIMIT_S)

    async def until(self, event: str, count: int = 1, limit_s: float = 120) -> None:
        """Wait until the event was logged so often. Raises RuntimeError when the daemon ends, or it takes too long."""
        await self.until_true(lambda: len(self.times.get(event, ())) >= count, f"{count} times {event}", limit_s)

    async def until_true(self, holds: Callable[[], bool], what: str, limit_s: float = 120) -> None:
        end = time.monotonic() + limit_s
        while True:
            self._look()
            if holds():
                return
            if self._process.poll() is not None or time.monotonic() > end:
                tail = self._log_file.read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError(f"waited in vain for {what}; the daemon's last lines:\n" + "\n".join(tail))
            await asyncio.sleep(0.05)

    def kill(self) -> float:
        """SIGKILL; the moment."""
        moment = time.time()
        self._process.kill()
        self._process.wait(_STOP_LIMIT_S)
        self._look()
        return moment

    async def stop(self) -> None:
        """SIGTERM, and wait until it has drained."""
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, _STOP_LIMIT_S)
        self._look()
        if code != 0:
            raise RuntimeError(f"the daemon ended with {code}")

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / MIB
        return 0.0

    def cpu_s(self) -> float:
        """Processor seconds since its start, its own and the system's for it."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def count(self, event: str) -> int:
        self._look()
        return len(self.times.get(event, ()))

    def _look(self) -> None:
        if self._process.poll() is None:
            self.most_rss_mib = max(self.most_rss_mib, self.rss_mib())
        with self._log_file.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if line.startswith(b"{") and line.endswith(b"}"):  # a killed process may leave half a line
                told = json.loads(line)
                self.times.setdefault(told["event"], []).append(at(told["at"]))
                if told["level"] == "alarm":
                    self.alarms[told["event"]] += 1
