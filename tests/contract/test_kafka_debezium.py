"""The Kafka source on a real broker: what every source does, and what only this one does."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.inspection import Verdict
from connectors.kafka_debezium.inspection import inspect_kafka
from connectors.kafka_debezium.source import KafkaDebeziumSource
from connectors.kafka_debezium.troubles import (
    BrokerTooOld,
    CertificateRefused,
    FilesUnreadable,
    KafkaUnavailable,
    LoginRefused,
    MechanismRefused,
    NoProgress,
    OlderDatabase,
    PositionExpired,
    TlsMismatch,
    TopicMissing,
    TopicRecreated,
    TopicsGrown,
    TopicTruncated,
)
from connectors.source import (
    Capture,
    Change,
    Ignored,
    Mark,
    Position,
    Record,
    Scan,
    SourceError,
    Table,
    Unreadable,
)
from tests.contract.kafka_stage import KafkaStage, Sent, run, send
from tests.contract.source_behaviour import (
    CAPTURE,
    HISTORY,
    UNWANTED,
    WANTED,
    Seen,
    SourceBehaviour,
    Written,
    caught_up,
    read_all,
    read_until,
    reading,
)
from tests.services import topics
from tests.services.kafka import Kafka

pytestmark = pytest.mark.server

NOTES = Table(UNWANTED, ("tjeneste_id",), CAPTURE.tables[0].columns)


@pytest.fixture
def stage(kafka: Kafka) -> Iterator[KafkaStage]:
    stage = KafkaStage(kafka)
    yield stage
    stage.clean()


class TestKafkaDebezium(SourceBehaviour):
    """Partitions assigned by ourselves."""


class TestKafkaDebeziumInAGroup(SourceBehaviour):
    """Partitions assigned by a consumer group, which holds no position: each is sought at its assignment."""

    @pytest.fixture
    def stage(self, kafka: Kafka) -> Iterator[KafkaStage]:
        stage = KafkaStage(kafka)
        stage.settings = stage.settings.model_copy(update={"group": stage.prefix})
        yield stage
        stage.clean()


def records(seen: Seen) -> list[Record]:
    return [record for transaction in seen.transactions for record in transaction.records]


async def trouble_of(source: KafkaDebeziumSource) -> SourceError:
    """What opening it and reading all of it raises."""
    with pytest.raises(SourceError) as trouble:
        await read_all(source)
    assert trouble.value.repair
    return trouble.value


# -- topics and partitions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [None, "in a group"])
async def test_tables_in_several_topics_and_partitions_keep_each_partitions_order(
    stage: KafkaStage, group: str | None
) -> None:
    """Invariant 2: each partition has its own place, also one without a record."""
    notes = f"{stage.prefix}.{UNWANTED}"
    stage.create(notes, partitions=3)
    stage.capture = Capture((*CAPTURE.tables, NOTES))
    stage.write(HISTORY[:10])
    for number in (0, 2):
        sent = stage.records([Written(number, f"p{number}-{count}", UNWANTED) for count in range(10)])
        run(send(stage.kafka, [replace(one, topic=notes, partition=number) for one in sent]))
    source = stage.open(None, group=group and f"{stage.prefix} {group}")
    seen = await read_all(source)
    for number in (0, 2):
        told = [one.row["status"] for one in seen.changes if one.table == UNWANTED and one.key["tjeneste_id"] == number]
        assert told == [f"p{number}-{count}" for count in range(10)]
    assert [one.row["status"] for one in seen.changes if one.table == WANTED] == [one.status for one in HISTORY[:10]]
    assert sorted(place for (place,) in seen.position.place.values()) == [0, 10, 10, 10]
    middle = seen.transactions[14].position
    rest = await read_all(stage.open(middle))
    assert len(rest.changes) == 15
    assert len(seen.changes) == 30


async def test_partitions_that_are_added_are_read_from_their_beginning(stage: KafkaStage) -> None:
    stage.write(HISTORY[:5])
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        run(topics.add_partitions(stage.kafka, stage.topic, 2))
        with pytest.raises(TopicsGrown):
            await read_until(stream, lambda _: False, seen)
    run(send(stage.kafka, stage.records(HISTORY[5:10], partition=1)))
    rest = await read_all(stage.open(seen.position))
    assert [status for _, status in seen.told + rest.told] == [one.status for one in HISTORY[:10]]


async def test_an_added_partition_that_has_lost_its_beginning_is_a_lost_position(stage: KafkaStage) -> None:
    stage.write(HISTORY[:5])
    position = (await read_all(stage.open(None))).position
    run(topics.add_partitions(stage.kafka, stage.topic, 2))
    run(send(stage.kafka, stage.records(HISTORY[5:10], partition=1)))
    run(topics.delete_records(stage.kafka, stage.topic, {1: 2}))
    assert isinstance(await trouble_of(stage.open(position)), PositionExpired)


async def test_a_missing_topic_stops_or_is_waited_for_as_configured(stage: KafkaStage) -> None:
    notes = f"{stage.prefix}.{UNWANTED}"
    stage.capture = Capture((*CAPTURE.tables, NOTES))
    stage.write(HISTORY[:3])
    missing = await trouble_of(stage.open(None))
    assert isinstance(missing, TopicMissing)
    assert notes in str(missing)
    async with reading(stage.open(None, missing_topics="wait")) as stream:
        seen = await read_until(stream, caught_up)
        assert len(seen.changes) == 3
        stage.create(notes)
        with pytest.raises(TopicsGrown):
            await read_until(stream, lambda _: False, seen)
    sent = stage.records([Written(9, "note", UNWANTED)])
    run(send(stage.kafka, [replace(one, topic=notes) for one in sent]))
    rest = await read_all(stage.open(seen.position))
    assert rest.told == [(9, "note")]


# -- positions that are lost (invariant 2) ---------------------------------------------------------------------------


async def test_a_topic_that_goes_while_it_is_read_is_missing(stage: KafkaStage) -> None:
    stage.write(HISTORY[:3])
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, caught_up)
        stage.remove()
        with pytest.raises(TopicMissing):
            await read_until(stream, lambda _: False, seen)


@pytest.mark.parametrize("more", [5, 80])
async def test_a_topic_made_again_while_it_is_read_tells_none_of_its_records(stage: KafkaStage, more: int) -> None:
    """Shorter than our place, and grown past it: aiokafka reads the second one on with no error."""
    stage.write(HISTORY)
    seen = Seen()
    async with reading(stage.open(None)) as stream:
        await read_until(stream, caught_up, seen)
        stage.remove()
        stage.create()
        stage.write([Written(1, f"anew {number}") for number in range(more)])
        with pytest.raises(TopicRecreated) as lost:
            await read_until(stream, lambda _: False, seen)
    assert "Debezium" in lost.value.repair
    assert seen.told == [(one.key, one.status) for one in HISTORY]


@pytest.mark.parametrize("more", [5, 80])
async def test_a_topic_made_again_before_the_start_is_a_lost_position(stage: KafkaStage, more: int) -> None:
    stage.write(HISTORY)
    position = (await read_all(stage.open(None))).position
    stage.remove()
    stage.create()
    stage.write([Written(1, f"anew {number}") for number in range(more)])
    for stored in (position, replace(position, detail="")):
        assert isinstance(await trouble_of(stage.open(stored)), TopicRecreated)


async def test_records_that_retention_deleted_before_they_were_read_are_a_lost_position(stage: KafkaStage) -> None:
    stage.write(HISTORY)
    seen = await read_all(stage.open(None))
    middle = next(one.position for one in seen.transactions if next(iter(one.position.place.values())) == (10,))
    run(topics.delete_records(stage.kafka, stage.topic, {0: 10}))
    assert len((await read_all(stage.open(middle))).changes) == 30, "all that was not read is still there"
    run(topics.delete_records(stage.kafka, stage.topic, {0: 11}))
    lost = await trouble_of(stage.open(middle))
    assert isinstance(lost, PositionExpired)
    assert "begins at 11" in str(lost)


async def test_retention_that_passes_a_slow_reader_is_a_lost_position(stage: KafkaStage) -> None:
    stage.write([Written(number, "x" * 2000) for number in range(40)])
    async with reading(stage.open(None, fetch_bytes=4096)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) == 1)
        run(topics.delete_records(stage.kafka, stage.topic, {0: 39}))
        with pytest.raises(PositionExpired):
            await read_until(stream, lambda _: False, seen)
    keys = [key for key, _ in seen.told]
    assert keys == list(range(len(keys)))


async def test_another_record_where_the_last_one_was_read_is_a_lost_position(stage: KafkaStage) -> None:
    stage.write(HISTORY)
    position = (await read_all(stage.open(None))).position
    detail = json.loads(position.detail)
    (stream,) = detail
    for field, other in ((1, 1), (2, "0" * 16)):
        anchor = list(detail[stream]["anchor"])
        anchor[field] = other
        changed = json.dumps({stream: {**detail[stream], "anchor": anchor}})
        lost = await trouble_of(stage.open(replace(position, detail=changed)))
        assert isinstance(lost, TopicTruncated)


async def test_a_topic_that_ends_before_our_place_is_a_lost_position(stage: KafkaStage) -> None:
    stage.write(HISTORY)
    position = (await read_all(stage.open(None))).position
    (stream,) = position.place
    beyond = replace(position, place={stream: (41,)})
    assert isinstance(await trouble_of(stage.open(beyond)), TopicTruncated)


async def test_the_first_offset_out_of_range_is_final(stage: KafkaStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka raises it at each call until the log has grown past, and then no more."""
    from aiokafka import TopicPartition

    stage.write(HISTORY)
    source = stage.open(None)
    async with reading(source) as stream:
        seen = await read_until(stream, caught_up)
        assert source._consumer is not None
        source._consumer._consumer.seek(TopicPartition(stage.topic, 0), 60)
        with pytest.raises(TopicTruncated):
            await read_until(stream, lambda _: False, seen)


@pytest.mark.parametrize("place", [{"line": (3, 1)}, {"topic/0@short": (3,)}, {"a b/0@AAAAAAAAAAAAAAAAAAAAAA": (3,)}])
async def test_a_position_of_another_kind_of_source_is_lost(stage: KafkaStage, place: dict[str, Any]) -> None:
    stage.write(HISTORY[:3])
    position = (await read_all(stage.open(None))).position
    assert (await trouble_of(stage.open(replace(position, place=place)))).code == "KPR-132"


async def test_a_snapshot_older_than_what_was_streamed_stops(stage: KafkaStage) -> None:
    """The database was restored: its changes would have lower versions than what stands, and be dropped."""
    run(send(stage.kafka, stage.records(HISTORY[:3], snapshot="true")))
    stage.write(HISTORY[3:6])
    position = (await read_all(stage.open(None))).position
    run(send(stage.kafka, stage.records(HISTORY[:3], snapshot="true")))
    newer = await read_all(stage.open(position))
    assert len(newer.changes) == 3, "a new snapshot of the same database is news like any other"
    stage.database.lsn = 900
    run(send(stage.kafka, stage.records(HISTORY[:3], snapshot="first")))
    for stored in (position, newer.position):
        assert isinstance(await trouble_of(stage.open(stored)), OlderDatabase)


async def test_a_new_snapshot_is_a_scan_so_that_rows_it_no_longer_tells_can_be_found(stage: KafkaStage) -> None:
    """Connect that has lost its offsets never tells what was deleted in between."""
    words = ("first", "true", "last_in_data_collection")
    for word in words:
        run(send(stage.kafka, stage.records([Written(words.index(word), "v")], snapshot=word)))
    stage.write(HISTORY[:1])
    for word in ("first_in_data_collection", "last"):
        run(send(stage.kafka, stage.records([Written(1, word)], snapshot=word)))
    run(send(stage.kafka, stage.records([Written(1, "alone")], snapshot="last")))
    run(send(stage.kafka, stage.records([Written(1, "more")], snapshot="incremental")))
    seen = await read_all(stage.open(None))
    begin, inside, end = (Scan(mark, (WANTED,)) for mark in (Mark.BEGIN, Mark.INSIDE, Mark.END))
    told = [one.scan for one in seen.transactions if one.records]
    assert told == [begin, inside, end, None, begin, end, None, None]
    assert [change.snapshot for change in seen.changes] == [True] * 3 + [False] + [True] * 4
    for cut in (1, 2):
        rest = await read_all(stage.open(seen.transactions[cut - 1].position))
        assert [one.scan for one in rest.transactions if one.records] == told[cut:], "a scan goes on after a stop"


async def test_a_snapshot_is_no_scan_where_its_rows_come_in_no_order_or_are_others(stage: KafkaStage) -> None:
    run(send(stage.kafka, stage.records([Written(1, "a")], snapshot="first")))
    run(send(stage.kafka, stage.records([Written(2, "b")], snapshot="last")))
    shared = await read_all(stage.open(None, only={"key_prefix": "1"}))
    assert {one.scan for one in shared.transactions} == {None}
    run(topics.add_partitions(stage.kafka, stage.topic, 2))
    divided = await read_all(stage.open(None))
    assert {one.scan for one in divided.transactions} == {None}


async def test_events_that_connect_repeats_are_told_again_with_their_versions(stage: KafkaStage) -> None:
    sent = stage.records(HISTORY[:10])
    run(send(stage.kafka, [*sent, *sent[4:], *stage.records(HISTORY[10:12])]))
    seen = await read_all(stage.open(None))
    assert [change.version for change in seen.changes[4:10]] == [change.version for change in seen.changes[10:16]]
    assert len(seen.changes) == 18


async def test_a_topic_made_again_has_versions_of_another_epoch(stage: KafkaStage) -> None:
    stage.write(HISTORY[:1])
    (first,) = (await read_all(stage.open(None))).changes
    stage.remove()
    stage.create()
    stage.write(HISTORY[:1])
    (second,) = (await read_all(stage.open(None))).changes
    assert first.version is not None
    assert second.version is not None
    assert first.version.epoch != second.version.epoch


# -- what is in a topic ----------------------------------------------------------------------------------------------


async def test_what_is_no_row_is_ignored_wherever_it_stands(stage: KafkaStage) -> None:
    source = {"connector": "postgresql", "db": "prove", "schema": "demo", "table": "tjeneste"}
    for key, value in (
        ({"serverName": "prove"}, {"ts_ms": 1}),
        ({"id": "1"}, {"status": "BEGIN", "id": "1:2", "event_count": None, "data_collections": None, "ts_ms": 1}),
        ({"databaseName": "prove"}, {"source": source, "ddl": "CREATE TABLE x", "databaseName": "prove"}),
        ({"tjeneste_id": 1}, None),
    ):
        run(send(stage.kafka, [Sent(key, value, stage.topic)]))
    seen = await read_all(stage.open(None))
    assert [type(record) for record in records(seen)] == [Ignored] * 4
    assert [place for (place,) in seen.position.place.values()] == [4]


async def test_what_cannot_be_read_is_kept_and_a_larger_record_cut_off(stage: KafkaStage) -> None:
    large = stage.records([Written(1, "y" * 200_000)])
    run(send(stage.kafka, [Sent(b"x", b"{", stage.topic), *large, *stage.records([Written(2, "b")])]))
    seen = await read_all(stage.open(None, largest_record_bytes=100_000, fetch_bytes=1024))
    broken, cut, good = records(seen)
    assert isinstance(broken, Unreadable)
    assert (broken.raw, broken.place) == (b"{", f"{stage.topic}/0 offset 0")
    assert isinstance(cut, Unreadable)
    assert len(cut.raw) == 64 * 1024
    assert isinstance(good, Change)


async def test_only_what_producers_committed_is_read_and_their_marks_are_passed(stage: KafkaStage) -> None:
    from aiokafka import AIOKafkaProducer

    async def produce() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=stage.kafka.bootstrap, transactional_id=f"{stage.prefix}-producer"
        ) as producer:
            for status, commits in (("kept", True), ("dropped", False), ("kept too", True), ("dropped too", False)):
                await producer.begin_transaction()
                for one in stage.records([Written(1, status)]):
                    await producer.send_and_wait(stage.topic, key=b"{}", value=json.dumps(one.value).encode())
                await (producer.commit_transaction() if commits else producer.abort_transaction())

    run(produce())
    seen = await read_all(stage.open(None))
    assert [status for _, status in seen.told] == ["kept", "kept too"]
    assert [place for (place,) in seen.position.place.values()] == [8]
    stage.write(HISTORY[:1])
    assert (await read_all(stage.open(seen.position))).told == [(0, "v0")]


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_compressed_records_are_read(stage: KafkaStage, compression: str) -> None:
    run(send(stage.kafka, stage.records(HISTORY[:5]), compression_type=compression))
    assert len((await read_all(stage.open(None))).changes) == 5


async def test_municipalities_that_share_a_topic_see_only_their_own_by_key(stage: KafkaStage) -> None:
    mine, theirs = stage.records([Written(1, "mine"), Written(2, "theirs")])
    emptied = {**stage.database.envelope(WANTED, 1, "x"), "op": "t", "after": None}
    mixed = [
        replace(mine, key={"kommune": "0301", "tjeneste_id": 1}),
        replace(theirs, key={"kommune": "4601", "tjeneste_id": 2}),
        replace(theirs, key={"schema": {"type": "struct"}, "payload": {"kommune": "0301", "tjeneste_id": 2}}),
        replace(theirs, key=b"4601|2"),
        replace(theirs, key=None),
        Sent(None, emptied, stage.topic),
    ]
    run(send(stage.kafka, mixed))
    seen = await read_all(stage.open(None, only={"key_prefix": "0301"}))
    told = records(seen)
    assert [type(one) for one in told] == [Change, Ignored, Change, Ignored, Unreadable, Change]
    assert isinstance(told[4], Unreadable)
    assert told[4].raw == b"", "what may be another municipality's is not kept"


async def test_municipalities_that_share_a_topic_see_only_their_own_by_header(stage: KafkaStage) -> None:
    mine, theirs, json_text, nobodys = stage.records([Written(number, "x") for number in range(4)])
    mixed = [
        replace(mine, headers=[("kommune", b"0301")]),
        replace(theirs, headers=[("kommune", b"03012")]),
        replace(json_text, headers=[("other", b"1"), ("kommune", b'"0301"')]),
        nobodys,
    ]
    run(send(stage.kafka, mixed))
    seen = await read_all(stage.open(None, only={"header": "kommune", "header_value": "0301"}))
    assert [type(one) for one in records(seen)] == [Change, Ignored, Change, Unreadable]


# -- progress --------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


async def test_without_heartbeats_it_is_seen_through_the_look_less_the_lag(stage: KafkaStage) -> None:
    stage.write(HISTORY[:3])
    settings = stage.settings.model_copy(update={"lag_s": 90.0})
    seen = await read_all(KafkaDebeziumSource(settings, CAPTURE, None, clock=lambda: NOON))
    assert seen.transactions[-1].seen_through == NOON - timedelta(seconds=90)


async def test_with_heartbeats_it_is_seen_through_the_newest_sign_of_debezium(stage: KafkaStage) -> None:
    """A dead Debezium shows: the clock goes on, and what is seen through stands still."""
    beats = f"__debezium-heartbeat.{stage.prefix}"
    stage.create(beats)
    stage.write(HISTORY[:3])
    committed = datetime.fromtimestamp(stage.database.at_ms / 1000, UTC)
    settings = stage.settings.model_copy(update={"lag_s": 0.0})

    def open_it(position: Position | None = None) -> KafkaDebeziumSource:
        return KafkaDebeziumSource(settings, CAPTURE, position, clock=lambda: NOON + timedelta(days=1))

    seen = await read_all(open_it())
    assert seen.transactions[-1].seen_through == committed
    for minutes in (5, 6):
        beat = {"ts_ms": int((committed + timedelta(minutes=minutes)).timestamp() * 1000)}
        run(send(stage.kafka, [Sent({"serverName": stage.prefix}, beat, beats)]))
    async with reading(open_it(seen.position)) as stream:
        later = await read_until(stream, caught_up)
    assert later.transactions[-1].seen_through == committed + timedelta(minutes=6)
    assert later.transactions[-1].position.place == seen.position.place, "heartbeats are no part of the position"


async def test_a_heartbeat_topic_without_a_sign_of_debezium_tells_nothing(stage: KafkaStage) -> None:
    stage.create(f"__debezium-heartbeat.{stage.prefix}")
    async with reading(stage.open(None)) as stream:
        seen = await read_until(stream, lambda seen: len(seen.transactions) >= 2)
    assert [one.seen_through for one in seen.transactions] == [None, None]


async def test_a_partition_that_gives_nothing_while_there_is_more_ends_the_source(
    stage: KafkaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka can stand still and raise nothing (its issues 847 and 1154)."""

    async def nothing(*_: object) -> dict[Any, Any]:
        return {}

    stage.write(HISTORY[:3])
    async with reading(stage.open(None, quiet_s=0.3)) as stream:
        seen = await read_until(stream, caught_up)
        from connectors.kafka_debezium.consumer import Consumer

        monkeypatch.setattr(Consumer, "fetch", nothing)
        monkeypatch.setattr(Consumer, "offsets", nothing)
        stage.write(HISTORY[3:6])
        with pytest.raises(NoProgress):
            await read_until(stream, lambda _: False, seen)


async def test_nothing_is_fetched_far_ahead_of_a_slow_reader(stage: KafkaStage) -> None:
    """Bounded memory: 20 MB in the topic, 64 KB asked for at a time."""
    import tracemalloc

    big = [Sent({"k": 1}, b'{"ts_ms": 1}' + b" " * 100_000, stage.topic) for _ in range(200)]
    run(send(stage.kafka, big))
    tracemalloc.start()
    try:
        async with reading(stage.open(None, fetch_bytes=64 * 1024)) as stream:
            seen = await read_until(stream, lambda seen: len(seen.transactions) >= 150)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.transactions) == 150
    assert peak_bytes < 5_000_000


# -- logins ----------------------------------------------------------------------------------------------------------


def ways_in(kafka: Kafka) -> dict[str, dict[str, Any]]:
    user_file, password_file = kafka.credentials("kpr-scram")
    plain_user, plain_password = kafka.credentials("kpr-plain")
    certificate, key = kafka.client_certificate
    scram = {"user_file": user_file, "password_file": password_file}
    plain = {"sasl_mechanism": "PLAIN", "user_file": plain_user, "password_file": plain_password}
    tls = {"tls": True, "ca_file": kafka.ca_file}
    return {
        "plaintext": {"bootstrap_servers": [kafka.bootstrap], "tls": False},
        "tls": {"bootstrap_servers": [kafka.ssl], **tls},
        "mutual": {"bootstrap_servers": [kafka.mutual_ssl], **tls, "certificate_file": certificate, "key_file": key},
        "scram-sha-512": {"bootstrap_servers": [kafka.sasl_ssl], **tls, **scram, "sasl_mechanism": "SCRAM-SHA-512"},
        "scram-sha-256": {"bootstrap_servers": [kafka.sasl_ssl], **tls, **scram, "sasl_mechanism": "SCRAM-SHA-256"},
        "plain": {"bootstrap_servers": [kafka.sasl_ssl], **tls, **plain},
        "plain without tls": {"bootstrap_servers": [kafka.sasl_plaintext], "tls": False, **plain},
    }


@pytest.mark.parametrize(
    "way", ["plaintext", "tls", "mutual", "scram-sha-512", "scram-sha-256", "plain", "plain without tls"]
)
async def test_reads_by_every_way_in(stage: KafkaStage, way: str) -> None:
    stage.write(HISTORY[:5])
    source = stage.open(None, **ways_in(stage.kafka)[way])
    assert len((await read_all(source)).changes) == 5


async def test_each_failure_to_connect_is_told_apart(stage: KafkaStage, tmp_path: Path) -> None:
    kafka, ways = stage.kafka, ways_in(stage.kafka)
    wrong = tmp_path / "wrong"
    wrong.write_text("not-this-one")
    scram, plain = ways["scram-sha-512"], ways["plain"]
    no_certificate = {"certificate_file": None, "key_file": None}
    expected: list[tuple[dict[str, Any], type[SourceError]]] = [
        ({**scram, "password_file": wrong}, LoginRefused),
        ({**scram, "user_file": wrong}, LoginRefused),
        ({**plain, "password_file": wrong}, LoginRefused),
        ({**scram, "ca_file": kafka.wrong_ca_file}, CertificateRefused),
        ({**scram, "ca_file": None}, CertificateRefused),
        ({**ways["mutual"], **no_certificate}, CertificateRefused),
        ({**ways["tls"], "bootstrap_servers": [kafka.bootstrap]}, TlsMismatch),
        ({**ways["plaintext"], "bootstrap_servers": [kafka.ssl]}, TlsMismatch),
        ({**ways["plaintext"], "bootstrap_servers": [kafka.mutual_ssl]}, TlsMismatch),
        ({**scram, "bootstrap_servers": [kafka.sasl_plaintext]}, TlsMismatch),
        ({**ways["plaintext"], "bootstrap_servers": [kafka.sasl_plaintext]}, MechanismRefused),
        ({**ways["tls"], "bootstrap_servers": [kafka.sasl_ssl]}, MechanismRefused),
        ({**scram, "bootstrap_servers": [kafka.ssl]}, MechanismRefused),
        ({**ways["plaintext"], "bootstrap_servers": ["127.0.0.1:1"]}, KafkaUnavailable),
        ({**ways["plaintext"], "bootstrap_servers": ["no-such-host.invalid:9092"]}, KafkaUnavailable),
        ({**scram, "password_file": tmp_path / "none"}, FilesUnreadable),
        ({**scram, "ca_file": wrong}, FilesUnreadable),
    ]
    for settings, kind in expected:
        trouble = await trouble_of(stage.open(None, **settings))
        assert type(trouble) is kind, settings
        assert "not-this-one" not in f"{trouble} {trouble.repair}"


async def test_a_broker_that_does_not_tell_topic_ids_is_refused(
    stage: KafkaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectors.wire.kafka_metadata import MetadataRequestV12

    monkeypatch.setattr(MetadataRequestV12, "API_VERSION", 99)
    assert isinstance(await trouble_of(stage.open(None)), BrokerTooOld)


async def test_one_living_broker_of_several_is_enough(stage: KafkaStage) -> None:
    stage.write(HISTORY[:5])
    source = stage.open(None, bootstrap_servers=["127.0.0.1:1", stage.kafka.bootstrap])
    assert len((await read_all(source)).changes) == 5


# -- what doctor shows -----------------------------------------------------------------------------------------------


async def test_doctor_sees_topics_positions_and_heartbeats(stage: KafkaStage) -> None:
    stage.write(HISTORY)
    seen = await read_all(stage.open(None))
    found = {one.subject: one for one in await inspect_kafka(stage.settings, CAPTURE, seen.transactions[4].position)}
    assert found["kafka"].verdict is Verdict.GOOD
    assert "35 offsets are still to be read" in found["position"].text
    assert found["heartbeats"].verdict is Verdict.WARNING
    run(topics.delete_records(stage.kafka, stage.topic, {0: 20}))
    found = {one.subject: one for one in await inspect_kafka(stage.settings, CAPTURE, seen.transactions[4].position)}
    assert (found["position"].verdict, "KPR-130" in found["position"].text) == (Verdict.FAULT, True)
    found = {one.subject: one for one in await inspect_kafka(stage.settings, CAPTURE, None)}
    assert found["position"].verdict is Verdict.WARNING
    stage.remove()
    found = {one.subject: one for one in await inspect_kafka(stage.settings, CAPTURE, seen.position)}
    assert found["topics"].verdict is Verdict.FAULT
    assert found["position"].verdict is Verdict.FAULT


async def test_doctor_tells_a_refused_login(stage: KafkaStage, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-this-one")
    way = {**ways_in(stage.kafka)["plain"], "password_file": wrong}
    settings = type(stage.settings).model_validate(stage.settings.model_dump() | way)
    (fault,) = await inspect_kafka(settings, CAPTURE, None)
    assert fault.verdict is Verdict.FAULT
    assert "KPR-136" in fault.text
