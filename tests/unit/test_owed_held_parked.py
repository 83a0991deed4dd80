"""What waits by itself, and what a person must mend (docs/owed.md, "Held" and "Parked")."""

from datetime import UTC, date, datetime, timedelta

import pytest

from agent.domain.gate import GateLimits
from tests.world import KARI, OLA, A, B, World, d


@pytest.fixture
def world() -> World:
    return World()


# Held


@pytest.mark.parametrize("local_type", ["LANG", "BOLIG"])
def test_a_unit_that_is_not_there_holds_the_service_for_housing_too(world: World, local_type: str) -> None:
    assert world.put("tjeneste", 10, enhet_id=50, lokal_type=local_type).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert world.put("enhet", 50, orgnr=A).lines == ["Start N 2026-02-01"]
    assert world.rules_found() == []


def test_a_person_who_is_not_there_holds_the_service(world: World) -> None:
    assert world.put("tjeneste", 10, bruker_id=50).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert world.put("bruker", 50, fnr=KARI).lines == ["Start N 2026-02-01"]


def test_a_reported_service_moved_to_a_person_not_seen_yet_is_held(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, bruker_id=50).lines == []
    assert world.rules_found() == ["H01 hold"]
    assert world.put("bruker", 50, fnr=KARI).lines == ["Start M 2026-02-01"]


def test_a_row_that_is_missing_is_remembered_since_when_and_a_date_to_come_is_not(world: World) -> None:
    world.put("tjeneste", 10, bruker_id=50)
    world.put("tjeneste", 11, start_dato=d("03-10"))
    seen = world.now
    world.now += timedelta(hours=5)
    world.put("tjeneste", 10, saksnummer="S-2")

    def missing(before: datetime) -> list[str]:
        return world.ledger.read(lambda tx: tx.missing_longer_than(before))

    assert missing(seen + timedelta(seconds=1)) == ["10"]
    assert missing(seen) == []
    world.put("bruker", 50, fnr=KARI)
    assert missing(world.now + timedelta(days=1)) == []


def test_settle_holds_a_service_until_it_has_been_quiet() -> None:
    world = World(settle=timedelta(minutes=10))
    assert world.put("tjeneste", 10).category() == "held"
    world.now += timedelta(minutes=9)
    assert world.put("tjeneste", 10, start_dato=d("02-02")).lines == []
    world.now += timedelta(minutes=9)
    assert world.examine().lines == []
    world.now += timedelta(minutes=1)
    assert world.examine().lines == ["Start N 2026-02-02"]


def test_the_gate_holds_what_is_owed_and_nothing_else() -> None:
    world = World(gate_open=False)
    assert world.put("tjeneste", 10).category() == "held"
    assert world.put("tjeneste", 11, start_dato=None).category() == "nothing_to_report"
    assert world.restart(digest="first").by_service == ["10: Start N 2026-02-01"]


def test_behind_the_gate_the_order_of_the_services_stays() -> None:
    world = World(gate_open=False)
    for key in (30, 4, 200):
        world.put("tjeneste", key)
    assert [one.service_id for one in world.restart(digest="first").notifications] == ["30", "4", "200"]


# Types that are parked


def test_an_unmapped_type_is_never_reported_and_listed(world: World) -> None:
    assert world.put("tjeneste", 10, lokal_type="NY").category() == "nothing_to_report"
    assert world.rules_found() == ["Q08 warn"]
    assert "NY" in world.text("Q08")


def test_an_unmapped_type_on_a_reported_service_is_parked(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, lokal_type="NY").category() == "parked"
    assert world.rules_found() == ["Q08 block"]


def test_while_the_type_is_unmapped_the_rest_is_judged_by_the_type_that_stands(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, lokal_type="NY", enhet_id=None)
    assert world.rules_found() == ["Q03 block", "Q08 block"]


@pytest.mark.parametrize("local_type", ["GAMMEL", "GAMMEL2"])
def test_codes_12_and_13_are_parked_reported_or_not_and_the_text_names_29(world: World, local_type: str) -> None:
    assert world.put("tjeneste", 10, lokal_type=local_type).category() == "parked"
    assert "29" in world.text("Q07")
    world.put("tjeneste", 11)
    assert world.put("tjeneste", 11, lokal_type=local_type).category() == "parked"
    assert world.standing("11") == ["TjenesteStart 2026-02-01"]


def test_an_expired_code_is_like_any_other_that_is_not_reported(world: World) -> None:
    assert world.put("tjeneste", 10, lokal_type="TRYGG").category() == "nothing_to_report"
    assert world.rules_found() == []


def test_rows_of_unmapped_and_unreported_types_stay_known_so_that_a_mended_mapping_finds_them(world: World) -> None:
    world.put("pause", 7)
    world.put("tjeneste", 10, lokal_type="NY")
    world.put("tjeneste", 11, lokal_type="PB", slutt_dato=d("02-20"))
    told = world.restart(service_types={"NY": "20", "PB": "29"})
    assert told.by_service == [
        "10: Start N 2026-02-01",
        "10: Fra 7 N 2026-02-10",
        "11: Start N 2026-02-01",
        "11: Slutt N 2026-02-20",
    ]


# Organisation numbers that are parked


@pytest.mark.parametrize("number", ["999999999", "123456785", "12345678", "utenbys", "reha", "8101000011", "810100002"])
@pytest.mark.parametrize("local_type", ["LANG", "BOLIG"])
def test_a_bad_organisation_number_parks_every_type(world: World, number: str, local_type: str) -> None:
    world.put("enhet", 50, orgnr=number)
    assert world.put("tjeneste", 10, enhet_id=50, lokal_type=local_type).category() == "parked"
    assert world.rules_found() == ["Q02 block"]
    assert number == "999999999" or number not in world.text("Q02")  # that one is the rule, and nobody
    assert world.put("enhet", 50, orgnr=B).lines == ["Start N 2026-02-01"]


@pytest.mark.parametrize("number", [None, "", "   "])
def test_a_missing_organisation_number_parks_18_to_21_and_not_housing(world: World, number: str | None) -> None:
    world.put("enhet", 50, orgnr=number)
    for key, local_type in enumerate(("UTR", "REHAB", "KORT", "LANG"), 20):
        assert world.put("tjeneste", key, enhet_id=50, lokal_type=local_type).category() == "parked"
        assert world.rules_found(str(key)) == ["Q03 block"]
    assert world.put("tjeneste", 10, enhet_id=50, lokal_type="BOLIG").only.content.organisation_number is None
    assert world.rules_found() == ["Q03 warn"]


def test_a_missing_number_of_a_service_whose_type_is_not_known_is_not_judged(world: World) -> None:
    world.put("tjeneste", 10, lokal_type="GAMMEL", enhet_id=None)
    assert world.rules_found() == ["Q07 block"]


# Dates that are parked


def test_bounds_are_inclusive(world: World) -> None:
    world.together(
        world.change("pause", 7, fra_dato=d("02-01"), til_dato=d("02-01")),
        world.change("pause", 8, fra_dato=d("02-20"), til_dato=d("02-20")),
        world.change("tjeneste", 10, slutt_dato=d("02-20")),
    )
    assert len(world.chain) == 6
    assert world.rules_found() == []
    assert world.put("tjeneste", 11, slutt_dato=d("02-01")).lines == ["Start N 2026-02-01", "Slutt N 2026-02-01"]
    assert world.rules_found("11") == []


def test_a_pause_without_a_from_date_is_parked(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("pause", 7, fra_dato=None, til_dato=d("02-15")).category() == "parked"
    assert world.rules_found() == ["Q06 block"]


def test_overlapping_pauses_are_sent_with_a_warning(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("pause", 7, til_dato=d("02-20"))
    assert world.put("pause", 8, fra_dato=d("02-19"), til_dato=d("02-22")).category() == "reported"
    assert world.rules_found() == ["Q06 warn"]
    world.put("pause", 8, fra_dato=d("02-20"))
    assert world.rules_found() == []


def test_a_pause_overlaps_one_that_began_long_before_and_still_goes_on(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("pause", 7)
    world.put("pause", 8, fra_dato=d("02-12"), til_dato=d("02-13"))
    assert world.put("pause", 9, fra_dato=d("02-14"), til_dato=d("02-15")).category() == "reported"
    assert world.rules_found() == ["Q06 warn", "Q06 warn"]


def test_a_pause_left_open_when_the_end_has_come_is_a_finding_and_the_end_goes(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    assert world.put("tjeneste", 10, slutt_dato=d("03-02")).lines == []
    assert world.rules_found() == []  # while the end is only planned: none
    assert world.day("03-02").lines == ["Slutt N 2026-03-02"]
    assert world.rules_found() == ["Q06 warn"]


# The cut-off


def test_a_service_that_ended_before_the_cut_off_is_left_out_and_not_judged(world: World) -> None:
    row = {"start_dato": date(2019, 1, 1), "enhet_id": 99, "bruker_id": 99}
    assert world.put("tjeneste", 10, slutt_dato=date(2020, 12, 31), **row).category() == "nothing_to_report"
    assert world.rules_found() == []


def test_a_service_that_ended_on_the_day_of_the_cut_off_is_kept(world: World) -> None:
    changed = world.put("tjeneste", 10, start_dato=date(2019, 1, 1), slutt_dato=date(2021, 1, 1))
    assert changed.lines == ["Start N 2019-01-01", "Slutt N 2021-01-01"]


def test_a_pause_over_before_the_cut_off_is_left_out_and_on_its_day_kept(world: World) -> None:
    changed = world.together(
        world.change("tjeneste", 10, start_dato=date(2019, 1, 1)),
        world.change("pause", 7, fra_dato=date(2018, 1, 1), til_dato=date(2020, 12, 31)),
        world.change("pause", 8, fra_dato=date(2020, 6, 1), til_dato=date(2021, 1, 1)),
    )
    assert changed.lines == ["Start N 2019-01-01", "Fra 8 N 2020-06-01", "Til 8 N 2021-01-01"]
    assert world.rules_found() == []


def test_a_pause_whose_end_is_before_its_beginning_is_not_left_out(world: World) -> None:
    world.put("tjeneste", 10, start_dato=date(2019, 1, 1))
    assert world.put("pause", 7, til_dato=date(2020, 1, 1)).lines == ["Fra 7 N 2026-02-10"]
    assert world.rules_found() == ["Q06 block"]


def test_a_service_once_reported_is_followed_wherever_its_dates_go_annulled_since_or_not(world: World) -> None:
    world.put("tjeneste", 10)
    old = {"start_dato": date(2019, 1, 1), "slutt_dato": date(2020, 1, 1)}
    assert world.put("tjeneste", 10, **old).lines == ["Start M 2019-01-01", "Slutt N 2020-01-01"]
    world.put("tjeneste", 10, status="SLETTET")
    assert world.put("tjeneste", 10, status="AKTIV").lines == ["Start N 2019-01-01", "Slutt N 2020-01-01"]


def test_a_pause_once_reported_is_followed_too(world: World) -> None:
    world.together(world.change("tjeneste", 10, start_dato=date(2019, 1, 1)), world.change("pause", 7))
    moved = world.put("pause", 7, fra_dato=date(2020, 1, 1), til_dato=date(2020, 2, 1))
    assert moved.lines == ["Fra 7 M 2020-01-01", "Til 7 N 2020-02-01"]


def test_a_cut_off_is_configuration() -> None:
    world = World(cut_off=date(2026, 3, 1))
    assert world.put("tjeneste", 10, slutt_dato=d("02-28")).lines == []


# Findings


def test_a_change_of_provider_dated_before_a_start_that_later_moves_past_it_stands(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, enhet_id=2)
    world.now = datetime(2026, 3, 20, 12, tzinfo=UTC)
    assert world.put("tjeneste", 10, start_dato=d("03-10")).lines == ["Start M 2026-03-10"]
    assert world.standing() == ["TjenesteStart 2026-03-10", "TjenesteutforerEndret 2026-03-01"]


def test_findings_say_which_service_which_row_and_field_and_quote_no_number(world: World) -> None:
    world.put("enhet", 50, orgnr="123123123")
    world.put("tjeneste", 10, enhet_id=50, saksnummer="S-77", slutt_dato=date(2026, 1, 1))
    texts = [finding.text for finding in world.findings()]
    assert all(text.startswith("service 10 (sak S-77): ") for text in texts)
    assert any("public.enhet.orgnr" in text for text in texts)
    assert any("public.tjeneste.slutt_dato" in text for text in texts)
    assert not any(number in text for text in texts for number in (OLA, "123123123"))


def test_a_finding_leaves_by_itself_when_a_later_change_mends_it(world: World) -> None:
    world.put("tjeneste", 10, enhet_id=None)
    assert world.parked()
    world.put("tjeneste", 10, enhet_id=1)
    assert world.findings() == []


def test_an_unreadable_line_belongs_to_no_service(world: World) -> None:
    world.unreadable()
    assert world.rules_found(None) == ["Q21 block"]


def test_more_at_once_than_a_normal_day_brings_waits_for_a_person() -> None:
    world = World(limits=GateLimits(0.05, 20))
    changes = [world.change("tjeneste", key) for key in range(100, 121)]
    assert world.together(*changes).lines == []
    assert world.examine().lines == []
    assert len(world.restart(digest="first").lines) == 21
