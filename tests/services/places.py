"""Where the servers keep their programs and data, on which ports, and how a process is started and ended."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class ServerMissing(AssertionError):
    """A real server could not be had. The text says how to get it; a test that needs it fails, and never skips."""


def cache_directory() -> Path:
    """Programs, data and certificates: $KPR_TEST_CACHE, else $XDG_CACHE_HOME/kpr-agent, else ~/.cache/kpr-agent."""
    chosen = os.environ.get("KPR_TEST_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kpr-agent"


def port_offset() -> int:
    """$KPR_TEST_PORT_OFFSET (0): moves every port, and gives the servers data of their own, for two runs at a time."""
    return int(os.environ.get("KPR_TEST_PORT_OFFSET", "0"))


def data_directory(name: str) -> Path:
    offset = port_offset()
    return cache_directory() / "run" / (f"{name}-{offset}" if offset else name)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time starts or stops a server."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def process_id(pid_file: Path, belongs: Callable[[str], bool]) -> int | None:
    """The process that `pid_file` names, when it lives and its command line is of our server."""
    try:
        pid = int(pid_file.read_text().split()[0])
        command = b""
        while not command and not gone(pid):  # the command line is empty for a moment while a program execs another
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if belongs(command.replace(b"\0", b" ").decode(errors="replace")) else None


def end_process(pid: int, number: signal.Signals, limit_s: float = 30) -> None:
    """Signal, wait until the process is gone, and kill it when it will not go."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)  # one that stands still hears nothing but SIGKILL
        os.kill(pid, number)
    if not wait_until(lambda: gone(pid), limit_s):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(pid), 10)


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has waited for counts as ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(happened: Callable[[], bool], limit_s: float) -> bool:
    """Poll a condition of another process until it holds or the limit is over."""
    end = time.monotonic() + limit_s
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def require_free(*ports: int) -> None:
    """Refuse with a plain message when a port is taken by something that is not ours."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ServerMissing(
                    f"port {port} on 127.0.0.1 is taken ({error.strerror}): free it, or set KPR_TEST_PORT_OFFSET"
                ) from None


def wait_until_free(*ports: int) -> None:
    """A process of many threads may hold its port a moment longer than its first thread lives; at most 20 s."""

    def free() -> bool:
        try:
            require_free(*ports)
        except ServerMissing:
            return False
        return True

    wait_until(free, 20)


def apt_install(*packages: str, why: str) -> None:
    """Install Debian packages, as root, without a question; a failure says `why`."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], limit_s=300, why=why, env=quiet)
    run(["apt-get", "-q", "-y", "--no-install-recommends", "install", *packages], limit_s=900, why=why, env=quiet)


def run(command: list[str], *, limit_s: float, why: str, **options: object) -> str:
    """Run a command to its end and return its output; a failure says `why` it was run and shows its last lines."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
            text=True,
            **options,  # type: ignore[call-overload]  # cwd and env only
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerMissing(f"{why}: {error}") from None
    if done.returncode:
        tail = "\n".join(str(done.stdout).splitlines()[-15:])
        raise ServerMissing(f"{why}: exit {done.returncode}\n{tail}")
    return str(done.stdout)
