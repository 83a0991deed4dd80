"""A stage for the sources: one EPJ in PostgreSQL, and readings of it, each by a real source into its own ledger."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import yaml

from agent.composition import reporting_unit, wanted
from agent.demo.epj import apply_steps, create_tables, picture
from agent.demo.epj_schema import LOG_TABLE
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.reconciliation import reconcile
from agent.demo.step import TABLES, Action, Cell, RowChange, Step
from agent.domain.finding import Finding
from agent.domain.notification import Notification
from agent.examine import notice_rules, open_gate
from agent.intake.loop import Ended, Intake
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.settings import Municipality, load
from agent.timer import Keep, Timer
from agent.unit import NORWAY
from connectors.catalog import open_source
from tests.register_model import RegisterModel
from tests.services import Postgres

CONFIG = Path(__file__).parents[2] / "config"
MARK = 1
"""The key of a row in each table that comes first and goes last: lower than every key of the histories."""

STILL_FOR_S = 120
"""A bound that only a fault reaches: so long may nothing at all move."""

_SECRET = b"the same for all readings of it."
_DATABASES = count(1)
_MARK_AT = datetime(2016, 1, 4, 8)  # noqa: DTZ001 - wall-clock time, as in every row of the EPJ


class Epj:
    """The demo's EPJ in a PostgreSQL database of its own, with the change log that its triggers fill."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        self.url_file = folder / "epj-url"
        self.url_file.touch(mode=0o600)
        self.url_file.write_text(url)
        create_tables(self.engine)
        self.now = datetime.now(UTC)
        """The moment of every look: a run over midnight sees one day."""

    @property
    def today(self) -> date:
        return self.now.astimezone(NORWAY).date()

    def write(self, steps: Iterable[Step]) -> None:
        """Each step a transaction of the EPJ's database."""
        apply_steps(self.engine, steps)

    def log_rows(self) -> int:
        """How many changes were written: rows of the log that the triggers fill."""
        with self.engine.connect() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(sa.table(LOG_TABLE))) or 0)

    def count_rows(self) -> int:
        """How many rows the EPJ's tables hold."""
        with self.engine.connect() as connection:
            counts = [sa.select(sa.func.count()).select_from(sa.table(table)) for table in TABLES]
            return sum(int(connection.scalar(count) or 0) for count in counts)

    def execute(self, statement: str) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(statement)

    def begin(self) -> None:
        """Write the marks. What is read after they went is all that was written before."""
        self.write(mark(Action.INSERT))

    def end(self) -> None:
        """Delete the marks. A scan reads them first, so one that lacks them began after everything was written."""
        self.write(mark(Action.DELETE))


def mark(action: Action, mark_key: int = MARK) -> Iterator[Step]:
    """A row of each table, inserted or deleted. It means nothing to anybody, and is never reported."""
    moments: dict[str, Cell] = {"registrert_tid": _MARK_AT, "endret_tid": _MARK_AT}
    for table, key in TABLES.items():
        columns: dict[str, Cell] = dict.fromkeys(_COLUMNS[table]) | {key: mark_key} | moments
        yield Step(
            _MARK_AT, "a mark", (RowChange(table, action, mark_key, columns if action is Action.INSERT else None),)
        )


_COLUMNS = {
    "bruker": ("bruker_id", "fnr", "id_type", "fodselsdato", "fornavn", "etternavn", "bydel"),
    "enhet": ("enhet_id", "orgnr", "navn"),
    "tjeneste": (
        *("tjeneste_id", "bruker_id", "enhet_id", "lokal_type"),
        *("start_dato", "slutt_dato", "status", "saksnummer"),
    ),
    "pause": ("pause_id", "tjeneste_id", "fra_dato", "til_dato", "status"),
}


@asynccontextmanager
async def on_epj(folder: Path, postgres: Postgres) -> AsyncIterator[Epj]:
    """An EPJ with empty tables; its database is gone afterwards, with the slots that were made in it."""
    name = f"five_{os.getpid()}_{next(_DATABASES)}"
    epj = Epj(folder, name, postgres.create_database(name))
    try:
        yield epj
    finally:
        epj.engine.dispose()
        await asyncio.to_thread(_drop, postgres, name)


def _drop(postgres: Postgres, name: str) -> None:
    ours = f"from pg_replication_slots where database = '{name}'"
    end = time.monotonic() + 30
    postgres.sql(f"select pg_terminate_backend(active_pid) {ours} and active")
    while postgres.sql(f"select count(*) {ours} and active") != "0" and time.monotonic() < end:
        time.sleep(0.05)
    postgres.sql(f"select pg_drop_replication_slot(slot_name) {ours}")
    postgres.sql(f'drop database if exists "{name}" with (force)')


def write_municipality(folder: Path, source: dict[str, Any]) -> Path:
    """Kinn's own file with this source and a folder in the place of the bus; its ledger's key beside it.

    A daemon finds its other keys and certificates (tests/e2e/far_register.py, Keys) in the folder above.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "ledger.key").exists():
        LedgerKey.generate_file(folder / "ledger.key")
    content = yaml.safe_load((CONFIG / "municipalities" / "4602-kinn.yaml").read_text())
    content["epj"]["mapping"] = str(CONFIG / "epj" / "demo.yaml")
    content["source"] = source
    content["bus"] = {"folder": {"path": "messages"}}
    content["protection"] = {
        "signing_key_file": "../signing.key.pem",
        "signing_certificate_file": "../signing.cert.pem",
        "decryption_key_files": ["../decryption.key.pem"],
        "decryption_certificate_files": ["../decryption.cert.pem"],
        "register_encryption_certificate_file": "../register-encryption.cert.pem",
        "register_signing_certificate_files": ["../register-signing.cert.pem"],
    }
    # A year of histories passes in a minute here: the breaker would rightly hold it.
    content["gate"] = {"owed_share": "100%", "owed_minimum": 1_000_000}
    content["dispatch"] = {"retry_first": "200ms", "retry_longest": "1s", "slow_retry": "2s"}
    content["ledger"] = {"path": "kinn.db", "key_file": "ledger.key"}
    file = folder / "kinn.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def load_municipality(file: Path) -> Municipality:
    loaded = load([file])
    assert not loaded.faults, [str(fault) for fault in loaded.faults]
    return loaded.municipalities[0]


async def _nothing() -> None:
    """No message is sent here, so none is overdue."""


@dataclass
class _Alarms:
    """A Log that keeps the names of alarms."""

    told: list[str] = field(default_factory=list)

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    def alarm(self, event: str, **fields: object) -> None:
        self.told.append(event)


class Reading:
    """One source of an EPJ, read by the agent's own intake into a ledger file, gate open. Run by `running`."""

    def __init__(self, name: str, folder: Path, source: dict[str, Any], epj: Epj, *, secret: bytes = _SECRET) -> None:
        """`secret`: the seed of the persons' GUIDs; the same for all readings whose notifications are compared."""
        self.name = name
        self.now: datetime | None = epj.now
        """The moment of every look; None: the moments of the run."""
        self._epj = epj
        self.municipality = load_municipality(write_municipality(folder / name, source))
        self.unit = reporting_unit(self.municipality, secret)
        settings = self.municipality.settings.ledger
        key = LedgerKey.from_file(settings.key_file)
        self.ledger = Ledger.open(settings.path, unit=self.unit.name, key=key, clock=self._clock)
        self.ledger.run_now(lambda tx: (notice_rules(tx, self.unit), open_gate(tx, self.unit)))
        self.log = _Alarms()
        self._task: asyncio.Task[None] | None = None

    def _clock(self) -> datetime:
        return self.now or datetime.now(UTC)

    async def run(self) -> None:
        """Read until cancelled, or to the end of a source that has one; what a scan makes due is examined beside it."""
        settings = self.municipality.settings
        keep = settings.ledger.keep
        timer = Timer(
            self.unit,
            self.ledger,
            self.log,
            _nothing,
            Keep(keep.message_bytes, keep.notification_fields, keep.receipts, keep.unreadable),
            settings.rules.missing_row_alarm,
            clock=self._clock,
        )
        intake = Intake(
            self.unit,
            self.ledger,
            lambda position: open_source(settings.source.chosen, wanted(self.municipality), position),
            self.log,
            looked=timer.nudge,
            clock=self._clock,
        )
        looking = asyncio.create_task(timer.run())
        try:
            with suppress(Ended):
                await intake.run()
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Reading"]:
        """While it reads."""
        self._task = asyncio.create_task(self.run(), name=self.name)
        try:
            yield self
        finally:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until `holds`. Fails when no change is booked for STILL_FOR_S; raises what the source raised."""
        moved_at, before = time.monotonic(), -1
        while not holds():
            if self._task is not None and self._task.done():
                self._task.result()
                assert holds(), f"{self.name} ended before {what}"
                return
            now = sum(self.counts().values())
            if now != before:
                moved_at, before = time.monotonic(), now
            assert time.monotonic() - moved_at < STILL_FOR_S, f"{self.name}, {what}: nothing moves: {self.counts()}"
            await asyncio.sleep(0.01)

    async def until_open(self) -> None:
        """The source has said once that it has no more to give for now."""
        await self.until(lambda: self.ledger.read(lambda tx: tx.position()) is not None, "its first look")

    async def until_booked(self, changes: int) -> None:
        """So many changes are booked."""
        await self.until(lambda: self.counts().get("changes", 0) >= changes, f"{changes} changes")

    async def until_read(self) -> None:
        """Everything that was written before `Epj.end` is booked."""
        await self.until(self.has_read, "the end of what was written")

    def has_read(self) -> bool:
        return marks_are_gone(self.ledger) and not self.ledger.read(lambda tx: tx.count_due())

    # -- what it holds -----------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        return self.ledger.read(lambda tx: tx.counters())

    def chain(self) -> list[Notification]:
        return self.ledger.read(lambda tx: [stored.notification for stored in tx.notifications(1, 10**9)])

    def findings(self) -> list[Finding]:
        return self.ledger.read(lambda tx: [finding for finding, _ in tx.findings()])

    def check(self) -> list[Notification]:
        """The chain is whole, and the register's picture is the EPJ's; what differs is explained by a finding."""
        chain = self.chain()
        check_picture(self._epj, RegisterModel().replay(chain), self.findings(), self.name)
        counts = self.counts()
        assert not counts.get("unreadable"), counts
        assert self.log.told == []
        return chain


def marks_are_gone(ledger: Ledger) -> bool:
    """Whether everything that was written before `Epj.end` is booked."""
    keys = [f"public.{table}" for table in TABLES]
    rows = ledger.read(lambda tx: [tx.row(table, str(MARK)) for table in keys])
    return all(row is not None and row.deleted for row in rows)


def check_picture(epj: Epj, register: RegisterModel, findings: Sequence[Finding], name: str) -> None:
    rules = Rules(service_types=DEMO_SERVICE_TYPES)
    found = reconcile(picture(epj.engine), register.picture, findings, rules=rules, today=epj.today)
    assert found.differences == (), f"{name}: {len(found.differences)} differences, such as {found.differences[:5]}"


def without_place(chain: Iterable[Notification]) -> dict[UUID, Notification]:
    """Notifications by GUID, without their place in the chain and `notifikasjonTid`: what is of the EPJ alone."""
    never = datetime.min.replace(tzinfo=UTC)
    told = [replace(one, number=0, previous_guid=UUID(int=0), arisen_at=never) for one in chain]
    by_guid = {one.guid: one for one in told}
    assert len(by_guid) == len(told)
    return by_guid


@contextmanager
def closed(*readings: Reading) -> Iterator[None]:
    """The readings' ledgers, closed at the end."""
    try:
        yield
    finally:
        for reading in readings:
            reading.ledger.close()
