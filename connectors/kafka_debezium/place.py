"""Where Kafka's partitions are read: the next offset of each, and how it is known that they are still the same.

A stream of a position is `topic/partition@topic id`. Kafka gives every topic an id when it is made, so a topic that was
deleted and made again under its name is another stream, and its records have versions of another epoch.

A position's detail has for each partition an anchor (offset, time and digest of the last record that was read), which
is read again when the source is opened, the newest version that streaming told, and the table that a snapshot is in the
middle of. Kafka has neither in its offsets:
a partition that lost its tail and grew past us would be read on in silence.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.kafka_debezium.troubles import (
    AnotherCluster,
    KafkaUnavailable,
    OlderDatabase,
    PositionExpired,
    RightsMissing,
    TopicMissing,
    TopicRecreated,
    TopicsGrown,
    TopicTruncated,
)
from connectors.source import Change, Mark, Position, Scan, Version

_STREAM: Final = re.compile(r"(?P<topic>[a-zA-Z0-9._-]{1,249})/(?P<number>[0-9]{1,9})@(?P<topic_id>[A-Za-z0-9_-]{22})")
_MOST_EPOCHS: Final = 16
_UNKNOWN_TOPIC: Final = 3
_NOT_AUTHORIZED: Final = 29

Order = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster tells of it. `leaders`: for each partition its leader's node (-1: none) and epoch."""

    name: str
    error: int
    topic_id: str
    leaders: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's id and the topics that were asked for, by name."""

    cluster_id: str
    topics: Mapping[str, Topic]

    @property
    def incarnation(self) -> str:
        return f"kafka:{self.cluster_id}"

    def there(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of the topics that exist. Raises RightsMissing, KafkaUnavailable."""
        found: dict[str, Topic] = {}
        for name in names:
            topic = self.topics[name]
            if topic.error == _NOT_AUTHORIZED:
                raise RightsMissing(f"describe the topic {name}")
            if topic.error == _UNKNOWN_TOPIC:
                continue
            leaderless = [number for number, (node, _) in topic.leaders.items() if node < 0]
            if leaderless or not topic.leaders:
                raise KafkaUnavailable(f"{name}: partitions without a leader: {sorted(leaderless) or 'all'}")
            found[name] = topic
        return found


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A partition of a topic, of this topic id."""

    topic: str
    number: int
    topic_id: str

    @property
    def stream(self) -> str:
        return f"{self.topic}/{self.number}@{self.topic_id}"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A record that was read: its offset, its time in milliseconds, a digest of its key and value."""

    offset: int
    timestamp_ms: int
    digest: str

    @classmethod
    def of(cls, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> "Anchor":
        # The value is in the digest for its sake and the key's: a digest of a short key alone could be guessed back.
        made = hashlib.blake2b(b"" if key is None else key, digest_size=8)
        made.update(b"" if value is None else value)
        return cls(offset, timestamp_ms, made.hexdigest())


class Place:
    """How far one partition is read. `is_checked`: the anchor was found again, or is no longer there to be found."""

    __slots__ = ("_newest", "_told", "anchor", "is_checked", "next_offset", "partition", "scanned", "stream")

    def __init__(
        self,
        partition: Partition,
        next_offset: int,
        anchor: Anchor | None = None,
        newest: Mapping[str, Order] = {},
        scanned: str = "",
    ) -> None:
        self.partition: Final = partition
        self.stream: Final = partition.stream
        self.next_offset = next_offset
        self.anchor = anchor
        self.is_checked = anchor is None
        self.scanned = scanned
        self._newest = dict(newest)
        self._told: tuple[str, str] | None = None

    @property
    def first_wanted(self) -> int:
        """From where records are fetched: the anchor while it is not found again, else the next one."""
        return self.next_offset if self.is_checked or self.anchor is None else self.anchor.offset

    def check_again(self) -> None:
        self.is_checked = self.anchor is None

    def require(self, beginning: int, end: int) -> None:
        """Raise where the partition, which now reaches from `beginning` to before `end`, lacks our place."""
        if self.next_offset < beginning:
            raise PositionExpired(self.stream, self.next_offset, beginning)
        if self.next_offset > end:
            raise TopicTruncated(self.stream, f"it ends at {end}, before our place {self.next_offset}")
        if self.anchor is not None and self.anchor.offset < beginning:
            self.anchor = None  # deleted since, and all behind it is there
            self.is_checked = True

    def is_new(self, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> bool:
        """Whether this record, which the partition gave next, has not been read yet.

        Raises TopicTruncated where another record stands at the anchor's offset.
        """
        anchor = self.anchor
        if not self.is_checked and anchor is not None and offset >= anchor.offset:
            if offset == anchor.offset and Anchor.of(offset, timestamp_ms, key, value) != anchor:
                raise TopicTruncated(self.stream, f"another record than before stands at {offset}")
            self.is_checked = True
        return offset >= self.next_offset

    def advance(self, anchor: Anchor) -> None:
        """The anchor's record has been read."""
        self.anchor = anchor
        self.next_offset = anchor.offset + 1
        self._told = None

    def skip_to(self, offset: int) -> None:
        """No record stands between our place and `offset`: a transaction's marks, or what compaction left out."""
        self.next_offset = max(self.next_offset, offset)
        if self.anchor is not None and offset > self.anchor.offset:
            self.is_checked = True

    def observe(self, change: Change) -> None:
        """Raise OlderDatabase where a snapshot's row is behind what streaming told in this partition before.

        A snapshot is read as of the end of the database's log, so it is never behind. Incremental ones have no version.
        """
        version = change.version
        if version is None:
            return
        newest = self._newest.get(version.epoch)
        if change.snapshot:
            if newest is not None and _is_behind(version, newest):
                raise OlderDatabase(self.stream)
        elif newest is None or version.order > newest:
            if newest is None and len(self._newest) >= _MOST_EPOCHS:
                del self._newest[next(iter(self._newest))]
            self._newest[version.epoch] = version.order
            self._told = None

    def scan(self, change: Change, mark: Mark | None) -> Scan | None:
        """The scan that a snapshot's row is a part of: of its table, from its first row to its last.

        `scanned` is the table whose snapshot has begun and not ended. A last row without a first one ends nothing: a
        table of one row, or one whose beginning was not read. A streamed change breaks a snapshot off.
        """
        if mark is Mark.BEGIN:
            self.scanned = change.table
        if not change.snapshot or mark is None or self.scanned != change.table:
            self.scanned = self.scanned if change.snapshot else ""
            return None
        if mark is Mark.END:
            self.scanned = ""
        return Scan(mark, (change.table,))

    @property
    def told(self) -> tuple[str, str]:
        """(stream, what the detail says of it, as JSON)."""
        if self._told is None:
            anchor = self.anchor
            facts: dict[str, object] = {}
            if anchor is not None:
                facts["anchor"] = [anchor.offset, anchor.timestamp_ms, anchor.digest]
            if self._newest:
                facts["newest"] = self._newest
            if self.scanned:
                facts["scanned"] = self.scanned
            self._told = (self.stream, json.dumps(facts, separators=(",", ":")))
        return self._told


def _is_behind(snapshot: Version, newest: Order) -> bool:
    """A snapshot's order ends in zeros where it has no change of its own; only what stands before them counts."""
    order = snapshot.order
    while order and not order[-1]:
        order = order[:-1]
    return newest[: len(order)] > order


class Stillness:
    """Tells which partition has more to give and has given nothing for `quiet_s` of our own reading."""

    __slots__ = ("_quiet_s", "_since")

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s: Final = quiet_s
        self._since: dict[str, tuple[int, float]] = {}

    def longest(self, places: "Places", ends: Mapping[tuple[str, int], int], waited_s: float) -> "Place | None":
        """The partition that is still for too long, after `waited_s` more; the reader's own pauses are not in it."""
        for key, place in places.by_partition.items():
            offset, still_s = self._since.get(place.stream, (-1, 0.0))
            is_moving = offset != place.next_offset or (place.is_checked and place.next_offset >= ends[key])
            still_s = 0.0 if is_moving else still_s + waited_s
            self._since[place.stream] = (place.next_offset, still_s)
            if still_s > self._quiet_s:
                return place
        return None


class Places:
    """All partitions of a source, by (topic, number)."""

    def __init__(self, incarnation: str, places: Sequence[Place]) -> None:
        self.incarnation: Final = incarnation
        self.by_partition: Final = {(place.partition.topic, place.partition.number): place for place in places}

    def position(self) -> Position:
        told = [place.told for place in self.by_partition.values()]
        detail = ",".join(f'"{stream}":{facts}' for stream, facts in told if facts != "{}")
        place = {one.stream: (one.next_offset,) for one in self.by_partition.values()}
        return Position(self.incarnation, place, f"{{{detail}}}")

    def has_reached(self, ends: Mapping[tuple[str, int], int]) -> bool:
        """Whether every partition is read, and checked, up to its end."""
        return all(place.is_checked and place.next_offset >= ends[key] for key, place in self.by_partition.items())

    def require_same(self, cluster: Cluster, known: Cluster, wanted: Sequence[str]) -> None:
        """Raise where `cluster`, seen now, is not what `known` said when the source was opened.

        A new leader may have been elected uncleanly, with the partition's tail lost: opened again, the anchors tell.
        """
        if cluster.cluster_id != known.cluster_id:
            raise AnotherCluster(known.incarnation, cluster.incarnation)
        then, now = known.there(wanted), cluster.there(wanted)
        gone = tuple(sorted(then.keys() - now.keys()))
        if gone:
            raise TopicMissing(gone)
        grown = tuple(sorted(now.keys() - then.keys()))
        for name, topic in then.items():
            if now[name].topic_id != topic.topic_id:
                raise TopicRecreated(name)
            if now[name].leaders.keys() != topic.leaders.keys():
                grown += (name,)
        if grown:
            raise TopicsGrown(grown)
        moved = sorted(name for name, topic in then.items() if now[name].leaders != topic.leaders)
        if moved:
            raise KafkaUnavailable(f"partitions have another leader than before: {', '.join(moved)}")


def places_in(
    cluster: Cluster, position: Position | None, wanted: Sequence[str], beginnings: Mapping[tuple[str, int], int]
) -> Places:
    """Each partition of the wanted topics at its stored place; the beginning where a topic or partition is new to us.

    A partition that was added to a topic we have read must still begin at 0. Raises AnotherCluster, TopicMissing,
    TopicRecreated, PositionExpired.
    """
    stored = {} if position is None else _stored_places(position, cluster)
    known_ids = {partition.topic: partition.topic_id for partition in stored}
    there = cluster.there(wanted)
    gone = tuple(name for name in wanted if name in known_ids and name not in there)
    if gone:
        raise TopicMissing(gone)
    details = _details(position)
    places: list[Place] = []
    for topic in there.values():
        if known_ids.get(topic.name, topic.topic_id) != topic.topic_id:
            raise TopicRecreated(topic.name)
        for number in sorted(topic.leaders):
            partition = Partition(topic.name, number, topic.topic_id)
            if partition in stored:
                places.append(Place(partition, stored[partition], *_remembered(details.get(partition.stream))))
                continue
            beginning = beginnings[topic.name, number]
            if topic.name in known_ids and beginning:
                raise PositionExpired(partition.stream, 0, beginning)
            places.append(Place(partition, beginning))
    return Places(cluster.incarnation, places)


def _stored_places(position: Position, cluster: Cluster) -> dict[Partition, int]:
    if position.incarnation != cluster.incarnation:
        raise AnotherCluster(position.incarnation, cluster.incarnation)
    stored: dict[Partition, int] = {}
    for stream, place in position.place.items():
        found = _STREAM.fullmatch(stream)
        if found is None or len(place) != 1:
            raise AnotherCluster("another kind of source", cluster.incarnation)
        stored[Partition(found["topic"], int(found["number"]), found["topic_id"])] = place[0]
    return stored


def _details(position: Position | None) -> Mapping[str, object]:
    """By stream; empty where a source of several units starts between their positions."""
    if position is None or not position.detail:
        return {}
    details = json.loads(position.detail)
    return details if isinstance(details, dict) else {}


def _remembered(facts: object) -> tuple[Anchor | None, Mapping[str, Order], str]:
    if not isinstance(facts, dict):
        return None, {}, ""
    anchor, newest = facts.get("anchor"), facts.get("newest") or {}
    orders = {epoch: tuple(order) for epoch, order in newest.items()}
    return (None if anchor is None else Anchor(*anchor)), orders, str(facts.get("scanned") or "")
