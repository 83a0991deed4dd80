"""The AMQP connector against real brokers, over TLS: the contracts of Sender and Inbox, and what stands on the wire.

The brokers are RabbitMQ 4.0.5 (dialects v1 and v2) and 3.10.8 (v1). None of this was tried against NHN's bus.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.inbox import InboxRefused, Queue, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender
from connectors.sender import SenderRefused, Verdict
from tests.contract.inbox_behaviour import Deposit, InboxBehaviour, following
from tests.contract.sender_behaviour import Delivered, SenderBehaviour, message
from tests.services.far_end import Bus, decoded, encoded_message

pytestmark = pytest.mark.server


class TestSender(SenderBehaviour):
    window = 1

    @pytest.fixture(autouse=True)
    async def _queue(self, bus: Bus) -> None:
        self.bus = bus
        await bus.far_end.empty("8139520_async")

    def make_sender(self) -> NhnAmqpSender:
        return NhnAmqpSender(self.bus.settings(window=self.window), send_to_queue="8139520_async")

    async def take_delivered(self, count: int) -> list[Delivered]:
        return [_delivered(encoded) for encoded in await self.bus.far_end.take("8139520_async", count)]


class TestSenderWithAWindow(TestSender):
    window = 7


class TestInbox(InboxBehaviour):
    unit = "1234"

    @pytest.fixture(autouse=True)
    async def _queues(self, bus: Bus) -> None:
        self.bus = bus
        # RabbitMQ 3.10 says no delivery-count to AMQP 1.0 clients; classic queues know none.
        self.counts_deliveries = bus.broker.major == 4 and self.unit != "1237"
        await bus.far_end.empty(*(f"{self.unit}_{kind}" for kind in ("async", "error", "dead")))

    def make_inbox(self) -> NhnAmqpInbox:
        return NhnAmqpInbox(self.bus.settings(), async_queue=f"{self.unit}_async", error_queue=f"{self.unit}_error")

    async def deposit(self, *deposits: Deposit) -> None:
        for one in deposits:
            encoded = encoded_message(message_id=one.message_id, subject=one.subject, body=one.body)
            await self.bus.far_end.put(f"{self.unit}_{one.queue.value}", encoded)

    async def take_dead(self) -> str:
        (encoded,) = await self.bus.far_end.take(f"{self.unit}_dead", 1)
        return _delivered(encoded).name


class TestInboxOnClassicQueues(TestInbox):
    unit = "1237"


async def test_the_message_on_the_wire_is_what_the_profile_asks_for(bus: Bus) -> None:
    await bus.far_end.empty("8139520_async")
    now = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
    outgoing = message()
    async with NhnAmqpSender(bus.settings(), send_to_queue="8139520_async", clock=lambda: now) as sender:
        assert (await sender.send(outgoing)).verdict is Verdict.ACCEPTED
    (encoded,) = await bus.far_end.take("8139520_async", 1)
    wire = decoded(encoded)
    assert wire.durable is True
    assert wire.ttl == 0.0
    assert (wire.id, wire.correlation_id) == (outgoing.message_id, outgoing.message_id)
    assert (wire.address, wire.reply_to, wire.subject) == ("there", "1234_async", "KPR_IPL")
    assert wire.content_type == "application/pkcs7-mime; smime-type=signed-and-enveloped-data"
    assert wire.properties == {
        "fromHerId": "93238",
        "toHerId": "8139520",
        "applicationTimeStamp": "2026-11-21T12:00:00Z",
        "enqueuedTimeUtc": "2026-11-21T12:00:05",
    }
    assert {type(value) for value in wire.properties.values()} == {str}
    assert wire.inferred
    assert bytes(wire.body) == outgoing.body


async def test_every_attempt_has_its_own_enqueued_time(bus: Bus) -> None:
    await bus.far_end.empty("8139520_async")
    moments = iter([datetime(2026, 11, 21, 12, 0, tzinfo=UTC), datetime(2026, 11, 21, 13, 0, tzinfo=UTC)])
    outgoing = message(time_to_live_s=86_400)
    async with NhnAmqpSender(bus.settings(), send_to_queue="8139520_async", clock=lambda: next(moments)) as sender:
        await sender.send(outgoing)
        await sender.send(outgoing)
    times, lives = [], []
    for encoded in await bus.far_end.take("8139520_async", 2):
        wire = decoded(encoded)
        times.append(wire.properties["enqueuedTimeUtc"])
        lives.append(wire.ttl)
    assert times == ["2026-11-21T12:00:00", "2026-11-21T13:00:00"]
    assert lives == [86_400.0, 86_400.0]


async def test_the_inbox_reads_what_others_write(bus: Bus) -> None:
    """nhn-bus: ids as string or uuid, integer properties, no content type, an ordinary text body."""
    await bus.far_end.empty("1234_async", "1234_error", "1234_dead")
    one = uuid.uuid4()
    await bus.far_end.put(
        "1234_error",
        encoded_message(message_id=one, correlation_id=one, properties={"fromHerId": 93238, "flag": True}),
    )
    async with NhnAmqpInbox(bus.settings(), async_queue="1234_async", error_queue="1234_error") as inbox:
        messages = inbox.messages()
        incoming = await following(messages)
        await inbox.settle(incoming, Settlement.ACCEPT)
    assert (incoming.queue, incoming.message_id, incoming.correlation_id) == (Queue.ERROR, str(one), str(one))
    assert incoming.properties == {"fromHerId": "93238", "flag": "true"}
    assert incoming.content_type is None


async def test_a_new_password_is_read_at_the_next_connection(bus: Bus, tmp_path: Any) -> None:
    _, password_file = bus.broker.credentials("kpr")
    ours = tmp_path / "password"
    ours.touch(mode=0o600)
    ours.write_text("old")
    sender = NhnAmqpSender(bus.settings(password_file=ours), send_to_queue="8139520_async")
    with pytest.raises(SenderRefused):
        async with sender:
            pass
    ours.write_text(password_file.read_text() + "\n")
    async with NhnAmqpSender(bus.settings(password_file=ours), send_to_queue="8139520_async") as again:
        assert again.product == f"RabbitMQ {bus.broker.version}"


async def test_a_password_file_for_everybody_is_refused(bus: Bus, tmp_path: Any) -> None:
    ours = tmp_path / "password"
    ours.write_text("secret-canary")
    ours.chmod(0o644)
    with pytest.raises(SenderRefused) as caught:
        async with NhnAmqpSender(bus.settings(password_file=ours), send_to_queue="8139520_async"):
            pass
    assert "secret-canary" not in str(caught.value)
    with pytest.raises(InboxRefused):
        async with NhnAmqpInbox(bus.settings(password_file=ours), async_queue="1234_async", error_queue="1234_error"):
            pass


def _delivered(encoded: bytes) -> Delivered:
    wire = decoded(encoded)
    return Delivered(str(wire.id), bytes(wire.body))
