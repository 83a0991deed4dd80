"""What no real broker does on request: no credit, no answer, an answer lost, a link taken away, a peer that is none.

The peer is the demo's embedded bus, or a bare listener. What RabbitMQ does is in test_rabbitmq_*.py.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.demo.bus import Bus
from agent.demo.bus_script import Answer, Refuse, Then, Transfer
from agent.demo.bus_script import Verdict as Said
from connectors.inbox import InboxRefused, InboxUnavailable, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender, NhnAmqpSettings
from connectors.sender import SenderRefused, SenderUnavailable, Verdict
from tests.contract.inbox_behaviour import WAIT_S, following
from tests.contract.sender_behaviour import message
from tests.services.far_end import decoded, encoded_message

QUEUES = {"async_queue": "ours_async", "error_queue": "ours_error"}


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Bus(["theirs", *QUEUES.values()], {"kpr": "secret"}) as listening:
        yield listening


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, text in (("user_file", "kpr\n"), ("password_file", "secret\n")):
        found[name] = tmp_path / name
        found[name].touch(mode=0o600)
        found[name].write_text(text)
    return found


def account(port: int, files: dict[str, Path], **other: Any) -> NhnAmqpSettings:
    plain = {"url": f"amqp://127.0.0.1:{port}", "exchange": "X", "addresses": "v2", "operation_timeout_s": 30}
    return NhnAmqpSettings(**(plain | files | {"close_timeout_s": 1} | other))


async def test_no_credit_is_unavailable_and_the_sender_goes_on_when_it_comes(bus: Bus, files: Any) -> None:
    bus.credit = 0
    async with NhnAmqpSender(account(bus.port, files, operation_timeout_s=3), send_to_queue="theirs") as sender:
        outcomes = await asyncio.wait_for(asyncio.gather(*(sender.send(message()) for _ in range(3))), WAIT_S)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.UNAVAILABLE}
        bus.give_credit(10)
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED
    assert bus.waiting("theirs") == 1  # none of the three went after all


async def test_a_call_that_waits_behind_a_refused_one_is_not_sent(bus: Bus, files: Any) -> None:
    """Nothing overtakes: the chain would have a gap at the register."""
    bus.on_transfer = lambda transfer: Answer(Said.RELEASED) if transfer.number == 1 else None
    async with NhnAmqpSender(account(bus.port, files, window=1), send_to_queue="theirs") as sender:
        outcomes = await asyncio.gather(*(sender.send(message()) for _ in range(4)))
        assert [outcome.verdict for outcome in outcomes] == [Verdict.RELEASED] + [Verdict.UNAVAILABLE] * 3
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED  # a call made afterwards goes
    assert (bus.transfers, bus.waiting("theirs")) == (2, 1)


async def test_what_is_in_flight_behind_a_refused_one_reports_its_own_outcome(bus: Bus, files: Any) -> None:
    hold = asyncio.Event()

    def answer(transfer: Transfer) -> Answer:
        if transfer.number == 3:
            hold.set()
        return Answer(Said.REJECTED if transfer.number == 1 else Said.ACCEPTED, after=hold)

    bus.on_transfer = answer
    async with NhnAmqpSender(account(bus.port, files, window=3), send_to_queue="theirs") as sender:
        outcomes = await asyncio.gather(*(sender.send(message()) for _ in range(4)))
    verdicts = [outcome.verdict for outcome in outcomes]
    assert verdicts[:3] == [Verdict.REJECTED, Verdict.ACCEPTED, Verdict.ACCEPTED]
    assert bus.transfers in (3, 4)  # the fourth left only if its turn came before the first one's answer


async def test_the_window_bounds_what_is_unanswered(bus: Bus, files: Any) -> None:
    hold = asyncio.Event()
    bus.on_transfer = lambda _: Answer(Said.ACCEPTED, after=hold)
    async with NhnAmqpSender(account(bus.port, files, window=5), send_to_queue="theirs") as sender:
        sends = asyncio.gather(*(sender.send(message()) for _ in range(12)))
        await bus.until(lambda: bus.transfers == 5)
        async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs"):
            pass  # round trips in which a sixth would have come
        assert bus.transfers == 5
        hold.set()
        assert {outcome.verdict for outcome in await asyncio.wait_for(sends, WAIT_S)} == {Verdict.ACCEPTED}


@pytest.mark.parametrize("then", [Then.DROP, Then.DETACH, Then.END])
@pytest.mark.parametrize("keep", [True, False])
async def test_an_answer_that_is_lost_is_unknown_whether_the_message_arrived_or_not(
    bus: Bus, files: Any, then: Then, keep: bool
) -> None:
    bus.on_transfer = lambda transfer: Answer(Said.NONE, keep=keep, then=then) if transfer.number == 1 else None
    outgoing = message()
    async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs") as sender:
        assert (await sender.send(outgoing)).verdict is Verdict.UNKNOWN
        assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE
    async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs") as sender:
        assert (await sender.send(outgoing)).verdict is Verdict.ACCEPTED
    assert [decoded(raw).id for raw in bus.messages("theirs")] == [outgoing.message_id] * (2 if keep else 1)


@pytest.mark.parametrize("condition", ["amqp:decode-error", "amqp:invalid-field", "amqp:precondition-failed"])
async def test_a_session_that_ends_over_a_message_is_impossible(bus: Bus, files: Any, condition: str) -> None:
    bus.on_transfer = lambda _: Answer(Said.NONE, keep=False, then=Then.END, condition=condition)
    async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs") as sender:
        outcome = await sender.send(message())
    assert (outcome.verdict, outcome.condition) == (Verdict.IMPOSSIBLE, condition)


async def test_with_several_on_their_way_nobody_knows_which_was_meant(bus: Bus, files: Any) -> None:
    def answer(transfer: Transfer) -> Answer:
        last = transfer.number == 3
        condition = "amqp:decode-error" if last else ""
        return Answer(Said.NONE, keep=False, then=Then.END if last else Then.NOTHING, condition=condition)

    bus.on_transfer = answer
    async with NhnAmqpSender(account(bus.port, files, window=3), send_to_queue="theirs") as sender:
        outcomes = await asyncio.gather(*(sender.send(message()) for _ in range(3)))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
    assert {outcome.condition for outcome in outcomes} == {"amqp:decode-error"}


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ("amqp:link:detach-forced", Verdict.UNAVAILABLE),
        ("amqp:resource-deleted", Verdict.UNAVAILABLE),
        ("amqp:not-found", Verdict.NO_ROUTE),
        ("amqp:unauthorized-access", Verdict.NO_ROUTE),
    ],
)
async def test_a_link_detached_while_idle_shows_at_the_next_send(
    bus: Bus, files: Any, condition: str, verdict: Verdict
) -> None:
    async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs") as sender:
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED
        noticed = asyncio.Event()
        link = sender._link
        assert link is not None
        fail = link.fail
        link.fail = lambda error: (fail(error), noticed.set())  # type: ignore[assignment,func-returns-value]  # to wait
        bus.detach_links(condition)
        await asyncio.wait_for(noticed.wait(), WAIT_S)
        outcome = await sender.send(message())
    assert (outcome.verdict, outcome.condition) == (verdict, condition)


@pytest.mark.parametrize("ends_session", [True, False])
@pytest.mark.parametrize(
    ("condition", "sender_error", "inbox_error"),
    [
        ("amqp:not-found", SenderRefused, InboxRefused),
        ("amqp:invalid-field", SenderRefused, InboxRefused),
        ("amqp:internal-error", SenderUnavailable, InboxUnavailable),
    ],
)
async def test_a_refused_attach_says_so(
    bus: Bus, files: Any, ends_session: bool, condition: str, sender_error: Any, inbox_error: Any
) -> None:
    bus.on_attach = lambda _: Refuse(condition, ends_session=ends_session)
    with pytest.raises(sender_error) as caught:
        async with NhnAmqpSender(account(bus.port, files), send_to_queue="theirs"):
            pass
    assert (type(caught.value), caught.value.condition) == (sender_error, condition)
    with pytest.raises(inbox_error) as caught:
        async with NhnAmqpInbox(account(bus.port, files), **QUEUES):
            pass
    assert (type(caught.value), caught.value.condition) == (inbox_error, condition)


async def test_a_bus_that_falls_silent_is_given_up_in_time(bus: Bus, files: Any) -> None:
    async with NhnAmqpSender(account(bus.port, files, operation_timeout_s=2), send_to_queue="theirs") as sender:
        bus.silent = True
        assert (await asyncio.wait_for(sender.send(message()), WAIT_S)).verdict is Verdict.UNKNOWN
        assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE


async def test_a_connection_forced_closed_while_a_message_is_worked_on(bus: Bus, files: Any) -> None:
    await bus.put("ours_async", encoded_message(message_id="a"))
    async with NhnAmqpInbox(account(bus.port, files), **QUEUES) as inbox:
        messages = inbox.messages()
        incoming = await following(messages)
        bus.close_connections("amqp:connection:forced")
        with pytest.raises(InboxUnavailable) as caught:
            await following(messages)
        assert caught.value.condition == "amqp:connection:forced"
        with pytest.raises(InboxUnavailable):
            await inbox.settle(incoming, Settlement.ACCEPT)
    await bus.until(lambda: bus.waiting("ours_async") == 1)


async def test_cancelling_a_send_leaves_the_sender_usable(bus: Bus, files: Any) -> None:
    hold = asyncio.Event()
    bus.on_transfer = lambda transfer: Answer(Said.ACCEPTED, after=hold) if transfer.number == 1 else None
    async with NhnAmqpSender(account(bus.port, files, window=1), send_to_queue="theirs") as sender:
        cancelled = asyncio.create_task(sender.send(message()))
        await bus.until(lambda: bus.transfers == 1)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        hold.set()
        assert (await sender.send(message())).verdict is Verdict.ACCEPTED


async def test_cancelling_the_entry_leaves_no_connection(files: Any) -> None:
    closed = asyncio.Event()
    met = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        while await reader.read(100):
            pass
        writer.close()
        closed.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        entering = asyncio.create_task(_enter(server, files, operation_timeout_s=60))
        await asyncio.wait_for(met.wait(), WAIT_S)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await asyncio.wait_for(closed.wait(), WAIT_S)


HEADER = b"AMQP\x03\x01\x00\x00"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x00\x09\x01", HEADER + b"\x00\x00\x00\x01"]
)
async def test_a_peer_that_speaks_something_else_is_unavailable(files: Any, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        with pytest.raises(SenderUnavailable):
            await asyncio.wait_for(_enter(server, files), WAIT_S)


async def test_a_peer_that_says_nothing_is_given_up_in_time(files: Any) -> None:
    over = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        with pytest.raises(SenderUnavailable) as caught:
            await asyncio.wait_for(_enter(server, files, operation_timeout_s=2), WAIT_S)
        over.set()
    assert "within 2 s" in str(caught.value)


async def test_nobody_listening_is_unavailable(files: Any) -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    with pytest.raises(SenderUnavailable):
        async with NhnAmqpSender(account(port, files), send_to_queue="theirs"):
            pass


async def _enter(server: asyncio.Server, files: Any, **other: Any) -> None:
    port = server.sockets[0].getsockname()[1]
    async with NhnAmqpSender(account(port, files, **other), send_to_queue="theirs"):
        pass
