"""The way back: booked before settled, once, and nothing that is not ours (invariant 7)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from agent.domain.delivery import State
from agent.ledger.errors import LedgerUnavailable
from agent.ledger.ledger import Ledger
from agent.protection import CertificateUnusable, MessageRefused, NotForUs
from agent.receive.booking import overdue
from agent.receive.loop import Receive, ReceiveSettings, tell_overdue
from connectors.inbox import InboxRefused, InboxUnavailable, Incoming, Queue, Settlement
from tests.outbound import (
    NOW,
    OURS,
    OURS_SERVICE,
    REGISTER,
    REGISTER_SERVICE,
    Hours,
    RecordingLog,
    ScriptedInbox,
    all_envelopes,
    apprec,
    chain,
    incoming,
    open_ledger,
    states,
)

SETTINGS = ReceiveSettings(
    our_her_ids=frozenset({str(OURS), str(OURS_SERVICE)}),
    register_her_ids=frozenset({str(REGISTER), str(REGISTER_SERVICE)}),
)
DEAD_LETTER = ReceiveSettings(SETTINGS.our_her_ids, SETTINGS.register_her_ids, dead_letter_foreign=True)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        chain(opened, 3)
        opened.run_now(
            lambda tx: [
                tx.add_envelope(
                    f"aaaaaaaa-0000-4000-8000-00000000000{number}",
                    f"bbbbbbbb-0000-4000-8000-00000000000{number}",
                    number,
                    number,
                    content=b"x",
                    state="sent",
                    at=NOW,
                )
                for number in (1, 2, 3)
            ]
        )
        opened.run_now(lambda tx: [tx.set_envelope(number, sent_at=NOW) for number in (1, 2, 3)])
        yield opened


def msg_id(number: int) -> str:
    return f"aaaaaaaa-0000-4000-8000-00000000000{number}"


def message_id(number: int) -> str:
    return f"bbbbbbbb-0000-4000-8000-00000000000{number}"


class Opens:
    """Protection that takes the bytes as they are, but for what a test names."""

    def __init__(self) -> None:
        self.faults: dict[bytes, list[Exception]] = {}

    def unprotect(self, data: bytes, at: datetime) -> bytes:
        if self.faults.get(data):
            raise self.faults[data].pop(0)
        return data


class Bench:
    def __init__(self, ledger: Ledger, *messages: Incoming, settings: ReceiveSettings = SETTINGS) -> None:
        self.ledger = ledger
        self.settings = settings
        self.inboxes = [ScriptedInbox(messages)]
        self.opened = 0
        self.log = RecordingLog()
        self.hours = Hours()
        self.protector = Opens()
        self.booked = 0

    def open_inbox(self) -> ScriptedInbox:
        self.opened += 1
        return self.inboxes[min(self.opened, len(self.inboxes)) - 1]

    def _count(self) -> None:
        self.booked += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Receive]:
        receive = Receive(
            self.ledger,
            self.open_inbox,
            self.protector,
            self.settings,
            self.log,
            booked=self._count,
            clock=self.hours.clock,
            wait=self.hours.wait,
        )
        task = asyncio.create_task(receive.run())
        try:
            yield receive
        finally:
            receive.stop()
            async with asyncio.timeout(20):
                await task

    async def settled(self, count: int, inbox: int = 0) -> list[tuple[int, Settlement]]:
        async with asyncio.timeout(20):
            while len(self.inboxes[inbox].settled) < count:
                self.inboxes[inbox].changed.clear()
                await self.inboxes[inbox].changed.wait()
        return self.inboxes[inbox].settled


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is looked at is set in several places
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("status", "state", "alarms"),
    [
        ("1", "receipted", []),
        ("2", "rejected", ["receipt_negative"]),
        ("3", "receipted", ["receipt_with_defect"]),
        ("73", "unclear", ["receipt_unclear"]),
    ],
)
async def test_a_receipt_is_booked_and_does_what_the_table_says(
    ledger: Ledger, status: str, state: str, alarms: list[str]
) -> None:
    bench = Bench(ledger, incoming(1, apprec(msg_id(2), status)))
    async with bench.running():
        assert await bench.settled(1) == [(1, Settlement.ACCEPT)]
    assert states(ledger) == ["sent", state, "sent"]
    assert bench.log.alarms() == alarms
    assert bench.booked == 1
    (booked,) = ledger.run_now(lambda tx: tx.receipts_of(2))
    assert booked.content == apprec(msg_id(2), status)


async def test_invariant_7_it_is_booked_before_it_is_settled(ledger: Ledger) -> None:
    bench = Bench(ledger, incoming(1, apprec(msg_id(1))))
    seen: list[list[str]] = []
    bench.inboxes[0].on_settle = lambda _incoming, _how: seen.append(states(ledger))
    async with bench.running():
        await bench.settled(1)
    assert seen == [["receipted", "sent", "sent"]]


async def test_the_id_may_come_back_in_upper_case_and_braces(ledger: Ledger) -> None:
    bench = Bench(ledger, incoming(1, apprec("{" + msg_id(1).upper() + "}")))
    async with bench.running():
        await bench.settled(1)
    assert states(ledger)[0] == "receipted"


async def test_invariant_7_a_duplicate_is_accepted_and_changes_nothing(ledger: Ledger) -> None:
    again = apprec(msg_id(1), "2")
    bench = Bench(ledger, incoming(1, again), incoming(2, again))
    async with bench.running():
        assert await bench.settled(2) == [(1, Settlement.ACCEPT), (2, Settlement.ACCEPT)]
    assert states(ledger)[0] == "rejected"
    assert bench.log.alarms() == ["receipt_negative"]
    assert ledger.run_now(lambda tx: tx.counters())["receipts_duplicate"] == 1
    assert len(ledger.run_now(lambda tx: tx.receipts_of(1))) == 1


async def test_invariant_7_a_receipt_that_contradicts_changes_nothing_and_is_an_alarm(ledger: Ledger) -> None:
    bench = Bench(
        ledger,
        incoming(1, apprec(msg_id(1), "1", receipt_id="a")),
        incoming(2, apprec(msg_id(1), "2", receipt_id="b")),
        incoming(3, apprec(msg_id(2), "2", receipt_id="c")),
        incoming(4, apprec(msg_id(2), "1", receipt_id="d")),
    )
    async with bench.running():
        await bench.settled(4)
    assert states(ledger) == ["receipted", "rejected", "sent"]
    assert bench.log.alarms() == ["receipt_contradicts", "receipt_negative", "receipt_contradicts"]


FOREIGN = {
    "another subject": incoming(1, b"x", subject="KPR_KUH"),
    "to somebody else": incoming(1, b"x", properties={"toHerId": "99", "fromHerId": str(REGISTER)}),
    "from somebody else": incoming(1, b"x", properties={"TOHERID": str(OURS), "FromHerId": "99"}),
    "not encrypted for us": incoming(1, b"not for us"),
    "a message we never sent": incoming(1, apprec("cccccccc-0000-4000-8000-000000000009")),
    "its sender is another": incoming(1, apprec(msg_id(1), sender=99)),
    "its receiver is another": incoming(1, apprec(msg_id(1), receiver=99)),
    "an error about what we never sent": incoming(1, queue=Queue.ERROR, properties={"originalMessageId": "nobody's"}),
    "an error from somebody else": incoming(
        1, queue=Queue.ERROR, properties={"originalMessageId": message_id(1), "fromHerId": "99"}
    ),
}


@pytest.mark.parametrize("message", FOREIGN.values(), ids=FOREIGN.keys())
async def test_invariant_7_what_is_not_ours_is_released_once_and_stops_receiving(
    ledger: Ledger, message: Incoming
) -> None:
    bench = Bench(ledger, message)
    bench.protector.faults[b"not for us"] = [NotForUs()] * 9
    async with bench.running() as receive:
        assert await bench.settled(1) == [(1, Settlement.LEAVE)]
        await until(lambda: bench.log.told("receiving_stopped_by_foreign_message"))
        assert receive.stopped_by_foreign
        assert len(bench.inboxes[0].settled) == 1
        assert bench.opened == 1
        assert bench.log.told("message_not_ours")[0]["subject"] == message.subject
        bench.protector.faults.clear()
        bench.inboxes.append(ScriptedInbox([incoming(2, apprec(msg_id(3)))]))
        receive.look_again()
        await bench.settled(1, inbox=1)
    assert states(ledger) == ["sent", "sent", "receipted"]


@pytest.mark.parametrize("message", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_not_ours_is_put_out_of_the_way_where_that_is_configured(
    ledger: Ledger, message: Incoming
) -> None:
    bench = Bench(ledger, message, incoming(2, apprec(msg_id(3))), settings=DEAD_LETTER)
    bench.protector.faults[b"not for us"] = [NotForUs()]
    async with bench.running():
        assert await bench.settled(2) == [(1, Settlement.DEAD_LETTER), (2, Settlement.ACCEPT)]
    assert states(ledger) == ["sent", "sent", "receipted"]
    assert ledger.run_now(lambda tx: tx.counters())["receipts_foreign"] == 1


async def test_what_stands_with_a_foreign_message_is_booked_and_settled(ledger: Ledger) -> None:
    bench = Bench(
        ledger, incoming(1, apprec(msg_id(1))), incoming(2, b"x", subject="OTHER"), incoming(3, apprec(msg_id(2)))
    )
    async with bench.running():
        await bench.settled(2)
        await until(lambda: bench.log.told("receiving_stopped_by_foreign_message"))
    assert (2, Settlement.LEAVE) in bench.inboxes[0].settled
    booked = states(ledger).count("receipted")
    assert [how for _, how in bench.inboxes[0].settled].count(Settlement.ACCEPT) == booked >= 1


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (incoming(1, b"<Other/>"), "it is not a receipt"),
        (incoming(1, b"tampered"), "tampered"),
        (
            incoming(1, b"raw bytes", message_id=None, subject=None, content_type=None, properties={}),
            "no_amqp_message",
        ),
    ],
)
async def test_what_can_never_be_read_is_kept_and_put_out_of_the_way(
    ledger: Ledger, message: Incoming, why: str
) -> None:
    bench = Bench(ledger, message)
    bench.protector.faults[b"tampered"] = [MessageRefused("tampered", "the signature does not fit")]
    async with bench.running():
        assert await bench.settled(1) == [(1, Settlement.DEAD_LETTER)]
    (kept,) = ledger.run_now(lambda tx: list(tx.unreadable()))
    assert (kept.why, kept.raw) == (why, message.body)
    assert "message_unreadable" in bench.log.alarms()
    assert states(ledger) == ["sent"] * 3


async def test_our_own_expired_certificate_holds_the_message_unsettled(ledger: Ledger) -> None:
    body = apprec(msg_id(1))
    bench = Bench(ledger, incoming(1, body))
    bench.protector.faults[body] = [CertificateUnusable("expired", "expired")] * 2
    async with bench.running():
        assert await bench.settled(1) == [(1, Settlement.ACCEPT)]
    assert bench.log.alarms() == ["protection_unusable"] * 2
    assert states(ledger)[0] == "receipted"


async def test_a_disk_without_room_holds_the_message_unsettled(ledger: Ledger) -> None:
    class FullAtFirst:
        def __init__(self) -> None:
            self.refusals = 3

        async def run(self, work):
            if self.refusals:
                self.refusals -= 1
                raise LedgerUnavailable("no space left")
            return await ledger.run(work)

    bench = Bench(ledger, incoming(1, apprec(msg_id(1))))
    bench.ledger = FullAtFirst()  # type: ignore[assignment]  # what a receive needs of one
    async with bench.running():
        assert await bench.settled(1) == [(1, Settlement.ACCEPT)]
    assert bench.log.alarms() == ["ledger_unavailable"] * 3


@pytest.mark.parametrize(
    ("properties", "state"),
    [
        ({"originalMessageId": message_id(2), "errorCondition": "transport:invalid-field-value"}, "rejected"),
        ({"originalMessageId": "{" + message_id(2).upper() + "}"}, "rejected"),
        (
            {
                "originalMessageId": message_id(2),
                "errorCondition": "transport:revoked-certificate",
                "errorDescription": "Unable to determine revocation status",
            },
            "unclear",
        ),
    ],
)
async def test_an_error_notice_is_booked_and_never_answered(ledger: Ledger, properties, state: str) -> None:
    notice = incoming(1, queue=Queue.ERROR, subject="KPR_IPL", properties=properties)
    bench = Bench(ledger, notice, incoming(2, queue=Queue.ERROR, subject="KPR_IPL", properties=properties))
    async with bench.running():
        await bench.settled(1)
    assert states(ledger) == ["sent", state, "sent"]
    assert "error_notice" in bench.log.alarms()


async def test_an_error_notice_that_clones_the_original_is_matched_by_its_own_ids(ledger: Ledger) -> None:
    ids = {"fromHerId": str(OURS_SERVICE), "toHerId": str(REGISTER_SERVICE), "errorCondition": "abuse:spoofing-attack"}
    bench = Bench(ledger, incoming(1, queue=Queue.ERROR, message_id=message_id(3), properties=ids))
    async with bench.running():
        assert await bench.settled(1) == [(1, Settlement.ACCEPT)]
    assert states(ledger) == ["sent", "sent", "rejected"]


async def test_a_lost_connection_is_opened_again_and_what_was_not_settled_comes_again(ledger: Ledger) -> None:
    bench = Bench(ledger)
    again = incoming(7, apprec(msg_id(1)))
    first = ScriptedInbox([again], then=InboxUnavailable("lost"))

    def lost(_incoming: Incoming, _how: Settlement) -> None:
        raise InboxUnavailable("lost before it was settled")

    first.on_settle = lost
    bench.inboxes = [first, ScriptedInbox([again])]
    async with bench.running():
        await bench.settled(1, inbox=1)
    assert states(ledger)[0] == "receipted"
    assert ledger.run_now(lambda tx: tx.counters())["receipts_duplicate"] == 1
    assert bench.log.told("inbox_unavailable")


async def test_an_inbox_that_is_refused_is_an_alarm_at_minutes_pace(ledger: Ledger) -> None:
    bench = Bench(ledger, incoming(1, apprec(msg_id(1))))
    opening = bench.open_inbox

    def refuse_once() -> ScriptedInbox:
        if not bench.log.alarms():
            raise InboxRefused("no", condition="amqp:not-found")
        return opening()

    bench.open_inbox = refuse_once  # type: ignore[method-assign]  # a test's own bench
    async with bench.running():
        await bench.settled(1)
    assert bench.log.alarms() == ["inbox_refused"]
    assert 120 <= bench.hours.waits[0] <= 132


async def test_a_stream_that_ends_in_silence_is_opened_again_with_a_wait(ledger: Ledger) -> None:
    class Ends(ScriptedInbox):
        async def messages(self) -> AsyncIterator[Incoming]:
            return
            yield

    bench = Bench(ledger)
    bench.inboxes = [Ends([]), ScriptedInbox([incoming(1, apprec(msg_id(1)))])]
    async with bench.running():
        await bench.settled(1, inbox=1)
    assert bench.log.told("inbox_unavailable")


async def test_invariant_6_a_missing_receipt_is_told_once_and_nothing_is_sent(ledger: Ledger) -> None:
    log = RecordingLog()
    hour = timedelta(hours=1)
    ledger.run_now(lambda tx: tx.set_envelope(3, sent_at=NOW + hour))
    assert await tell_overdue(ledger, log, now=NOW + 23 * hour, after=24 * hour) == 0
    assert await tell_overdue(ledger, log, now=NOW + 24 * hour, after=24 * hour) == 2
    assert await tell_overdue(ledger, log, now=NOW + 24 * hour, after=24 * hour) == 0
    assert await tell_overdue(ledger, log, now=NOW + 25 * hour, after=24 * hour) == 1
    assert log.alarms() == ["receipt_overdue"] * 3
    assert states(ledger) == ["sent"] * 3


def test_many_missing_receipts_are_all_told(ledger: Ledger) -> None:
    chain(ledger, 500)

    def work(tx) -> None:
        for number in range(4, 504):
            made = tx.add_envelope(f"m{number}", f"n{number}", number, number, content=b"x", state="sent", at=NOW)
            tx.set_envelope(made, sent_at=NOW)

    ledger.run_now(work)
    assert len(ledger.run_now(lambda tx: overdue(tx, NOW + timedelta(days=2), timedelta(days=1)))) == 503
    assert ledger.run_now(lambda tx: overdue(tx, NOW + timedelta(days=2), timedelta(days=1))) == []


async def test_a_late_receipt_to_a_superseded_message_changes_nothing(ledger: Ledger) -> None:
    ledger.run_now(lambda tx: tx.set_envelope(1, state=State.SUPERSEDED.value, superseded_by=2))
    bench = Bench(ledger, incoming(1, apprec(msg_id(1), "2", receipt_id="x")), incoming(2, apprec(msg_id(1), "1")))
    async with bench.running():
        await bench.settled(2)
    assert all_envelopes(ledger)[0].state == "superseded"
    assert bench.log.alarms() == ["superseded_message_was_delivered"]
