"""Where Kafka's partitions are read (connectors/kafka_debezium/place.py): invariant 2, without a server."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from connectors.kafka_debezium.place import Anchor, Cluster, Partition, Place, Places, Stillness, Topic, places_in
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
from connectors.source import Change, Operation, Position, Version, smallest

A, B = "A" * 22, "B" * 22
WANTED = ["p.a", "p.b"]


def topic(name: str, topic_id: str = A, partitions: int = 1, *, error: int = 0, node: int = 1, epoch: int = 0) -> Topic:
    return Topic(name, error, topic_id, dict.fromkeys(range(partitions), (node, epoch)))


def cluster(*topics: Topic, cluster_id: str = "one") -> Cluster:
    missing = {name: topic(name, error=3, partitions=0) for name in WANTED}
    return Cluster(cluster_id, missing | {one.name: one for one in topics})


KNOWN = cluster(topic("p.a"), topic("p.b", B, 2))
NOTHING_DELETED: Mapping[tuple[str, int], int] = {("p.a", 0): 0, ("p.b", 0): 0, ("p.b", 1): 0, ("p.b", 2): 0}


def start(position: Position | None = None, at: Cluster = KNOWN, **beginnings: int) -> Places:
    found = {**NOTHING_DELETED, **{("p.b", int(name[1:])): offset for name, offset in beginnings.items()}}
    return places_in(at, position, WANTED, found)


def read(places: Places, key: tuple[str, int], offset: int, value: bytes = b"{}") -> None:
    place = places.by_partition[key]
    assert place.is_new(offset, offset * 10, b"k", value)
    place.advance(Anchor.of(offset, offset * 10, b"k", value))


def test_a_first_start_reads_each_partition_from_its_beginning() -> None:
    position = start(b1=7).position()
    assert position == Position("kafka:one", {f"p.a/0@{A}": (0,), f"p.b/0@{B}": (0,), f"p.b/1@{B}": (7,)}, "{}")


def test_a_position_comes_back_as_it_was_with_its_anchors() -> None:
    places = start()
    read(places, ("p.b", 1), 41)
    again = start(places.position())
    place = again.by_partition["p.b", 1]
    assert again.position() == places.position()
    assert (place.next_offset, place.is_checked, place.first_wanted) == (42, False, 41)
    assert not place.is_new(41, 410, b"k", b"{}")
    assert place.is_checked
    assert place.is_new(42, 420, b"k", b"{}")


@pytest.mark.parametrize(
    "record", [(41, 411, b"k", b"{}"), (41, 410, b"j", b"{}"), (41, 410, b"k", b"x"), (41, 410, None, None)]
)
def test_another_record_at_the_anchor_is_a_lost_position(record: Any) -> None:
    places = start()
    read(places, ("p.b", 1), 41)
    with pytest.raises(TopicTruncated):
        start(places.position()).by_partition["p.b", 1].is_new(*record)


def test_an_anchor_that_compaction_or_retention_took_is_not_waited_for() -> None:
    places = start()
    read(places, ("p.b", 1), 41)
    compacted, retained, marked = (start(places.position()).by_partition["p.b", 1] for _ in range(3))
    assert compacted.is_new(43, 0, None, None)
    assert compacted.is_checked
    retained.require(42, 50)
    retained.check_again()
    assert retained.first_wanted == 42
    marked.skip_to(44)
    assert (marked.next_offset, marked.is_checked) == (44, True)


def test_each_way_in_which_a_place_is_lost() -> None:
    place = Place(Partition("p.a", 0, A), 10)
    place.require(10, 10)
    with pytest.raises(PositionExpired):
        place.require(11, 20)
    with pytest.raises(TopicTruncated):
        place.require(0, 9)


def test_topics_and_clusters_that_are_not_those_of_the_position() -> None:
    position = start().position()
    with pytest.raises(AnotherCluster):
        start(position, replace(KNOWN, cluster_id="two"))
    with pytest.raises(TopicRecreated):
        start(position, cluster(topic("p.a", B), topic("p.b", B, 2)))
    with pytest.raises(TopicMissing):
        start(position, cluster(topic("p.a")))
    for stream in ("line", "p.a/0", f"p.a/x@{A}", f"p/a/0@{A}"):
        with pytest.raises(AnotherCluster):
            start(replace(position, place={stream: (1,)}))


def test_the_smallest_of_several_positions_still_knows_the_topics_ids() -> None:
    """Invariant 2, for a source of several units: their smallest position has no detail."""
    one, other = start(), start()
    read(one, ("p.b", 0), 4)
    read(other, ("p.b", 1), 4)
    both = smallest([one.position(), other.position()])
    assert both.detail == ""
    with pytest.raises(TopicRecreated):
        start(both, cluster(topic("p.a"), topic("p.b", A, 2)))


def test_a_new_partition_or_topic_starts_at_its_beginning_which_must_be_its_first_record() -> None:
    position = start(None, cluster(topic("p.b", B, 2))).position()
    grown = cluster(topic("p.a"), topic("p.b", B, 3))
    assert start(position, grown).position().place[f"p.b/2@{B}"] == (0,)
    with pytest.raises(PositionExpired):
        start(position, grown, b2=5)


@pytest.mark.parametrize(
    ("now", "trouble"),
    [
        (cluster(topic("p.a"), topic("p.b", B, 2), cluster_id="two"), AnotherCluster),
        (cluster(topic("p.a", B), topic("p.b", B, 2)), TopicRecreated),
        (cluster(topic("p.a")), TopicMissing),
        (cluster(topic("p.a"), topic("p.b", B, 3)), TopicsGrown),
        (cluster(topic("p.a"), topic("p.b", B, 2, epoch=1)), KafkaUnavailable),
        (cluster(topic("p.a"), topic("p.b", B, 2, node=-1)), KafkaUnavailable),
        (cluster(topic("p.a"), topic("p.b", B, 0)), KafkaUnavailable),
        (cluster(topic("p.a"), topic("p.b", error=29)), RightsMissing),
    ],
)
def test_what_has_changed_while_it_is_read_ends_the_source(now: Cluster, trouble: type[Exception]) -> None:
    places = start()
    places.require_same(KNOWN, KNOWN, WANTED)
    with pytest.raises(trouble):
        places.require_same(now, KNOWN, WANTED)


def change(order: tuple[int, ...] | None, *, snapshot: bool = False, epoch: str = "sqlserver:epj") -> Change:
    version = None if order is None else Version(epoch, order)
    return Change("t", Operation.UPSERT, {}, {}, version, snapshot=snapshot)


def test_only_a_snapshot_behind_what_was_streamed_is_an_older_database() -> None:
    place = Place(Partition("p.a", 0, A), 0)
    for known in (
        change((5, 0, 0, 0), snapshot=True),
        change((7, 1, 7, 1)),
        change((6, 1, 6, 1)),  # Connect repeats after a restart
        change((7, 1, 0, 0), snapshot=True),  # as of the last commit that was streamed
        change((1, 1), snapshot=True, epoch="sqlserver:other"),
        change(None, snapshot=True),
    ):
        place.observe(known)
    again = start(Position("kafka:one", {f"p.a/0@{A}": (0,)}, f'{{"p.a/0@{A}":{place.told[1]}}}')).by_partition[
        "p.a", 0
    ]
    for one in (place, again):
        with pytest.raises(OlderDatabase):
            one.observe(change((6, 9, 0, 0), snapshot=True))


def test_the_detail_is_bounded() -> None:
    place = Place(Partition("p.a", 0, A), 0)
    for number in range(100):
        place.observe(change((1,), epoch=f"postgresql:{number}"))
    assert len(json.loads(place.told[1])["newest"]) == 16


def test_a_partition_is_still_only_while_it_has_more_to_give() -> None:
    places = start()
    ends = {("p.a", 0): 5, ("p.b", 0): 0, ("p.b", 1): 0}
    stillness = Stillness(10.0)
    assert stillness.longest(places, ends, 9.0) is None
    assert stillness.longest(places, ends, 9.0) is None
    read(places, ("p.a", 0), 0)
    assert stillness.longest(places, ends, 9.0) is None
    assert stillness.longest(places, ends, 9.0) is None
    still = stillness.longest(places, ends, 2.0)
    assert still is not None
    assert still.partition.topic == "p.a"
    for offset in range(1, 5):
        read(places, ("p.a", 0), offset)
    assert stillness.longest(places, ends, 99.0) is None
    assert stillness.longest(places, ends, 99.0) is None
