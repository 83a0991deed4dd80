"""Debezium's records in topics of a real broker, for the Kafka source's tests. No Connect is needed for these."""

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer

from connectors.kafka_debezium.connection import Brokers
from connectors.kafka_debezium.login import read_login
from connectors.kafka_debezium.source import KafkaDebeziumSettings, KafkaDebeziumSource
from connectors.kafka_debezium.troubles import KafkaUnavailable
from connectors.source import Capture, Position
from tests.contract.source_behaviour import CAPTURE, HISTORY, WANTED, Written
from tests.services import topics
from tests.services.kafka import Kafka

PATIENCE_S = 60
DAY = 20468
"""2026-01-15, as Debezium has dates."""

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, in a loop and a thread of its own: a test's loop stands still meanwhile."""
    results: list[Result] = []
    failures: list[BaseException] = []

    async def bounded() -> Result:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    def target() -> None:
        try:
            results.append(asyncio.run(bounded()))
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


@dataclass(frozen=True)
class Sent:
    """A record to send; `value` None is a tombstone."""

    key: object
    value: object
    topic: str
    partition: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


async def send(kafka: Kafka, records: Iterable[Sent], **producer: Any) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=0, acks="all", **producer) as sender:
        for record in records:
            await sender.send_and_wait(
                record.topic,
                key=as_json(record.key),
                value=as_json(record.value),
                partition=record.partition,
                headers=list(record.headers),
            )


def as_json(document: object) -> bytes | None:
    if document is None or isinstance(document, bytes):
        return document
    return json.dumps(document).encode()


@dataclass
class Database:
    """Makes Debezium's envelopes with a log that grows, as PostgreSQL's does."""

    lsn: int = 1000
    at_ms: int = 1_768_435_200_000
    name: str = "prove"

    def envelope(self, table: str, key: int, status: str | None, *, snapshot: str = "false") -> dict[str, object]:
        self.lsn += 8
        self.at_ms += 1
        schema, _, bare = table.rpartition(".")
        row = {"tjeneste_id": key, "status": status, "start_dato": DAY}
        filler = {"tjeneste_id": key, "status": "", "start_dato": 0}
        return {
            "op": "d" if status is None else "r" if snapshot != "false" else "u",
            "before": filler if status is None else None,
            "after": None if status is None else row,
            "source": {
                "connector": "postgresql", "db": self.name, "schema": schema, "table": bare, "lsn": self.lsn,
                "ts_ms": self.at_ms, "snapshot": snapshot,
            },
        }  # fmt: skip


@dataclass
class KafkaStage:
    """One topic (or several) with a name that no other test has."""

    kafka: Kafka
    topic: str = ""
    database: Database = field(default_factory=Database)
    capture: Capture = CAPTURE
    start: Position | None = None
    made: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.prefix = f"prove-{uuid.uuid4().hex[:12]}"
        self.topic = f"{self.prefix}.{WANTED}"
        self.settings = KafkaDebeziumSettings(
            bootstrap_servers=[self.kafka.bootstrap], tls=False, topic_prefix=self.prefix, records_ahead=7, poll_s=0.1
        )
        self.create()

    def create(self, topic: str | None = None, *, partitions: int = 1, **settings: str) -> None:
        self.made.add(topic or self.topic)
        run(topics.create_topic(self.kafka, topic or self.topic, partitions=partitions, **settings))
        run(self._led(topic or self.topic))

    async def _led(self, topic: str) -> None:
        """The partitions' leader knows that it is: the cluster tells of a new topic a moment before."""
        brokers = Brokers(self.settings, read_login(self.settings))
        try:
            while True:
                with contextlib.suppress(KafkaUnavailable):
                    await brokers.offsets((await brokers.describe([topic])).there([topic]).values(), ends=True)
                    return
                await asyncio.sleep(0.02)
        finally:
            await brokers.close()

    def write(self, changes: Sequence[Written]) -> None:
        run(send(self.kafka, self.records(changes)))

    def records(self, changes: Sequence[Written], *, partition: int = 0, snapshot: str = "false") -> list[Sent]:
        """Changes as Debezium sends them, deletions with their tombstones."""
        found: list[Sent] = []
        for change in changes:
            key = {"tjeneste_id": change.key}
            value = self.database.envelope(change.table, change.key, change.status, snapshot=snapshot)
            found.append(Sent(key, value, self.topic, partition))
            if change.status is None:
                found.append(Sent(key, None, self.topic, partition))
        return found

    def open(self, position: Position | None, **settings: object) -> KafkaDebeziumSource:
        changed = KafkaDebeziumSettings.model_validate(self.settings.model_dump() | settings)
        return KafkaDebeziumSource(changed, self.capture, position)

    def exchange(self) -> None:
        """The topic made again, with other records, and more of them than were read."""
        self.remove()
        self.create()
        self.write([Written(change.key, f"{change.status} anew") for change in HISTORY * 2])

    def remove(self) -> None:
        run(topics.delete_topics(self.kafka, self.topic))

    def clean(self) -> None:
        run(topics.delete_topics(self.kafka, *self.made))
