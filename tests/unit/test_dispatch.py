"""The way out: order, window, outcomes, halts and restarts, against a bus that does what a test says."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from lxml import etree

from agent.dispatch.envelope import NewEnvelope, build_envelope
from agent.dispatch.loop import Dispatch, DispatchSettings
from agent.dispatch.resend import resend
from agent.dispatch.turn import INVALID_NOTE, Turn, take_turn
from agent.domain.delivery import State
from agent.ledger.errors import LedgerUnavailable
from agent.ledger.ledger import Ledger
from agent.protection import CertificateUnusable
from connectors.sender import Outcome, Outgoing, SenderRefused, Verdict
from tests.outbound import (
    ENVELOPES,
    NOW,
    Hours,
    RecordingLog,
    ScriptedBus,
    all_envelopes,
    answer,
    chain,
    count_ids,
    notification,
    open_ledger,
    states,
    unavailable,
)


@pytest.fixture
def ledger():
    with open_ledger() as opened:
        yield opened


class Bench:
    """A dispatch on a ledger and a bus, with time that costs nothing."""

    def __init__(self, ledger: Ledger, bus: ScriptedBus, **settings: object) -> None:
        self.ledger = ledger
        self.bus = bus
        self.log = RecordingLog()
        self.hours = Hours()
        self.protector = None
        self.envelopes = ENVELOPES
        self.settings = DispatchSettings(**settings)  # type: ignore[arg-type]  # its fields
        self.ids = count_ids()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Dispatch]:
        dispatch = Dispatch(
            self.ledger,
            self.bus.sender,
            self.protector,
            self.envelopes,
            self.settings,
            self.log,
            new_id=self.ids,
            clock=self.hours.clock,
            wait=self.hours.wait,
        )
        task = asyncio.create_task(dispatch.run())
        try:
            yield dispatch
        finally:
            dispatch.stop()
            async with asyncio.timeout(20):
                await task

    async def until_states(self, *wanted: State) -> None:
        await self.bus.until(lambda: states(self.ledger) == [state.value for state in wanted])


def numbers(outgoing: list[Outgoing]) -> list[int]:
    """The notifications in what was sent, in order."""
    found: list[int] = []
    for each in outgoing:
        root = etree.fromstring(each.body)
        found += [int(value) for value in root.xpath("//@notifikasjonLopeNr")]
    return found


def ids(outgoing: list[Outgoing]) -> list[str]:
    return [each.message_id for each in outgoing]


async def test_each_notification_goes_at_once_in_order(ledger: Ledger) -> None:
    chain(ledger, 5)
    bench = Bench(ledger, ScriptedBus())
    async with bench.running():
        await bench.until_states(*[State.SENT] * 5)
    assert numbers(bench.bus.delivered) == [1, 2, 3, 4, 5]
    assert bench.bus.connections == 1
    assert bench.bus.most_flying == 1


async def test_what_comes_while_it_is_idle_goes_when_it_is_nudged(ledger: Ledger) -> None:
    bench = Bench(ledger, ScriptedBus())
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bench.bus.connections == 1)
        chain(ledger, 1)
        dispatch.nudge()
        await bench.until_states(State.SENT)


async def test_a_backlog_travels_several_to_a_message_and_an_idle_stream_at_once(ledger: Ledger) -> None:
    chain(ledger, 7)
    bench = Bench(ledger, ScriptedBus(), max_notifications=3)
    async with bench.running() as dispatch:
        await bench.until_states(State.SENT, State.SENT, State.SENT)
        chain(ledger, 1)
        dispatch.nudge()
        await bench.until_states(*[State.SENT] * 4)
    assert numbers(bench.bus.delivered) == list(range(1, 9))
    assert [each.last_number - each.first_number + 1 for each in all_envelopes(ledger)] == [3, 3, 1, 1]


async def test_the_window_is_used_and_never_exceeded(ledger: Ledger) -> None:
    chain(ledger, 40)
    bench = Bench(ledger, ScriptedBus(), window=5)
    bench.bus.hold = asyncio.Event()
    async with bench.running():
        await bench.bus.until(lambda: bench.bus.flying == 5)
        bench.bus.hold.set()
        await bench.until_states(*[State.SENT] * 40)
    assert numbers(bench.bus.delivered) == list(range(1, 41))
    assert bench.bus.most_flying == 5


async def test_it_is_in_flight_in_the_ledger_before_it_is_transferred(ledger: Ledger) -> None:
    chain(ledger, 2)
    seen: list[list[str]] = []

    def script(number: int, outgoing: Outgoing) -> Verdict:
        seen.append(states(ledger))
        return Verdict.ACCEPTED

    bench = Bench(ledger, ScriptedBus(script))
    async with bench.running():
        await bench.until_states(State.SENT, State.SENT)
    assert seen[0][0] == "in_flight"
    assert seen[1][:2] == ["sent", "in_flight"]


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.MODIFIED, Verdict.UNAVAILABLE])
async def test_invariant_5_it_goes_again_with_the_same_id_and_bytes(ledger: Ledger, verdict: Verdict) -> None:
    chain(ledger, 2)
    bench = Bench(ledger, ScriptedBus(lambda number, _: verdict if number == 1 else Verdict.ACCEPTED))
    async with bench.running():
        await bench.until_states(State.SENT, State.SENT)
    first, again, _ = bench.bus.transfers
    assert (first.message_id, first.body, first.properties) == (again.message_id, again.body, again.properties)
    assert all_envelopes(ledger)[0].attempts == 2
    assert bench.log.alarms() == []
    assert bench.bus.connections == 2


@pytest.mark.parametrize("verdict", [Verdict.RELEASED, Verdict.REJECTED, Verdict.NO_ROUTE])
async def test_what_needs_a_person_is_tried_at_minutes_pace_with_an_alarm(ledger: Ledger, verdict: Verdict) -> None:
    chain(ledger, 1)
    refusal = Outcome(verdict, "amqp:not-found")
    bench = Bench(ledger, ScriptedBus(lambda number, _: refusal if number < 4 else Verdict.ACCEPTED))
    async with bench.running():
        await bench.until_states(State.SENT)
    assert len(bench.log.alarms()) == 3
    assert len(set(ids(bench.bus.transfers))) == 1
    assert sum(120 <= waited <= 132 for waited in bench.hours.waits) == 3
    assert all(fields["condition"] == "amqp:not-found" for level, _, fields in bench.log.lines if level == "alarm")


async def test_a_bus_that_is_away_is_tried_with_growing_waits(ledger: Ledger) -> None:
    chain(ledger, 1)
    bench = Bench(ledger, ScriptedBus())
    bench.bus.refuse_to_open = [unavailable() for _ in range(7)]
    async with bench.running():
        await bench.until_states(State.SENT)
    waits = [fields["wait_s"] for fields in bench.log.told("sending_waits")]
    assert len(waits) == 7
    assert all(2**n <= float(str(waited)) <= 2**n + 1 for n, waited in enumerate(waits))
    assert bench.log.alarms() == ["sender_unavailable"]


async def test_an_account_that_is_refused_is_an_alarm_at_minutes_pace(ledger: Ledger) -> None:
    chain(ledger, 1)
    bench = Bench(ledger, ScriptedBus())
    bench.bus.refuse_to_open = [SenderRefused("no", condition="amqp:unauthorized-access")]
    async with bench.running():
        await bench.until_states(State.SENT)
    assert bench.log.alarms() == ["sender_refused"]
    assert 120 <= float(str(bench.log.told("sending_waits")[0]["wait_s"])) <= 132


async def test_after_success_the_waits_begin_small_again(ledger: Ledger) -> None:
    chain(ledger, 2)
    verdicts = [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.ACCEPTED, Verdict.UNKNOWN]
    bench = Bench(
        ledger,
        ScriptedBus(lambda number, _: verdicts[number - 1] if number <= len(verdicts) else Verdict.ACCEPTED),
    )
    async with bench.running():
        await bench.until_states(State.SENT, State.SENT)
    assert [fields["attempt"] for fields in bench.log.told("sending_waits")] == [1, 2, 3, 1]


async def test_with_a_window_everything_from_the_failure_on_goes_again_in_order(ledger: Ledger) -> None:
    chain(ledger, 6)
    bench = Bench(
        ledger, ScriptedBus(lambda number, _: Verdict.RELEASED if number == 2 else Verdict.ACCEPTED), window=4
    )
    bench.bus.hold = asyncio.Event()
    async with bench.running():
        await bench.bus.until(lambda: bench.bus.flying == 4)
        bench.bus.hold.set()
        await bench.until_states(*[State.SENT] * 6)
    assert numbers(bench.bus.transfers) == [1, 2, 3, 4, 2, 3, 4, 5, 6]
    again = ids(bench.bus.transfers)
    assert again[1:4] == again[4:7]


async def test_after_an_unknown_outcome_messages_go_one_by_one_until_the_culprit_is_found(ledger: Ledger) -> None:
    """With several on their way nobody can tell which one the broker meant: alone, it names itself."""
    chain(ledger, 5)
    bus = ScriptedBus()

    def bus_that_never_takes_the_third(_number: int, outgoing: Outgoing) -> Verdict:
        if numbers([outgoing]) == [3]:
            return Verdict.IMPOSSIBLE if bus.flying == 1 else Verdict.UNKNOWN
        return Verdict.ACCEPTED

    bus.script = bus_that_never_takes_the_third
    bench = Bench(ledger, bus, window=4)
    bus.hold = asyncio.Event()
    async with bench.running():
        await bus.until(lambda: bus.flying == 4)
        bus.hold.set()
        await bus.until(lambda: "sending_halted" in bench.log.alarms())
    assert states(ledger)[:3] == ["sent", "sent", "refused"]
    assert bus.transfers[4:] == [bus.transfers[2]]


async def test_nothing_follows_a_failure_that_is_known(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus(lambda number, _: Verdict.UNKNOWN if number == 1 else Verdict.ACCEPTED), window=1)
    async with bench.running():
        await bench.until_states(*[State.SENT] * 3)
    assert numbers(bench.bus.transfers) == [1, 1, 2, 3]


async def test_a_message_the_broker_can_never_take_halts_the_chain_there(ledger: Ledger) -> None:
    chain(ledger, 4)
    bench = Bench(ledger, ScriptedBus(lambda number, _: Verdict.IMPOSSIBLE if number == 2 else Verdict.ACCEPTED))
    async with bench.running():
        await bench.bus.until(lambda: "sending_halted" in bench.log.alarms())
        chain(ledger, 1)
        await bench.bus.until(lambda: len(bench.hours.waits) > 5)
    assert states(ledger)[:2] == ["sent", "refused"]
    assert set(states(ledger)[2:]) <= {"ready"}
    assert numbers(bench.bus.transfers) == [1, 2]
    assert bench.log.alarms() == ["message_refused_for_good", "sending_halted"]


async def test_with_a_window_what_stands_before_the_halt_still_goes(ledger: Ledger) -> None:
    chain(ledger, 4)
    verdicts = {1: Verdict.UNKNOWN, 2: Verdict.IMPOSSIBLE, 3: Verdict.ACCEPTED}
    bench = Bench(ledger, ScriptedBus(lambda number, _: verdicts.get(number, Verdict.ACCEPTED)), window=3, look_ahead=4)
    bench.bus.hold = asyncio.Event()
    async with bench.running():
        await bench.bus.until(lambda: bench.bus.flying == 3)
        bench.bus.hold.set()
        await bench.bus.until(lambda: states(ledger)[:1] == ["sent"] and "sending_halted" in bench.log.alarms())
    assert states(ledger)[:4] == ["sent", "refused", "ready", "ready"]
    assert numbers(bench.bus.transfers) == [1, 2, 3, 1]


async def test_invariant_6_a_negative_receipt_halts_what_stands_behind(ledger: Ledger) -> None:
    chain(ledger, 2)
    bench = Bench(ledger, ScriptedBus())
    async with bench.running() as dispatch:
        await bench.until_states(State.SENT, State.SENT)
        answer(ledger, all_envelopes(ledger)[0].msg_id, State.REJECTED)
        chain(ledger, 2)
        dispatch.nudge()
        await bench.bus.until(lambda: "sending_halted" in bench.log.alarms())
        await bench.bus.until(lambda: len(bench.hours.waits) > 3)
    assert numbers(bench.bus.transfers) == [1, 2]


async def test_sending_waits_when_too_much_is_unreceipted_and_goes_on(ledger: Ledger) -> None:
    chain(ledger, 6)
    bench = Bench(ledger, ScriptedBus(), max_unreceipted=3, window=2)
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bool(bench.log.told("sending_waits_for_receipts")))
        assert numbers(bench.bus.transfers) == [1, 2, 3]
        for each in all_envelopes(ledger)[:2]:
            answer(ledger, each.msg_id, State.RECEIPTED)
        dispatch.nudge()
        await bench.bus.until(lambda: len(bench.bus.transfers) == 5)
        await bench.bus.until(lambda: len(bench.log.told("sending_waits_for_receipts")) == 2)
    assert numbers(bench.bus.transfers) == [1, 2, 3, 4, 5]
    assert bench.log.alarms() == []


@pytest.mark.parametrize("window", [1, 5])
async def test_the_bound_on_unreceipted_ones_is_never_passed(ledger: Ledger, window: int) -> None:
    chain(ledger, 30)
    bench = Bench(ledger, ScriptedBus(), max_unreceipted=7, window=window)
    most = 0

    def deliver(outgoing: Outgoing) -> None:
        nonlocal most
        waiting = [each for each in all_envelopes(ledger) if each.state in ("sent", "in_flight")]
        most = max(most, len(waiting))

    bench.bus.on_delivery = deliver
    async with bench.running() as dispatch:
        for done in range(30):
            await bench.bus.until(lambda done=done: len(bench.bus.delivered) > done)
            await bench.bus.until(lambda: "sent" in states(ledger))
            answer(ledger, next(each for each in all_envelopes(ledger) if each.state == "sent").msg_id, State.RECEIPTED)
            dispatch.nudge()
    assert most <= 7
    assert numbers(bench.bus.delivered) == list(range(1, 31))


async def test_a_receipt_that_comes_in_the_same_step_closes_and_stays(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus())

    def deliver(outgoing: Outgoing) -> None:
        found = ledger.run_now(lambda tx: tx.envelope_by_message_id(outgoing.message_id))
        assert found is not None
        answer(ledger, found.msg_id, State.RECEIPTED)

    bench.bus.on_delivery = deliver
    async with bench.running():
        await bench.until_states(*[State.RECEIPTED] * 3)
    assert numbers(bench.bus.transfers) == [1, 2, 3]
    assert all(each.sent_at is not None for each in all_envelopes(ledger)[:2])


async def test_an_unknown_outcome_that_was_receipted_meanwhile_is_not_sent_again(ledger: Ledger) -> None:
    chain(ledger, 2)
    bench = Bench(ledger, ScriptedBus(lambda number, _: Verdict.UNKNOWN if number == 1 else Verdict.ACCEPTED))

    def deliver(outgoing: Outgoing) -> None:
        if len(bench.bus.delivered) == 1:
            answer(ledger, all_envelopes(ledger)[0].msg_id, State.RECEIPTED)

    bench.bus.on_delivery = deliver
    async with bench.running():
        await bench.until_states(State.RECEIPTED, State.SENT)
    assert numbers(bench.bus.transfers) == [1, 2]


async def test_invariant_9_after_a_crash_what_was_in_flight_goes_again_in_order(ledger: Ledger) -> None:
    chain(ledger, 6)
    bench = Bench(ledger, ScriptedBus(), window=3)
    bench.bus.hold = asyncio.Event()
    dispatch = Dispatch(
        ledger, bench.bus.sender, None, ENVELOPES, bench.settings, bench.log, new_id=bench.ids, wait=bench.hours.wait
    )
    task = asyncio.create_task(dispatch.run())
    await bench.bus.until(lambda: bench.bus.flying == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states(ledger)[:3] == ["in_flight"] * 3
    bench.bus.hold.set()
    async with bench.running():
        await bench.until_states(*[State.SENT] * 6)
    assert numbers(bench.bus.transfers) == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert ids(bench.bus.transfers)[:3] == ids(bench.bus.transfers)[3:6]


async def test_stop_waits_for_what_is_in_flight_and_begins_nothing(ledger: Ledger) -> None:
    chain(ledger, 5)
    bench = Bench(ledger, ScriptedBus(), window=2)
    bench.bus.hold = asyncio.Event()
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bench.bus.flying == 2)
        dispatch.stop()
        bench.bus.hold.set()
    assert states(ledger)[:2] == ["sent", "sent"]
    assert len(bench.bus.transfers) == 2


async def test_stop_gives_up_what_has_no_outcome_as_unknown(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus(), window=2, drain_s=0.05)
    bench.bus.hold = asyncio.Event()
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bench.bus.flying == 2)
        dispatch.stop()
    assert set(states(ledger)) == {"ready"}


async def test_stop_ends_a_connection_that_is_being_made_and_a_wait(ledger: Ledger) -> None:
    class Never:
        async def __aenter__(self) -> "Never":
            await asyncio.Event().wait()
            return self

        async def __aexit__(self, *exc: object) -> None: ...

        async def send(self, outgoing: Outgoing) -> Outcome:
            raise AssertionError

    dispatch = Dispatch(ledger, Never, None, ENVELOPES, DispatchSettings(), RecordingLog())
    task = asyncio.create_task(dispatch.run())
    await asyncio.sleep(0)
    dispatch.stop()
    async with asyncio.timeout(10):
        await task


class FaultyProtector:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.protected: list[bytes] = []

    def protect(self, content: bytes, at: datetime) -> bytes:
        if self.failures:
            self.failures -= 1
            raise CertificateUnusable("expired", "our signing certificate has expired")
        self.protected.append(content)
        return b"protected:" + content


async def test_an_expired_certificate_is_a_pause_with_an_alarm_and_no_fault_of_the_message(ledger: Ledger) -> None:
    chain(ledger, 1)
    bench = Bench(ledger, ScriptedBus())
    bench.protector = FaultyProtector(2)
    async with bench.running():
        await bench.until_states(State.SENT)
    assert bench.log.alarms() == ["protection_unusable"] * 2
    assert [fields["condition"] for fields in bench.log.told("protection_unusable")] == ["expired"] * 2
    assert sum(120 <= waited <= 132 for waited in bench.hours.waits) == 2
    assert len(bench.bus.transfers) == 1
    assert bench.bus.transfers[0].body.startswith(b"protected:<?xml")


async def test_what_was_protected_long_ago_is_protected_again(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus(), max_unreceipted=1)
    bench.protector = FaultyProtector(0)
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bool(bench.log.told("sending_waits_for_receipts")))
        before = len(bench.protector.protected)
        bench.hours.now += timedelta(days=3)
        answer(ledger, all_envelopes(ledger)[0].msg_id, State.RECEIPTED)
        dispatch.nudge()
        await bench.bus.until(lambda: len(bench.bus.delivered) == 2)
    assert len(bench.protector.protected) > before


async def test_a_message_that_is_not_valid_halts_before_it_is_stored(ledger: Ledger) -> None:
    chain(ledger, 1)
    bench = Bench(ledger, ScriptedBus())
    bench.envelopes = replace(ENVELOPES, contacts=ENVELOPES.contacts[:1])
    async with bench.running():
        await bench.bus.until(lambda: len(bench.log.told("message_invalid")) >= 2)
        note = ledger.run_now(lambda tx: tx.note(INVALID_NOTE))
    assert states(ledger) == []
    assert bench.bus.transfers == []
    assert note == "KPR-601: the message that begins with notification 1 is not valid"
    bench.envelopes = ENVELOPES
    async with bench.running():
        await bench.until_states(State.SENT)
    assert ledger.run_now(lambda tx: tx.note(INVALID_NOTE)) is None


async def test_a_disk_without_room_loses_no_outcome(ledger: Ledger) -> None:
    class FullAtTimes:
        def __init__(self) -> None:
            self.calls = 0

        async def run(self, work):
            self.calls += 1
            if self.calls % 3 == 0:
                raise LedgerUnavailable("no space left")
            return await ledger.run(work)

    chain(ledger, 5)
    bench = Bench(ledger, ScriptedBus())
    bench.ledger = FullAtTimes()  # type: ignore[assignment]  # what a dispatch needs of one
    async with bench.running():
        await bench.bus.until(lambda: states(ledger) == ["sent"] * 5)
    assert numbers(bench.bus.transfers) == [1, 2, 3, 4, 5]
    assert set(bench.log.alarms()) == {"ledger_unavailable"}


async def test_a_sender_that_raises_is_a_fault_of_the_program(ledger: Ledger) -> None:
    chain(ledger, 1)

    def script(number: int, outgoing: Outgoing) -> Verdict:
        raise ZeroDivisionError

    dispatch = Dispatch(ledger, ScriptedBus(script).sender, None, ENVELOPES, DispatchSettings(), RecordingLog())
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(20):
            await dispatch.run()
    assert states(ledger) == ["in_flight"]


async def test_a_large_backlog_is_prepared_only_as_far_as_the_look_ahead(ledger: Ledger) -> None:
    chain(ledger, 60)
    bench = Bench(ledger, ScriptedBus(), look_ahead=8)
    bench.bus.hold = asyncio.Event()
    async with bench.running():
        await bench.bus.until(lambda: bench.bus.flying == 1)
        await bench.bus.until(lambda: len(bench.hours.waits) > 10)
        assert len(states(ledger)) <= 10
        bench.bus.hold.set()
        await bench.bus.until(lambda: len(bench.bus.delivered) == 60)
    assert numbers(bench.bus.delivered) == list(range(1, 61))


async def test_invariant_9_a_restart_takes_back_what_was_in_flight(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus(), window=3)
    bench.bus.hold = asyncio.Event()
    task = asyncio.create_task(
        Dispatch(ledger, bench.bus.sender, None, ENVELOPES, bench.settings, bench.log, wait=bench.hours.wait).run()
    )
    await bench.bus.until(lambda: bench.bus.flying == 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    bench.bus.refuse_to_open = [unavailable()] * 1000
    async with bench.running():
        await bench.bus.until(lambda: states(ledger) == ["ready"] * 3)
    assert bench.log.told("sending_resumes_after_restart") == [{"count": 3}]


async def test_what_a_person_sends_again_meanwhile_is_not_sent_from_memory(ledger: Ledger) -> None:
    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus())
    bench.bus.hold = asyncio.Event()
    async with bench.running() as dispatch:
        await bench.bus.until(lambda: bench.bus.flying == 1 and len(states(ledger)) == 3)
        await bench.bus.until(lambda: len(bench.hours.waits) > 5)  # the other two are in its line
        first = all_envelopes(ledger)[0].msg_id
        await ledger.run(lambda tx: resend(tx, first, ENVELOPES, at=bench.hours.now, new_id=uuid4))
        dispatch.nudge()
        bench.bus.hold.set()
        await bench.bus.until(lambda: states(ledger) == ["superseded"] * 3 + ["sent"] * 3)
    assert numbers(bench.bus.transfers) == [1, 1, 2, 3]
    assert ids(bench.bus.transfers)[1:] == [each.message_id for each in all_envelopes(ledger)[3:]]


def new_envelope(number: int) -> NewEnvelope:
    return build_envelope([notification(number)], ENVELOPES, msg_id=uuid4(), message_id=uuid4(), at=NOW)


def test_what_was_built_is_stored_only_behind_what_is_older(ledger: Ledger) -> None:
    chain(ledger, 2)
    known = ledger.run_now(lambda tx: take_turn(tx, Turn(at=NOW, room=9, built=[new_envelope(1)], may_begin=1)))
    first = all_envelopes(ledger)[0]
    assert known.begun == [first.id]
    ledger.run_now(lambda tx: tx.set_envelope(first.id, state=State.REJECTED.value))
    ledger.run_now(lambda tx: resend(tx, None, ENVELOPES, at=NOW, new_id=uuid4))
    turn = Turn(at=NOW, known_id=first.id, room=9, built=[new_envelope(2)], may_begin=9)
    taken = ledger.run_now(lambda tx: take_turn(tx, turn))
    assert [each.envelope.first_number for each in taken.fresh] == [1]
    assert taken.stored == []
    turn = replace(turn, known_id=taken.fresh[0].envelope.id, waiting=[])
    taken = ledger.run_now(lambda tx: take_turn(tx, turn))
    assert [each.first_number for each in taken.stored or []] == [2]


def test_what_does_not_follow_the_last_envelope_is_built_anew(ledger: Ledger) -> None:
    chain(ledger, 3)
    taken = ledger.run_now(lambda tx: take_turn(tx, Turn(at=NOW, room=9, built=[new_envelope(2)], may_begin=1)))
    assert taken.stored is None
    assert states(ledger) == []


async def test_nothing_is_transferred_behind_a_failure_that_came_while_it_was_being_protected(ledger: Ledger) -> None:
    release = threading.Event()

    class Slow:
        """Protects the first message at once, the others when they are let."""

        def protect(self, content: bytes, at: datetime) -> bytes:
            if b'notifikasjonLopeNr="1"' not in content:
                release.wait(20)
            return content

    chain(ledger, 3)
    bench = Bench(ledger, ScriptedBus(lambda number, _: Verdict.UNKNOWN if number == 1 else Verdict.ACCEPTED), window=3)
    bench.protector = Slow()
    async with bench.running():
        await bench.bus.until(lambda: len(bench.bus.transfers) == 1 and bench.bus.flying == 0)
        release.set()
        await bench.until_states(*[State.SENT] * 3)
    assert numbers(bench.bus.transfers) == [1, 1, 2, 3]
