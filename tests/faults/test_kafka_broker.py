"""The Kafka source while its broker fails: nothing is lost, nothing is told twice with another version, or it stops."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from connectors.kafka_debezium.source import KafkaDebeziumSource
from connectors.kafka_debezium.troubles import (
    FetchRefused,
    GroupShared,
    KafkaUnavailable,
    LoginRefused,
    RightsMissing,
    TopicTruncated,
)
from connectors.source import Change, Position, SourceUnavailable
from tests.contract.kafka_stage import KafkaStage, run, send
from tests.contract.source_behaviour import HISTORY, PATIENCE_S, Seen, Written, caught_up, read_all, read_until, reading
from tests.services import places
from tests.services.kafka import SCRAM_PASSWORDS, Kafka

pytestmark = pytest.mark.server

EVERYTHING = 300


@pytest.fixture
def stage(kafka: Kafka) -> Iterator[KafkaStage]:
    stage = KafkaStage(kafka)
    yield stage
    kafka.start()
    stage.clean()


def over_tls(stage: KafkaStage, user: str = "kpr-scram") -> dict[str, object]:
    user_file, password_file = stage.kafka.credentials(user)
    return {
        "bootstrap_servers": [stage.kafka.sasl_ssl], "tls": True, "ca_file": stage.kafka.ca_file,
        "sasl_mechanism": "SCRAM-SHA-512", "user_file": user_file, "password_file": password_file,
    }  # fmt: skip


async def read_through(stage: KafkaStage, enough: int) -> Seen:
    """As the agent does: a new source from the last position after each KafkaUnavailable, until `enough` changes."""
    seen = Seen()
    position: Position | None = None
    async with asyncio.timeout(4 * PATIENCE_S):
        while len(seen.changes) < enough:
            try:
                async with reading(stage.open(position)) as stream:
                    await read_until(stream, lambda seen: len(seen.changes) >= enough, seen)
            except SourceUnavailable:
                await asyncio.sleep(0.1)  # the agent's pause between two tries
            if seen.transactions:
                position = seen.position
    return seen


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_broker_that_restarts_costs_no_record(stage: KafkaStage, way: str) -> None:
    stage.write([Written(number, "before") for number in range(EVERYTHING // 2)])
    task = asyncio.create_task(read_through(stage, EVERYTHING))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.5)
    await asyncio.to_thread(getattr(stage.kafka, way))
    await asyncio.to_thread(stage.kafka.start)
    later = stage.records([Written(number, "after") for number in range(EVERYTHING // 2, EVERYTHING)])
    await asyncio.to_thread(run, send(stage.kafka, later))
    seen = await task
    assert [key for key, _ in seen.told] == list(range(EVERYTHING))


async def test_a_broker_that_goes_is_told_at_once_and_in_few_lines(
    stage: KafkaStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.write(HISTORY[:3])
    with caplog.at_level(logging.WARNING):
        async with reading(stage.open(None)) as stream:
            seen = await read_until(stream, caught_up)
            await asyncio.to_thread(stage.kafka.stop)
            with pytest.raises(KafkaUnavailable):
                await read_until(stream, lambda _: False, seen)
        with pytest.raises(KafkaUnavailable):
            await read_all(stage.open(seen.position))
    assert len([record for record in caplog.records if record.name.startswith("aiokafka")]) == 0


async def test_a_broker_that_answers_nothing_is_told_within_the_time_out(stage: KafkaStage) -> None:
    """SIGSTOP: the connection stays open, as behind a dead link."""
    stage.write(HISTORY[:3])
    pid = int((places.data_directory("kafka") / "pid").read_text())
    async with reading(stage.open(None, operation_timeout_s=1.0)) as stream:
        seen = await read_until(stream, caught_up)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(KafkaUnavailable, match="did not answer"):
                await read_until(stream, lambda _: False, seen)
            with pytest.raises(KafkaUnavailable):
                await read_all(stage.open(seen.position, operation_timeout_s=1.0))
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_password_that_changes_while_it_is_read_is_told_after_the_next_reconnection(stage: KafkaStage) -> None:
    """aiokafka itself gives nothing for ever then, and raises nothing."""
    stage.write(HISTORY[:3])
    user = "kpr-scram"
    try:
        async with reading(stage.open(None, **over_tls(stage))) as stream:
            seen = await read_until(stream, caught_up)
            await asyncio.to_thread(stage.kafka.set_scram_password, user, "another")
            await asyncio.to_thread(stage.kafka.restart)
            with pytest.raises((KafkaUnavailable, LoginRefused)) as trouble:
                await read_until(stream, lambda _: False, seen)
        if isinstance(trouble.value, KafkaUnavailable):
            with pytest.raises(LoginRefused):
                await read_all(stage.open(seen.position, **over_tls(stage)))
    finally:
        await asyncio.to_thread(stage.kafka.set_scram_password, user, SCRAM_PASSWORDS[user])


async def test_a_consumer_whose_password_is_refused_is_found_by_a_new_connection(
    stage: KafkaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the consumer has lost its connection: our own is open still, and a broker asks for a password once."""
    from connectors.kafka_debezium.consumer import Consumer

    async def nothing(*_: object) -> dict[object, object]:
        return {}

    stage.write(HISTORY[:3])
    user = "kpr-scram"
    try:
        async with reading(stage.open(None, **over_tls(stage), quiet_s=0.3)) as stream:
            seen = await read_until(stream, caught_up)
            await asyncio.to_thread(stage.kafka.set_scram_password, user, "another")
            monkeypatch.setattr(Consumer, "fetch", nothing)
            monkeypatch.setattr(Consumer, "offsets", nothing)
            stage.write(HISTORY[3:6])
            with pytest.raises(LoginRefused):
                await read_until(stream, lambda _: False, seen)
    finally:
        await asyncio.to_thread(stage.kafka.set_scram_password, user, SCRAM_PASSWORDS[user])


async def test_a_right_that_is_taken_away_is_told(stage: KafkaStage) -> None:
    stage.write(HISTORY[:3])
    await asyncio.to_thread(stage.kafka.deny, "kpr-scram", stage.topic)
    try:
        with pytest.raises(RightsMissing):
            await read_all(stage.open(None, **over_tls(stage)))
    finally:
        await asyncio.to_thread(stage.kafka.allow_again, "kpr-scram", stage.topic)


@contextlib.asynccontextmanager
async def member(source: KafkaDebeziumSource, seen: Seen) -> AsyncIterator[asyncio.Task[Seen]]:
    """A source that is read in the background, into `seen`."""
    async with reading(source) as stream:
        task = asyncio.create_task(read_until(stream, lambda _: False, seen))
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, SourceUnavailable, GroupShared, TimeoutError):
                await task


def keys_of(seen: Seen) -> set[int]:
    return {change.key["tjeneste_id"] for change in list(seen.changes) if isinstance(change, Change) and change.key}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what another task has read, polled with a bound
            await asyncio.sleep(0.02)


async def test_a_second_member_of_the_group_costs_no_record(stage: KafkaStage) -> None:
    """It comes and goes while records flow. What it held is sought from our own place, and told with its version."""
    stage.remove()
    stage.create(partitions=4)
    stage.settings = stage.settings.model_copy(update={"group": stage.prefix})

    def write(first: int, end: int) -> None:
        sent = []
        for number in range(first, end):
            sent += stage.records([Written(number, f"v{number}")], partition=number % 4)
        run(send(stage.kafka, sent))

    ours, other = Seen(), Seen()
    await asyncio.to_thread(write, 0, 100)
    async with member(stage.open(None), ours):
        await until(lambda: len(keys_of(ours)) == 100)
        async with member(stage.open(None), other):
            await until(lambda: other.transactions)
            await asyncio.to_thread(write, 100, 200)
            await until(lambda: len(keys_of(ours) | keys_of(other)) == 200)
            assert keys_of(ours) != set(range(200)), "the other holds some of the partitions"
        await asyncio.to_thread(write, 200, 300)
        await until(lambda: len(keys_of(ours)) == 300)
    versions: dict[int, set[object]] = {}
    for change in ours.changes:
        assert change.key is not None
        versions.setdefault(change.key["tjeneste_id"], set()).add(change.version)
    assert versions.keys() == set(range(300))
    assert all(len(seen) == 1 for seen in versions.values()), "a repeated change has the version it had"
    rest = await read_all(stage.open(ours.position))
    assert not rest.changes


async def test_a_group_that_another_member_shares_for_long_stops(stage: KafkaStage) -> None:
    stage.remove()
    stage.create(partitions=2)
    stage.settings = stage.settings.model_copy(update={"group": stage.prefix, "quiet_s": 1.0})
    ours, other = Seen(), Seen()
    async with member(stage.open(None), ours) as task, member(stage.open(None, quiet_s=60.0), other):
        await until(lambda: caught_up(ours) if ours.transactions else False)
        await until(lambda: other.transactions)
        sent = [one for number in (0, 1) for one in stage.records(HISTORY[:5], partition=number)]
        await asyncio.to_thread(run, send(stage.kafka, sent))
        with pytest.raises(GroupShared):
            async with asyncio.timeout(PATIENCE_S):
                await task


async def test_a_tail_that_a_broker_lost_and_that_has_grown_past_us_is_a_lost_position(stage: KafkaStage) -> None:
    """A power cut took what was not on the disk, and others were written in its place: the same topic, the same id."""
    stage.write(HISTORY[:5])
    await asyncio.to_thread(stage.kafka.stop)
    log = next((places.data_directory("kafka") / "data").glob(f"{stage.topic}-0/*.log"))
    length = log.stat().st_size
    await asyncio.to_thread(stage.kafka.start)
    stage.write(HISTORY[5:20])
    position = (await read_all(stage.open(None))).position
    await asyncio.to_thread(stage.kafka.kill)
    os.truncate(log, length)
    for index in log.parent.glob("*.*index"):
        index.unlink()
    _forget_checkpoints(log.parent.parent)
    await asyncio.to_thread(stage.kafka.start)
    with pytest.raises(TopicTruncated, match="ends at 5"):
        await read_all(stage.open(position))
    stage.write([Written(number, "others") for number in range(40)])
    with pytest.raises(TopicTruncated, match="another record"):
        await read_all(stage.open(position))


async def test_a_record_that_the_brokers_disk_has_damaged_stops_and_is_not_skipped(stage: KafkaStage) -> None:
    stage.write([Written(1, "a"), Written(2, "damaged"), Written(3, "c")])
    await asyncio.to_thread(stage.kafka.stop)
    log = next((places.data_directory("kafka") / "data").glob(f"{stage.topic}-0/*.log"))
    raw = log.read_bytes()
    at = raw.index(b"damaged")
    log.write_bytes(raw[:at] + b"DAMAGED" + raw[at + 7 :])
    await asyncio.to_thread(stage.kafka.start)
    seen = Seen()
    with pytest.raises(FetchRefused):
        async with reading(stage.open(None)) as stream:
            await read_until(stream, lambda _: False, seen)
    assert seen.told in ([], [(1, "a")])


def _forget_checkpoints(data: Path) -> None:
    """What the broker remembers of the ends of its logs, and that it was stopped cleanly."""
    for name in (".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "replication-offset-checkpoint"):
        (data / name).unlink(missing_ok=True)
