"""What an administrator of topics does on the test broker; each call waits until it is done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from tests.services.kafka import Kafka

WAIT_S = 60
"""A bound that only a fault reaches."""


async def create_topic(kafka: Kafka, topic: str, *, partitions: int = 1, **settings: str) -> None:
    """A new topic; settings with underscores for dots (`retention_ms="1000"`)."""
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    async with _administrator(kafka) as administrator:
        _require(await administrator.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)]))
        await _until(administrator, topic, lambda found: found["error_code"] == 0 and _led(found, partitions))


async def delete_topics(kafka: Kafka, *topics: str) -> None:
    """Topics that are not there are no error."""
    async with _administrator(kafka) as administrator:
        there = sorted(set(topics) & set(await administrator.list_topics()))
        if there:
            _require(await administrator.delete_topics(there))
        for topic in there:
            await _until(administrator, topic, lambda found: found["error_code"] == 3)  # UNKNOWN_TOPIC_OR_PARTITION


async def add_partitions(kafka: Kafka, topic: str, total: int) -> None:
    from aiokafka.admin import NewPartitions

    async with _administrator(kafka) as administrator:
        _require(await administrator.create_partitions({topic: NewPartitions(total)}))
        await _until(administrator, topic, lambda found: _led(found, total))


async def delete_records(kafka: Kafka, topic: str, before: dict[int, int]) -> None:
    """Delete each partition's records before an offset, as retention does."""
    async with _administrator(kafka) as administrator:
        wanted = {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()}
        await administrator.delete_records(wanted)


async def list_topics(kafka: Kafka) -> list[str]:
    async with _administrator(kafka) as administrator:
        return sorted(await administrator.list_topics())


@asynccontextmanager
async def _administrator(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    administrator = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    async with asyncio.timeout(WAIT_S):
        await administrator.start()
        try:
            yield administrator
        finally:
            await administrator.close()


async def _until(administrator: AIOKafkaAdminClient, topic: str, done: Callable[[dict], bool]) -> None:
    """The broker answers before all of it knows."""
    while True:
        found = await administrator.describe_topics([topic])
        if found and done(found[0]):
            return
        await asyncio.sleep(0.02)


def _led(found: dict, partitions: int) -> bool:
    return sum(one["leader"] >= 0 and not one["error_code"] for one in found["partitions"]) == partitions


def _require(response: object) -> None:
    answers = getattr(response, "topic_errors", None) or getattr(response, "topic_error_codes", ())
    for topic, code, *_ in answers:
        if code:
            raise AssertionError(f"the broker answers error {code} for the topic {topic}")
