"""Principle 1: a date that has not come is not yet a fact (docs/owed.md, "Dates to come")."""

from datetime import UTC, date, datetime

import pytest

from agent.examine import examine_planned
from connectors.source import Infinity
from tests.shapes import CHANGED_ON
from tests.world import OLA, A, B, World, d

LAST_OF_WINDOW = date(2028, 2, 29)  # 730 days after 2026-03-01


@pytest.fixture
def world() -> World:
    return World()


def test_a_start_to_come_is_held_and_reported_on_its_day(world: World) -> None:
    assert world.put("tjeneste", 10, start_dato=d("03-10")).lines == []
    assert world.rules_found() == ["H02 hold"]
    assert world.day("03-09").lines == []
    assert world.day("03-10").lines == ["Start N 2026-03-10"]
    assert world.rules_found() == []


def test_an_end_and_a_pause_to_come_wait_and_the_others_go(world: World) -> None:
    world.together(
        world.change("tjeneste", 10, slutt_dato=d("03-20")),
        world.change("pause", 7, fra_dato=d("03-05"), til_dato=d("03-08")),
    )
    assert world.standing() == ["TjenesteStart 2026-02-01"]
    assert not world.held()
    assert world.day("03-05").lines == ["Fra 7 N 2026-03-05"]
    assert world.day("03-08").lines == ["Til 7 N 2026-03-08"]
    assert world.day("03-20").lines == ["Slutt N 2026-03-20"]


def test_a_reported_start_moved_to_a_day_to_come_is_annulled_with_all_on_it_and_told_anew(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    moved = world.put("tjeneste", 10, start_dato=d("03-10"))
    assert moved.lines == ["Fra 7 C 2026-02-10", "Start C 2026-02-01"]
    assert "H02 hold" in world.rules_found()
    world.put("pause", 7, fra_dato=d("03-10"))
    assert world.day("03-10").lines == ["Start N 2026-03-10", "Fra 7 N 2026-03-10"]


def test_a_reported_end_moved_to_a_day_to_come_is_annulled_and_comes_again(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert world.put("tjeneste", 10, slutt_dato=d("03-10")).lines == ["Slutt C 2026-02-20"]
    assert world.day("03-10").lines == ["Slutt N 2026-03-10"]


def test_a_reported_pause_moved_to_a_day_to_come_is_annulled_and_comes_again(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7, til_dato=d("02-15")))
    moved = world.put("pause", 7, fra_dato=d("03-10"), til_dato=d("03-11"))
    assert moved.lines == ["Til 7 C 2026-02-15", "Fra 7 C 2026-02-10"]
    assert world.day("03-11").lines == ["Fra 7 N 2026-03-10", "Til 7 N 2026-03-11"]


@pytest.mark.parametrize("start", [date(1989, 12, 31), date(2222, 2, 2), date(2028, 3, 1)])
def test_a_start_outside_the_window_is_parked_and_nothing_is_annulled(world: World, start: date) -> None:
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, start_dato=start).lines == []
    assert world.rules_found() == ["Q05 block"]
    assert world.standing() == ["TjenesteStart 2026-02-01"]


def test_an_end_outside_the_window_is_parked_and_nothing_is_annulled(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert world.put("tjeneste", 10, slutt_dato=date(3015, 1, 1)).lines == []
    assert world.rules_found() == ["Q05 block"]
    assert "3015-01-01" in world.text("Q05")


def test_the_windows_two_ends_belong_to_it(world: World) -> None:
    world.put("tjeneste", 10, start_dato=date(1990, 1, 1))
    assert world.put("tjeneste", 11, start_dato=LAST_OF_WINDOW).lines == []
    assert world.standing() == ["TjenesteStart 1990-01-01"]
    assert world.rules_found("11") == ["H02 hold"]


def test_a_date_too_far_ahead_is_looked_at_again_when_it_enters_the_window(world: World) -> None:
    world.put("tjeneste", 10, start_dato=date(2028, 3, 1))
    assert world.rules_found() == ["Q05 block"]
    world.day("03-02")
    assert world.rules_found() == ["H02 hold"]


@pytest.mark.parametrize("open_ended", [date(9999, 12, 31), Infinity.PLUS, None])
def test_9999_12_31_and_infinity_mean_open(world: World, open_ended: object) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert world.put("tjeneste", 10, slutt_dato=open_ended).lines == ["Slutt C 2026-02-20"]
    assert world.rules_found() == []


def test_what_else_the_mapping_names_means_open() -> None:
    world = World(CHANGED_ON.replace("version: 1", "version: 1\nopen_ended: [2099-01-01]", 1))
    world.put("person", 1, fnr=OLA)
    row = {"person_id": 1, "orgnr": A, "type": "LANG", "fra": d("02-01")}
    assert world.put("sak", 10, **row, til=date(2099, 1, 1)).lines == ["Start N 2026-02-01"]
    world.put("sak", 10, til=date(9999, 12, 31))
    assert world.rules_found() == ["Q05 block"]  # not named any more


def test_today_is_the_day_in_norway() -> None:
    world = World(now=datetime(2026, 6, 30, 22, 30, tzinfo=UTC))  # half past midnight in Norway
    assert world.put("tjeneste", 10, start_dato=date(2026, 7, 1)).lines == ["Start N 2026-07-01"]
    world = World(now=datetime(2026, 6, 30, 21, 30, tzinfo=UTC))
    assert world.put("tjeneste", 10, start_dato=date(2026, 7, 1)).lines == []


def test_a_day_that_has_come_waits_for_the_sources_progress_past_its_midnight(world: World) -> None:
    world.put("tjeneste", 10, start_dato=d("03-10"))
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)

    def look(seen_through: datetime) -> bool:
        world.ledger.run_now(lambda tx: tx.set_seen_through(seen_through))
        return world.ledger.run_now(lambda tx: examine_planned(tx, world.unit, noon, limit=10)) is not None

    assert not look(datetime(2026, 3, 9, 22, 59, tzinfo=UTC))
    assert look(datetime(2026, 3, 9, 23, 0, tzinfo=UTC))  # midnight in Norway


def test_nothing_is_examined_inside_a_source_transaction(world: World) -> None:
    world.put("tjeneste", 10, start_dato=d("03-10"))
    assert world.together(world.change("tjeneste", 11), final=False).lines == []
    assert world.day("03-10").lines == []
    assert world.together().by_service == ["11: Start N 2026-02-01"]
    assert world.day("03-10").by_service == ["10: Start N 2026-03-10"]


def test_days_that_have_come_go_by_date_then_key(world: World) -> None:
    for key, start in ((100, "03-11"), (9, "03-11"), (11, "03-10"), (8, "03-12")):
        world.put("tjeneste", key, start_dato=d(start))
    assert [one.service_id for one in world.day("03-12").notifications] == ["11", "9", "100", "8"]


def test_a_planned_provider_change_waits_for_its_day_and_new_events_carry_the_number_told() -> None:
    world = World(CHANGED_ON)
    world.put("person", 1, fnr=OLA)
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    assert world.put("sak", 10, orgnr=B, enhet_fra=d("03-10")).lines == []
    assert not world.held()
    assert world.put("sak", 10, p1_fra=d("03-01")).only.content.organisation_number == A
    assert world.day("03-10").lines == ["Utforer N 2026-03-10"]
