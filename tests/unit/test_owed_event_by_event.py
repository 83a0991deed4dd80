"""A finding belongs to a fact, and holds back only the events that need that fact (docs/owed.md, "Event by event")."""

from datetime import date

import pytest

from tests.world import KARI, PER, A, B, World, d

BAD_NUMBER = "123456789"
FAR = date(2222, 2, 2)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stay(world: World) -> World:
    """A reported stay with a pause that is over."""
    world.together(world.change("tjeneste", 10), world.change("pause", 7, til_dato=d("02-15")))
    return world


# What keeps an unreported service back


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"bruker_id": None}, "Q15 block"),
        ({"lokal_type": "GAMMEL"}, "Q07 block"),
        ({"start_dato": FAR}, "Q05 block"),
        ({"enhet_id": None}, "Q03 block"),
    ],
)
def test_a_wrong_person_type_start_or_number_keeps_an_unreported_service_back(
    world: World, columns: dict[str, object], rule: str
) -> None:
    world.put("pause", 7, til_dato=d("02-15"))
    assert world.put("tjeneste", 10, slutt_dato=d("02-20"), **columns).lines == []
    assert rule in world.rules_found()
    mended = {"bruker_id": 1, "lokal_type": "LANG", "start_dato": d("02-01"), "enhet_id": 1}
    assert len(world.put("tjeneste", 10, **mended).lines) == 4
    assert world.rules_found() == []


# What keeps one event back


@pytest.mark.parametrize("end", [FAR, date(2026, 1, 31)])
def test_a_wrong_end_keeps_back_only_the_end(world: World, end: date) -> None:
    world.put("pause", 7)
    assert world.put("tjeneste", 10, slutt_dato=end).lines == ["Start N 2026-02-01", "Fra 7 N 2026-02-10"]
    assert world.parked()
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == ["Slutt N 2026-02-20"]


def test_an_end_before_the_start_is_the_ends_fault(stay: World) -> None:
    stay.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert stay.put("tjeneste", 10, start_dato=d("02-05"), slutt_dato=d("02-04")).lines == ["Start M 2026-02-05"]
    assert "slutt_dato" in stay.text("Q06")
    assert "TjenesteSlutt 2026-02-20" in stay.standing()


@pytest.mark.parametrize("begins", [None, FAR, date(2026, 1, 31), date(2026, 2, 21)])
def test_a_wrong_pause_keeps_back_only_that_pause(world: World, begins: date | None) -> None:
    changed = world.together(
        world.change("pause", 7, fra_dato=begins),
        world.change("pause", 8, til_dato=d("02-12")),
        world.change("tjeneste", 10, slutt_dato=d("02-20")),
    )
    assert changed.lines == ["Start N 2026-02-01", "Fra 8 N 2026-02-10", "Til 8 N 2026-02-12", "Slutt N 2026-02-20"]
    assert world.parked()


@pytest.mark.parametrize("ends", [FAR, date(2026, 2, 9), date(2026, 1, 31), date(2026, 2, 21)])
def test_a_wrong_to_date_parks_the_til_and_the_fra_goes(world: World, ends: date) -> None:
    world.put("pause", 7, til_dato=ends)
    changed = world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert changed.lines == ["Start N 2026-02-01", "Fra 7 N 2026-02-10", "Slutt N 2026-02-20"]
    assert world.parked()
    assert world.put("pause", 7, til_dato=d("02-12")).lines == ["Til 7 N 2026-02-12"]


def test_a_wrong_new_organisation_number_keeps_back_only_the_change_of_provider(stay: World) -> None:
    stay.put("enhet", 2, orgnr=BAD_NUMBER)
    changed = stay.put("tjeneste", 10, enhet_id=2, slutt_dato=d("02-20"))
    assert changed.lines == ["Slutt N 2026-02-20"]
    assert changed.only.content.organisation_number == A
    assert stay.rules_found() == ["Q02 block"]
    assert stay.put("enhet", 2, orgnr=B).lines == ["Utforer N 2026-03-01"]


def test_a_pause_of_last_year_that_is_wrong_does_not_keep_the_end_back(stay: World) -> None:
    stay.put("pause", 6, fra_dato=date(2025, 2, 1), til_dato=date(2025, 2, 3))
    assert stay.parked()
    assert stay.put("tjeneste", 10, slutt_dato=d("02-20")).lines == ["Slutt N 2026-02-20"]


def test_a_pause_is_judged_against_the_end_only_where_the_end_is_right(world: World) -> None:
    world.put("pause", 7, til_dato=d("02-15"))
    changed = world.put("tjeneste", 10, slutt_dato=date(2026, 1, 15))
    assert changed.lines == ["Start N 2026-02-01", "Fra 7 N 2026-02-10", "Til 7 N 2026-02-15"]
    assert [finding.rule for finding in world.findings()] == ["Q06"]


def test_a_wrong_end_puts_no_service_before_the_cut_off(world: World) -> None:
    assert world.put("tjeneste", 10, slutt_dato=date(2020, 1, 1)).lines == ["Start N 2026-02-01"]
    assert world.rules_found() == ["Q06 block"]


def test_a_units_row_that_is_away_on_a_reported_service_keeps_back_only_the_change_of_provider(stay: World) -> None:
    changed = stay.put("tjeneste", 10, enhet_id=99, slutt_dato=d("02-20"))
    assert changed.lines == ["Slutt N 2026-02-20"]
    assert changed.only.content.organisation_number == A  # the number last told
    assert stay.rules_found() == ["H01 hold"]
    assert stay.put("enhet", 99, orgnr=B).lines == ["Utforer N 2026-03-01"]


def test_a_new_event_carries_the_number_last_told_also_after_a_change_of_provider(stay: World) -> None:
    stay.put("tjeneste", 10, enhet_id=2)
    changed = stay.put("tjeneste", 10, enhet_id=99, slutt_dato=d("02-20"))
    assert changed.only.content.organisation_number == B


@pytest.mark.parametrize(
    ("columns", "service_type", "identity"),
    [({"lokal_type": "KORT"}, "20", None), ({"bruker_id": 2}, "21", KARI)],
)
def test_an_event_whose_own_date_is_wrong_gets_the_new_type_or_person_with_the_date_that_stands(
    stay: World, columns: dict[str, object], service_type: str, identity: str | None
) -> None:
    stay.put("tjeneste", 10, slutt_dato=d("02-20"))
    changed = stay.put("tjeneste", 10, slutt_dato=FAR, start_dato=date(1980, 1, 1), **columns)
    assert changed.lines == ["Start M 2026-02-01", "Fra 7 M 2026-02-10", "Til 7 M 2026-02-15", "Slutt M 2026-02-20"]
    assert {one.content.service_type for one in changed.notifications} == {service_type}
    if identity is not None:
        assert {one.content.person.identity for one in changed.notifications} == {identity}


# What stands


@pytest.mark.parametrize(
    "columns",
    [
        {"start_dato": FAR},
        {"slutt_dato": FAR},
        {"lokal_type": "UKJENT"},
        {"lokal_type": "GAMMEL2"},
        {"lokal_type": None},
        {"bruker_id": None},
        {"bruker_id": 99},
        {"enhet_id": None},
        {"enhet_id": 99},
    ],
)
def test_what_stands_and_whose_fact_is_now_wrong_stays_until_it_is_mended(
    stay: World, columns: dict[str, object]
) -> None:
    stay.put("tjeneste", 10, slutt_dato=d("02-20"))
    stood = stay.standing()
    assert stay.put("tjeneste", 10, **columns).lines == []
    assert stay.parked() or stay.held()
    assert stay.standing() == stood
    good = {"start_dato": d("02-01"), "slutt_dato": d("02-20"), "lokal_type": "LANG", "bruker_id": 1, "enhet_id": 1}
    assert stay.put("tjeneste", 10, **good).lines == []
    assert not stay.findings()


@pytest.mark.parametrize("column", ["fra_dato", "til_dato"])
def test_a_standing_pause_whose_dates_are_now_wrong_stays(stay: World, column: str) -> None:
    stood = stay.standing()
    assert stay.put("pause", 7, **{column: FAR}).lines == []
    assert stay.standing() == stood


def test_a_pause_that_a_moved_start_leaves_outside_the_stay_stays_and_its_end_too(stay: World) -> None:
    assert stay.put("tjeneste", 10, start_dato=d("02-20")).lines == ["Start M 2026-02-20"]
    assert stay.rules_found() == ["Q06 block", "Q06 block"]
    assert stay.put("pause", 7, til_dato=d("02-16")).lines == []
    assert stay.put("tjeneste", 10, start_dato=d("02-01")).lines == ["Start M 2026-02-01", "Til 7 M 2026-02-16"]


# What is withdrawn, whatever else is wrong


WRONG = {"bruker_id": 99, "enhet_id": 99, "lokal_type": "UKJENT"}


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "FEILREGISTRERT"},
        {"start_dato": None},
        {"start_dato": date(2026, 3, 10)},
    ],
)
def test_what_is_annulled_or_loses_its_start_is_annulled_whatever_else_is_wrong(
    stay: World, columns: dict[str, object]
) -> None:
    stay.put("tjeneste", 10, slutt_dato=FAR, **WRONG)
    assert stay.put("tjeneste", 10, **columns).lines == [
        "Til 7 C 2026-02-15",
        "Fra 7 C 2026-02-10",
        "Start C 2026-02-01",
    ]


def test_a_service_that_leaves_the_reported_types_is_annulled_whatever_else_is_wrong(stay: World) -> None:
    stay.put("tjeneste", 10, bruker_id=99, enhet_id=99, start_dato=FAR)
    assert len(stay.put("tjeneste", 10, lokal_type="PB").lines) == 3


def test_a_deleted_service_is_annulled_whatever_else_is_wrong(stay: World) -> None:
    stay.put("tjeneste", 10, start_dato=FAR, **WRONG)
    assert len(stay.delete("tjeneste", 10).lines) == 3


@pytest.mark.parametrize("end", [None, date(2026, 3, 10)])
def test_an_end_removed_or_put_off_is_annulled_whatever_else_is_wrong(stay: World, end: date | None) -> None:
    stay.put("tjeneste", 10, slutt_dato=d("02-20"))
    stay.put("tjeneste", 10, start_dato=FAR, **WRONG)
    assert stay.put("tjeneste", 10, slutt_dato=end).lines == ["Slutt C 2026-02-20"]


@pytest.mark.parametrize("ends", [None, date(2026, 3, 10)])
def test_a_pauses_end_removed_or_put_off_is_annulled_whatever_else_is_wrong(stay: World, ends: date | None) -> None:
    stay.put("tjeneste", 10, start_dato=FAR, **WRONG)
    assert stay.put("pause", 7, til_dato=ends).lines == ["Til 7 C 2026-02-15"]


@pytest.mark.parametrize("columns", [{"tjeneste_id": 9}, {"status": "SLETTET"}, {"fra_dato": date(2026, 3, 10)}])
def test_a_pause_moved_away_annulled_or_put_off_is_annulled_whatever_else_is_wrong(
    stay: World, columns: dict[str, object]
) -> None:
    stay.put("tjeneste", 10, start_dato=FAR, **WRONG)
    assert stay.put("pause", 7, **columns).lines == ["Til 7 C 2026-02-15", "Fra 7 C 2026-02-10"]


def test_a_person_found_fictitious_by_number_annuls_whatever_else_is_wrong() -> None:
    world = World(fictitious_numbers=frozenset({PER}))
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, enhet_id=99, lokal_type="UKJENT", start_dato=FAR)
    assert world.put("tjeneste", 10, bruker_id=3).lines == ["Start C 2026-02-01"]


def test_the_right_person_is_sent_whatever_else_is_wrong_each_event_as_it_stands(stay: World) -> None:
    stay.put("tjeneste", 10, slutt_dato=d("02-20"))
    stay.put("tjeneste", 10, enhet_id=99, lokal_type="UKJENT", start_dato=FAR, slutt_dato=FAR)
    stay.put("pause", 7, fra_dato=FAR, til_dato=FAR)
    changed = stay.put("tjeneste", 10, bruker_id=2)
    assert changed.lines == ["Start M 2026-02-01", "Fra 7 M 2026-02-10", "Til 7 M 2026-02-15", "Slutt M 2026-02-20"]
    assert {one.content.person.identity for one in changed.notifications} == {KARI}
    assert {one.content.service_type for one in changed.notifications} == {"21"}


def test_rules_judge_the_rows_as_they_are_while_compare_sees_them_as_of_today(world: World) -> None:
    # the end lies ahead, and the pause behind it is wrong already
    world.put("pause", 7, fra_dato=d("02-20"), til_dato=d("03-20"))
    assert world.put("tjeneste", 10, slutt_dato=d("03-10")).lines == ["Start N 2026-02-01", "Fra 7 N 2026-02-20"]
    assert world.rules_found() == ["Q06 block"]
