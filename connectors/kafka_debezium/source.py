"""Debezium's topics on a Kafka platform that is already there, read as a Source.

The position is ours: the next offset of each partition (place.py), sought at each assignment; nothing
is committed to Kafka. Each record is its own transaction. A first start reads every topic from its beginning. After
that no partition is ever read from its beginning, or from its end, unless it is a new one.

What aiokafka 0.14 does, and why it cannot strike here:

- Its start() fails with one error for every cause; its getmany() gives nothing for ever when a password has changed, a
  topic is missing or a broker is away. Brokers are asked over connections of our own (connection.py)
  before it starts, behind every batch, and every `poll_s` while nothing comes; the true reason is raised. Where there
  is more to read and nothing comes for `quiet_s`, new connections are tried, and the source ends.
- An offset out of range heals in silence when the log grows: the first one ends the source.
- A topic deleted and made again is read on: behind every fetch, before one record of it is given, the topics' ids are
  asked; they are those of the position or the source ends. A tail that was lost and has grown past us (an unclean
  election, a broker's disk) shows in the anchors, which are read again at the start and at each assignment; a new
  leader ends the source, so that it starts.
- Issue 1155 (no back-off while a partition has no leader), and 1,000 log lines a second: a partition without a leader
  ends the source at the next look; its loggers are silenced.
- Issues 1145 and 844 (transactions): none are made. What producers have committed is read (read_committed).
- Issue 847 (stuck after a rejoin) and 1154 (no sign of health): health is our own progress, by the topics' ends.
- commit() retries for ever: it is never called. end_offsets() hangs on a missing topic: it is never called.
- A record that a broker cuts off because it is larger than a fetch would be stepped over, with an error once: brokers
  have sent the first record whole, whatever its size, since 0.10.1, and 3.1 is the oldest that is taken here.
- stop() leaks CancelledError: it runs in a task of its own, bounded (connectors/kafka_debezium/consumer.py).
- Its metadata requests ask a broker to make missing topics. It is only told of topics that are there; one that is
  deleted and so made again, empty, has another id.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from connectors.kafka_debezium.login import read_login
from connectors.kafka_debezium.place import Anchor, Cluster, Place, Stillness, Topic, places_in
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.kafka_debezium.troubles import (
    GroupShared,
    KafkaUnavailable,
    NoProgress,
    PositionExpired,
    TopicMissing,
    TopicTruncated,
)
from connectors.source import Capture, Change, Position, Record, Scan, Transaction, Unreadable
from connectors.wire.debezium import DebeziumReader
from connectors.wire.shared_topic import SharedTopicReader, heartbeat_at, mark_of

if TYPE_CHECKING:
    from connectors.kafka_debezium.connection import Brokers
    from connectors.kafka_debezium.consumer import Consumer, OutOfRange

__all__ = ["KafkaDebeziumSettings", "KafkaDebeziumSource"]

PartitionKey = tuple[str, int]

_BEHIND_WAIT_S: Final = 0.2
_KEPT_OF_TOO_LARGE_BYTES: Final = 64 * 1024


def _now() -> datetime:
    return datetime.now(UTC)


class KafkaDebeziumSource:
    """The topics as a Source. `clock` gives the time of day, for `seen_through` where Debezium sends no heartbeats."""

    def __init__(
        self,
        settings: KafkaDebeziumSettings,
        capture: Capture,
        position: Position | None,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._settings: Final = settings
        self._capture: Final = capture
        self._position: Final = position
        self._clock: Final = clock
        self._wanted: Final = settings.wanted_topics(capture)
        self._brokers: Brokers | None = None
        self._consumer: Consumer | None = None
        self._readers: dict[str, SharedTopicReader] = {}
        self._heartbeat_from: dict[PartitionKey, int] = {}
        self._newest_at: datetime | None = None
        self._is_used = self._is_read = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        consumer, self._consumer = self._consumer, None
        brokers, self._brokers = self._brokers, None
        try:
            if consumer is not None:
                await consumer.stop()
        finally:
            if brokers is not None:
                await brokers.close()

    async def _open(self) -> None:
        # aiokafka is 20 MiB that only this source needs
        from connectors.kafka_debezium.connection import Brokers, silence_aiokafka  # noqa: PLC0415
        from connectors.kafka_debezium.consumer import Consumer  # noqa: PLC0415

        silence_aiokafka()
        login = read_login(self._settings)
        self._brokers = Brokers(self._settings, login)
        self._cluster = await self._described()
        there = self._cluster.there(self._wanted)
        missing = tuple(name for name in self._wanted if name not in there)
        if missing and (self._settings.missing_topics == "stop" or not there):
            raise TopicMissing(missing)
        beginnings = await self._brokers.offsets(there.values(), ends=False)
        self._places = places_in(self._cluster, self._position, self._wanted, beginnings)
        self._asked_at = self._clock()
        self._ends = await self._brokers.offsets(there.values(), ends=True)
        for key, place in self._places.by_partition.items():
            place.require(beginnings[key], self._ends[key])
        for topic in there.values():
            reader = DebeziumReader(
                self._capture, largest_record_bytes=self._settings.largest_record_bytes, epoch=f"{topic.topic_id}/"
            )
            self._readers[topic.name] = SharedTopicReader(reader, self._settings.only)
        await self._find_heartbeats()
        self._consumer = Consumer(self._settings, login, self._first_wanted)
        await self._consumer.start([*self._places.by_partition, *self._heartbeat_from])

    async def identity(self) -> str:
        """`kafka:` with the cluster's id."""
        return (await self._described()).incarnation

    async def transactions(self) -> AsyncIterator[Transaction]:
        """Records in each partition's order; an empty transaction when all partitions are read to their ends."""
        if self._consumer is None or self._is_read:
            raise RuntimeError("transactions() is read once, inside the source's context")
        self._is_read = True
        stillness = Stillness(self._settings.quiet_s)
        told_at: float | None = None
        while True:
            began_at = time.monotonic()
            is_behind = not self._places.has_reached(self._ends)
            if not is_behind and (told_at is None or began_at - told_at >= self._settings.poll_s):
                told_at = began_at
                yield Transaction((), self._places.position(), seen_through=self._seen_through())
            began_at = time.monotonic()
            batch = await self._fetch(_BEHIND_WAIT_S if is_behind else self._settings.poll_s)
            await self._look()
            waited_s = time.monotonic() - began_at
            for transaction in self._read(batch):
                yield transaction
            if not batch:
                await self._skip_marks()
            still = stillness.longest(self._places, self._ends, waited_s)
            if still is not None:
                await self._explain(still)
            if not batch or not is_behind or self._places.has_reached(self._ends):
                await self._ask_ends()

    async def acknowledge(self, position: Position) -> None:
        """Nothing: the position is in the ledger, and the platform decides how long records are kept."""

    def _read(self, batch: Mapping[PartitionKey, Sequence[Any]]) -> Iterator[Transaction]:
        for key, records in batch.items():
            place = self._places.by_partition.get(key)
            for record in records:
                if place is None:
                    self._hear(record)
                elif place.is_new(record.offset, record.timestamp, record.key, record.value):
                    read = self._record(place, record)
                    scan = self._scan(place, read, record)
                    place.advance(Anchor.of(record.offset, record.timestamp, record.key, record.value))
                    yield Transaction((read,), self._places.position(), scan=scan)

    def _scan(self, place: Place, read: Record, record: Any) -> Scan | None:
        """The scan that Debezium's snapshot of a table is: it tells all rows, and none of those deleted since the last.

        Only where all of a table's rows come in one order and are ours: in a topic of one partition that is not shared.
        """
        if not isinstance(read, Change) or self._settings.only is not None:
            return None
        if len(self._cluster.topics[record.topic].leaders) > 1:
            return None
        return place.scan(read, mark_of(record.value) if read.snapshot else None)

    def _record(self, place: Place, record: Any) -> Record:
        where = f"{record.topic}/{record.partition} offset {record.offset}"
        if len(record.value or b"") + len(record.key or b"") > self._settings.largest_record_bytes:
            why = f"the record is larger than {self._settings.largest_record_bytes} bytes"
            kept = b"" if self._settings.only else (record.value or record.key)[:_KEPT_OF_TOO_LARGE_BYTES]
            return Unreadable(where, why, kept)
        read = self._readers[record.topic].read(record.topic, record.key, record.value, record.headers, place=where)
        if isinstance(read, Change):
            place.observe(read)
            if not read.snapshot:
                self._hear_at(read.committed_at)
        return read

    def _hear(self, record: Any) -> None:
        self._hear_at(heartbeat_at(record.value))
        self._heartbeat_from[record.topic, record.partition] = record.offset + 1

    def _hear_at(self, at: datetime | None) -> None:
        if at is not None and (self._newest_at is None or at > self._newest_at):
            self._newest_at = at

    def _seen_through(self) -> datetime | None:
        """The moment before which all that the database committed is read; None where nothing tells it.

        With heartbeats: the newest one, or the newest commit, so that it stands still when Debezium does. Without: when
        the brokers were asked for the ends. Less `lag_s`: Debezium may be behind the database, unknown to Kafka.
        """
        seen: datetime | None = self._asked_at
        if self._heartbeat_from:
            seen = None if self._newest_at is None else min(self._newest_at, self._asked_at)
        return None if seen is None else seen - timedelta(seconds=self._settings.lag_s)

    async def _fetch(self, wait_s: float) -> Mapping[PartitionKey, Sequence[Any]]:
        from connectors.kafka_debezium.consumer import OutOfRange  # noqa: PLC0415  loaded already

        try:
            return await self._opened()[1].fetch(wait_s)
        except OutOfRange as error:
            await self._explain_range(error)

    async def _explain_range(self, error: "OutOfRange") -> NoReturn:
        """Say which end of the partition has passed us. It is final, though the log may have grown past us by now."""
        await self._look()
        place = self._places.by_partition.get(error.key)
        if place is None:
            raise KafkaUnavailable(f"{error.key[0]}: the heartbeats that were read next are gone")
        beginnings = await self._opened()[0].offsets([self._cluster.topics[error.key[0]]], ends=False)
        beginning = beginnings[error.key]
        if error.offset < place.next_offset and place.next_offset >= beginning:
            raise KafkaUnavailable(f"{place.stream}: its last record that was read was deleted just now: opened again")
        if error.offset < beginning:
            raise PositionExpired(place.stream, error.offset, beginning)
        raise TopicTruncated(place.stream, f"it did not reach to our place {error.offset}")

    async def _look(self) -> None:
        """Raise where the topics are not those that were opened."""
        cluster = await self._described()
        self._places.require_same(cluster, self._cluster, self._wanted)
        heartbeats = self._settings.heartbeats
        if heartbeats is not None and _id_of(cluster, heartbeats) != _id_of(self._cluster, heartbeats):
            raise KafkaUnavailable(f"the heartbeat topic {heartbeats} has come or gone: opened again")

    async def _ask_ends(self) -> None:
        asked_at = self._clock()
        self._ends = await self._opened()[0].offsets(self._topics(), ends=True)
        self._asked_at = asked_at

    async def _skip_marks(self) -> None:
        """Go on with the consumer over offsets that hold no record."""
        for key, offset in (await self._opened()[1].offsets()).items():
            place = self._places.by_partition.get(key)
            if place is not None:
                place.skip_to(offset)

    async def _explain(self, still: Place) -> NoReturn:
        """Nothing came of a partition for too long: raise what a new connection says, else that nothing came."""
        brokers, consumer = self._opened()
        await brokers.connect_anew()
        partition = still.partition
        if self._settings.group is not None and (partition.topic, partition.number) not in consumer.assigned():
            raise GroupShared(self._settings.group)
        raise NoProgress(still.stream, self._settings.quiet_s)

    async def _find_heartbeats(self) -> None:
        """The heartbeat topic is read from its last record on; it is no part of the position."""
        name = self._settings.heartbeats
        found = {} if name is None else self._cluster.there([name])
        brokers = self._opened_brokers()
        beginnings = await brokers.offsets(found.values(), ends=False)
        ends = await brokers.offsets(found.values(), ends=True)
        self._heartbeat_from = {key: max(beginnings[key], end - 1) for key, end in ends.items()}

    def _first_wanted(self, key: PartitionKey) -> int | None:
        """From where a partition is fetched after an assignment; its anchor is read again."""
        place = self._places.by_partition.get(key)
        if place is None:
            return self._heartbeat_from.get(key)
        place.check_again()
        return place.first_wanted

    def _topics(self) -> list[Topic]:
        return list(self._cluster.there(self._wanted).values())

    async def _described(self) -> Cluster:
        heartbeats = self._settings.heartbeats
        names = [*self._wanted] if heartbeats is None else [*self._wanted, heartbeats]
        return await self._opened_brokers().describe(names)

    def _opened_brokers(self) -> "Brokers":
        if self._brokers is None:
            raise RuntimeError("the source is used inside its context")
        return self._brokers

    def _opened(self) -> "tuple[Brokers, Consumer]":
        if self._brokers is None or self._consumer is None:
            raise RuntimeError("the source is used inside its context")
        return self._brokers, self._consumer


def _id_of(cluster: Cluster, name: str) -> str:
    topic = cluster.topics[name]
    return "" if topic.error else topic.topic_id
