"""The delivery table: every pair has a step (invariant 8), and the steps keep invariants 5, 6 and 7."""

from itertools import product

import pytest

from agent.domain.delivery import CLOSED, HALTING, OPEN, TABLE, UNANSWERED, Alarm, Pace, Signal, State, Step, pace, step

OUTCOMES = [
    Signal.ACCEPTED,
    Signal.RELEASED,
    Signal.MODIFIED,
    Signal.REJECTED_BY_BROKER,
    Signal.UNKNOWN,
    Signal.UNAVAILABLE,
    Signal.NO_ROUTE,
    Signal.IMPOSSIBLE,
    Signal.OVERTAKEN,
    Signal.UNPROTECTED,
]
POSITIVE = [Signal.RECEIPT_POSITIVE, Signal.RECEIPT_PARTIAL]
NEGATIVE = [Signal.RECEIPT_NEGATIVE, Signal.ERROR_NOTICE_FINAL]


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_invariant_8_there_is_no_pair_the_table_does_not_know(state: State, signal: Signal) -> None:
    assert isinstance(step(state, signal), Step)


def test_invariant_8_the_table_has_no_pair_that_does_not_exist() -> None:
    assert set(TABLE) == set(State)
    assert all(set(row) == set(Signal) for row in TABLE.values())


def test_every_state_belongs_to_exactly_one_group() -> None:
    groups = [*OPEN, *UNANSWERED, *HALTING, *CLOSED]
    assert sorted(groups, key=lambda state: state.value) == sorted(State, key=lambda state: state.value)


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_invariant_6_only_a_positive_receipt_closes(state: State, signal: Signal) -> None:
    after = step(state, signal).state
    if after is State.RECEIPTED and state is not State.RECEIPTED:
        assert signal in POSITIVE


@pytest.mark.parametrize("state", list(State))
def test_invariant_6_a_missing_receipt_is_an_alarm_never_a_resend(state: State) -> None:
    found = step(state, Signal.OVERDUE)
    assert found.state is state
    assert (found.alarm is Alarm.OVERDUE) == (state in UNANSWERED)


@pytest.mark.parametrize(("state", "signal"), list(product([*UNANSWERED, *HALTING, *CLOSED], Signal)))
def test_invariant_6_nothing_that_was_sent_is_sent_again_by_itself(state: State, signal: Signal) -> None:
    assert step(state, signal).state not in OPEN


@pytest.mark.parametrize(("state", "signal"), list(product([*UNANSWERED, *HALTING, *CLOSED], OUTCOMES)))
def test_an_outcome_that_comes_after_the_answer_changes_nothing(state: State, signal: Signal) -> None:
    assert step(state, signal) == Step(state)


@pytest.mark.parametrize(("state", "signal"), list(product([*OPEN, *UNANSWERED], POSITIVE)))
def test_a_positive_receipt_closes_whatever_the_broker_said(state: State, signal: Signal) -> None:
    assert step(state, signal).state is State.RECEIPTED


def test_an_error_in_a_part_closes_and_tells_a_person() -> None:
    assert step(State.SENT, Signal.RECEIPT_PARTIAL) == Step(State.RECEIPTED, Alarm.DEFECT)


@pytest.mark.parametrize(("state", "signal"), list(product([*OPEN, *UNANSWERED], NEGATIVE)))
def test_invariant_6_a_negative_answer_halts_with_an_alarm(state: State, signal: Signal) -> None:
    found = step(state, signal)
    assert found.state is State.REJECTED
    assert found.state in HALTING
    assert found.alarm is not None


@pytest.mark.parametrize("signal", NEGATIVE)
def test_invariant_7_no_after_yes_is_a_contradiction_and_changes_nothing(signal: Signal) -> None:
    assert step(State.RECEIPTED, signal) == Step(State.RECEIPTED, Alarm.CONTRADICTION)


@pytest.mark.parametrize("signal", POSITIVE)
def test_invariant_7_yes_after_no_is_a_contradiction_for_a_person(signal: Signal) -> None:
    assert step(State.REJECTED, signal) == Step(State.REJECTED, Alarm.CONTRADICTION)


def test_an_unclear_receipt_does_not_close_and_does_not_halt() -> None:
    found = step(State.SENT, Signal.RECEIPT_UNCLEAR)
    assert found == Step(State.UNCLEAR, Alarm.UNCLEAR)
    assert found.state not in (*CLOSED, *HALTING)


def test_a_temporary_error_notice_is_remembered_and_sends_nothing() -> None:
    assert step(State.SENT, Signal.ERROR_NOTICE_TEMPORARY) == Step(State.UNCLEAR, Alarm.ERROR_NOTICE)


def test_invariant_9_a_restart_sends_again_what_may_have_gone_and_nothing_else() -> None:
    assert step(State.IN_FLIGHT, Signal.RESTARTED).state is State.READY
    assert all(step(state, Signal.RESTARTED).state is state for state in State if state is not State.IN_FLIGHT)


def test_invariant_5_an_unknown_outcome_goes_again_as_it_is() -> None:
    assert step(State.IN_FLIGHT, Signal.UNKNOWN) == Step(State.READY)
    assert pace(Signal.UNKNOWN) is Pace.QUICK


def test_a_send_begins_only_what_is_open() -> None:
    assert {state for state in State if step(state, Signal.SEND_BEGUN).state is State.IN_FLIGHT} == set(OPEN)


def test_what_a_person_sends_again_is_superseded_unless_it_was_delivered() -> None:
    kept = {state for state in State if step(state, Signal.REISSUED).state is not State.SUPERSEDED}
    assert kept == {State.RECEIPTED}


@pytest.mark.parametrize("signal", list(Signal))
def test_a_superseded_envelope_stays_superseded(signal: Signal) -> None:
    assert step(State.SUPERSEDED, signal).state is State.SUPERSEDED


def test_every_outcome_has_a_pace_and_nothing_else_has() -> None:
    assert {signal: pace(signal) for signal in OUTCOMES} == {
        Signal.ACCEPTED: Pace.AT_ONCE,
        Signal.OVERTAKEN: Pace.AT_ONCE,
        Signal.MODIFIED: Pace.QUICK,
        Signal.UNKNOWN: Pace.QUICK,
        Signal.UNAVAILABLE: Pace.QUICK,
        Signal.RELEASED: Pace.SLOW,
        Signal.REJECTED_BY_BROKER: Pace.SLOW,
        Signal.NO_ROUTE: Pace.SLOW,
        Signal.UNPROTECTED: Pace.SLOW,
        Signal.IMPOSSIBLE: Pace.HALT,
    }
    for signal in set(Signal) - set(OUTCOMES):
        with pytest.raises(KeyError):
            pace(signal)


def test_what_needs_a_person_has_an_alarm() -> None:
    for signal in OUTCOMES:
        if pace(signal) in (Pace.SLOW, Pace.HALT):
            assert step(State.IN_FLIGHT, signal).alarm is not None
