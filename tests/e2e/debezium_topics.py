"""Debezium on an EPJ's database: its connector, and what it wrote as lines that a replay reads."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from agent.demo.step import TABLES
from tests.e2e.sources_stage import Epj
from tests.services import Connect, Kafka
from tests.services.topics import create_topic, delete_topics

READ_LIMIT_S = 60
"""A bound that only a fault reaches."""


def a_topic_for_each_table(epj: Epj) -> list[str]:
    return [f"{epj.name}.public.{table}" for table in TABLES]


def connector(epj: Epj) -> dict[str, str]:
    """The connector's settings; it creates its publication and its slot, and takes a snapshot of what is there."""
    parts = epj.engine.url
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": str(parts.host),
        "database.port": str(parts.port),
        "database.user": str(parts.username),
        "database.password": str(parts.password),
        "database.dbname": epj.name,
        "topic.prefix": epj.name,
        "plugin.name": "pgoutput",
        "slot.name": f"debezium_{epj.name}",
        "publication.name": "debezium",
        "publication.autocreate.mode": "filtered",
        "table.include.list": ",".join(f"public.{table}" for table in TABLES),
        "skipped.operations": "none",
        "decimal.handling.mode": "string",
        "time.precision.mode": "adaptive",
        "poll.interval.ms": "5",
    }


def one_topic(epj: Epj) -> dict[str, str]:
    """Settings that bring all tables into the topic that `all_tables` names: one order for everything."""
    route = "transforms.one_topic"
    return {
        "transforms": "one_topic",
        f"{route}.type": "org.apache.kafka.connect.transforms.RegexRouter",
        f"{route}.regex": f"{epj.name}\\.public\\..*",
        f"{route}.replacement": all_tables(epj),
    }


def all_tables(epj: Epj) -> str:
    return f"{epj.name}.everything"


@asynccontextmanager
async def debezium(
    epj: Epj, connect: Connect, names: Sequence[str], settings: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """While the connector runs, with these topics, empty at first; they go with it. Its slot goes with the database."""
    for name in names:
        await create_topic(connect.kafka, name)
    try:
        await asyncio.to_thread(connect.put_connector, epj.name, {**connector(epj), **(settings or {})})
        yield
    finally:
        await asyncio.to_thread(connect.delete_connector, epj.name)
        await delete_topics(connect.kafka, *names)


async def records(kafka: Kafka, names: Sequence[str]) -> list[ConsumerRecord]:
    """Every record of these topics as they are now, each topic in its own order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=None, auto_offset_reset="earliest")
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(READ_LIMIT_S):
        await consumer.start()
        try:
            parts = [TopicPartition(name, 0) for name in names]
            consumer.assign(parts)
            ends = await consumer.end_offsets(parts)
            while any([await consumer.position(part) < ends[part] for part in parts]):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    found += batch
        finally:
            await consumer.stop()
    return found


def write_replay(file: Path, found: Sequence[ConsumerRecord]) -> None:
    """The records as lines, in the order of the log that Debezium read; a tombstone behind its deletion."""
    lines: list[tuple[int, int, str]] = []
    last_lsn: dict[str, int] = {}
    for record in found:
        value = None if record.value is None else json.loads(record.value)
        if value is not None:
            last_lsn[record.topic] = value["source"]["lsn"]
        line = {"topic": record.topic, "key": json.loads(record.key), "value": value}
        lines.append((last_lsn[record.topic], len(lines), json.dumps(line)))
    file.write_text("".join(f"{line}\n" for _, _, line in sorted(lines)))
