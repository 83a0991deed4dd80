"""What a Sender says when a real broker refuses, loses, dies or falls silent. nhn-bus: "What real brokers do"."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.nhn_amqp.bus import NhnAmqpSender
from connectors.sender import Outcome, SenderRefused, SenderUnavailable, Verdict
from connectors.wire.amqp_links import Answer, Lost, SenderLink
from tests.contract.sender_behaviour import message
from tests.services import Broker
from tests.services.far_end import WAIT_S, Bus, decoded, wrong_password
from tests.services.topology import FULL_AFTER, FULL_QUEUES, LASTING_QUEUES

pytestmark = pytest.mark.server
QUEUE = "scratch_quorum"


@contextmanager
def frozen(broker: Broker) -> Iterator[None]:
    """The broker keeps its connections and says nothing."""
    broker.freeze()
    try:
        yield
    finally:
        if broker.running():
            broker.thaw()


@contextmanager
def put_back(broker: Broker) -> Iterator[None]:
    try:
        yield
    finally:
        broker.restore_queues()


async def test_an_unbound_key_is_released_by_4_and_accepted_and_lost_by_3(bus: Bus) -> None:
    """RabbitMQ 3 says ACCEPTED and drops the message: only a receipt closes a message (invariant 6)."""
    await bus.far_end.empty(QUEUE)
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        with put_back(bus.broker):
            await asyncio.to_thread(bus.broker.unbind, QUEUE)
            outcome = await sender.send(message())
        expected = Verdict.ACCEPTED if bus.broker.major == 3 else Verdict.RELEASED
        assert outcome.verdict is expected
        after = message()
        assert (await sender.send(after)).verdict is Verdict.ACCEPTED  # bound again: the same link works
    (encoded,) = await bus.far_end.take(QUEUE, 1)
    assert decoded(encoded).id == after.message_id  # the first one is nowhere


async def test_a_queue_deleted_while_attached_is_unroutable(bus: Bus) -> None:
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED
        with put_back(bus.broker):
            await asyncio.to_thread(bus.broker.delete_queue, QUEUE)
            outcome = await sender.send(message())
        assert outcome.verdict is (Verdict.ACCEPTED if bus.broker.major == 3 else Verdict.RELEASED)
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED


async def test_an_exchange_that_is_not_there_is_refused_at_the_start(bus: Bus) -> None:
    sender = NhnAmqpSender(bus.settings(user="tester", exchange="NoSuchExchange"), send_to_queue=QUEUE)
    with pytest.raises(SenderRefused) as caught:
        async with sender:
            pass
    assert caught.value.condition == "amqp:not-found"


async def test_a_wrong_password_is_refused_and_not_a_time_out(bus: Bus, tmp_path: Path) -> None:
    settings = bus.settings(password_file=wrong_password(tmp_path))
    with pytest.raises(SenderRefused) as caught:
        async with NhnAmqpSender(settings, send_to_queue=QUEUE):
            pass
    assert caught.value.condition == "amqp:unauthorized-access"
    assert "not-the-password" not in str(caught.value)


async def test_no_right_to_the_exchange_is_no_route(bus: Bus) -> None:
    """4.0 refuses at attach; 3.10 takes the link and ends the session at the first transfer."""
    sender = NhnAmqpSender(bus.settings(user="mute"), send_to_queue=QUEUE)
    if bus.broker.major == 4:
        with pytest.raises(SenderRefused) as caught:
            async with sender:
                pass
        assert caught.value.condition == "amqp:unauthorized-access"
        return
    async with sender:
        outcome = await sender.send(message())
        assert (outcome.verdict, outcome.condition) == (Verdict.NO_ROUTE, "amqp:unauthorized-access")
        assert (await sender.send(message())).verdict is Verdict.NO_ROUTE


@pytest.mark.parametrize("queue", FULL_QUEUES)
async def test_a_full_queue_rejects_on_4_and_breaks_the_connection_on_3(bus: Bus, queue: str) -> None:
    await asyncio.to_thread(bus.broker.ctl, "purge_queue", queue)
    outcomes: list[Outcome] = []
    async with NhnAmqpSender(bus.settings(), send_to_queue=queue) as sender:
        while len(outcomes) <= FULL_AFTER + 1:
            outcomes.append(await sender.send(message()))
            if outcomes[-1].verdict is not Verdict.ACCEPTED:
                break
    assert len(outcomes) > FULL_AFTER
    assert outcomes[-1].verdict is (Verdict.UNKNOWN if bus.broker.major == 3 else Verdict.REJECTED)
    await asyncio.to_thread(bus.broker.ctl, "purge_queue", queue)
    async with NhnAmqpSender(bus.settings(), send_to_queue=queue) as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED


async def test_an_oversize_message_is_impossible_before_it_is_sent(rabbitmq40: Broker) -> None:
    bus = Bus(rabbitmq40, "v2")
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        outcome = await sender.send(message(body=bytes(17 * 1024 * 1024)))
        assert (outcome.verdict, outcome.condition) == (Verdict.IMPOSSIBLE, "amqp:link:message-size-exceeded")
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED  # nothing was harmed


async def test_an_oversize_message_that_ends_the_session_is_impossible(
    rabbitmq40: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a broker that does not say its limit."""
    monkeypatch.setattr(SenderLink, "max_message_size_bytes", 0)
    bus = Bus(rabbitmq40, "v2")
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        outcome = await sender.send(message(body=bytes(17 * 1024 * 1024)))
        assert (outcome.verdict, outcome.condition) == (Verdict.IMPOSSIBLE, "amqp:link:message-size-exceeded")
        assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE  # the session is gone: a new sender


async def test_with_several_on_their_way_an_ended_session_leaves_all_of_them_unknown(
    rabbitmq40: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell which one the broker meant, nor what it took before."""
    monkeypatch.setattr(SenderLink, "max_message_size_bytes", 0)
    bus = Bus(rabbitmq40, "v2")
    async with NhnAmqpSender(bus.settings(window=10), send_to_queue=QUEUE) as sender:
        transfers = Transfers(sender)
        with frozen(rabbitmq40):
            sends = [asyncio.create_task(sender.send(message())) for _ in range(2)]
            sends.append(asyncio.create_task(sender.send(message(body=bytes(17 * 1024 * 1024)))))
            await transfers.happened(3)
        outcomes = [await asyncio.wait_for(send, WAIT_S) for send in sends]
    assert outcomes[-1].verdict in (Verdict.UNKNOWN, Verdict.IMPOSSIBLE)  # alone by then, or not
    assert {outcome.verdict for outcome in outcomes[:-1]} <= {Verdict.UNKNOWN, Verdict.ACCEPTED}


async def test_no_outcome_in_time_is_unknown_and_what_follows_is_not_sent(bus: Bus) -> None:
    settings = bus.settings(operation_timeout_s=2, close_timeout_s=0.5, window=1)
    async with NhnAmqpSender(settings, send_to_queue=QUEUE) as sender:
        transfers = Transfers(sender)
        with frozen(bus.broker):
            first = asyncio.create_task(sender.send(message()))
            await transfers.happened(1)
            second = asyncio.create_task(sender.send(message()))
            assert (await asyncio.wait_for(first, WAIT_S)).verdict is Verdict.UNKNOWN
            assert (await asyncio.wait_for(second, WAIT_S)).verdict is Verdict.UNAVAILABLE
            assert (await asyncio.wait_for(sender.send(message()), WAIT_S)).verdict is Verdict.UNAVAILABLE


@pytest.mark.parametrize("name", ["rabbitmq40", "rabbitmq310"])
async def test_a_broker_killed_between_transfer_and_outcome_leaves_the_message_unknown(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Frozen first, so that the outcome cannot have come; then killed. The same id goes again afterwards."""
    broker: Broker = request.getfixturevalue(name)
    bus = Bus(broker, "v1")
    durable = {queue: message() for queue in LASTING_QUEUES}
    for queue, outgoing in durable.items():
        await bus.far_end.empty(queue)
        async with NhnAmqpSender(bus.settings(), send_to_queue=queue) as sender:
            assert (await sender.send(outgoing)).verdict is Verdict.ACCEPTED
    doubtful = message()
    try:
        async with NhnAmqpSender(bus.settings(), send_to_queue=LASTING_QUEUES[0]) as sender:
            transfers = Transfers(sender)
            with frozen(broker):
                send = asyncio.create_task(sender.send(doubtful))
                await transfers.happened(1)
                await asyncio.to_thread(broker.kill)
            assert (await asyncio.wait_for(send, WAIT_S)).verdict is Verdict.UNKNOWN
            assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE
        with pytest.raises(SenderUnavailable):
            async with NhnAmqpSender(bus.settings(), send_to_queue=LASTING_QUEUES[0]):
                pass
    finally:
        await asyncio.to_thread(broker.start)
    async with NhnAmqpSender(bus.settings(), send_to_queue=LASTING_QUEUES[0]) as sender:
        assert (await sender.send(doubtful)).verdict is Verdict.ACCEPTED
    for queue, outgoing in durable.items():  # what was accepted outlived the crash
        (encoded,) = await bus.far_end.take(queue, 1)
        assert decoded(encoded).id == outgoing.message_id
    (encoded,) = await bus.far_end.take(LASTING_QUEUES[0], 1)
    assert decoded(encoded).id == doubtful.message_id


async def test_a_broker_that_stops_while_nothing_is_sent_shows_at_the_next_send(rabbitmq40: Broker) -> None:
    bus = Bus(rabbitmq40, "v2")
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED
        await asyncio.to_thread(rabbitmq40.restart)
        outcome = await sender.send(message())
        assert outcome.verdict is Verdict.UNAVAILABLE
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED


async def test_a_dead_connection_is_noticed_by_its_silence(bus: Bus) -> None:
    """Heartbeats: the connection stays open and nothing comes over it. Bounded by heartbeat_s (at most 60)."""
    async with NhnAmqpSender(bus.settings(heartbeat_s=2, close_timeout_s=0.5), send_to_queue=QUEUE) as sender:
        connection = sender._connection
        assert connection is not None
        with frozen(bus.broker):
            await asyncio.wait_for(connection.closed.wait(), WAIT_S)
            outcome = await sender.send(message())
        assert outcome.verdict is Verdict.UNAVAILABLE
        assert "idle" in outcome.text


async def test_heartbeats_keep_a_quiet_connection_alive(rabbitmq40: Broker, rabbitmq310: Broker) -> None:
    """For twice the time after which silence would have ended it."""

    async def stays(broker: Broker) -> None:
        async with NhnAmqpSender(Bus(broker, "v1").settings(heartbeat_s=5), send_to_queue=QUEUE) as sender:
            connection = sender._connection
            assert connection is not None
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.closed.wait(), 10)
            assert (await sender.send(message())).verdict is Verdict.ACCEPTED

    await asyncio.gather(stays(rabbitmq40), stays(rabbitmq310))


async def test_leaving_does_not_wait_for_a_broker_that_is_silent(bus: Bus) -> None:
    async with asyncio.timeout(WAIT_S):
        async with NhnAmqpSender(bus.settings(close_timeout_s=0.5), send_to_queue=QUEUE) as sender:
            bus.broker.freeze()
        bus.broker.thaw()
    assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE


async def test_a_broker_short_of_memory_gives_no_outcome_in_time(rabbitmq40: Broker) -> None:
    """The alarm closes the session's window: the message waits with us, and the wait is bounded."""
    bus = Bus(rabbitmq40, "v2")
    await asyncio.to_thread(rabbitmq40.ctl, "set_vm_memory_high_watermark", "0")
    try:
        async with NhnAmqpSender(bus.settings(operation_timeout_s=2), send_to_queue=QUEUE) as sender:
            outcome = await asyncio.wait_for(sender.send(message()), WAIT_S)
    finally:
        await asyncio.to_thread(rabbitmq40.ctl, "set_vm_memory_high_watermark", "absolute", "2GB")
    assert outcome.verdict is Verdict.UNKNOWN
    async with NhnAmqpSender(bus.settings(), send_to_queue=QUEUE) as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED


class Transfers:
    """Watches what a sender hands to its connection."""

    def __init__(self, sender: NhnAmqpSender) -> None:
        link, self._connection = sender._link, sender._connection
        assert link is not None
        self._transfer = link.transfer
        self._seen = asyncio.Semaphore(0)
        link.transfer = self._watched  # type: ignore[method-assign]  # to know when, not what

    def _watched(self, encoded: bytes) -> asyncio.Future[Answer | Lost]:
        answer = self._transfer(encoded)
        self._seen.release()
        return answer

    async def happened(self, count: int) -> None:
        """Until so many more are written out, or wait for the peer to read."""
        async with asyncio.timeout(WAIT_S):
            for _ in range(count):
                await self._seen.acquire()
        assert self._connection is not None
        self._connection._pump()
