"""aiokafka's consumer, held to what we need of it: records from our own places, and every failure at once.

Bounded memory: it fetches at most `fetch_bytes` of each partition ahead (a record that is larger comes alone), and
nothing more of a partition before that has been taken. So a reader that does not take is back-pressure enough, and
pause() is not needed. What cannot strike, or is met, of its known faults stands in connectors/kafka_debezium/source.py.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors

from connectors.kafka_debezium.login import Login
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.kafka_debezium.troubles import FetchRefused, KafkaUnavailable, RightsMissing

PartitionKey = tuple[str, int]

_STOP_TIMEOUT_S: Final = 5.0
_FETCH_MARGIN_S: Final = 1.0
_RETRY_BACKOFF_MS: Final = 200
_METADATA_AGE_MS: Final = 60_000
_SESSION_MS: Final = 10_000
_LONGEST_HOLD_MS: Final = 24 * 3600 * 1000  # a slow ledger is no reason to lose the partitions


class OutOfRange(Exception):
    """The partition does not hold the offset that was asked for. aiokafka forgets it when the log has grown past."""

    def __init__(self, key: PartitionKey, offset: int) -> None:
        super().__init__(f"{key[0]}/{key[1]}: {offset} is out of range")
        self.key: Final = key
        self.offset: Final = offset


class _SeekOnAssignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    def __init__(self, seek: Callable[[Iterable[Any]], None]) -> None:
        self._seek: Final = seek

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Nothing: what was read is in the places, and what was not will be sought."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._seek(assigned)


class Consumer:
    """Reads partitions from `place_of`, which is asked at each assignment; start, fetch, stop."""

    def __init__(
        self,
        settings: KafkaDebeziumSettings,
        login: Login,
        place_of: Callable[[PartitionKey], int | None],
    ) -> None:
        self._settings: Final = settings
        self._login: Final = login
        self._place_of: Final = place_of
        self._consumer: Any = None

    async def start(self, keys: Sequence[PartitionKey]) -> None:
        settings = self._settings
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers,
            client_id="kpr-agent",
            group_id=settings.group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=settings.fetch_bytes,
            fetch_max_bytes=settings.fetch_bytes * max(1, len(keys)),
            request_timeout_ms=int(settings.operation_timeout_s * 1000),
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            metadata_max_age_ms=_METADATA_AGE_MS,
            session_timeout_ms=_SESSION_MS,
            max_poll_interval_ms=_LONGEST_HOLD_MS,
            **self._login.parameters,
        )
        wanted = [TopicPartition(*key) for key in keys]
        if settings.group is not None:
            topics = sorted({topic for topic, _ in keys})
            self._consumer.subscribe(topics, listener=_SeekOnAssignment(self._seek))
        # in a group a member that was killed is waited for until its session has ended
        await self._bounded(self._consumer.start(), settings.operation_timeout_s + _SESSION_MS / 1000)
        if settings.group is None:
            self._consumer.assign(wanted)
            self._seek(wanted)

    def _seek(self, assigned: Iterable[Any]) -> None:
        for partition in assigned:
            offset = self._place_of((partition.topic, partition.partition))
            if offset is not None:
                self._consumer.seek(partition, offset)

    async def fetch(self, wait_s: float) -> Mapping[PartitionKey, Sequence[Any]]:
        """Records by partition, in order; none when nothing came in `wait_s`. Raises OutOfRange, SourceError."""
        fetching = self._consumer.getmany(timeout_ms=int(wait_s * 1000), max_records=self._settings.records_ahead)
        found = await self._bounded(fetching, wait_s + self._settings.operation_timeout_s + _FETCH_MARGIN_S)
        return {(partition.topic, partition.partition): records for partition, records in found.items()}

    def assigned(self) -> set[PartitionKey]:
        """The partitions that are ours now; with a group, those that no other member holds."""
        return {(partition.topic, partition.partition) for partition in self._consumer.assignment()}

    async def offsets(self) -> dict[PartitionKey, int]:
        """From where each partition is fetched next: past the marks of transactions, which are no records."""
        found: dict[PartitionKey, int] = {}
        for topic, number in self.assigned():
            with contextlib.suppress(errors.IllegalStateError):  # taken from us since: a rebalance
                position = self._consumer.position(TopicPartition(topic, number))
                found[topic, number] = await self._bounded(position, self._settings.operation_timeout_s)
        return found

    async def stop(self) -> None:
        """Leave, within a bound. A CancelledError that aiokafka leaks from its own tasks does not cancel us."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        stopping = asyncio.create_task(consumer.stop())
        try:
            await asyncio.wait({stopping}, timeout=_STOP_TIMEOUT_S)
        finally:
            if not stopping.done():
                stopping.cancel()
        if stopping.done() and not stopping.cancelled():
            stopping.exception()  # what fails while it leaves is of no interest; asyncio wants it looked at

    async def _bounded(self, work: Any, timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise KafkaUnavailable(f"Kafka's consumer did not answer in {timeout_s:g} s") from None
        except errors.OffsetOutOfRangeError as error:
            (partition, offset), *_ = error.args[0].items()
            raise OutOfRange((partition.topic, partition.partition), offset) from None
        except errors.IllegalStateError:
            raise
        except (errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError) as error:
            topic_or_group = (
                "read the topics" if isinstance(error, errors.TopicAuthorizationFailedError) else "use the group"
            )
            raise RightsMissing(topic_or_group) from None
        except (errors.KafkaConnectionError, errors.NoOffsetForPartitionError, errors.StaleMetadata) as error:
            raise KafkaUnavailable(f"Kafka's consumer has no connection ({type(error).__name__})") from None
        except errors.KafkaError as error:
            if error.retriable and not isinstance(error, errors.CorruptRecordException):
                raise KafkaUnavailable(f"Kafka's consumer failed ({type(error).__name__})") from None
            raise FetchRefused(type(error).__name__) from None
