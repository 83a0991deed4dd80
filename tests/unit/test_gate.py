"""The gate: what waits until a person has seen the plan (docs/owed.md, "The gate")."""

from datetime import timedelta

import pytest

from agent.domain.compare import Comparison
from agent.domain.gate import GateLimits, GateReason, GateState, count_owed, too_much
from agent.domain.notification import Status
from agent.examine import TRIPPED, gate_reason
from tests.world import KARI, World, d

LIMITS = GateLimits(0.05, 20)


def reason(world: World) -> GateReason | None:
    return world.ledger.read(lambda tx: gate_reason(tx, world.unit))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (GateState(shadow=True, digest="a", applied_digest="a", tripped=True), GateReason.SHADOW),
        (GateState(shadow=False, digest="a", applied_digest=None, tripped=True), GateReason.FIRST_LOAD),
        (GateState(shadow=False, digest="a", applied_digest="b", tripped=True), GateReason.CHANGED_RULES),
        (GateState(shadow=False, digest="a", applied_digest="a", tripped=True), GateReason.TOO_MUCH),
        (GateState(shadow=False, digest="a", applied_digest="a", tripped=False), None),
    ],
)
def test_reasons_in_their_order(state: GateState, expected: GateReason | None) -> None:
    assert state.reason() is expected


@pytest.mark.parametrize(("standing", "limit"), [(0, 20), (399, 20), (400, 20), (420, 21), (10_000, 500)])
def test_a_share_of_what_stands_with_an_absolute_minimum(standing: int, limit: int) -> None:
    assert LIMITS.limit(standing) == limit


@pytest.mark.parametrize("status", list(Status))
def test_the_limit_itself_still_goes(status: Status) -> None:
    assert too_much({status: 20}, {}, 0, LIMITS) is None
    assert too_much({status: 21}, {}, 0, LIMITS) is status


@pytest.mark.parametrize("status", [Status.REPLACE, Status.ANNUL])
def test_corrections_and_annulments_count_over_the_window_new_events_do_not(status: Status) -> None:
    assert too_much({status: 1}, {status: 20}, 0, LIMITS) is status
    assert too_much({status: 1}, {status: 19}, 0, LIMITS) is None
    assert too_much({Status.NEW: 1}, {Status.NEW: 500}, 0, LIMITS) is None


def test_what_owes_nothing_of_a_kind_is_not_stopped_by_what_went_before() -> None:
    assert too_much({Status.NEW: 1, Status.ANNUL: 0}, {Status.ANNUL: 500}, 0, LIMITS) is None


def test_services_are_counted_once_for_each_status() -> None:
    assert count_owed([Comparison(), Comparison()]) == dict.fromkeys(Status, 0)


def test_the_first_load_waits() -> None:
    world = World(gate_open=False)
    assert world.put("tjeneste", 10).lines == []
    assert reason(world) is GateReason.FIRST_LOAD
    assert world.restart(digest="first").lines == ["Start N 2026-02-01"]
    assert world.put("tjeneste", 11).lines == ["Start N 2026-02-01"]


def test_changed_rules_wait_for_the_whole_municipality_and_all_services_are_due() -> None:
    world = World()
    world.put("tjeneste", 10)
    assert world.restart(service_types={"LANG": "20"}, apply=False).lines == []
    assert reason(world) is GateReason.CHANGED_RULES
    assert world.put("tjeneste", 11).lines == []
    told = world.restart()
    assert told.by_service == ["10: Start M 2026-02-01", "11: Start N 2026-02-01"]


def test_the_same_digest_makes_nothing_due() -> None:
    world = World()
    world.put("tjeneste", 10)
    world.restart(digest="first", apply=False)
    assert world.ledger.read(lambda tx: tx.count_due()) == 0


def standing(services: int) -> World:
    """A world in which so many services of one person stand, let go by a person."""
    world = World(gate_open=False, limits=LIMITS)
    world.together(*(world.change("tjeneste", key) for key in range(100, 100 + services)))
    assert len(world.restart(digest="first").lines) == services
    return world


def test_a_mass_change_at_once_waits() -> None:
    world = standing(21)
    assert world.put("bruker", 1, fnr=KARI).lines == []
    assert reason(world) is GateReason.TOO_MUCH
    assert world.ledger.read(lambda tx: tx.note(TRIPPED)) == "21 services owe M; the limit is 20"
    assert world.put("tjeneste", 99).lines == []  # a closed gate holds everybody
    assert len(world.restart(digest="first").lines) == 22
    assert world.put("tjeneste", 98).lines == ["Start N 2026-02-01"]


def test_twenty_are_never_too_much() -> None:
    world = standing(20)
    assert len(world.put("bruker", 1, fnr=KARI).lines) == 20


def test_a_mass_delete_that_comes_row_by_row_waits_from_the_twenty_first_on() -> None:
    world = standing(25)
    told = [len(world.delete("tjeneste", key).lines) for key in range(100, 125)]
    assert told == [1] * 20 + [0] * 5
    assert reason(world) is GateReason.TOO_MUCH


def test_what_is_spread_over_more_than_the_window_goes() -> None:
    world = standing(25)
    for key in range(100, 125):
        world.now += timedelta(minutes=5)
        assert len(world.delete("tjeneste", key).lines) == 1
    assert reason(world) is None


def test_what_a_person_let_go_does_not_count() -> None:
    world = standing(21)
    world.put("bruker", 1, fnr=KARI)
    world.restart(digest="first")  # applies 21 M
    assert world.put("tjeneste", 100, start_dato=d("02-02")).lines == ["Start M 2026-02-02"]


def test_a_busy_morning_of_admissions_goes() -> None:
    world = World(limits=LIMITS)
    assert sum(len(world.put("tjeneste", key).lines) for key in range(100, 140)) == 40
