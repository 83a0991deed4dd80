"""Debezium's topics: changes a second against aiokafka that reads the same records and does nothing with them.

The records are those that Debezium's PostgreSQL connector writes without schemas (agent/demo/debezium_lines.py), put
into topics of a real broker by a producer; no Connect is needed for that.
"""

import json
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agent.demo.debezium_lines import as_debezium
from agent.demo.step import TABLES
from agent.settings import Municipality
from bench import rooms
from bench.reading import Stopwatch, Taken, decode, municipality
from bench.report import Section, progress
from bench.workload import histories
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from tests.services import Kafka
from tests.services.topics import create_topic, delete_topics

ENCODINGS = {"date": "days", "timestamp": "microseconds"}
"""What the records' numbers count: time.precision.mode=adaptive, and no schemas."""

_HISTORIES = 1000


async def measure(folder: Path, kafka: Kafka, *, records: int, rounds: int) -> list[Section]:
    """In each round aiokafka alone, then the source, over the same topics."""
    events = list(as_debezium(histories(_HISTORIES)))
    ours: list[Taken] = []
    theirs: list[Taken] = []
    changes = sum(event["value"] is not None for event in islice(cycle(events), records))  # the others are tombstones
    async with topics(kafka) as prefix:
        size_bytes = await produce(kafka, prefix, islice(cycle(events), records))
        of = municipality(folder / "kafka", source_section(kafka, prefix))
        for number in range(rounds):
            readings = [_do_nothing, _decode]
            for reading in readings if number % 2 == 0 else reversed(readings):
                taken = await reading(of, prefix, records)
                (ours if reading is _decode else theirs).append(taken)
            progress(f"kafka, round {number + 1} of {rounds}: {ours[-1].per_s:.0f} changes/s")
        with rooms.profiled() as profiles:
            await decode(of, None, acknowledged=True)
    if {one.changes for one in ours} != {changes}:
        raise RuntimeError(f"{[one.changes for one in ours]} changes were read instead of {changes}")
    section = Section("kafka_debezium: decoded changes a second against aiokafka doing nothing")
    noun = "round" if rounds == 1 else "rounds"
    what = f"{records} records, tombstones included, {size_bytes / records:.0f} bytes each, {rounds} {noun}"
    section.tell("aiokafka doing nothing", median(one.per_s for one in theirs), "records/s", what)
    section.tell("kafka_debezium", median(one.per_s for one in ours), "changes/s", f"{ours[0].changes} changes")
    section.tell("for a second of our processor time", median(one.per_cpu_s for one in ours), "changes")
    ratios = [records / us.seconds / them.per_s for us, them in zip(ours, theirs, strict=True)]
    spread = f"rounds from {100 * min(ratios):.0f} to {100 * max(ratios):.0f} %" if rounds > 1 else ""
    section.tell("kafka_debezium / aiokafka, by records", 100 * median(ratios), "%", spread)
    section.lines = rooms.by_function(profiles)
    return [section]


def source_section(kafka: Kafka, prefix: str) -> dict[str, Any]:
    platform = {"bootstrap_servers": [kafka.bootstrap], "tls": False, "topic_prefix": prefix}
    return {"kafka_debezium": platform, "encodings": ENCODINGS}


@asynccontextmanager
async def topics(kafka: Kafka) -> AsyncIterator[str]:
    """An empty topic for each table, under the prefix that is given; they go at the end."""
    prefix = f"bench-{uuid.uuid4().hex[:12]}"
    names = _names(prefix)
    for name in names:
        await create_topic(kafka, name)
    try:
        yield prefix
    finally:
        await delete_topics(kafka, *names)


async def produce(kafka: Kafka, prefix: str, events: Iterable[dict[str, Any]]) -> int:
    """Write the events, each to its table's topic; how many bytes keys and values have."""
    size_bytes = 0
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, acks="all") as producer:
        for event in events:
            key, value = _json(event["key"]), _json(event["value"])
            table = event["topic"].removeprefix("demo.")
            size_bytes += len(key or b"") + len(value or b"")
            await producer.send(f"{prefix}.{table}", key=key, value=value)
    return size_bytes


async def _decode(of: Municipality, _prefix: str, _records: int) -> Taken:
    return await decode(of, None, acknowledged=True)


async def _do_nothing(of: Municipality, prefix: str, records: int) -> Taken:
    """The same settings as connectors/kafka_debezium/consumer.py makes of ours."""
    settings = of.settings.source.chosen
    if not isinstance(settings, KafkaDebeziumSettings):
        raise TypeError("the municipality has another source")
    partitions = [TopicPartition(name, 0) for name in _names(prefix)]
    watch, read = Stopwatch(), 0
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=settings.fetch_bytes,
        fetch_max_bytes=settings.fetch_bytes * len(partitions),
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        while read < records:
            found = await consumer.getmany(timeout_ms=1000, max_records=settings.records_ahead)
            read += sum(map(len, found.values()))
        return watch.taken(read)
    finally:
        await consumer.stop()


def _names(prefix: str) -> list[str]:
    return [f"{prefix}.public.{table}" for table in TABLES]


def _json(document: object) -> bytes | None:
    if document is None:
        return None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
