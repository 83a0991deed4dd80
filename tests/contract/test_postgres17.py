"""PostgreSQL 17: the contract, `source prepare`, and a failover that is gone through exactly or stops by its name."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from connectors.inspection import Verdict
from connectors.postgres_logical.inspection import inspect
from connectors.postgres_logical.setup import apply, is_advice, plan
from connectors.source import Position, PositionLost
from tests.contract.postgres_epj import CAPTURE as EPJ_CAPTURE
from tests.contract.postgres_epj import DROPS, LIFE, Epj, make_epj
from tests.contract.postgres_stage import PostgresStage, staged
from tests.contract.source_behaviour import (
    CAPTURE,
    HISTORY,
    PATIENCE_S,
    Seen,
    SourceBehaviour,
    Written,
    caught_up,
    read_all,
    read_until,
    reading,
)
from tests.services import Postgres, failover_pair

pytestmark = pytest.mark.server

STANDBY = "kpr_standby"


@pytest.fixture
def stage(postgres17: Postgres, tmp_path: Path) -> Iterator[PostgresStage]:
    yield from staged(postgres17, tmp_path)


class TestPostgresLogicalOn17(SourceBehaviour):
    pass


@pytest.fixture
def epj(postgres17: Postgres, tmp_path: Path) -> Iterator[Epj]:
    yield from make_epj(postgres17, tmp_path)


async def test_the_epj_writes_alters_and_drops_through_what_is_prepared(epj: Epj) -> None:
    await epj.prepare()
    epj.run(*LIFE, *DROPS)


async def test_a_failover_slot_is_prepared_and_seen(epj: Epj) -> None:
    await epj.prepare(failover=True)
    assert [one for one in await epj.plan(failover=True) if not is_advice(one)] == []
    assert epj.ask(f"select failover from pg_replication_slots where slot_name = '{epj.settings.slot}'") == [(True,)]
    epj.run_as_admin(f"alter role \"{epj.agent}\" password 'agent-pw'")
    seen = await inspect(epj.settings, EPJ_CAPTURE, None)
    assert [one.text for one in seen if one.subject == "slot" and "failover True" in one.text]
    assert all(one.verdict is Verdict.GOOD for one in seen)


async def test_a_slot_without_failover_is_advised_how_to_become_one(epj: Epj) -> None:
    await epj.prepare()
    (advice,) = [one for one in await epj.plan(failover=True) if is_advice(one)]
    assert "ALTER_REPLICATION_SLOT" in advice.text


# -- failover ---------------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """A primary with a hot standby, and the agent's database on it."""

    primary: Postgres
    standby: Postgres
    stage: PostgresStage

    async def prepare(self, *, failover: bool) -> Position:
        """The slot as `source prepare` makes it, and where its log begins."""
        stage = self.stage
        assert stage.start is not None
        await apply(await plan(stage.settings, CAPTURE, role="postgres", failover=failover, admin=stage.url), stage.url)
        high, low = str(stage.slot_state()["confirmed_flush_lsn"]).split("/")
        return replace(stage.start, place={"wal": ((int(high, 16) << 32) | int(low, 16), 0)})

    async def until_on_standby(self, question: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.standby.sql(question) != "t":  # noqa: ASYNC110  another process's doing
                await asyncio.sleep(0.1)

    async def read_until_synced(self, position: Position) -> Position:
        """Read on and acknowledge until the standby keeps the slot: the slot has to move past its own log first."""
        ready = (
            "select coalesce((select synced and not temporary and invalidation_reason is null "
            f"from pg_replication_slots where slot_name = '{self.stage.slot}'), false)"
        )
        source = self.stage.open(position)
        async with asyncio.timeout(2 * PATIENCE_S), reading(source) as stream:
            while self.standby.sql(ready) != "t":
                self.primary.sql("select pg_log_standby_snapshot()")
                position = (await read_until(stream, caught_up)).position
                await source.acknowledge(position)
        return position

    def fail_over(self) -> None:
        """The primary crashes; the standby takes its place, and the address leads to it."""
        self.primary.kill()
        self.standby.start()
        self.standby.promote()
        self.stage.server = self.standby
        self.stage.url = self.standby.database_url(self.stage.name)
        self.stage.connection_file.write_text(self.stage.url + "\n")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    primary, standby = failover_pair()
    try:
        primary.delete()
        primary.start()
        primary.make_standby(standby, STANDBY)
        stage = PostgresStage(primary, tmp_path)
        stage.drop_slot()
        yield Pair(primary, standby, stage)
    finally:
        standby.delete()
        primary.delete()


async def read_and_acknowledge(stage: PostgresStage, position: Position, enough: int) -> Seen:
    """Read until so many changes are told, and acknowledge what was read, as a ledger that has booked it does."""
    source = stage.open(position)
    async with reading(source) as stream:
        seen = Seen()
        while len(seen.changes) < enough or not caught_up(seen):
            seen = await read_until(stream, lambda _: True, seen)
            await source.acknowledge(seen.position)
    return seen


async def test_reading_goes_on_exactly_on_the_promoted_standby_with_a_failover_slot(pair: Pair) -> None:
    """Nothing lost, nothing doubled: the standby keeps the slot, and tells nobody what it does not have itself."""
    pair.primary.sql(f"alter system set synchronized_standby_slots = '{STANDBY}'")
    pair.primary.sql("select pg_reload_conf()")
    stage = pair.stage
    start = await pair.prepare(failover=True)
    stage.write(HISTORY[:20])
    before = await read_and_acknowledge(stage, start, 20)
    synced = await pair.read_until_synced(before.position)
    stage.write(HISTORY[20:30])
    more = await read_and_acknowledge(stage, synced, 10)
    pair.fail_over()
    stage.write(HISTORY[30:])
    after = await read_and_acknowledge(stage, more.position, 10)
    assert before.told + more.told + after.told == [(change.key, change.status) for change in HISTORY]
    assert more.position.incarnation == after.position.incarnation
    assert all(one.verdict is not Verdict.FAULT for one in await inspect(stage.settings, CAPTURE, after.position))


async def test_what_the_standby_does_not_have_is_not_told(pair: Pair) -> None:
    pair.primary.sql(f"alter system set synchronized_standby_slots = '{STANDBY}'")
    pair.primary.sql("select pg_reload_conf()")
    stage = pair.stage
    start = await pair.prepare(failover=True)
    stage.write([Written(1, "both")])
    before = await read_and_acknowledge(stage, start, 1)
    synced = await pair.read_until_synced(before.position)
    pair.standby.stop()
    stage.write([Written(2, "the primary alone")])
    seen = Seen()
    async with reading(stage.open(synced)) as stream:
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await read_until(stream, lambda seen: bool(seen.changes), seen)
    assert seen.told == []
    pair.fail_over()
    stage.write([Written(3, "the new primary")])
    after = await read_and_acknowledge(stage, synced, 1)
    assert after.told == [(3, "the new primary")]
    assert stage.rows() == {1: "both", 3: "the new primary"}


async def test_without_a_failover_slot_a_failover_is_a_named_stop(pair: Pair) -> None:
    stage = pair.stage
    start = await pair.prepare(failover=False)
    stage.write(HISTORY[:5])
    before = await read_and_acknowledge(stage, start, 5)
    place = pair.primary.sql("select pg_current_wal_flush_lsn()")
    await pair.until_on_standby(f"select pg_last_wal_replay_lsn() >= '{place}'")
    pair.fail_over()
    with pytest.raises(PositionLost) as stop:
        await read_all(stage.open(before.position))
    assert "slot" in str(stop.value)
    assert "missing" in str(stop.value)
    assert stop.value.repair


async def test_a_standby_that_lacks_what_was_told_is_a_named_stop(pair: Pair) -> None:
    """Without synchronized_standby_slots the agent may know what the new primary never had."""
    stage = pair.stage
    start = await pair.prepare(failover=True)
    stage.write([Written(1, "both")])
    before = await read_and_acknowledge(stage, start, 1)
    synced = await pair.read_until_synced(before.position)
    pair.standby.stop()
    stage.write([Written(2, "the primary alone")])
    ahead = await read_and_acknowledge(stage, synced, 1)
    assert ahead.told == [(2, "the primary alone")]
    pair.fail_over()
    with pytest.raises(PositionLost) as stop:
        await read_all(stage.open(ahead.position))
    assert stop.value.repair
