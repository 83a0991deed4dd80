"""One piece of work at a time on a connection, whichever thread it comes from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.ledger.errors import LedgerUnavailable

LONGEST_WAIT_S = 120.0
"""How long one transaction may take before the ledger counts as unavailable: far above any that works."""


class Turn:
    """Who may use a connection now."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._free = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn, for the length of the block.

        LedgerUnavailable when it does not come in time; RuntimeError for work inside of work, which would wait for
        itself.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise RuntimeError("a ledger transaction inside another one")
        if not self._free.acquire(timeout=LONGEST_WAIT_S):
            raise LedgerUnavailable(f"the ledger {self._path} was busy for {LONGEST_WAIT_S:.0f} s")
        self._owner = me
        try:
            yield
        finally:
            self._owner = None
            self._free.release()
