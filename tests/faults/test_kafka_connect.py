"""The Kafka source behind a real Debezium: Connect killed, and started with a new snapshot."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from connectors.kafka_debezium.source import KafkaDebeziumSettings, KafkaDebeziumSource
from connectors.source import Capture, Change, Column, Kind, Mark, Operation, Position, Table
from tests.contract.kafka_stage import run
from tests.contract.source_behaviour import PATIENCE_S, Seen, caught_up, read_until, reading
from tests.services import places, topics
from tests.services.connect import Connect
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres

pytestmark = pytest.mark.server

TABLE = Table("epj.tjeneste", ("id",), (Column("id", Kind.INTEGER), Column("status", Kind.TEXT)))


@dataclass
class Platform:
    """A database, its connector, and the topics between them and us."""

    kafka: Kafka
    connect: Connect
    postgres: Postgres
    name: str

    def sql(self, statement: str) -> None:
        self.postgres.sql(statement, self.name)

    def connector(self) -> dict[str, str]:
        url = urlsplit(self.postgres.database_url(self.name))
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": str(url.hostname),
            "database.port": str(url.port),
            "database.user": str(url.username),
            "database.password": str(url.password),
            "database.dbname": self.name,
            "plugin.name": "pgoutput",
            "slot.name": self.name,
            "publication.name": self.name,
            "publication.autocreate.mode": "disabled",
            "topic.prefix": self.name,
            "table.include.list": "epj.tjeneste",
            "heartbeat.interval.ms": "500",
            "poll.interval.ms": "5",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "offset.flush.interval.ms": "1000",
        }

    def open(self, position: Position | None) -> KafkaDebeziumSource:
        settings = KafkaDebeziumSettings(
            bootstrap_servers=[self.kafka.bootstrap], tls=False, topic_prefix=self.name, poll_s=0.1, lag_s=0.0
        )
        return KafkaDebeziumSource(settings, Capture((TABLE,)), position)


@pytest.fixture
def platform(kafka: Kafka, connect: Connect, postgres: Postgres) -> Iterator[Platform]:
    name = f"prove_{uuid.uuid4().hex[:10]}"
    postgres.create_database(name)
    platform = Platform(kafka, connect, postgres, name)
    platform.sql("create schema epj; create table epj.tjeneste (id bigint primary key, status text)")
    platform.sql(f"create publication {name} for table epj.tjeneste")
    platform.sql("insert into epj.tjeneste select n, 'before' from generate_series(1, 50) n")
    connect.put_connector(name, platform.connector())
    wanted = {f"{name}.epj.tjeneste", f"__debezium-heartbeat.{name}"}
    assert places.wait_until(lambda: wanted <= set(run(topics.list_topics(kafka))), PATIENCE_S)
    yield platform
    connect.start()
    connect.delete_connector(name)
    postgres.sql(f"select pg_drop_replication_slot('{name}')")
    postgres.sql(f'drop database "{name}" with (force)')
    run(topics.delete_topics(kafka, f"{name}.epj.tjeneste", f"__debezium-heartbeat.{name}"))


def newest(changes: list[Change]) -> dict[object, str | None]:
    """Each row's status by the rule of versions: a lower one is dropped."""
    rows: dict[object, tuple[tuple[int, ...], str | None]] = {}
    epochs = set()
    for change in changes:
        assert change.key is not None
        assert change.version is not None
        epochs.add(change.version.epoch)
        key, order = change.key["id"], change.version.order
        if key not in rows or order >= rows[key][0]:
            gone = change.operation is Operation.DELETE
            assert gone or change.row is not None
            rows[key] = (order, None if gone or change.row is None else str(change.row["status"]))
    assert len(epochs) == 1
    return {key: status for key, (_, status) in rows.items()}


async def read_to(platform: Platform, position: Position | None, key: int, seen: Seen) -> Position:
    """Read, from new sources, until the change of `key` has come; the position behind it."""

    def has_come(seen: Seen) -> bool:
        return any(change.key is not None and change.key["id"] == key for change in seen.changes)

    async with asyncio.timeout(PATIENCE_S), reading(platform.open(position)) as stream:
        await read_until(stream, has_come, seen)
    return seen.position


async def test_debezium_killed_and_begun_again_with_a_new_snapshot_costs_no_row(platform: Platform) -> None:
    """Events come again, the snapshot comes again, and by their versions each row ends as the database has it.

    What was deleted before a new snapshot and never streamed is found by the scan that the snapshot is.
    """
    seen = Seen()
    position = await read_to(platform, None, 50, seen)
    assert [change.snapshot for change in seen.changes] == [True] * 50
    platform.sql("insert into epj.tjeneste select n, 'new' from generate_series(51, 90) n")
    platform.sql("update epj.tjeneste set status = 'changed' where id <= 20; delete from epj.tjeneste where id = 5")
    await asyncio.to_thread(platform.connect.kill)
    platform.sql("insert into epj.tjeneste values (100, 'while it was dead')")
    await asyncio.to_thread(platform.connect.start)
    position = await read_to(platform, position, 100, seen)
    platform.sql("delete from epj.tjeneste where id = 6")
    await asyncio.to_thread(platform.connect.restart, fresh_offsets=True)
    platform.sql("insert into epj.tjeneste values (101, 'last')")
    await read_to(platform, position, 101, seen)
    scans = [one.scan for one in seen.transactions if one.scan is not None]
    last_begin = max(n for n, one in enumerate(seen.transactions) if one.scan and one.scan.mark is Mark.BEGIN)
    assert scans[-1].mark is Mark.END
    expected = {n: "changed" if n <= 20 else "before" if n <= 50 else "new" for n in range(1, 91) if n not in {5, 6}}
    expected |= {100: "while it was dead", 101: "last"}
    told = newest(seen.changes)
    assert {key: told[key] for key in expected} == expected
    listed = {change.key["id"] for one in seen.transactions[last_begin:] for change in one.records if is_row(change)}
    vanished = {key for key, status in told.items() if status is not None} - listed
    assert vanished <= {5, 6}, "what the last whole snapshot did not tell is what was deleted while nobody listened"
    assert told.keys() - expected.keys() == {5, 6}


def is_row(record: object) -> bool:
    return isinstance(record, Change) and record.row is not None


async def test_a_quiet_database_is_seen_through_its_heartbeats(platform: Platform) -> None:
    seen = Seen()
    await read_to(platform, None, 50, seen)
    moments = set()
    async with reading(platform.open(seen.position)) as stream:

        def moved(now: Seen) -> bool:
            moments.add(now.transactions[-1].seen_through)
            return len(moments - {None}) >= 3

        later = await read_until(stream, moved)
    assert caught_up(later)
    assert not later.changes
