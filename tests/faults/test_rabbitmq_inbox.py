"""What an Inbox does when a real broker refuses, dies or falls silent, and with strange messages."""

import asyncio
from pathlib import Path

import pytest

from connectors.inbox import InboxRefused, InboxUnavailable, Queue, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox
from tests.contract.inbox_behaviour import following
from tests.services import Broker
from tests.services.far_end import WAIT_S, Bus, decoded, encoded_message, wrong_password
from tests.services.topology import DELIVERY_LIMIT, LASTING_QUEUES

pytestmark = pytest.mark.server
OURS = {"async_queue": "1235_async", "error_queue": "1235_error"}
SCRATCH = {"async_queue": "scratch_quorum", "error_queue": "scratch_classic"}
LASTING = {"async_queue": "lasting_quorum", "error_queue": "lasting_classic"}


@pytest.mark.parametrize(
    ("user", "queues", "condition"),
    [
        ("kpr", {"async_queue": "8139520_async", "error_queue": "1235_error"}, "amqp:unauthorized-access"),
        ("kpr", {"async_queue": "1235_async", "error_queue": "8139520_error"}, "amqp:unauthorized-access"),
        ("tester", {"async_queue": "no_such_async", "error_queue": "1235_error"}, "amqp:not-found"),
        ("tester", {"async_queue": "1235_async", "error_queue": "no_such_error"}, "amqp:not-found"),
    ],
)
async def test_a_queue_that_is_absent_or_not_ours_is_refused_at_the_start(
    bus: Bus, user: str, queues: dict[str, str], condition: str
) -> None:
    with pytest.raises(InboxRefused) as caught:
        async with NhnAmqpInbox(bus.settings(user=user), **queues):
            pass
    assert caught.value.condition == condition


async def test_a_wrong_password_is_refused_and_not_a_time_out(bus: Bus, tmp_path: Path) -> None:
    settings = bus.settings(password_file=wrong_password(tmp_path))
    with pytest.raises(InboxRefused) as caught:
        async with NhnAmqpInbox(settings, **OURS):
            pass
    assert caught.value.condition == "amqp:unauthorized-access"


async def test_a_queue_deleted_while_attached_is_noticed_and_then_refused(bus: Bus) -> None:
    settings = bus.settings(user="tester")
    await bus.far_end.empty(*SCRATCH.values())
    try:
        async with NhnAmqpInbox(settings, **SCRATCH) as inbox:
            messages = inbox.messages()
            await asyncio.to_thread(bus.broker.delete_queue, "scratch_quorum")
            with pytest.raises(InboxUnavailable):
                await following(messages)
        with pytest.raises(InboxRefused) as caught:
            async with NhnAmqpInbox(settings, **SCRATCH):
                pass
        assert caught.value.condition == "amqp:not-found"
    finally:
        bus.broker.restore_queues()
    await bus.far_end.put("scratch_quorum", encoded_message(message_id="back"))
    async with NhnAmqpInbox(settings, **SCRATCH) as inbox:
        incoming = await following(inbox.messages())
        await inbox.settle(incoming, Settlement.ACCEPT)
    assert incoming.message_id == "back"


@pytest.mark.parametrize("name", ["rabbitmq40", "rabbitmq310"])
async def test_a_broker_killed_before_the_settlement_delivers_again(name: str, request: pytest.FixtureRequest) -> None:
    broker: Broker = request.getfixturevalue(name)
    bus = Bus(broker, "v1")
    await bus.far_end.empty(*LASTING_QUEUES)
    for queue in LASTING_QUEUES:
        await bus.far_end.put(queue, encoded_message(message_id=queue))
    settings = bus.settings(user="tester")
    try:
        async with NhnAmqpInbox(settings, **LASTING) as inbox:
            messages = inbox.messages()
            unsettled = [await following(messages) for _ in LASTING_QUEUES]
            await asyncio.to_thread(broker.kill)
            with pytest.raises(InboxUnavailable):
                await following(messages)
            with pytest.raises(InboxUnavailable):
                await inbox.settle(unsettled[0], Settlement.ACCEPT)
        with pytest.raises(InboxUnavailable):
            async with NhnAmqpInbox(settings, **LASTING):
                pass
    finally:
        await asyncio.to_thread(broker.start)
    async with NhnAmqpInbox(settings, **LASTING) as inbox:
        messages = inbox.messages()
        again = [await following(messages) for _ in LASTING_QUEUES]
        for incoming in again:
            await inbox.settle(incoming, Settlement.ACCEPT)
    assert {incoming.message_id for incoming in again} == set(LASTING_QUEUES)


async def test_a_dead_connection_is_noticed_by_its_silence(bus: Bus) -> None:
    async with NhnAmqpInbox(bus.settings(heartbeat_s=2, close_timeout_s=0.5), **OURS) as inbox:
        bus.broker.freeze()
        try:
            with pytest.raises(InboxUnavailable) as caught:
                await following(inbox.messages())
        finally:
            bus.broker.thaw()
    assert "idle" in str(caught.value)


async def test_a_broker_that_stops_shows_in_the_messages(rabbitmq40: Broker) -> None:
    bus = Bus(rabbitmq40, "v2")
    async with NhnAmqpInbox(bus.settings(), **OURS) as inbox:
        waiting = asyncio.create_task(following(inbox.messages()))
        await asyncio.to_thread(rabbitmq40.restart)
        with pytest.raises(InboxUnavailable):
            await asyncio.wait_for(waiting, WAIT_S)


async def test_a_message_retried_too_often_ends_in_the_dead_letter_queue(bus: Bus) -> None:
    """delivery-limit 10 on the queue: the broker takes it away after one delivery more."""
    await bus.far_end.empty("1235_async", "1235_error", "1235_dead")
    await bus.far_end.put("1235_async", encoded_message(message_id="again and again"))
    async with NhnAmqpInbox(bus.settings(), **OURS) as inbox:
        messages = inbox.messages()
        for _ in range(DELIVERY_LIMIT + 1):
            incoming = await following(messages)
            await inbox.settle(incoming, Settlement.RETRY)
    (dead,) = await bus.far_end.take("1235_dead", 1)
    assert decoded(dead).id == "again and again"


async def test_retry_as_modified_ends_the_session_of_3(rabbitmq310: Broker) -> None:
    """Why there is a setting: the message is not lost, and the inbox says that it has to be opened anew."""
    bus = Bus(rabbitmq310, "v1")
    await bus.far_end.empty("1235_async", "1235_error")
    await bus.far_end.put("1235_async", encoded_message(message_id="kept"))
    async with NhnAmqpInbox(bus.settings(retry_as="modified"), **OURS) as inbox:
        messages = inbox.messages()
        await inbox.settle(await following(messages), Settlement.RETRY)
        with pytest.raises(InboxUnavailable):
            await following(messages)
    async with NhnAmqpInbox(bus.settings(), **OURS) as inbox:
        incoming = await following(inbox.messages())
        await inbox.settle(incoming, Settlement.ACCEPT)
    assert incoming.message_id == "kept"


BODIES = {  # sections as AMQP 1.0 section 3.2 has them, and the bytes that we read
    "two data sections": ("005375a00161 005375a00162", b"ab"),
    "an amqp-value of text": ("005377a103c3a661", "\u00e6a".encode()),
    "an amqp-value of bytes": ("005377a00161", b"a"),
    "an amqp-value of nothing": ("00537740", b""),
    "a sequence": ("005376c003015401", b""),
}


@pytest.mark.parametrize("body", BODIES)
async def test_bodies_of_every_kind_are_read_and_the_next_message_comes(bus: Bus, body: str) -> None:
    sections, expected = BODIES[body]
    await bus.far_end.empty("1235_async", "1235_error")
    durable = "005370c0020141"
    await bus.far_end.put("1235_error", bytes.fromhex(durable + sections), encoded_message(message_id="next"))
    async with NhnAmqpInbox(bus.settings(), **OURS) as inbox:
        messages = inbox.messages()
        first, second = await following(messages), await following(messages)
        for incoming in (first, second):
            await inbox.settle(incoming, Settlement.ACCEPT)
    if bus.broker.major == 3 and body == "two data sections":
        expected = b"ba"  # RabbitMQ 3.10 turns them round itself
    assert (first.queue, first.message_id, first.body) == (Queue.ERROR, None, expected)
    assert second.message_id == "next"


async def test_bytes_that_are_no_message_come_raw_and_the_next_message_comes(
    rabbitmq40: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No broker stores such bytes, so they are made on the way in."""
    bus = Bus(rabbitmq40, "v2")
    await bus.far_end.empty("1235_async", "1235_error")
    await bus.far_end.put("1235_async", encoded_message(message_id="spoilt"), encoded_message(message_id="next"))
    async with NhnAmqpInbox(bus.settings(), **OURS) as inbox:
        arrive = inbox._arrive
        spoilt = iter([b"\x00\x53\x75\xa0\xff"])
        for link in inbox._connection._links.values():  # type: ignore[union-attr]  # entered
            link._on_message = lambda link, delivery, encoded: arrive(  # type: ignore[union-attr]  # a receiver
                Queue.ASYNC, link, delivery, next(spoilt, encoded)
            )
        messages = inbox.messages()
        first = await following(messages)
        await inbox.settle(first, Settlement.DEAD_LETTER)
        second = await following(messages)
        await inbox.settle(second, Settlement.ACCEPT)
    assert (first.message_id, first.body) == (None, b"\x00\x53\x75\xa0\xff")
    assert second.message_id == "next"
