"""Every change ends in exactly one category, and the sums add up (invariant 3; docs/owed.md, "Counting").

World.together asserts the two sums after every transaction of every test.
"""

from dataclasses import replace

import pytest

from connectors.source import Change, Operation, Undecodable
from tests.world import KARI, World, d


@pytest.fixture
def world() -> World:
    return World()


def test_lines_are_changes_and_ignored_and_unreadable(world: World) -> None:
    before = world.counters()
    world.put("tjeneste", 10)
    world.unreadable()
    world.ignored()
    counted = world.counters() - before
    assert counted == {"lines": 3, "changes": 1, "reported": 1, "unreadable": 1, "ignored": 1}


def test_an_unreadable_line_is_no_change_and_is_kept(world: World) -> None:
    assert world.unreadable().counts == {"lines": 1, "unreadable": 1}
    assert world.ledger.read(lambda tx: tx.count_unreadable()) == 1


def test_what_is_no_row_of_a_mapped_table_is_ignored(world: World) -> None:
    assert world.ignored().counts == {"lines": 1, "ignored": 1}
    emptied = world.together(Change("public.pause", Operation.TRUNCATE, None, None))
    assert emptied.counts == {"lines": 1, "ignored": 1}


def test_a_defective_row_is_parked_also_when_it_comes_again(world: World) -> None:
    change = world.change("tjeneste", 10)
    bad = replace(change, row={**(change.row or {}), "start_dato": Undecodable("it is no date")}, version=None)
    assert world.together(bad).category() == "parked"
    assert world.together(bad).category() == "parked"


def test_a_defective_row_comes_before_what_it_led_to(world: World) -> None:
    change = world.change("bruker", 1, fnr=KARI)
    bad = replace(change, row={**(change.row or {}), "bydel": Undecodable("it is no text")})
    changed = world.together(world.change("tjeneste", 10), bad)
    assert changed.counts["parked"] == 2  # the person's record keeps the service back
    other = world.together(world.change("tjeneste", 11, bruker_id=2), replace(bad, version=None))
    assert (other.counts["reported"], other.counts["parked"]) == (1, 1)


def test_what_led_to_a_notification_is_reported_though_something_else_is_parked(world: World) -> None:
    assert world.put("tjeneste", 10, slutt_dato=d("01-01")).category() == "reported"
    assert world.parked()


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "SLETTET"},
        {"lokal_type": "PB"},
        {"lokal_type": "NY"},
        {"lokal_type": "TRYGG"},
        {"start_dato": d("2019-01-01"), "slutt_dato": d("2020-01-01")},
        {"start_dato": None},
        {"bruker_id": 4},
    ],
)
def test_nothing_stands_and_it_is_out_of_scope(world: World, columns: dict[str, object]) -> None:
    world.put("bruker", 4, fnr=KARI, fornavn="Donald", etternavn="Duck")
    assert world.put("tjeneste", 10, **columns).category() == "nothing_to_report"


def test_what_was_reported_once_and_is_withdrawn_is_nothing_to_report_whatever_else_is_wrong(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, start_dato=None)
    assert world.put("tjeneste", 10, enhet_id=None, bruker_id=99, saksnummer="S-5").category() == "nothing_to_report"


def test_out_of_scope_comes_before_what_is_missing(world: World) -> None:
    assert world.put("tjeneste", 10, start_dato=None, bruker_id=99, enhet_id=99).category() == "nothing_to_report"
    assert world.put("tjeneste", 11, lokal_type="GAMMEL", start_dato=None).category() == "nothing_to_report"


def test_a_row_that_says_nothing_new_is_nothing_to_report_also_of_a_parked_service(world: World) -> None:
    world.put("tjeneste", 10, enhet_id=None)
    assert world.put("tjeneste", 10).category() == "nothing_to_report"
    assert world.put("tjeneste", 10, version=1).category() == "nothing_to_report"


def test_a_delete_of_what_is_not_known_is_nothing_to_report(world: World) -> None:
    assert world.delete("tjeneste", 99).category() == "nothing_to_report"


def test_a_rule_keeps_back_something_owed(world: World) -> None:
    assert world.put("tjeneste", 10, enhet_id=None).category() == "parked"
    assert world.put("tjeneste", 11, lokal_type="GAMMEL").category() == "parked"


def test_parked_comes_before_held(world: World) -> None:
    assert world.put("tjeneste", 10, enhet_id=None, bruker_id=99).category() == "parked"


def test_a_referenced_row_is_missing_or_the_start_is_to_come(world: World) -> None:
    assert world.put("tjeneste", 10, bruker_id=99).category() == "held"
    assert world.put("tjeneste", 11, enhet_id=99).category() == "held"
    assert world.put("tjeneste", 12, start_dato=d("03-10")).category() == "held"
    assert world.put("pause", 7, tjeneste_id=99).category() == "held"


def test_an_end_to_come_is_nothing_to_report_yet(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, slutt_dato=d("03-10")).category() == "nothing_to_report"
    assert world.put("pause", 7, fra_dato=d("03-05")).category() == "nothing_to_report"


def test_a_row_on_which_no_service_hangs_is_nothing_to_report(world: World) -> None:
    assert world.put("bruker", 50, fnr=KARI).category() == "nothing_to_report"


@pytest.mark.parametrize(
    ("services", "category"),
    [
        ({20: {}, 21: {"enhet_id": None}, 22: {"enhet_id": 99}, 23: {"start_dato": None}}, "reported"),
        ({21: {"enhet_id": None}, 22: {"enhet_id": 99}, 23: {"start_dato": None}}, "parked"),
        ({22: {"enhet_id": 99}, 23: {"start_dato": None}}, "held"),
        ({23: {"start_dato": None}}, "nothing_to_report"),
    ],
)
def test_a_change_that_touches_several_services_is_reported_before_parked_before_held_before_nothing(
    world: World, services: dict[int, dict[str, object]], category: str
) -> None:
    for key, columns in services.items():
        world.put("tjeneste", key, bruker_id=5, **columns)
    assert world.put("bruker", 5, fnr=KARI).category() == category


def test_services_that_are_held_and_that_have_something_parked_are_counted_beside_it(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 11, enhet_id=None, bruker_id=99)
    world.put("tjeneste", 12, start_dato=d("03-10"))
    counts = world.ledger.read(lambda tx: tx.count_services())
    assert (counts.known, counts.standing, counts.parked, counts.held) == (3, 1, 1, 2)
    world.put("tjeneste", 11, enhet_id=1, bruker_id=1)
    counts = world.ledger.read(lambda tx: tx.count_services())
    assert (counts.parked, counts.held) == (0, 1)


def test_the_counts_of_a_large_transaction_come_with_its_last_part(world: World) -> None:
    assert world.together(world.change("tjeneste", 10), final=False).counts == {}
    assert world.together(world.change("tjeneste", 11)).counts == {"lines": 2, "changes": 2, "reported": 2}
