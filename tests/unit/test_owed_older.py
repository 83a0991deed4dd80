"""Older rows, deleted rows, and what is kept of them (docs/owed.md, "Older and deleted")."""

from dataclasses import replace
from datetime import datetime

import pytest

from connectors.source import Change, Missing, Undecodable, Version
from tests.world import KARI, World, d

OPTIONAL = {"registrert_tid", "endret_tid", "saksnummer", "bydel", "fodselsdato"}


@pytest.fixture
def world() -> World:
    return World()


def test_an_older_row_is_dropped(world: World) -> None:
    world.put("tjeneste", 10, version=200, start_dato=d("02-03"))
    assert world.put("tjeneste", 10, version=199, start_dato=d("02-01")).lines == []
    assert world.look_again().lines == []
    assert world.standing() == ["TjenesteStart 2026-02-03"]


def test_a_row_of_the_same_version_is_taken(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    assert world.put("tjeneste", 10, version=200, start_dato=d("02-02")).lines == ["Start M 2026-02-02"]


def test_an_older_delete_is_dropped_too(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    assert world.delete("tjeneste", 10, version=199).lines == []
    assert world.delete("tjeneste", 10, version=201).lines == ["Start C 2026-02-01"]


def test_deleted_keys_are_remembered(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    world.delete("tjeneste", 10, version=202)
    assert world.put("tjeneste", 10, version=201).lines == []
    assert world.put("tjeneste", 10, version=203).lines == ["Start N 2026-02-01"]


def test_a_delete_before_its_insert_is_remembered(world: World) -> None:
    assert world.delete("tjeneste", 10, version=200).lines == []
    assert world.put("tjeneste", 10, version=199).lines == []
    assert world.put("tjeneste", 10, version=201).lines == ["Start N 2026-02-01"]


def test_no_version_counts_as_new(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    assert world.put("tjeneste", 10, version=-1, start_dato=d("02-02")).lines == ["Start M 2026-02-02"]
    # and does not forget the version that was kept
    assert world.put("tjeneste", 10, version=199, start_dato=d("02-03")).lines == []


def test_versions_of_another_epoch_do_not_compare(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    change = replace(world.change("tjeneste", 10, start_dato=d("02-02")), version=Version("another", (1,)))
    assert world.together(change).lines == ["Start M 2026-02-02"]


def test_a_snapshot_row_is_a_row_like_any_other(world: World) -> None:
    world.put("tjeneste", 10, version=200)
    again = replace(world.change("tjeneste", 10, version=201), snapshot=True)
    assert world.together(again).lines == []
    older = replace(world.change("tjeneste", 10, version=100, start_dato=d("02-02")), snapshot=True)
    assert world.together(older).lines == []
    newer = replace(world.change("tjeneste", 10, version=300, start_dato=d("02-03")), snapshot=True)
    assert world.together(newer).lines == ["Start M 2026-02-03"]


def test_an_update_before_its_insert_is_a_row(world: World) -> None:
    assert world.put("tjeneste", 10, version=200, slutt_dato=d("02-20")).lines == [
        "Start N 2026-02-01",
        "Slutt N 2026-02-20",
    ]
    assert world.put("tjeneste", 10, version=199, slutt_dato=None).lines == []


def test_a_delete_of_a_row_never_reported_owes_nothing(world: World) -> None:
    assert world.delete("tjeneste", 99).lines == []
    assert world.delete("pause", 99).lines == []


def test_a_persons_row_deleted_under_a_standing_service_is_held_and_nothing_annulled(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.delete("bruker", 1).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert "was deleted" in world.text("H01")
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == []
    assert world.put("bruker", 1, fnr=KARI).lines == ["Start M 2026-02-01", "Slutt N 2026-02-20"]


def test_a_units_row_deleted_under_a_standing_service_is_held_and_nothing_annulled(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.delete("enhet", 1).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert "was deleted" in world.text("H01")
    assert world.standing() == ["TjenesteStart 2026-02-01"]


def test_a_row_kept_with_unchanged_large_values_keeps_what_is_known(world: World) -> None:
    world.put("tjeneste", 10)
    change = _with(world.change("tjeneste", 10, slutt_dato=d("02-20")), start_dato=Missing.UNAVAILABLE)
    assert world.together(change).lines == ["Slutt N 2026-02-20"]


def test_a_value_that_was_never_seen_is_not_taken_for_empty(world: World) -> None:
    change = _with(world.change("tjeneste", 10), start_dato=Missing.UNAVAILABLE)
    assert world.together(change).category() == "parked"
    assert world.rules_found() == ["Q20 block"]


def test_a_defective_row_parks_its_service_until_the_next_good_one(world: World) -> None:
    world.put("tjeneste", 10)
    change = _with(world.change("tjeneste", 10, start_dato=d("02-05")), slutt_dato=Undecodable("it is no date"))
    assert world.together(change).lines == []
    assert world.rules_found() == ["Q20 block"]
    assert "slutt_dato: it is no date" in world.text("Q20")
    assert world.put("bruker", 1, fnr=KARI).lines == []  # nothing is derived from its rows now
    assert world.put("tjeneste", 10, slutt_dato=None).lines == ["Start M 2026-02-05"]


def test_a_defective_row_may_still_be_deleted(world: World) -> None:
    world.put("tjeneste", 10)
    world.together(_with(world.change("tjeneste", 10), slutt_dato=Undecodable("it is no date")))
    assert world.delete("tjeneste", 10).lines == ["Start C 2026-02-01"]
    assert world.rules_found() == []


def test_a_row_first_read_after_a_defective_one_is_first_seen_then(world: World) -> None:
    made = datetime(2026, 2, 20, 9, 0)  # noqa: DTZ001 - wall-clock time in Norway, as the EPJ writes it
    world.together(_with(world.change("tjeneste", 10, registrert_tid=made), slutt_dato=Undecodable("it is no date")))
    told = world.put("tjeneste", 10, slutt_dato=None).only
    assert told.content.registered_at.isoformat() == "2026-02-20T08:00:00+00:00"


@pytest.mark.parametrize(
    ("table", "key", "column"),
    [("bruker", 1, "fnr"), ("enhet", 1, "orgnr"), ("pause", 7, "til_dato")],
)
def test_a_defective_row_beside_the_service_holds_back_only_what_needs_it(
    world: World, table: str, key: int, column: str
) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    change = world.change(table, key)
    world.together(_with(change, **{column: Undecodable("it cannot be read")}))
    assert world.rules_found() == ["Q20 block"]
    ended = world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert ended.lines == ([] if table == "bruker" else ["Slutt N 2026-02-20"])
    good = world.put(table, key)
    assert good.lines == (["Slutt N 2026-02-20"] if table == "bruker" else [])


def _with(change: Change, **columns: object) -> Change:
    return replace(change, row={**(change.row or {}), **columns})


def test_a_change_may_leave_out_what_no_event_needs(world: World) -> None:
    """Registration moments, labels, district, birth date: what was known stays; any other column is a defect."""
    world.put("bruker", 1, bydel="030101")
    change = world.change("tjeneste", 10)
    row = {column: value for column, value in (change.row or {}).items() if column not in OPTIONAL}
    told = world.together(replace(change, row=row)).only
    assert told.content.person.district == "030101"
    person = world.change("bruker", 1, fnr=KARI)
    world.together(replace(person, row={c: v for c, v in (person.row or {}).items() if c not in OPTIONAL}))
    assert world.chain[-1].content.person.district == "030101"
    lacking = world.change("tjeneste", 11)
    row = {column: value for column, value in (lacking.row or {}).items() if column != "slutt_dato"}
    assert world.together(replace(lacking, row=row)).category() == "parked"
    assert "slutt_dato: the column is not in the change" in world.text("Q20", "11")
