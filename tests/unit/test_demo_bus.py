"""The embedded bus, seen through the connector that talks to the real one."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from proton import Message

from agent.demo.bus import Answer, Attach, Bus, Refuse, Then, Transfer, Verdict
from agent.demo.certificates import Usage, server_tls, write
from connectors.inbox import InboxRefused, InboxUnavailable, Incoming, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender, NhnAmqpSettings
from connectors.sender import Outgoing, SenderRefused, SenderUnavailable
from connectors.sender import Verdict as Sent
from tests.certificates import authority, make_identity

USERS = {"kpr": "a password"}
OUT, IN, ERRORS, DEAD = "8139520_async", "1234_async", "1234_error", "dead"
FIRST = Outgoing(
    message_id="0f0e7ea2-6be5-4c3c-9f6a-6b1c40f62c11",
    to=OUT,
    reply_to=IN,
    subject="KPR_IPL",
    content_type="application/pkcs7-mime; smime-type=signed-and-enveloped-data",
    properties={"fromHerId": "1234"},
    body=b"\x30\x03\x02\x01\x07",
)


def message(number: int) -> Outgoing:
    return replace(FIRST, message_id=f"message {number}")


def numbers(raw_messages: list[bytes]) -> list[int]:
    return [int(decoded(raw).id.removeprefix("message ")) for raw in raw_messages]


def decoded(raw: bytes) -> Message:
    result = Message()
    result.decode(raw)
    return result


def encoded(number: int) -> bytes:
    return Message(id=f"message {number}", subject="APPREC", durable=True, body=b"receipt", inferred=True).encode()


def make_bus(**options: Any) -> Bus:
    return Bus([OUT, IN, ERRORS], USERS, exchange="Exchange", **options)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., NhnAmqpSettings]:
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("kpr")
    password.write_text("a password")
    password.chmod(0o600)

    def make(bus: Bus, **changed: Any) -> NhnAmqpSettings:
        values = {
            "url": f"amqp://127.0.0.1:{bus.port}",
            "exchange": "Exchange",
            "addresses": "v2",
            "user_file": user,
            "password_file": password,
        }
        return NhnAmqpSettings(**(values | changed))

    return make


def make_sender(settings: NhnAmqpSettings, queue: str = OUT) -> NhnAmqpSender:
    return NhnAmqpSender(settings, send_to_queue=queue)


def make_inbox(settings: NhnAmqpSettings) -> NhnAmqpInbox:
    return NhnAmqpInbox(settings, async_queue=IN, error_queue=ERRORS)


async def take(inbox: NhnAmqpInbox, count: int) -> list[Incoming]:
    taken = []
    async with asyncio.timeout(30), aclosing(inbox.messages()) as messages:
        while len(taken) < count:
            taken.append(await anext(messages))
    return taken


@pytest.mark.parametrize("addresses", ["v1", "v2"])
async def test_what_is_sent_arrives_byte_for_byte_and_stands_in_the_queue(settings, addresses: str) -> None:
    seen: list[Transfer] = []
    async with make_bus() as bus:
        bus.on_transfer = seen.append
        async with make_sender(settings(bus, addresses=addresses)) as sender:
            outcome = await sender.send(FIRST)
        assert outcome.verdict is Sent.ACCEPTED
        assert sender.product == "kpr-agent demo bus"
        [raw] = bus.messages(OUT)
        [transfer] = seen
        assert (transfer.number, transfer.exchange, transfer.queue, transfer.raw) == (1, "Exchange", OUT, raw)
    sent = decoded(raw)
    assert (sent.durable, sent.id, sent.subject) == (True, FIRST.message_id, "KPR_IPL")
    assert bytes(sent.body) == FIRST.body


async def test_names_are_percent_encoded_in_v2_addresses(settings) -> None:
    async with Bus(["a/b"], USERS, exchange="x y") as bus:
        async with make_sender(settings(bus, exchange="x y"), "a/b") as sender:
            assert (await sender.send(FIRST)).verdict is Sent.ACCEPTED
        assert len(bus.messages("a/b")) == 1


async def test_a_wrong_password_is_refused_and_no_connection_stays(settings, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("another password")
    wrong.chmod(0o600)
    async with make_bus() as bus:
        with pytest.raises(SenderRefused):
            await make_sender(settings(bus, password_file=wrong)).__aenter__()
        assert bus.connections == 0


async def test_tls_with_a_certificate_for_localhost(settings, tmp_path: Path) -> None:
    server = write(make_identity("bus", Usage.SERVER), tmp_path, "server")
    trusted = write(authority(), tmp_path, "authority").certificate
    async with make_bus(tls=server_tls(server)) as bus:
        url = f"amqps://localhost:{bus.port}"
        async with make_sender(settings(bus, url=url, ca_file=trusted)) as sender:
            assert (await sender.send(FIRST)).verdict is Sent.ACCEPTED
        with pytest.raises(SenderRefused):
            await make_sender(settings(bus, url=url)).__aenter__()


async def test_an_unbound_queue_releases_and_an_unknown_exchange_ends_the_session(settings) -> None:
    async with make_bus() as bus:
        async with make_sender(settings(bus), "nobody") as sender:
            assert (await sender.send(FIRST)).verdict is Sent.RELEASED
        with pytest.raises(SenderRefused) as raised:
            await make_sender(settings(bus, exchange="exchange")).__aenter__()
        assert raised.value.condition == "amqp:not-found"


async def test_each_transfer_can_be_answered_as_scripted(settings) -> None:
    answers = [
        Answer(Verdict.REJECTED, condition="amqp:resource-limit-exceeded"),
        Answer(Verdict.RELEASED),
        Answer(Verdict.MODIFIED),
        None,
    ]
    async with make_bus() as bus:
        bus.on_transfer = lambda transfer: answers[transfer.number - 1]
        verdicts = []
        for number in range(4):
            async with make_sender(settings(bus)) as sender:
                verdicts.append(await sender.send(message(number)))
        assert [outcome.verdict for outcome in verdicts] == [Sent.REJECTED, Sent.RELEASED, Sent.MODIFIED, Sent.ACCEPTED]
        assert verdicts[0].condition == "amqp:resource-limit-exceeded"
        assert numbers(bus.messages(OUT)) == [3]


@pytest.mark.parametrize("then", [Then.DROP, Then.DETACH, Then.END])
@pytest.mark.parametrize("keep", [True, False])
async def test_the_outcome_can_be_lost_with_or_without_the_message(settings, then: Then, keep: bool) -> None:
    async with make_bus() as bus:
        bus.on_transfer = lambda _: Answer(Verdict.NONE, keep=keep, then=then)
        async with make_sender(settings(bus)) as sender:
            assert (await sender.send(FIRST)).verdict is Sent.UNKNOWN
        assert len(bus.messages(OUT)) == int(keep)


async def test_an_answer_waits_for_the_scripts_event(settings) -> None:
    event = asyncio.Event()
    async with make_bus() as bus:
        bus.on_transfer = lambda _: Answer(after=event)
        async with make_sender(settings(bus)) as sender:
            sending = asyncio.create_task(sender.send(FIRST))
            await bus.until(lambda: bus.transfers == 1)
            assert not sending.done()
            assert bus.messages(OUT) == []
            event.set()
            assert (await sending).verdict is Sent.ACCEPTED


async def test_without_credit_nothing_is_transferred_until_it_is_given(settings) -> None:
    async with make_bus() as bus:
        bus.credit = 0
        async with make_sender(settings(bus, operation_timeout_s=0.2)) as sender:
            assert (await sender.send(FIRST)).verdict is Sent.UNAVAILABLE
        async with make_sender(settings(bus)) as sender:
            sending = asyncio.create_task(sender.send(FIRST))
            bus.give_credit(1)
            assert (await sending).verdict is Sent.ACCEPTED
        assert bus.transfers == 1


@pytest.mark.parametrize("ends_session", [True, False])
async def test_an_attach_can_be_refused(settings, ends_session: bool) -> None:
    asked: list[Attach] = []

    def refuse(attach: Attach) -> Refuse:
        asked.append(attach)
        return Refuse("amqp:unauthorized-access", ends_session)

    async with make_bus() as bus:
        bus.on_attach = refuse
        with pytest.raises(SenderRefused) as raised:
            await make_sender(settings(bus)).__aenter__()
        assert raised.value.condition == "amqp:unauthorized-access"
        with pytest.raises(InboxRefused):
            await make_inbox(settings(bus)).__aenter__()
    assert asked[0] == Attach(f"/exchanges/Exchange/{OUT}", sends=True)
    assert asked[1] == Attach(f"/queues/{IN}", sends=False)


async def test_a_consumer_gets_messages_in_order_and_accepting_removes_them(settings) -> None:
    async with make_bus() as bus:
        for number in range(3):
            await bus.put(IN, encoded(number))
        async with make_inbox(settings(bus)) as inbox:
            taken = await take(inbox, 3)
            assert [incoming.message_id for incoming in taken] == ["message 0", "message 1", "message 2"]
            assert numbers(bus.messages(IN)) == [0, 1, 2]
            for incoming in taken:
                await inbox.settle(incoming, Settlement.ACCEPT)
            await bus.until(lambda: bus.messages(IN) == [])
            await bus.put(IN, encoded(3))
            [later] = await take(inbox, 1)
            assert (later.message_id, later.body, later.delivery_count) == ("message 3", b"receipt", 0)


async def test_rejected_goes_to_the_dead_letter_queue(settings) -> None:
    async with make_bus() as bus:
        await bus.put(IN, encoded(1))
        async with make_inbox(settings(bus)) as inbox:
            await inbox.settle(*await take(inbox, 1), Settlement.DEAD_LETTER)
            await bus.until(lambda: numbers(bus.messages(DEAD)) == [1])
        assert bus.messages(IN) == []


async def test_released_comes_again_uncounted_and_modified_counted_up_to_the_limit(settings) -> None:
    async with make_bus(delivery_limit=2) as bus:
        await bus.put(IN, encoded(1))
        counts = []
        async with make_inbox(settings(bus)) as inbox:
            for how in (Settlement.LEAVE, Settlement.RETRY, Settlement.RETRY, Settlement.RETRY):
                [incoming] = await take(inbox, 1)
                counts.append(incoming.delivery_count)
                await inbox.settle(incoming, how)
            await bus.until(lambda: numbers(bus.messages(DEAD)) == [1])
        assert counts == [0, 0, 1, 2]
        assert bus.messages(DEAD) == [encoded(1)]


async def test_a_message_without_a_header_gets_one_when_it_comes_again(settings) -> None:
    raw = encoded(1)
    bare = raw[raw.index(b"\x00\x53\x73") :]
    async with make_bus() as bus:
        await bus.put(IN, bare)
        async with make_inbox(settings(bus)) as inbox:
            await inbox.settle(*await take(inbox, 1), Settlement.RETRY)
            [again] = await take(inbox, 1)
        assert (again.message_id, again.delivery_count, again.body) == ("message 1", 1, b"receipt")
        assert bus.messages(IN) == [bare]


async def test_what_a_lost_consumer_had_comes_again_in_order_and_counted(settings) -> None:
    async with make_bus() as bus:
        for number in range(4):
            await bus.put(IN, encoded(number))
        async with make_inbox(settings(bus, credit=3)) as inbox:
            await take(inbox, 3)
            assert bus.waiting(IN) == 1
            bus.drop_connections()
            with pytest.raises(InboxUnavailable):
                await take(inbox, 1)
        await bus.until(lambda: bus.waiting(IN) == 4)
        async with make_inbox(settings(bus)) as inbox:
            again = await take(inbox, 4)
        counts = [(each.message_id, each.delivery_count) for each in again]
        assert counts == [("message 0", 1), ("message 1", 1), ("message 2", 1), ("message 3", 0)]


async def test_messages_survive_a_stop_and_the_port_stays(settings) -> None:
    bus = make_bus()
    async with bus:
        port = bus.port
        await bus.put(IN, encoded(1))
        async with make_inbox(settings(bus)) as inbox:
            await take(inbox, 1)
            await bus.stop()
            with pytest.raises(InboxUnavailable):
                await take(inbox, 1)
        with pytest.raises(SenderUnavailable):
            await make_sender(settings(bus)).__aenter__()
    async with bus:
        assert bus.port == port
        async with make_inbox(settings(bus)) as inbox:
            [incoming] = await take(inbox, 1)
            assert incoming.message_id == "message 1"


@pytest.mark.parametrize("break_", [Bus.drop_connections, Bus.close_connections, Bus.detach_links])
async def test_connections_and_links_can_be_broken_from_outside(settings, break_: Callable[[Bus], None]) -> None:
    async with make_bus() as bus, make_inbox(settings(bus)) as inbox:
        assert (bus.connections, bus.consumers(IN), bus.consumers(ERRORS)) == (1, 1, 1)
        taking = asyncio.create_task(take(inbox, 1))
        break_(bus)
        with pytest.raises(InboxUnavailable):
            await taking
        await bus.until(lambda: bus.consumers(IN) == 0)


async def test_a_deleted_queue_detaches_its_consumers_and_releases_what_is_sent_to_it(settings) -> None:
    async with make_bus() as bus, make_inbox(settings(bus)) as inbox:
        bus.delete_queue(IN)
        with pytest.raises(InboxUnavailable) as raised:
            await take(inbox, 1)
        assert raised.value.condition == "amqp:resource-deleted"
        async with make_sender(settings(bus), IN) as sender:
            assert (await sender.send(FIRST)).verdict is Sent.RELEASED
        with pytest.raises(InboxRefused):
            await make_inbox(settings(bus)).__aenter__()


async def test_heartbeats_keep_a_quiet_connection(settings) -> None:
    async with make_bus() as bus:
        quick = settings(bus).model_copy(update={"heartbeat_s": 1})
        async with make_inbox(quick) as inbox:
            with pytest.raises(TimeoutError):  # proton notices silence after one to two heartbeats
                await asyncio.wait_for(take(inbox, 1), 2.5)
            await bus.put(IN, encoded(1))
            await take(inbox, 1)


async def test_a_silent_bus_is_noticed(settings) -> None:
    async with make_bus() as bus:
        impatient = settings(bus, close_timeout_s=0.1).model_copy(update={"heartbeat_s": 0.2})
        async with make_inbox(impatient) as inbox:
            bus.silent = True
            with pytest.raises(InboxUnavailable):
                await take(inbox, 1)


async def test_many_messages_pass_in_order_through_a_window(settings) -> None:
    count = 2000
    async with make_bus() as bus, make_inbox(settings(bus)) as inbox:
        async with make_sender(settings(bus, window=100), IN) as sender:
            outcomes = await asyncio.gather(*(sender.send(message(number)) for number in range(count)))
        assert {outcome.verdict for outcome in outcomes} == {Sent.ACCEPTED}
        async with aclosing(inbox.messages()) as messages, asyncio.timeout(60):
            for number in range(count):
                incoming = await anext(messages)
                assert incoming.message_id == f"message {number}"
                await inbox.settle(incoming, Settlement.ACCEPT)
        await bus.until(lambda: bus.messages(IN) == [])
