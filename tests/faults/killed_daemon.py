"""The real daemon on one source of an EPJ, killed again and again, and the same source read by nobody who is killed."""

import asyncio
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.demo.step import TABLES
from agent.domain.finding import Finding
from agent.domain.notification import Notification
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from tests.e2e.daemon import Daemon
from tests.e2e.source_sections import Section
from tests.e2e.sources_stage import STILL_FOR_S, Epj, Reading, marks_are_gone, write_municipality


@dataclass(frozen=True)
class Looked:
    """What the ledger says at one moment. rows: kept ones; inside: parts of a transaction are booked, and not its end;
    is_at_end: the last of what was written is booked and examined.
    """

    changes: int
    rows: int
    has_position: bool
    inside: bool
    is_at_end: bool


class KilledDaemon:
    """`kpr-agent run` over one source; its ledger has an open gate before the first start. Made by `on_daemon`."""

    def __init__(self, name: str, folder: Path, section: Section, epj: Epj) -> None:
        self._epj = epj
        self._folder = folder
        self._section = section
        first = Reading(name, folder, section, epj, secret=b"")
        first.ledger.close()
        self.municipality = first.municipality
        self.daemon = Daemon(folder / name / "kinn.yaml", folder / f"{name}.log")
        settings = self.municipality.settings.ledger
        self._key = LedgerKey.from_file(settings.key_file)
        self.ledger = Ledger.open(settings.path, unit=self.municipality.unit, key=self._key, read_only=True)

    # -- one life ----------------------------------------------------------------------------------------------------

    async def kill_after(
        self, reached: Callable[[Looked], bool], delay_s: float, *, limit_s: float, is_open: asyncio.Event
    ) -> Looked:
        """Start it, wait until `reached` (at most `limit_s`), wait `delay_s`, kill it; what the ledger then says.

        `is_open` is set once its source is open.
        """
        self.daemon.start()
        end = time.monotonic() + limit_s
        while not reached(self.look()) and time.monotonic() < end:
            self.daemon.check_alive()
            if not is_open.is_set() and self.daemon.has_told("source_open"):
                is_open.set()
            await asyncio.sleep(0.002)
        is_open.set()
        await asyncio.sleep(delay_s)  # what the test is about: any moment will do
        await self.daemon.kill()
        return self.look()

    async def run_until(self, reached: Callable[[Looked], bool], what: str) -> None:
        """Start it, wait until `reached`, and stop it as an operator does."""
        self.daemon.start()
        moved_at, before = time.monotonic(), None
        while not (reached(now := self.look()) and self.daemon.has_told("source_open")):
            self.daemon.check_alive()
            if now != before:
                moved_at, before = time.monotonic(), now
            still = time.monotonic() - moved_at > STILL_FOR_S
            assert not still, f"{what}: nothing moves any more: {now}\n{self.daemon.last_lines()}"
            await asyncio.sleep(0.01)
        await self.daemon.stop()

    # -- its ledger --------------------------------------------------------------------------------------------------

    def look(self) -> Looked:
        changes, rows, has_position, inside, due = self.ledger.read(
            lambda tx: (
                tx.counters().get("changes", 0),
                sum(tx.count_rows(f"public.{table}") for table in TABLES),
                tx.position() is not None,
                tx.open_transaction(),
                tx.count_due(),
            )
        )
        return Looked(changes, rows, has_position, inside, not due and marks_are_gone(self.ledger))

    def chain(self) -> list[Notification]:
        return self.ledger.read(lambda tx: [stored.notification for stored in tx.notifications(1, 10**9)])

    def findings(self) -> list[Finding]:
        return self.ledger.read(lambda tx: [finding for finding, _ in tx.findings()])

    def counts(self) -> Counter[str]:
        return Counter(self.ledger.read(lambda tx: tx.counters()))

    # -- the same without a kill -------------------------------------------------------------------------------------

    def read_anew(self) -> Reading:
        """A reading from the beginning by the same unit: the same secret, the same rules, an empty ledger."""
        return Reading("undisturbed", self._folder, self._section, self._epj, secret=self.ledger.unit_secret)

    def read_on(self, section: Section) -> Reading:
        """A reading by `section` that goes on where the ledger stands now, in a copy of it."""
        folder = self._folder / "undisturbed"
        write_municipality(folder, section)
        settings = self.municipality.settings.ledger
        shutil.copy(settings.key_file, folder / settings.key_file.name)
        with sqlite3.connect(settings.path) as ours, sqlite3.connect(folder / settings.path.name) as theirs:
            ours.backup(theirs)
        reading = Reading("undisturbed", self._folder, section, self._epj, secret=self.ledger.unit_secret)
        reading.now = None  # its chain goes on from the daemon's, whose moments are those of the run
        return reading


@asynccontextmanager
async def on_daemon(name: str, folder: Path, section: Section, epj: Epj) -> AsyncIterator[KilledDaemon]:
    """The daemon, not started; it is gone afterwards whatever happened."""
    killed = KilledDaemon(name, folder, section, epj)
    try:
        yield killed
    finally:
        killed.daemon.discard()
        killed.ledger.close()
