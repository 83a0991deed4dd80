"""One writer for each municipality (invariant 11): a lock file, held by the kernel for the life of the process.

The file can be deleted under a stopped process; the epoch in the database is what then refuses it (ledger.py).
"""

import contextlib
import fcntl
import os
from pathlib import Path

from agent.ledger.errors import LedgerBusy, LedgerUnavailable


class WriterLock:
    """The lock of one ledger. Taken when made; LedgerBusy names the process that has it, where it is known."""

    def __init__(self, ledger_path: Path) -> None:
        path = ledger_path.with_name(ledger_path.name + ".lock")
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnavailable(f"the ledger's lock {path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise LedgerBusy(f"{who} holds the ledger {ledger_path}: ask it over its socket, or stop it") from None
        # Whom a person is to look for. Not needed for the lock itself, so a full disk does not matter.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the lock; the file stays. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
