"""How the topics stand, and Connect behind them, for doctor: brokers are asked, and no group is disturbed."""

from collections.abc import Iterator, Mapping

from connectors.inspection import Observation, Verdict
from connectors.kafka_debezium.connect import inspect_connect
from connectors.kafka_debezium.connection import Brokers, silence_aiokafka
from connectors.kafka_debezium.login import read_login
from connectors.kafka_debezium.place import Cluster, Places, Topic, places_in
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.opening import fault_of
from connectors.source import Capture, Position, SourceError

_SUBJECT = "kafka"
_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")

Offsets = Mapping[tuple[str, int], int]


async def inspect_kafka(
    settings: KafkaDebeziumSettings, capture: Capture, position: Position | None
) -> tuple[Observation, ...]:
    """The login, the wanted topics, the stored position against them, the heartbeats; and Connect where it is set.

    Never raises a SourceError. Every question is bounded.
    """
    silence_aiokafka()
    cluster_id: str | None = None
    try:
        brokers = Brokers(settings, read_login(settings))
        try:
            cluster_id = (await brokers.describe([])).cluster_id
            seen = await _inspected(brokers, settings, capture, position)
        finally:
            await brokers.close()
    except SourceError as error:
        seen = (fault_of(error, _SUBJECT),)
    if settings.connect_url is None:
        return seen
    topics = settings.wanted_topics(capture)
    connect = await inspect_connect(settings.connect_url, topics, cluster_id=cluster_id, ca_file=settings.ca_file)
    return (*seen, *connect)


async def _inspected(
    brokers: Brokers, settings: KafkaDebeziumSettings, capture: Capture, position: Position | None
) -> tuple[Observation, ...]:
    wanted = settings.wanted_topics(capture)
    heartbeats = [] if settings.heartbeats is None else [settings.heartbeats]
    cluster = await brokers.describe([*wanted, *heartbeats])
    there = cluster.there(wanted)
    beginnings = await brokers.offsets(there.values(), ends=False)
    ends = await brokers.offsets(there.values(), ends=True)
    return (
        Observation(Verdict.GOOD, _SUBJECT, f"cluster {cluster.cluster_id} answers at {settings.bootstrap_servers[0]}"),
        *_in_plain_text(settings),
        *_missing(settings, wanted, there),
        *_positions(cluster, position, wanted, beginnings, ends),
        *_heartbeats(cluster, heartbeats),
    )


def _in_plain_text(settings: KafkaDebeziumSettings) -> Iterator[Observation]:
    away = [address for address in settings.bootstrap_servers if address.rpartition(":")[0] not in _THIS_MACHINE]
    if away and not settings.tls:
        repair = "have a listener with TLS opened, and set tls"
        yield Observation(
            Verdict.WARNING, _SUBJECT, f"care data crosses the network in plain text from {away[0]}", repair
        )


def _missing(settings: KafkaDebeziumSettings, wanted: list[str], there: Mapping[str, Topic]) -> Iterator[Observation]:
    missing = [name for name in wanted if name not in there]
    if not missing:
        partitions = sum(len(topic.leaders) for topic in there.values())
        yield Observation(Verdict.GOOD, "topics", f"{len(there)} topics with {partitions} partitions")
        return
    verdict = Verdict.FAULT if settings.missing_topics == "stop" else Verdict.WARNING
    repair = "check topic_prefix or topics; Debezium makes a topic with its table's first row"
    yield Observation(verdict, "topics", f"not there: {', '.join(missing)}", repair)


def _positions(
    cluster: Cluster, position: Position | None, wanted: list[str], beginnings: Offsets, ends: Offsets
) -> Iterator[Observation]:
    try:
        places = places_in(cluster, position, wanted, beginnings)
        for key, place in places.by_partition.items():
            place.require(beginnings[key], ends[key])
    except SourceError as error:
        yield fault_of(error, "position")
        return
    if position is None:
        yield from _first_start(places, beginnings)
        return
    behind = sum(ends[key] - place.next_offset for key, place in places.by_partition.items())
    yield Observation(Verdict.GOOD, "position", f"every stored offset is there; {behind} offsets are still to be read")


def _first_start(places: Places, beginnings: Offsets) -> Iterator[Observation]:
    cut = [place.stream for key, place in places.by_partition.items() if beginnings[key]]
    if not cut:
        yield Observation(Verdict.GOOD, "position", "none yet: every topic is read from its first record")
        return
    text = f"none yet, and these do not begin with their first record: {', '.join(cut)}"
    repair = "the tables' snapshot may have been deleted with them: have Debezium make a new one before the first start"
    yield Observation(Verdict.WARNING, "position", text, repair)


def _heartbeats(cluster: Cluster, names: list[str]) -> Iterator[Observation]:
    if names and cluster.there(names):
        yield Observation(Verdict.GOOD, "heartbeats", names[0])
        return
    repair = "set heartbeat.interval.ms in the connector, or heartbeat_topic here: without it a dead stream looks quiet"
    yield Observation(Verdict.WARNING, "heartbeats", "there is no heartbeat topic", repair)
