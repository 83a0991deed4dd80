"""Who provides a service, and since when (docs/owed.md, "Providers")."""

from datetime import date

import pytest

from agent.domain.notification import Notification
from tests.shapes import CHANGED_ON, GROUPED_PLACEMENTS, PLACEMENTS
from tests.world import OLA, PER, A, B, C, Outcome, World, at, d


def numbers(outcome: Outcome) -> list[str]:
    """Such as "Start N 2026-02-01 A"."""
    names = {A: "A", B: "B", C: "C", None: "-"}

    def told(one: Notification, line: str) -> str:
        return f"{line} {names[one.content.organisation_number]}"

    return [told(one, line) for one, line in zip(outcome.notifications, outcome.lines, strict=True)]


# Undated


def test_a_change_is_dated_by_the_local_date_of_its_registration() -> None:
    world = World()
    world.put("tjeneste", 10)
    world.now = at("2026-03-05 12:00")
    late = at("2026-03-02 23:30")  # half past midnight in Norway, the day after
    assert world.put("tjeneste", 10, enhet_id=2, committed_at=late).lines == ["Utforer N 2026-03-03"]


def test_a_moment_of_registration_that_lies_ahead_dates_nothing_ahead() -> None:
    world = World()
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, enhet_id=2, committed_at=at("2026-03-09 12:00")).lines == ["Utforer N 2026-03-01"]


# Dated by a configured column


@pytest.fixture
def dated_change() -> World:
    world = World(CHANGED_ON)
    world.put("person", 1, fnr=OLA)
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    return world


def test_a_configured_column_dates_the_change(dated_change: World) -> None:
    changed = dated_change.put("sak", 10, orgnr=B, enhet_fra=d("02-10"))
    assert numbers(changed) == ["Utforer N 2026-02-10 B"]
    assert numbers(dated_change.put("sak", 10, enhet_fra=d("02-11"))) == ["Utforer M 2026-02-11 B"]
    assert numbers(dated_change.put("sak", 10, orgnr=A, enhet_fra=d("02-20"))) == ["Utforer N 2026-02-20 A"]


def test_where_the_configured_column_is_empty_the_registration_dates_it(dated_change: World) -> None:
    assert dated_change.put("sak", 10, orgnr=B).lines == ["Utforer N 2026-03-01"]


@pytest.mark.parametrize(("on", "found"), [(date(2222, 2, 2), ["Q05 block"]), (date(2026, 3, 10), [])])
def test_a_change_that_may_not_be_told_yet_keeps_back_only_itself(
    dated_change: World, on: date, found: list[str]
) -> None:
    changed = dated_change.put("sak", 10, orgnr=B, enhet_fra=on, til=d("02-20"))
    assert numbers(changed) == ["Slutt N 2026-02-20 A"]  # the number last told
    assert dated_change.rules_found() == found
    assert numbers(dated_change.put("sak", 10, enhet_fra=d("02-12"))) == ["Utforer N 2026-02-12 B"]


# Placements


@pytest.fixture
def world() -> World:
    world = World(PLACEMENTS)
    world.together(
        world.change("person", 1, fnr=OLA),
        *(world.change("enhet", key, orgnr=number) for key, number in ((1, A), (2, B), (3, C))),
    )
    return world


def begin(world: World, **columns: object) -> Outcome:
    """A service from 1 February with its first placement at unit 1."""
    return world.together(
        world.change("opphold", 1, sak_id=10, fra=d("02-01"), enhet_id=1),
        world.change("sak", 10, **{"person_id": 1, "type": "LANG", "fra": d("02-01"), **columns}),
    )


def test_a_placement_added_changed_and_deleted(world: World) -> None:
    assert numbers(begin(world)) == ["Start N 2026-02-01 A"]
    assert numbers(world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)) == ["Utforer N 2026-02-10 B"]
    assert numbers(world.put("opphold", 2, fra=d("02-11"))) == ["Utforer M 2026-02-11 B"]
    assert numbers(world.put("opphold", 2, enhet_id=3)) == ["Utforer M 2026-02-11 C"]
    assert numbers(world.delete("opphold", 2)) == ["Utforer C 2026-02-11 C"]


def test_a_placement_registered_in_error_is_annulled(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert world.put("opphold", 2, status="SLETTET").lines == ["Utforer C 2026-02-10"]


def test_a_change_of_the_first_placement_replaces_the_start(world: World) -> None:
    begin(world)
    assert numbers(world.put("opphold", 1, enhet_id=2)) == ["Start M 2026-02-01 B"]


def test_an_earlier_placement_that_is_added_becomes_the_first(world: World) -> None:
    world.together(
        world.change("opphold", 1, sak_id=10, fra=d("02-10"), enhet_id=1),
        world.change("sak", 10, person_id=1, type="LANG", fra=d("02-01")),
    )
    changed = world.put("opphold", 2, sak_id=10, fra=d("02-01"), enhet_id=2)
    assert numbers(changed) == ["Start M 2026-02-01 B", "Utforer N 2026-02-10 A"]


def test_the_first_is_the_one_in_force_when_the_service_begins(world: World) -> None:
    world.put("opphold", 3, sak_id=10, fra=d("01-01"), enhet_id=3)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert numbers(begin(world)) == ["Start N 2026-02-01 A", "Utforer N 2026-02-10 B"]


def test_another_room_of_the_same_unit_is_no_change(world: World) -> None:
    begin(world)
    assert world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=1).lines == []
    assert numbers(world.put("opphold", 3, sak_id=10, fra=d("02-05"), enhet_id=2)) == [
        "Utforer N 2026-02-05 B",
        "Utforer N 2026-02-10 A",
    ]


def test_a_placement_to_come_waits_and_one_moved_ahead_is_annulled_and_comes_again(world: World) -> None:
    begin(world)
    assert world.put("opphold", 2, sak_id=10, fra=d("03-10"), enhet_id=2).lines == []
    assert world.day("03-10").lines == ["Utforer N 2026-03-10"]
    assert world.put("opphold", 2, fra=d("03-20")).lines == ["Utforer C 2026-03-10"]
    assert world.day("03-20").lines == ["Utforer N 2026-03-20"]


def test_a_wrong_placement_keeps_back_only_its_own_change(world: World) -> None:
    begin(world)
    changed = world.together(
        world.change("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=None),
        world.change("sak", 10, til=d("02-20")),
    )
    assert numbers(changed) == ["Slutt N 2026-02-20 A"]
    assert world.rules_found() == ["Q03 block"]


@pytest.mark.parametrize("day", [None, date(2222, 2, 2), date(1980, 1, 1)])
@pytest.mark.parametrize("key", [1, 2, 3])
def test_a_standing_course_stays_as_it_stands_while_a_placements_date_is_wrong(
    world: World, key: int, day: date | None
) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    world.put("opphold", 3, sak_id=10, fra=d("02-20"), enhet_id=3)
    right = {1: d("02-01"), 2: d("02-10"), 3: d("02-20")}[key]
    assert world.put("opphold", key, fra=day).lines == []
    assert world.rules_found() == ["Q05 block"]
    assert world.put("opphold", key, fra=right).lines == []
    assert world.rules_found() == []


def test_while_one_placements_date_is_wrong_a_later_one_is_told_and_a_deleted_one_annulled(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    world.put("opphold", 1, fra=None)
    assert numbers(world.put("opphold", 3, sak_id=10, fra=d("02-20"), enhet_id=3)) == ["Utforer N 2026-02-20 C"]
    assert world.delete("opphold", 2).lines == ["Utforer C 2026-02-10"]


def test_while_one_placements_date_is_wrong_another_room_of_the_unit_told_last_is_no_change(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    world.put("opphold", 1, fra=None)
    assert world.put("opphold", 3, sak_id=10, fra=d("02-10"), enhet_id=2).lines == []


def test_a_standing_change_whose_unit_is_away_stays_and_the_next_is_measured_by_it(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert world.delete("enhet", 2).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert world.put("opphold", 3, sak_id=10, fra=d("02-20"), enhet_id=2).lines == []
    assert numbers(world.put("opphold", 4, sak_id=10, fra=d("02-25"), enhet_id=3)) == ["Utforer N 2026-02-25 C"]


def test_a_wrong_first_placement_keeps_an_unreported_service_back(world: World) -> None:
    world.put("opphold", 1, sak_id=10, fra=d("02-01"), enhet_id=None)
    assert world.put("sak", 10, person_id=1, type="LANG", fra=d("02-01")).category() == "parked"
    assert numbers(world.put("opphold", 1, enhet_id=1)) == ["Start N 2026-02-01 A"]


def test_a_wrong_first_placement_of_a_reported_service_changes_nothing_behind_it(world: World) -> None:
    begin(world)
    assert world.put("opphold", 1, enhet_id=None).lines == []
    assert numbers(world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=1)) == []
    assert numbers(world.put("opphold", 3, sak_id=10, fra=d("02-12"), enhet_id=2)) == ["Utforer N 2026-02-12 B"]


def test_no_placement_parks_a_stay_and_lets_housing_go_with_a_warning(world: World) -> None:
    assert world.put("sak", 10, person_id=1, type="LANG", fra=d("02-01")).category() == "parked"
    assert world.rules_found() == ["Q03 block"]
    assert numbers(world.put("sak", 11, person_id=1, type="BOLIG", fra=d("02-01"))) == ["Start N 2026-02-01 -"]
    assert world.rules_found("11") == ["Q03 warn"]


def test_when_the_last_placement_is_deleted_its_change_is_annulled_and_the_start_stays(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert world.together(world.deletion("opphold", 1), world.deletion("opphold", 2)).lines == ["Utforer C 2026-02-10"]
    assert world.rules_found() == ["Q03 block"]


def test_a_service_whose_first_placement_is_still_to_come_starts_with_its_number(world: World) -> None:
    world.put("opphold", 1, sak_id=10, fra=d("03-10"), enhet_id=1)
    assert numbers(world.put("sak", 10, person_id=1, type="LANG", fra=d("02-01"))) == ["Start N 2026-02-01 A"]
    assert world.day("03-10").lines == []


def test_an_event_carries_the_number_in_force_on_its_day(world: World) -> None:
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert numbers(begin(world, til=d("02-09"))) == [
        "Start N 2026-02-01 A",
        "Slutt N 2026-02-09 A",
        "Utforer N 2026-02-10 B",
    ]
    assert numbers(world.put("sak", 10, til=None)) == ["Slutt C 2026-02-09 A"]
    assert numbers(world.put("sak", 10, til=d("02-10"))) == ["Slutt N 2026-02-10 B"]


def test_while_the_start_is_wrong_the_course_is_measured_by_the_start_that_stands(world: World) -> None:
    begin(world)
    world.put("opphold", 2, sak_id=10, fra=d("02-10"), enhet_id=2)
    assert world.put("sak", 10, fra=date(2028, 12, 1)).lines == []
    assert world.rules_found() == ["Q05 block"]


def test_a_change_that_moves_away_while_another_placement_is_wrong_leaves_nothing_for_a_second_look(
    world: World,
) -> None:
    """What may be told behind a moved change is measured by where it moves to, not by where it stood."""
    begin(world)
    for key, unit in ((2, 2), (3, 2)):
        world.put("opphold", key, sak_id=10, fra=d("02-10"), enhet_id=unit)
    world.put("opphold", 1, fra=None)
    moved = world.put("opphold", 2, fra=d("01-28"), enhet_id=1)
    assert numbers(moved) == ["Utforer M 2026-01-28 A", "Utforer N 2026-02-10 B"]
    assert world.look_again().lines == []


def test_placements_that_are_the_services_own_rows() -> None:
    world = World(GROUPED_PLACEMENTS)
    world.put("person", 1, fnr=OLA)
    row = {"sak_id": 10, "person_id": 1, "type": "LANG"}
    assert numbers(world.put("opphold", 1, **row, fra=d("02-01"), orgnr=A)) == ["Start N 2026-02-01 A"]
    assert numbers(world.put("opphold", 2, **row, fra=d("02-10"), orgnr=B)) == ["Utforer N 2026-02-10 B"]
    assert numbers(world.put("opphold", 2, til=d("02-20"))) == ["Slutt N 2026-02-20 B"]
    assert numbers(world.delete("opphold", 1)) == [
        "Utforer C 2026-02-10 B",
        "Start M 2026-02-10 B",
    ]


def test_the_number_last_told_is_that_of_the_change_told_last_whatever_its_date(dated_change: World) -> None:
    dated_change.put("sak", 10, orgnr=B, enhet_fra=d("02-20"))
    dated_change.put("sak", 10, orgnr=C, enhet_fra=d("02-10"))
    assert dated_change.put("person", 1, fnr=PER).lines == [
        "Start M 2026-02-01",
        "Utforer M 2026-02-10",
        "Utforer M 2026-02-20",
    ]
    assert dated_change.look_again().lines == []
    assert numbers(dated_change.put("sak", 10, orgnr=B, enhet_fra=d("02-25"))) == ["Utforer N 2026-02-25 B"]
