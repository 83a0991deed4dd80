"""In what order notifications enter the chain (docs/owed.md, "Order")."""

import pytest

from tests.world import PER, World, d


@pytest.fixture
def world() -> World:
    return World()


def test_annulments_go_first_the_last_booked_first_whatever_their_dates(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    world.put("pause", 7, fra_dato=d("02-12"))
    world.put("pause", 6, fra_dato=d("02-15"))
    # the end, booked before the pauses, is annulled behind them
    changed = world.together(
        world.change("tjeneste", 10, slutt_dato=None, start_dato=d("02-02")),
        world.deletion("pause", 7),
        world.deletion("pause", 6),
    )
    assert changed.lines == ["Fra 6 C 2026-02-15", "Fra 7 C 2026-02-12", "Slutt C 2026-02-20", "Start M 2026-02-02"]


def test_what_was_replaced_keeps_the_place_of_its_first_notification_among_the_annulments(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("pause", 7)
    world.put("tjeneste", 10, start_dato=d("02-02"))
    assert world.delete("tjeneste", 10).lines == ["Fra 7 C 2026-02-10", "Start C 2026-02-02"]


def test_new_and_replaced_events_go_by_date(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-25"))
    changed = world.together(
        world.change("pause", 7, fra_dato=d("02-20"), til_dato=d("02-22")),
        world.change("pause", 8, fra_dato=d("02-05"), til_dato=d("02-07")),
        world.change("tjeneste", 10, slutt_dato=d("02-24"), start_dato=d("02-02")),
    )
    assert changed.lines == [
        "Start M 2026-02-02",
        "Fra 8 N 2026-02-05",
        "Til 8 N 2026-02-07",
        "Fra 7 N 2026-02-20",
        "Til 7 N 2026-02-22",
        "Slutt M 2026-02-24",
    ]


def test_on_one_day_start_then_pauses_then_provider_then_end(world: World) -> None:
    day = d("03-01")
    world.together(world.change("tjeneste", 10, start_dato=day))
    changed = world.together(
        world.change("tjeneste", 10, bruker_id=2, slutt_dato=day, enhet_id=2),
        world.change("pause", 7, fra_dato=day, til_dato=day),
    )
    assert changed.lines == [
        "Start M 2026-03-01",
        "Fra 7 N 2026-03-01",
        "Til 7 N 2026-03-01",
        "Utforer N 2026-03-01",
        "Slutt N 2026-03-01",
    ]


def test_pauses_of_one_day_go_by_their_beginnings_then_by_their_keys_as_numbers(world: World) -> None:
    changed = world.together(
        world.change("pause", 100, fra_dato=d("02-05"), til_dato=d("02-09")),
        world.change("pause", 20, fra_dato=d("02-09"), til_dato=d("02-09")),
        world.change("pause", 3, fra_dato=d("02-09"), til_dato=d("02-09")),
        world.change("tjeneste", 10),
    )
    assert changed.lines == [
        "Start N 2026-02-01",
        "Fra 100 N 2026-02-05",
        "Til 100 N 2026-02-09",
        "Fra 3 N 2026-02-09",
        "Til 3 N 2026-02-09",
        "Fra 20 N 2026-02-09",
        "Til 20 N 2026-02-09",
    ]


def test_between_services_the_order_is_that_of_the_changes(world: World) -> None:
    changed = world.together(*(world.change("tjeneste", key) for key in (30, 4, 200)))
    assert [one.service_id for one in changed.notifications] == ["30", "4", "200"]


def test_one_change_that_touches_several_services_takes_them_by_key(world: World) -> None:
    world.together(*(world.change("tjeneste", key) for key in (100, 9)))
    changed = world.put("bruker", 1, id_type="D")
    assert changed.by_service == ["9: Start M 2026-02-01", "100: Start M 2026-02-01"]


def test_one_change_that_touches_several_services_sends_the_annulments_of_all_of_them_first() -> None:
    world = World(fictitious_numbers=frozenset({PER}))
    world.together(*(world.change("tjeneste", key) for key in (100, 9)))
    world.put("tjeneste", 9, slutt_dato=d("02-20"))
    assert world.put("bruker", 1, fnr=PER).by_service == [
        "9: Slutt C 2026-02-20",
        "9: Start C 2026-02-01",
        "100: Start C 2026-02-01",
    ]


def test_a_pause_that_moves_is_annulled_there_before_it_is_told_here_whichever_key_is_lower(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("tjeneste", 9))
    world.put("pause", 7)
    assert world.put("pause", 7, tjeneste_id=9).by_service == ["10: Fra 7 C 2026-02-10", "9: Fra 7 N 2026-02-10"]
    assert world.put("pause", 7, tjeneste_id=10).by_service == ["9: Fra 7 C 2026-02-10", "10: Fra 7 N 2026-02-10"]


def test_also_where_the_new_service_was_touched_before_in_the_transaction(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("tjeneste", 9))
    world.put("pause", 7)
    changed = world.together(
        world.change("tjeneste", 9, slutt_dato=d("02-20")),
        world.change("tjeneste", 11),
        world.change("pause", 7, tjeneste_id=9),
    )
    assert changed.by_service == [
        "10: Fra 7 C 2026-02-10",
        "9: Fra 7 N 2026-02-10",
        "9: Slutt N 2026-02-20",
        "11: Start N 2026-02-01",
    ]


def test_services_that_several_changes_tie_together_send_their_annulments_first_and_each_once(world: World) -> None:
    world.together(*(world.change("tjeneste", key) for key in (9, 10, 11, 12)))
    world.together(world.change("pause", 7, tjeneste_id=10), world.change("pause", 8, tjeneste_id=9))
    changed = world.together(
        world.change("tjeneste", 11, slutt_dato=d("02-20")),
        world.change("pause", 7, tjeneste_id=9),
        world.change("tjeneste", 12, slutt_dato=d("02-20")),
        world.change("pause", 8, tjeneste_id=11),
    )
    assert changed.by_service == [
        "9: Fra 8 C 2026-02-10",
        "10: Fra 7 C 2026-02-10",
        "11: Fra 8 N 2026-02-10",
        "11: Slutt N 2026-02-20",
        "9: Fra 7 N 2026-02-10",
        "12: Slutt N 2026-02-20",
    ]


def test_a_primary_key_change_gives_the_annulments_then_the_new_events(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    changed = world.together(world.deletion("tjeneste", 10), world.change("tjeneste", 2, slutt_dato=d("02-20")))
    assert changed.by_service == [
        "10: Slutt C 2026-02-20",
        "10: Start C 2026-02-01",
        "2: Start N 2026-02-01",
        "2: Slutt N 2026-02-20",
    ]


def test_the_states_inside_a_transaction_owe_nothing(world: World) -> None:
    changed = world.together(
        world.change("tjeneste", 10, start_dato=d("02-05")),
        world.change("tjeneste", 10, start_dato=d("02-06"), slutt_dato=d("02-20")),
        world.change("tjeneste", 10, start_dato=d("02-07"), slutt_dato=None),
    )
    assert changed.lines == ["Start N 2026-02-07"]
    assert changed.counts["reported"] == 3


def test_the_parts_of_a_large_transaction_are_examined_together_behind_its_last(world: World) -> None:
    assert world.together(world.change("tjeneste", 10), final=False).lines == []
    last = world.together(world.change("tjeneste", 10, start_dato=d("02-03")))
    assert last.lines == ["Start N 2026-02-03"]
    assert last.counts["changes"] == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_final_picture_is_the_same_whatever_the_order_across_keys(order: tuple[int, ...]) -> None:
    world = World(seed=False)
    changes = [
        world.change("bruker", 1, fnr="17854010026"),
        world.change("tjeneste", 10, enhet_id=None, lokal_type="BOLIG", slutt_dato=d("02-20")),
        world.change("pause", 7, til_dato=d("02-15")),
    ]
    for index in order:
        world.together(changes[index])
    assert world.standing() == [
        "MidlertidigStoppFra 2026-02-10",
        "MidlertidigStoppTil 2026-02-15",
        "TjenesteSlutt 2026-02-20",
        "TjenesteStart 2026-02-01",
    ]
