"""`kpr-agent demo --source ...` as a person runs it, on real servers: EPJ and register agree, nothing stays."""

import asyncio
import json
import signal
import sys
from typing import Any

import pytest

from tests.e2e.kept_demo import ROOT
from tests.services import Connect, Kafka, Postgres
from tests.services.topics import list_topics

LIMIT_S = 150
"""A bound that only a fault reaches."""

pytestmark = pytest.mark.server


async def demo(source: str, *, seconds: int = 6) -> tuple[dict[str, Any], str]:
    """What it ended with, and what it said meanwhile. It must end well."""
    command = ["-m", "agent", "demo", "--source", source, "--seconds", str(seconds), "--seed", "2", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(LIMIT_S):
        told, said = await process.communicate()
    assert process.returncode == 0, (told.decode(), said.decode())
    return json.loads(told), said.decode()


def left_in(postgres: Postgres) -> str:
    """Databases, roles and slots of demos."""
    return postgres.sql(
        "select datname from pg_database where datname like 'kpr_demo%' union all"
        " select rolname from pg_roles where rolname like 'kpr_demo%' union all"
        " select slot_name from pg_replication_slots where slot_name like 'kpr_demo%'"
    )


def check(told: dict[str, Any]) -> None:
    assert (told["agrees"], told["differences"], told["unfinished"]) == (True, [], "")
    assert told["agent"]["notifications"] > 100
    assert told["register"]["refused"] > 0
    assert told["agent"]["resent"] > 0
    assert told["register"]["standing_services"] > 50


async def test_postgresqls_log_is_prepared_read_and_left_as_it_was(postgres: Postgres) -> None:
    told, said = await demo("postgres")
    check(told)
    assert "kpr-agent source prepare" in said
    assert "-- the agent's own role" in said
    assert left_in(postgres) == ""
    assert postgres.running()  # it ran before the demo came


async def test_debezium_connect_and_kafka_are_set_up_read_and_left_as_they_were(
    postgres: Postgres, kafka: Kafka, connect: Connect
) -> None:
    told, said = await demo("kafka")
    check(told)
    assert "The connector streams, and its task runs." in said
    assert left_in(postgres) == ""
    assert [name for name in connect.ask("GET", "/connectors") if "kpr_demo" in name] == []
    assert [name for name in await list_topics(kafka) if "kpr_demo" in name] == []
    assert (kafka.running(), connect.running()) == (True, True)


async def test_select_alone_is_granted_scanned_and_left_as_it_was(postgres: Postgres) -> None:
    told, said = await demo("query")
    check(told)
    assert "SELECT and nothing more" in said
    assert left_in(postgres) == ""


async def test_interrupted_it_leaves_neither_a_slot_nor_a_database_behind(postgres: Postgres) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "agent", "demo", "--source", "postgres", cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        async for line in process.stdout:
            if b"applied:" in line:
                break
        assert left_in(postgres).count("kpr_demo") == 3
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"interrupted\n")
    assert left_in(postgres) == ""
