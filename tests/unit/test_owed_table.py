"""Principle 2: what is owed is the difference. One test for each line of the table (docs/owed.md, "What is owed")."""

import pytest

from tests.shapes import GROUPED_PERSON
from tests.world import KARI, PER, B, C, World, d, org


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stay(world: World) -> World:
    """A stay that has a start, a pause with both ends, and an end."""
    world.put("tjeneste", 10)
    world.put("pause", 7, til_dato=d("02-15"))
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    return world


ALL_FOUR_ANNULLED = ["Slutt C 2026-02-20", "Til 7 C 2026-02-15", "Fra 7 C 2026-02-10", "Start C 2026-02-01"]
ALL_FOUR = ["Start M 2026-02-01", "Fra 7 M 2026-02-10", "Til 7 M 2026-02-15", "Slutt M 2026-02-20"]


def test_a_start_date_and_nothing_reported_gives_the_start_and_what_else_has_happened(world: World) -> None:
    changes = [
        world.change("pause", 7, til_dato=d("02-15")),
        world.change("tjeneste", 10, slutt_dato=d("02-20")),
    ]
    assert world.together(*changes).lines == [
        "Start N 2026-02-01",
        "Fra 7 N 2026-02-10",
        "Til 7 N 2026-02-15",
        "Slutt N 2026-02-20",
    ]


def test_no_start_date_and_nothing_reported_owes_nothing(world: World) -> None:
    assert world.put("tjeneste", 10, start_dato=None, slutt_dato=d("02-20")).lines == []
    assert world.rules_found() == ["Q04 warn"]


def test_a_changed_start_date_replaces_the_start_alone(stay: World) -> None:
    assert stay.put("tjeneste", 10, start_dato=d("02-03")).lines == ["Start M 2026-02-03"]


def test_a_removed_start_date_annuls_the_start_and_every_other_event_standing(stay: World) -> None:
    assert stay.put("tjeneste", 10, start_dato=None).lines == ALL_FOUR_ANNULLED
    assert stay.standing() == []


def test_an_end_date_set_changed_removed_and_set_again(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == ["Slutt N 2026-02-20"]
    assert world.put("tjeneste", 10, slutt_dato=d("02-21")).lines == ["Slutt M 2026-02-21"]
    assert world.put("tjeneste", 10, slutt_dato=None).lines == ["Slutt C 2026-02-21"]
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == ["Slutt N 2026-02-20"]


def test_another_organisation_number_is_a_change_of_provider_each_time_there_and_back_again_too(world: World) -> None:
    world.put("tjeneste", 10)
    told = [world.put("tjeneste", 10, enhet_id=unit).only for unit in (2, 1, 2)]
    assert [(one.event.value, one.status.value) for one in told] == [("TjenesteutforerEndret", "N")] * 3
    numbers = [one.content.organisation_number for one in told]
    assert numbers == [B, org(0), B]
    assert len({one.event_guid for one in told}) == 3


def test_an_organisation_number_where_there_was_none_is_a_change_of_provider(world: World) -> None:
    assert world.put("tjeneste", 10, lokal_type="BOLIG", enhet_id=None).only.content.organisation_number is None
    assert world.put("tjeneste", 10, enhet_id=2).only.content.organisation_number == B


def test_a_change_of_provider_on_an_ended_service_is_told_too(stay: World) -> None:
    assert stay.put("tjeneste", 10, enhet_id=2).lines == ["Utforer N 2026-03-01"]


def test_a_change_of_the_units_own_number_is_a_change_of_provider(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("enhet", 1, orgnr=org(5)).only.content.organisation_number == org(5)


def test_a_housing_service_whose_number_is_removed_owes_nothing_and_warns(world: World) -> None:
    world.put("tjeneste", 10, lokal_type="BOLIG")
    assert world.put("tjeneste", 10, enhet_id=None).lines == []
    assert world.rules_found() == ["Q03 warn"]


def test_a_pause_begins_its_from_date_changes_it_is_deleted(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("pause", 7).lines == ["Fra 7 N 2026-02-10"]
    assert world.put("pause", 7, fra_dato=d("02-11")).lines == ["Fra 7 M 2026-02-11"]
    world.put("pause", 7, til_dato=d("02-15"))
    assert world.delete("pause", 7).lines == ["Til 7 C 2026-02-15", "Fra 7 C 2026-02-11"]


def test_a_pause_registered_in_error_is_annulled_with_its_end(stay: World) -> None:
    assert stay.put("pause", 7, status="FEILREGISTRERT").lines == ["Til 7 C 2026-02-15", "Fra 7 C 2026-02-10"]


def test_a_pause_ends_its_to_date_changes_it_is_removed(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("pause", 7)
    assert world.put("pause", 7, til_dato=d("02-15")).lines == ["Til 7 N 2026-02-15"]
    assert world.put("pause", 7, til_dato=d("02-16")).lines == ["Til 7 M 2026-02-16"]
    assert world.put("pause", 7, til_dato=None).lines == ["Til 7 C 2026-02-16"]


def test_a_pause_moved_to_another_service_is_annulled_there_and_told_here(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("tjeneste", 9))
    world.put("pause", 7, til_dato=d("02-15"))
    assert world.put("pause", 7, tjeneste_id=9).by_service == [
        "10: Til 7 C 2026-02-15",
        "10: Fra 7 C 2026-02-10",
        "9: Fra 7 N 2026-02-10",
        "9: Til 7 N 2026-02-15",
    ]


def test_an_annulled_service_annuls_everything_and_gives_new_events_when_it_comes_back(stay: World) -> None:
    first = {one.event_guid for one in stay.chain}
    assert stay.put("tjeneste", 10, status="FEILREGISTRERT").lines == ALL_FOUR_ANNULLED
    back = stay.put("tjeneste", 10, status="AKTIV")
    assert back.lines == [line.replace(" M ", " N ") for line in ALL_FOUR]
    assert not first & {one.event_guid for one in back.notifications}


def test_a_deleted_row_annuls_everything_and_gives_new_events_when_it_comes_back(stay: World) -> None:
    assert stay.delete("tjeneste", 10).lines == ALL_FOUR_ANNULLED
    assert stay.put("tjeneste", 10, slutt_dato=d("02-20")).lines == [line.replace(" M ", " N ") for line in ALL_FOUR]


def test_a_changed_primary_key_is_a_delete_and_a_create(world: World) -> None:
    world.put("tjeneste", 10)
    changed = world.together(world.deletion("tjeneste", 10), world.change("tjeneste", 11))
    assert changed.by_service == ["10: Start C 2026-02-01", "11: Start N 2026-02-01"]


def test_a_changed_type_within_what_is_reported_replaces_everything_standing(stay: World) -> None:
    changed = stay.put("tjeneste", 10, lokal_type="KORT")
    assert changed.lines == ALL_FOUR
    assert {one.content.service_type for one in changed.notifications} == {"20"}


@pytest.mark.parametrize("local_type", ["PB", "TRYGG"])
def test_a_change_to_a_known_type_that_is_not_reported_annuls_everything(stay: World, local_type: str) -> None:
    assert stay.put("tjeneste", 10, lokal_type=local_type).lines == ALL_FOUR_ANNULLED
    assert stay.rules_found() == []


def test_a_corrected_number_replaces_everything_standing(stay: World) -> None:
    corrected = stay.put("bruker", 1, fnr=PER)
    assert corrected.lines == ALL_FOUR
    assert {one.content.person.identity for one in corrected.notifications} == {PER}
    assert len({one.content.person.patient_guid for one in stay.chain}) == 1


def test_a_corrected_number_type_replaces_everything_standing(stay: World) -> None:
    corrected = stay.put("bruker", 1, id_type="D")
    assert corrected.lines == ALL_FOUR
    assert {one.content.person.identity_type for one in corrected.notifications} == {"2"}


def test_a_corrected_user_number_replaces_everything_standing() -> None:
    world = World(GROUPED_PERSON)
    world.together(
        world.change("person", 1, fnr=KARI, brukernr="ABC", fodt=d("02-01")),
        world.change("sak", 10, person_id=1, orgnr=B, type="LANG", fra=d("02-01")),
    )
    corrected = world.put("person", 1, brukernr="DEF")
    assert corrected.lines == ["Start M 2026-02-01"]
    assert corrected.only.content.person.user_number == "DEF"


def test_a_service_moved_to_another_person_replaces_everything_standing(stay: World) -> None:
    moved = stay.put("tjeneste", 10, bruker_id=2)
    assert moved.lines == ALL_FOUR
    assert {one.content.person.identity for one in moved.notifications} == {KARI}
    assert len({one.content.person.patient_guid for one in stay.chain}) == 2


def test_a_new_district_alone_owes_nothing_and_goes_with_the_next_event(stay: World) -> None:
    assert stay.put("bruker", 1, bydel="030101").lines == []
    assert stay.put("tjeneste", 10, start_dato=d("02-02")).only.content.person.district == "030101"


def test_the_same_row_again_owes_nothing(stay: World) -> None:
    assert stay.put("tjeneste", 10).lines == []
    assert stay.look_again().lines == []


def test_a_new_label_alone_owes_nothing(stay: World) -> None:
    assert stay.put("tjeneste", 10, saksnummer="S-2").lines == []


def test_several_changes_at_once_give_each_event_once(stay: World) -> None:
    changed = stay.put("tjeneste", 10, start_dato=d("02-02"), slutt_dato=d("02-21"), enhet_id=3, bruker_id=2)
    assert changed.lines == [
        "Start M 2026-02-02",
        "Fra 7 M 2026-02-10",
        "Til 7 M 2026-02-15",
        "Slutt M 2026-02-21",
        "Utforer N 2026-03-01",
    ]
    assert changed.notifications[-1].content.organisation_number == C
