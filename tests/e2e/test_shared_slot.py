"""Two municipalities in one database, each in a schema of its own, on one slot, as the daemon supervises them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.app import supervise
from agent.demo.epj import apply_steps, create_tables, picture
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.histories import Histories
from agent.demo.reconciliation import reconcile
from agent.demo.step import TABLES, Step
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.observe.logs import get
from agent.settings import Municipality
from agent.verbs.calls import tell
from agent.verbs.status import status_of
from connectors.sharing.sources import Sources
from tests.e2e.far_register import Keys
from tests.e2e.sources_stage import STILL_FOR_S, Epj, load_municipality, on_epj, write_municipality
from tests.register_model import RegisterModel
from tests.services import Postgres

pytestmark = pytest.mark.server

SERVICES = 30
UNITS = ("vest", "oest")


@dataclass
class Place:
    """A municipality: its schema has its name. `changes`: how many were written."""

    epj: Epj
    municipality: Municipality
    steps: Sequence[Step]
    changes: int = 0

    @property
    def schema(self) -> str:
        return self.municipality.unit

    def write(self, steps: Sequence[Step]) -> None:
        apply_steps(self.epj.engine, steps, self.schema)
        self.changes += sum(len(step.changes) for step in steps)

    def status(self) -> dict[str, Any]:
        return status_of(self.municipality)

    def check(self) -> None:
        """Its chain is whole, and the register's picture is that of its own schema."""
        settings = self.municipality.settings.ledger
        key = LedgerKey.from_file(settings.key_file)
        with Ledger.open(settings.path, unit=self.schema, key=key, read_only=True) as ledger:
            chain = ledger.read(lambda tx: [stored.notification for stored in tx.notifications(1, 10**9)])
            findings = ledger.read(lambda tx: [finding for finding, _ in tx.findings()])
        assert len(chain) > SERVICES
        held = RegisterModel().replay(chain).picture
        rules = Rules(service_types=DEMO_SERVICE_TYPES)
        said = picture(self.epj.engine, self.schema)
        assert reconcile(said, held, findings, rules=rules, today=self.epj.today).differences == ()


async def test_two_municipalities_share_a_slot(postgres: Postgres, tmp_path: Path) -> None:
    async with on_epj(tmp_path, postgres) as epj:
        Keys(tmp_path)
        section = shared_section(epj)
        vest, oest = (place(epj, tmp_path, unit, section, seed) for seed, unit in enumerate(UNITS, 21))
        for one in (vest, oest):
            one.write(one.steps[: len(one.steps) // 2])
        async with running(vest.municipality, oest.municipality):
            for one in (vest, oest):
                await until(lambda one=one: is_loaded(one), "the first load")
                assert (await asyncio.to_thread(tell, one.municipality, {"verb": "apply"}))["applied"]
            for one in (vest, oest):
                one.write(one.steps[len(one.steps) // 2 :])
            for one in (vest, oest):
                await until(lambda one=one: is_read(one), "the end of what was written")
            slot = f"from pg_replication_slots where database = '{epj.name}'"
            assert postgres.sql(f"select count(*), count(*) filter (where active) {slot}") == "1|1"
        for one in (vest, oest):
            one.check()


async def test_one_that_is_away_comes_back_to_what_it_has_missed(postgres: Postgres, tmp_path: Path) -> None:
    """Its neighbour goes on meanwhile (invariant 12)."""
    async with on_epj(tmp_path, postgres) as epj:
        Keys(tmp_path)
        section = shared_section(epj)
        vest, oest = (place(epj, tmp_path, unit, section, seed) for seed, unit in enumerate(UNITS, 31))
        sources = Sources()
        async with running(vest.municipality, sources=sources):
            async with running(oest.municipality, sources=sources):
                for one in (vest, oest):
                    await until(lambda one=one: is_loaded(one), "the first load")
                    assert (await asyncio.to_thread(tell, one.municipality, {"verb": "apply"}))["applied"]
            oest.write(oest.steps)  # nobody reads it now
            vest.write(vest.steps)
            await until(lambda: is_read(vest), "what its neighbour does not read")
            async with running(oest.municipality, sources=sources):
                await until(lambda: is_read(oest), "what it has missed")
        for one in (vest, oest):
            one.check()


def shared_section(epj: Epj) -> dict[str, Any]:
    for unit in UNITS:
        epj.execute(f"CREATE SCHEMA {unit}")
        create_tables(epj.engine, unit)
    tables = ", ".join(f"{unit}.{table}" for unit in UNITS for table in TABLES)
    epj.execute(f"CREATE PUBLICATION kpr_{epj.name} FOR TABLE {tables}")
    slot = f"kpr_{epj.name}"
    settings = {"connection_file": str(epj.url_file), "publication": slot, "slot": slot, "idle_interval_s": 0.5}
    return {"postgres_logical": settings}


def place(epj: Epj, folder: Path, unit: str, section: dict[str, Any], seed: int) -> Place:
    file = write_municipality(folder / unit, section)
    content = yaml.safe_load(file.read_text())
    content["unit"] = unit
    content["epj"]["only"] = {"schema": unit}
    content["ledger"]["path"] = f"{unit}.db"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return Place(epj, load_municipality(file), Histories(seed, SERVICES, epj.today).steps())


@asynccontextmanager
async def running(*municipalities: Municipality, sources: Sources | None = None) -> AsyncIterator[None]:
    """Their pipelines, as `kpr-agent run` supervises them."""
    stop, sources = asyncio.Event(), sources or Sources()
    tasks = [asyncio.create_task(supervise(one, get(municipality=one.unit), stop, sources)) for one in municipalities]
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)


def is_loaded(one: Place) -> bool:
    """Everything that was there at the first start is booked, and the stream has begun."""
    status = one.status()
    return "error" not in status and status["position"] is not None and status["gate"].startswith("first load")


def is_read(one: Place) -> bool:
    """A load tells rows and not changes, so the rows are compared, and nothing may be left to look at."""
    status = one.status()
    if "error" in status or status["due"] or status["waiting"]:
        return False
    settings = one.municipality.settings.ledger
    with Ledger.open(
        settings.path, unit=one.schema, key=LedgerKey.from_file(settings.key_file), read_only=True
    ) as ledger:
        kept = ledger.read(
            lambda tx: {
                (row.table, row.key, row.values.get("endret_tid"))
                for table in TABLES
                for row in tx.rows_of(f"public.{table}")
                if not row.deleted
            }
        )
    there = {
        (f"public.{table}", str(key), row["endret_tid"].isoformat() if row.get("endret_tid") else None)
        for table, rows in picture(one.epj.engine, one.schema).rows.items()
        for key, row in rows.items()
    }
    return kept == there


async def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + STILL_FOR_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < end, f"{what} does not come"
        await asyncio.sleep(0.1)
