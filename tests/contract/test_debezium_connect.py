"""deploy/debezium/postgresql.json and connectors/kafka_debezium/connect.py, on a real Connect, Kafka and PostgreSQL."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from connectors.inspection import Observation, Verdict
from connectors.kafka_debezium.connect import inspect_connect
from connectors.source import Capture, Change, Column, Infinity, Kind, Missing, Operation, Table, Value
from connectors.wire.debezium import DebeziumReader
from tests.services import Connect, Kafka, Postgres, places, topics

DEPLOYED = Path(__file__).parents[2] / "deploy/debezium"
PLACEHOLDER = re.compile(r"<([A-Z_]+)>")
WAIT_S = 60
"""A bound that only a fault reaches."""

SCHEMA = """
create schema epj;
create table epj.tjeneste (
    id bigint primary key, guid uuid, kode char(6), aktiv boolean, timer numeric(6,2), start date, slutt date,
    oppdatert timestamp(3), endret timestamp(6), registrert timestamptz, notat text, navn text
);
alter table epj.tjeneste alter notat set storage external;
"""
KINDS = {
    "id": Kind.INTEGER,
    "guid": Kind.TEXT,
    "kode": Kind.TEXT,
    "aktiv": Kind.TEXT,
    "timer": Kind.TEXT,
    "start": Kind.DATE,
    "slutt": Kind.DATE,
    "oppdatert": Kind.TIMESTAMP,
    "endret": Kind.TIMESTAMP,
    "registrert": Kind.INSTANT,
    "notat": Kind.TEXT,
}
TABLE = "epj.tjeneste"
COLUMNS = tuple(Column(name, kind) for name, kind in KINDS.items())
READER = DebeziumReader(Capture((Table(TABLE, ("id",), COLUMNS),)))

SECRET_NAME = "Kari Test"
INSERT = f"""insert into epj.tjeneste values (%d, 'ABCDEF01-2345-6789-ABCD-EF0123456789', 'ab', true, 12.50,
    '2026-03-29', '9999-12-31', '2026-03-29 02:30:00.123', '2026-03-29 02:30:00.123456', '2026-03-29 02:30:00+02',
    'kort', '{SECRET_NAME}')"""


def expected(key: int, **other: Value) -> dict[str, Value]:
    return {
        "id": key,
        "guid": "abcdef01-2345-6789-abcd-ef0123456789",
        "kode": "ab",
        "aktiv": "true",
        "timer": "12.50",
        "start": date(2026, 3, 29),
        "slutt": date(9999, 12, 31),
        "oppdatert": datetime(2026, 3, 29, 2, 30, 0, 123000),  # noqa: DTZ001 - a wall clock has no zone
        "endret": datetime(2026, 3, 29, 2, 30, 0, 123456),  # noqa: DTZ001 - the same
        "registrert": datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
        "notat": "kort",
    } | other


def filled(text: str, values: dict[str, str]) -> str:
    found = PLACEHOLDER.sub(lambda match: values[match[1]], text)
    assert not PLACEHOLDER.search(found)
    return found


@dataclass
class Deployed:
    """The shipped files, filled in for one database, and what comes out of them."""

    name: str
    connect: Connect
    postgres: Postgres
    kafka: Kafka
    config: dict[str, str] = field(default_factory=dict)

    def sql(self, statement: str) -> str:
        return self.postgres.sql(statement, self.name)

    async def inspect(self) -> tuple[Observation, ...]:
        return await inspect_connect(self.connect.url, [f"{self.name}.{TABLE}"])

    @contextlib.asynccontextmanager
    async def records(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A reader of the table's topic from its beginning; Debezium makes the topic with the first row."""
        topic = f"{self.name}.{TABLE}"
        async with asyncio.timeout(WAIT_S):
            while topic not in await topics.list_topics(self.kafka):  # noqa: ASYNC110 - the broker sends no event
                await asyncio.sleep(0.1)
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


@pytest.fixture
def deployed(connect: Connect, postgres: Postgres, kafka: Kafka, tmp_path: Path) -> Iterator[Deployed]:
    """The connector of deploy/debezium/postgresql.json, ready to be put; its database was prepared by the SQL there."""
    name = f"deployed{abs(hash(tmp_path)) % 10**8}"
    postgres.create_database(name)
    postgres.sql(SCHEMA, name)
    password = tmp_path / "password.properties"
    password.write_text("password=dbz-pw\n")
    values = {
        "DATABASE_HOST": postgres.host,
        "DATABASE_USER": f"{name}_debezium",
        "DATABASE": name,
        "PASSWORD": "dbz-pw",
        "SCHEMA": "epj",
        "TABLES": TABLE,
        "COLUMNS": ",".join(f"{TABLE}.{column}" for column in KINDS),
        "SIGNAL_SCHEMA": "kpr_debezium",
        "SIGNAL_TABLE": "kpr_debezium.signal",
        "PUBLICATION": "kpr_debezium",
        "SLOT": name,
        "TOPIC_PREFIX": name,
    }
    for statement in filled((DEPLOYED / "postgresql.sql").read_text(encoding="utf-8"), values).split(";\n"):
        if statement.strip():
            postgres.sql(statement, name)
    config = json.loads(filled((DEPLOYED / "postgresql.json").read_text(encoding="utf-8"), values))["config"]
    # Of this machine, and not of the file: the port, a server without TLS, the directory of the password.
    config |= {"database.port": str(postgres.port), "database.sslmode": "disable"}
    config |= {"database.password": f"${{file:{password}:password}}"}
    one = Deployed(name, connect, postgres, kafka, config)
    try:
        yield one
    finally:
        connect.delete_connector(name)
        connect.drop_slot(postgres, name)
        postgres.sql("alter system reset max_slot_wal_keep_size")
        postgres.sql("select pg_reload_conf()")
        postgres.sql(f'drop database "{name}" with (force)')
        postgres.sql(f"drop role {name}_debezium")
        asyncio.run(_delete_topics(kafka, name))


async def _delete_topics(kafka: Kafka, name: str) -> None:
    there = await topics.list_topics(kafka)
    await topics.delete_topics(kafka, *(topic for topic in there if name in topic))


async def next_change(consumer: AIOKafkaConsumer) -> Change:
    """The next row that is told."""
    async with asyncio.timeout(WAIT_S):
        while True:
            record: ConsumerRecord[Any, Any] = await consumer.getone()
            assert SECRET_NAME.encode() not in (record.value or b"")
            read = READER.read(record.topic, record.key, record.value, place="", raw=b"")
            if isinstance(read, Change):
                return read


def faults(observations: tuple[Observation, ...]) -> list[Observation]:
    return [one for one in observations if one.verdict is Verdict.FAULT]


async def test_the_shipped_connector_tells_typed_rows(deployed: Deployed) -> None:
    deployed.sql(INSERT % 1)
    deployed.connect.put_connector(deployed.name, deployed.config)
    async with deployed.records() as consumer:
        first = await next_change(consumer)
        assert (first.operation, first.key, first.row, first.snapshot) == (
            Operation.UPSERT,
            {"id": 1},
            expected(1),
            True,
        )
        deployed.sql(INSERT % 2)
        second = await next_change(consumer)
        assert (second.row, second.snapshot) == (expected(2), False)
        assert first.version is not None
        assert second.version is not None
        assert second.version.order > first.version.order

        deployed.sql("update epj.tjeneste set notat = repeat('x', 5000), slutt = 'infinity' where id = 2")
        assert (await next_change(consumer)).row == expected(2, notat="x" * 5000, slutt=Infinity.PLUS)
        deployed.sql("update epj.tjeneste set timer = 1 where id = 2")
        assert (await next_change(consumer)).row == expected(
            2, notat=Missing.UNAVAILABLE, slutt=Infinity.PLUS, timer="1.00"
        )
        deployed.sql("delete from epj.tjeneste where id = 2")
        deleted = await next_change(consumer)
        assert (deleted.operation, deleted.key) == (Operation.DELETE, {"id": 2})
        deployed.sql("truncate epj.tjeneste")
        assert (await next_change(consumer)).operation is Operation.TRUNCATE


async def test_a_snapshot_is_asked_for_through_the_signal_table(deployed: Deployed) -> None:
    deployed.sql(INSERT % 1)
    deployed.connect.put_connector(deployed.name, deployed.config)
    async with deployed.records() as consumer:
        assert (await next_change(consumer)).version is not None
        wanted = json.dumps({"data-collections": [TABLE], "type": "incremental"})
        deployed.sql(f"insert into kpr_debezium.signal values ('one', 'execute-snapshot', '{wanted}')")
        again = await next_change(consumer)
        assert (again.row, again.version, again.snapshot) == (expected(1), None, True)


async def test_the_slot_moves_on_while_only_other_databases_are_written_to(deployed: Deployed) -> None:
    deployed.connect.put_connector(deployed.name, deployed.config)
    deployed.postgres.sql("create table if not exists written (id int)")
    deployed.postgres.sql("insert into written select generate_series(1, 10000)")
    written = deployed.postgres.sql("select pg_current_wal_lsn()")
    passed = f"select confirmed_flush_lsn >= '{written}' from pg_replication_slots where slot_name = '{deployed.name}'"
    assert places.wait_until(lambda: deployed.postgres.sql(passed) == "t", WAIT_S)


async def test_every_name_in_the_shipped_file_is_known(deployed: Deployed) -> None:
    """A setting with a misspelt name is ignored in silence."""
    answer = deployed.connect.ask(
        "PUT",
        f"/connector-plugins/{deployed.config['connector.class']}/config/validate",
        deployed.config | {"name": deployed.name},
    )
    known = {one["definition"]["name"] for one in answer["configs"]}
    passed_on = ("producer.override.", "key.converter.", "value.converter.", "topic.creation.")
    assert {name for name in deployed.config if not name.startswith(passed_on)} <= known
    assert [one["value"]["errors"] for one in answer["configs"] if one["value"]["errors"]] == []


async def test_a_shipped_connector_that_runs_has_nothing_against_it(deployed: Deployed) -> None:
    deployed.connect.put_connector(deployed.name, deployed.config)
    seen = await deployed.inspect()
    assert {one.verdict for one in seen} == {Verdict.GOOD}, seen
    assert [(one.subject, one.text) for one in seen] == [
        ("Connect", "Kafka Connect 4.3.1 answers"),
        (f"connector {deployed.name}", "it runs"),
        (f"task {deployed.name}/0", "it runs"),
        (f"connector {deployed.name}", "PostgresConnector 3.7.0.Final"),
    ]


async def test_a_task_that_failed_under_a_connector_that_runs_is_a_fault(deployed: Deployed) -> None:
    """All replication slots are used: the connector says RUNNING, and nothing is read."""
    postgres = deployed.postgres
    free = "current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots)::int"
    taken = "select pg_create_physical_replication_slot('taken_' || n)"
    postgres.sql(f"{taken} from generate_series(1, {free}) as n")
    try:
        hurried = {"slot.max.retries": "1", "slot.retry.delay.ms": "100"}
        deployed.connect.put_connector(deployed.name, deployed.config | hurried, wait=False)
        assert places.wait_until(lambda: deployed.connect.states(deployed.name) == ("RUNNING", "FAILED"), WAIT_S)
        [fault] = faults(await deployed.inspect())
    finally:
        postgres.sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'taken_%'"
        )
    assert fault.subject == f"task {deployed.name}/0"
    assert fault.text.startswith("its state is FAILED: ")
    assert "PSQLException" in fault.text
    assert "slots are in use" not in fault.text  # a message may hold a row
    assert "docs/operations/kafka.md" in fault.repair


async def test_a_connector_that_somebody_paused_stopped_or_deleted_is_a_fault(deployed: Deployed) -> None:
    connect, name = deployed.connect, deployed.name
    connect.put_connector(name, deployed.config)
    for verb, state in (("pause", "PAUSED"), ("stop", "STOPPED")):
        connect.ask("PUT", f"/connectors/{name}/{verb}")
        assert places.wait_until(lambda state=state: connect.states(name)[0] == state, WAIT_S)  # type: ignore[misc]
        assert f"its state is {state}" in [one.text for one in faults(await deployed.inspect())]
    connect.delete_connector(name)
    [gone] = faults(await deployed.inspect())
    assert gone.subject == "connector"


async def test_settings_that_lose_or_hide_changes_are_named(deployed: Deployed) -> None:
    named = {
        "skipped.operations": "t",
        "event.converting.failure.handling.mode": "warn",
        "event.processing.failure.handling.mode": "skip",
        "errors.tolerance": "all",
        "snapshot.mode": "when_needed",
        "heartbeat.interval.ms": "0",
        "poll.interval.ms": "500",
    }
    deployed.connect.put_connector(deployed.name, deployed.config | named)
    seen = [one for one in await deployed.inspect() if one.verdict is not Verdict.GOOD]
    assert {one.verdict for one in seen} == {Verdict.WARNING}
    assert {one.text.partition(":")[0] for one in seen} == set(named)
    assert all(one.repair for one in seen)

    deployed.connect.put_connector(
        deployed.name, {name: value for name, value in deployed.config.items() if name not in named}
    )
    seen = [one for one in await deployed.inspect() if one.verdict is not Verdict.GOOD]
    harmless_when_left_out = {"event.processing.failure.handling.mode", "errors.tolerance", "snapshot.mode"}
    assert {one.text.partition(":")[0] for one in seen} == set(named) - harmless_when_left_out


async def test_connect_is_asked_whether_it_writes_to_our_kafka(deployed: Deployed) -> None:
    cluster = deployed.connect.ask("GET", "/")["kafka_cluster_id"]
    deployed.connect.put_connector(deployed.name, deployed.config)
    ours = [f"{deployed.name}.{TABLE}"]
    assert faults(await inspect_connect(deployed.connect.url, ours, cluster_id=cluster)) == []
    [fault] = faults(await inspect_connect(deployed.connect.url, ours, cluster_id="another"))
    assert fault.subject == "Connect"
