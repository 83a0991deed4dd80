"""A stage for whole runs: an EPJ in PostgreSQL, the daemon as a process, RabbitMQ, and the demo's register behind it.

What the daemon is given is what a municipality gives it: its YAML, the product's mapping, key and certificate files.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from agent.composition import reporting_unit, wanted
from agent.demo.epj import apply_steps, create_tables, picture
from agent.demo.epj_schema import LOG_TABLE
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.histories import Histories
from agent.demo.reconciliation import Reconciliation, reconcile
from agent.demo.register_service import RegisterService
from agent.demo.step import Step
from agent.domain.hodemelding import check_hodemelding
from agent.domain.notification import Notification
from agent.examine import notice_rules, open_gate
from agent.intake.booking import Booking
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.settings import Municipality, load
from agent.unit import NORWAY
from agent.verbs.status import status_of
from connectors.catalog import open_source
from connectors.source import Transaction
from tests.e2e.daemon import Daemon
from tests.e2e.far_register import QUEUE, Keys, RecordingRegister, answering
from tests.register_model import RegisterModel
from tests.services import Broker, Postgres
from tests.services.far_end import Bus

CONFIG = Path(__file__).parents[2] / "config"
OUR_QUEUE, OUR_ERROR_QUEUE = "1236_async", "1236_error"
HER_ID, SERVICE_HER_ID, REGISTER_HER_ID, REGISTER_SERVICE_HER_ID = 8000001, 8000002, 8139520, 8000003
STILL_FOR_S = 120
"""A bound that only a fault reaches: so long may nothing at all move."""

_DATABASES = count(1)


@dataclass(frozen=True)
class Setting:
    """One run. services: how many histories; window and addresses: the daemon's at the broker."""

    seed: int
    services: int
    addresses: str = "v2"
    window: int = 50
    max_notifications: int = 1


def norwegian_today() -> date:
    return datetime.now(NORWAY).date()


class Stage:
    """Everything one run needs. Open it with `on_stage`."""

    def __init__(self, folder: Path, broker: Broker, database_url: str, setting: Setting) -> None:
        self.setting = setting
        self.bus = Bus(broker, setting.addresses)
        self.keys = Keys(folder)
        self.engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
        create_tables(self.engine)
        self.steps: Sequence[Step] = Histories(setting.seed, setting.services, norwegian_today()).steps()
        self.register = RecordingRegister()
        self.file = self._write_files(folder, database_url)
        self.daemon = Daemon(self.file, folder / "daemon.log")
        self.service: RegisterService
        loaded = load([self.file], look_at_files=True)
        assert not loaded.faults, [str(fault) for fault in loaded.faults]
        self.municipality: Municipality = loaded.municipalities[0]

    def _write_files(self, folder: Path, database_url: str) -> Path:
        """Kinn's own file, with the bus, the keys and the database of this stage in the place of its placeholders."""
        url_file = folder / "epj-url"
        url_file.touch(mode=0o600)
        url_file.write_text(database_url)
        LedgerKey.generate_file(folder / "ledger.key")
        content = yaml.safe_load((CONFIG / "municipalities" / "4602-kinn.yaml").read_text())
        content["epj"]["mapping"] = str(CONFIG / "epj" / "demo.yaml")
        content["source"]["outbox_table"] |= {"url_file": "epj-url", "poll_s": 0.1}
        account = self.bus.settings(window=self.setting.window)
        content["bus"] = {"nhn_amqp": account.model_dump(mode="json", exclude_defaults=True)}
        ours = {"her_id": HER_ID, "service_her_id": SERVICE_HER_ID, "queue": OUR_QUEUE, "error_queue": OUR_ERROR_QUEUE}
        theirs = {"her_id": REGISTER_HER_ID, "service_her_id": REGISTER_SERVICE_HER_ID, "queue": QUEUE}
        content["parties"] = {"municipality": ours, "register": theirs}
        content["protection"] = {
            "signing_key_file": "signing.key.pem",
            "signing_certificate_file": "signing.cert.pem",
            "decryption_key_files": ["decryption.key.pem"],
            "decryption_certificate_files": ["decryption.cert.pem"],
            "register_encryption_certificate_file": "register-encryption.cert.pem",
            "register_signing_certificate_files": ["register-signing.cert.pem"],
        }
        content["messages"] = {"max_notifications": self.setting.max_notifications}
        # A year of histories passes in a minute here: the breaker would rightly hold it.
        content["gate"] = {"owed_share": "100%", "owed_minimum": 1_000_000}
        content["ledger"] = {"path": "kinn.db", "key_file": "ledger.key"}
        file = folder / "kinn.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file

    # -- the EPJ -----------------------------------------------------------------------------------------------------

    async def write(self, steps: Iterable[Step]) -> None:
        """Each step a transaction of the EPJ's database."""
        await asyncio.to_thread(apply_steps, self.engine, list(steps))

    def log_rows(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(sa.text(f"SELECT count(*) FROM {LOG_TABLE}")) or 0)

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """What `kpr-agent status` shows, without starting a process for it."""
        return await asyncio.to_thread(status_of, self.municipality)

    async def until(self, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The status in which `holds` came true. Fails when nothing has moved for STILL_FOR_S, or the daemon ended."""
        moved_at, before = time.monotonic(), None
        while True:
            self.daemon.check_alive()
            status = await self.status()
            if "error" not in status and holds(status):
                return status
            now = {name: status.get(name) for name in ("counts", "messages", "due", "notifications")}
            if now != before:
                moved_at, before = time.monotonic(), now
            still = time.monotonic() - moved_at > STILL_FOR_S
            assert not still, f"{what}: nothing moves any more: {now}\n{self.daemon.last_lines()}"
            await asyncio.sleep(0.2)

    async def until_told(self, event: str, limit_s: float) -> bool:
        """Whether this run of the daemon has logged `event` within the limit."""
        end = time.monotonic() + limit_s
        while not self.daemon.has_told(event):
            self.daemon.check_alive()
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)
        return True

    async def until_settled(self) -> dict[str, Any]:
        """All that the EPJ's log has is booked, all that is owed is sent, and every receipt is booked."""
        rows = await asyncio.to_thread(self.log_rows)
        return await self.until(lambda status: _is_settled(status, rows), "the end of the run")

    # -- what must hold ----------------------------------------------------------------------------------------------

    def check_counts(self, status: dict[str, Any]) -> None:
        """Every line of the log is counted once (invariant 3)."""
        counts = Counter(status["counts"])
        assert counts["lines"] == self.log_rows()
        assert counts["lines"] == counts["changes"] + counts["ignored"] + counts["unreadable"]
        ends = counts["reported"] + counts["parked"] + counts["held"] + counts["nothing_to_report"]
        assert counts["changes"] == ends, dict(counts)

    def check_receipts(self, status: dict[str, Any]) -> None:
        """Every message has its receipt, and nothing waits, was refused, or came where nobody could answer."""
        messages = self.register.messages()
        assert status["messages"]["receipted"] == sum(status["messages"].values()) == len(messages)
        unsettled = {name: status[name] for name in ("waiting", "sent", "rejected", "overdue", "due", "unreadable")}
        assert not any(unsettled.values()), unsettled
        assert (self.register.refused, self.service.dead_letters) == (0, 0)

    def check_chain(self) -> list[Notification]:
        """The ledger's notifications make one chain with no gap, and the register took them all (invariant 4)."""
        chain = self.chain()
        model = RegisterModel().replay(chain)
        assert self.register.chain_end(str(HER_ID)) == self.register.notifications == len(chain)
        same = model.picture == self.register.picture()
        assert same, "the chain in the ledger gives another picture than the messages at the register"
        return chain

    def check_picture(self) -> Reconciliation:
        """What stands in the register is what the EPJ says; what does not is explained by a finding."""
        with self._ledger() as ledger:
            findings = [finding for finding, _ in ledger.read(lambda tx: list(tx.findings()))]
        rules = Rules(service_types=DEMO_SERVICE_TYPES)
        epj = picture(self.engine)
        found = reconcile(epj, self.register.picture(), findings, rules=rules, today=norwegian_today())
        assert found.differences == ()
        return found

    def check_messages(self) -> None:
        """Each message is valid to the project's own schema and rules, and came the same however often it came."""
        problems = Counter(
            f"{problem}" for one in self.register.messages() for problem in check_hodemelding(one.content, NORWAY)
        )
        assert not problems, problems.most_common(5)
        assert self.register.changed_on_the_way() == []

    def chain(self) -> list[Notification]:
        with self._ledger() as ledger:
            return [stored.notification for stored in ledger.read(lambda tx: list(tx.notifications(1, 10**9)))]

    async def undisturbed(self) -> tuple[list[Notification], dict[str, int]]:
        """The chain and the counts of a run that nothing disturbs: the EPJ's log through the same core, in memory."""
        with self._ledger() as ledger:
            unit = reporting_unit(self.municipality, ledger.unit_secret)
        rows = self.log_rows()
        source = open_source(self.municipality.settings.source.chosen, wanted(self.municipality), None)
        with Ledger.open(":memory:", unit=unit.name, key=None) as ledger:
            ledger.run_now(lambda tx: (notice_rules(tx, unit), open_gate(tx, unit)))
            booking = Booking(unit)

            def book(transaction: Transaction) -> dict[str, int]:
                def work(tx: Any) -> dict[str, int]:
                    booking.book(tx, transaction, datetime.now(UTC))
                    return tx.counters()

                return ledger.run_now(work)

            counts: dict[str, int] = {}
            async with asyncio.timeout(STILL_FOR_S), source:
                await source.identity()
                async for transaction in source.transactions():
                    counts = book(transaction)
                    await source.acknowledge(transaction.position)
                    if counts.get("lines") == rows:
                        break
            chain = [stored.notification for stored in ledger.read(lambda tx: list(tx.notifications(1, 10**9)))]
        return chain, counts

    def keep_messages(self, name: str) -> None:
        """Write the plain messages where $KPR_KEEP_MESSAGES says, for a checker that is run by hand."""
        if folder := os.environ.get("KPR_KEEP_MESSAGES"):
            target = Path(folder) / name
            target.mkdir(parents=True, exist_ok=True)
            for number, message in enumerate(self.register.messages(), 1):
                (target / f"{number:06}.xml").write_bytes(message.content)

    def _ledger(self) -> Ledger:
        settings = self.municipality.settings.ledger
        key = LedgerKey.from_file(settings.key_file)
        return Ledger.open(settings.path, unit=self.municipality.unit, key=key, read_only=True)


def without_moments(chain: Iterable[Notification]) -> list[Notification]:
    """The chain without `notifikasjonTid`, the one thing in it that is of the run and not of the EPJ."""
    return [replace(notification, arisen_at=datetime.min.replace(tzinfo=UTC)) for notification in chain]


@asynccontextmanager
async def on_stage(folder: Path, broker: Broker, postgres: Postgres, setting: Setting) -> AsyncIterator[Stage]:
    """A stage with an empty EPJ, its register answering; the daemon is not started. All of it is gone afterwards."""
    name = f"e2e_{os.getpid()}_{next(_DATABASES)}"
    stage = Stage(folder, broker, postgres.create_database(name), setting)
    await stage.bus.far_end.empty(OUR_QUEUE, OUR_ERROR_QUEUE)
    try:
        her_ids = frozenset({str(HER_ID), str(SERVICE_HER_ID)})
        async with answering(stage.bus, stage.keys, stage.register, her_ids=her_ids, queue=OUR_QUEUE) as service:
            stage.service = service
            yield stage
    finally:
        stage.daemon.discard()
        stage.engine.dispose()
        postgres.sql(f'drop database if exists "{name}" with (force)')


def _is_settled(status: dict[str, Any], rows: int) -> bool:
    planned = status["next_planned"]
    return (
        status["counts"].get("lines") == rows
        and not (status["due"] or status["waiting"] or status["sent"])
        and (planned is None or date.fromisoformat(planned) > norwegian_today())
    )
