"""An EPJ restored from a backup: the source stops, a person accepts it, and the register ends with what the EPJ says.

A real PostgreSQL is put back to an earlier state, and gives a key that it had given away to another service.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.demo.histories import Histories
from agent.demo.step import Step
from agent.domain.notification import Notification, Status
from agent.examine import examine_due, open_gate
from agent.verbs.plan import make_plan
from agent.verbs.source_decisions import Accepted, accept_new_incarnation, delete_vanished, vanished
from connectors.source import PositionLost
from tests.e2e import source_sections as sections
from tests.e2e.sources_stage import Epj, Reading, check_picture, closed, on_epj
from tests.register_model import RegisterModel
from tests.services import Postgres

pytestmark = pytest.mark.server

SEED, SERVICES = 11, 60


async def test_a_restored_epj_is_read_again_behind_the_gate(postgres: Postgres, tmp_path: Path) -> None:
    async with on_epj(tmp_path, postgres) as epj:
        steps = Histories(SEED, SERVICES, epj.today).steps()
        section = sections.postgres_logical(epj)
        reading = Reading("restored", tmp_path, section, epj)
        reading.now = None  # what is told before and after the backup is told apart by its moment
        with closed(reading):
            await read(reading, epj, steps[: len(steps) // 2])
            back_up(epj, postgres)
            backed_up_at = datetime.now(UTC)
            await read(reading, epj, steps[len(steps) // 2 :])
            restore(epj, postgres, section["postgres_logical"]["slot"])
            with pytest.raises(PositionLost) as stop:
                await reading.run()
            assert (stop.value.code, "new-incarnation" in stop.value.repair) == ("KPR-127", True)

            accepted = accept(reading, backed_up_at)
            assert accepted.first_told_since
            key = give_the_key_to_another(epj, accepted.first_told_since[0])
            before = len(reading.chain())
            async with reading.running():
                await reading.until(lambda: has_position(reading), "the second load")
                await reading.until(lambda: has_row(reading, key), "the new service")
            assert len(reading.chain()) == before, "the gate is closed while it is read again"
            found = reading.ledger.read(lambda tx: vanished(tx, reading.unit))
            assert found["services"]
            assert not set(found["services"]) & set(services(epj)), "listed as vanished, and there"
            told_again = decide(reading)
            assert [one.status for one in told_again if one.service_id == key][-1] is Status.NEW
            assert Status.ANNUL in {one.status for one in told_again if one.service_id == key}
            check_picture(epj, RegisterModel().replay(reading.chain()), reading.findings(), "the restored one")


async def read(reading: Reading, epj: Epj, steps: list[Step]) -> None:
    """Written while it is read, to the last change."""
    async with reading.running():
        await reading.until_open()
        epj.write(steps)
        last = str(epj.log_rows())
        epj.execute(f"UPDATE enhet SET navn = 'nr {last}' WHERE enhet_id = (SELECT min(enhet_id) FROM enhet)")
        logged = epj.log_rows()
        await reading.until(lambda: reading.counts().get("changes", 0) >= logged, "the last change")


def back_up(epj: Epj, postgres: Postgres) -> None:
    epj.engine.dispose()
    postgres.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{epj.name}'")
    postgres.sql(f'create database "{epj.name}_backup" template "{epj.name}"')


def restore(epj: Epj, postgres: Postgres, slot: str) -> None:
    """What is there goes, its slot with it, and the backup takes its name."""
    epj.engine.dispose()
    active = f"from pg_replication_slots where slot_name = '{slot}' and active"
    postgres.sql(f"select pg_terminate_backend(active_pid) {active}")
    postgres.sql(f"select pg_drop_replication_slot('{slot}')")
    postgres.sql(f'drop database "{epj.name}" with (force)')
    postgres.sql(f'alter database "{epj.name}_backup" rename to "{epj.name}"')


def accept(reading: Reading, backed_up_at: datetime) -> Accepted:
    now = datetime.now(UTC)
    return reading.ledger.run_now(lambda tx: accept_new_incarnation(tx, reading.unit, now, restored_to=backed_up_at))


def give_the_key_to_another(epj: Epj, key: str) -> str:
    """A service like one that stands, under a key that the backup does not know."""
    columns = "bruker_id, enhet_id, lokal_type, start_dato, status, saksnummer, registrert_tid, endret_tid"
    with epj.engine.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO tjeneste (tjeneste_id, {columns}) SELECT :key, {columns} FROM tjeneste"
                " WHERE lokal_type = 'LANG' AND status = 'AKTIV' AND start_dato < CURRENT_DATE AND slutt_dato IS NULL"
                " ORDER BY tjeneste_id LIMIT 1"
            ),
            {"key": int(key)},
        )
        assert connection.scalar(sa.text("SELECT count(*) FROM tjeneste WHERE tjeneste_id = :key"), {"key": int(key)})
    return key


def services(epj: Epj) -> list[str]:
    with epj.engine.connect() as connection:
        return [str(key) for key in connection.scalars(sa.text("SELECT tjeneste_id FROM tjeneste"))]


def has_position(reading: Reading) -> bool:
    return reading.ledger.read(lambda tx: tx.position()) is not None


def has_row(reading: Reading, key: str) -> bool:
    return not reading.ledger.read(lambda tx: tx.is_first_told("public.tjeneste", key))


def decide(reading: Reading) -> list[Notification]:
    """A person looks: what vanished is deleted, what is owed may go. What that told."""
    ledger, unit, now = reading.ledger, reading.unit, datetime.now(UTC)
    before = len(reading.chain())
    ledger.run_now(lambda tx: delete_vanished(tx, unit, now))
    plan = ledger.read(lambda tx: make_plan(tx, unit, now))
    assert any("another service" in line.cause for line in plan.lines), plan.as_json()
    ledger.run_now(lambda tx: open_gate(tx, unit))
    while ledger.run_now(lambda tx: examine_due(tx, unit, now, limit=500, approved=True)) is not None:
        pass
    return reading.chain()[before:]
