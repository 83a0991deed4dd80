"""Who may be told of, and by which number (docs/owed.md, "Persons")."""

from datetime import date

import pytest

from agent.domain.quality import Profile
from tests.shapes import GROUPED_PERSON
from tests.world import KARI, OLA, PER, B, World, d

WRONG = OLA[:-1] + str((int(OLA[-1]) + 1) % 10)


@pytest.fixture
def world() -> World:
    return World()


def identity(world: World, service: int = 10) -> tuple[str, str]:
    """`typeID` and `fid` of the start of a new service of person 5."""
    person = world.put("tjeneste", service, bruker_id=5).only.content.person
    return person.identity_type, person.identity


@pytest.mark.parametrize("number", [None, "", WRONG, "12345678901", "1234", "abc"])
def test_a_missing_or_invalid_number_goes_as_type_9_with_the_birth_date_and_is_listed(
    world: World, number: str | None
) -> None:
    world.put("bruker", 5, fnr=number, fodselsdato=date(1948, 3, 9))
    assert identity(world) == ("9", "090348")
    assert world.rules_found() == ["Q09 warn"]


@pytest.mark.parametrize(
    ("kind", "number", "code"),
    [("F", OLA, "1"), ("D", OLA, "2"), ("H", OLA, "3"), ("DUF", "201012345610", "10"), ("FH", "80000000001", "12")],
)
def test_a_right_number_goes_with_its_type(world: World, kind: str, number: str, code: str) -> None:
    world.put("bruker", 5, fnr=number, id_type=kind, fodselsdato=None)
    assert identity(world) == (code, number)
    assert world.rules_found() == ([] if code in {"1", "2", "10"} else ["Q09 warn"])


@pytest.mark.parametrize("kind", ["F", "D", "H", "DUF"])
def test_types_1_2_3_and_10_are_checked(world: World, kind: str) -> None:
    world.put("bruker", 5, fnr=WRONG, id_type=kind)
    assert identity(world) == ("9", "170540")


@pytest.mark.parametrize(("number", "told"), [("P-1234567", ("4", "P-1234567")), ("X" * 21, ("9", "170540"))])
def test_other_types_need_only_be_present_and_at_most_20_characters(
    world: World, number: str, told: tuple[str, str]
) -> None:
    world.put("bruker", 5, fnr=number, id_type="4")
    assert identity(world) == told


def test_a_type_that_is_no_code_of_9032_gives_the_birth_date(world: World) -> None:
    world.put("bruker", 5, fnr=OLA, id_type="?")
    assert identity(world) == ("9", "170540")


def test_without_a_type_it_is_told_from_the_digits() -> None:
    world = World(GROUPED_PERSON)
    world.put("person", 1, fnr="201012345610", brukernr="ABC")
    row = {"person_id": 1, "orgnr": B, "type": "LANG", "fra": d("02-01")}
    assert world.put("sak", 10, **row).only.content.person.identity_type == "10"


def test_with_no_birth_date_either_it_is_parked(world: World) -> None:
    world.put("bruker", 5, fnr=None, fodselsdato=None)
    assert world.put("tjeneste", 10, bruker_id=5).category() == "parked"
    assert world.rules_found() == ["Q09 block"]
    assert "public.bruker.fodselsdato is empty" in world.text("Q09")


def test_where_the_mapping_names_no_birth_date_the_text_says_so() -> None:
    world = World(GROUPED_PERSON.replace("  birth_date: {column: fodt, kind: date}\n", ""))
    world.put("person", 1, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=B, type="LANG", fra=d("02-01"))
    assert "the mapping names no birth date" in world.text("Q09")


def test_the_day_it_is_mended_everything_is_replaced(world: World) -> None:
    world.put("bruker", 5, fnr=None)
    world.put("tjeneste", 10, bruker_id=5, slutt_dato=d("02-20"))
    mended = world.put("bruker", 5, fnr=KARI)
    assert mended.lines == ["Start M 2026-02-01", "Slutt M 2026-02-20"]
    assert {one.content.person.identity for one in mended.notifications} == {KARI}
    assert world.rules_found() == []


def test_a_number_that_was_right_and_becomes_invalid_is_parked_never_told_by_the_birth_date(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("bruker", 1, fnr=WRONG).lines == []
    assert world.rules_found() == ["Q09 block"]
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == []
    assert world.put("bruker", 1, fnr=OLA).lines == ["Slutt N 2026-02-20"]


def test_so_are_new_services_of_that_person_though_nothing_was_ever_reported(world: World) -> None:
    world.put("bruker", 5, fnr=OLA)
    world.put("bruker", 5, fnr=None)
    assert world.put("tjeneste", 10, bruker_id=5).category() == "parked"
    assert world.rules_found() == ["Q09 block"]


def test_a_service_moved_to_a_person_who_has_only_a_birth_date_is_replaced_with_type_9(world: World) -> None:
    world.put("bruker", 5, fnr=None)
    world.put("tjeneste", 10)
    moved = world.put("tjeneste", 10, bruker_id=5).only
    assert (moved.status.value, moved.content.person.identity_type) == ("M", "9")


def test_a_birth_date_that_is_corrected_is_told(world: World) -> None:
    world.put("bruker", 5, fnr=None)
    world.put("tjeneste", 10, bruker_id=5)
    assert world.put("bruker", 5, fodselsdato=date(1941, 5, 17)).only.content.person.identity == "170541"


# Fictitious


def test_fictitious_by_number_is_never_sent() -> None:
    world = World(fictitious_numbers=frozenset({PER}))
    assert world.put("tjeneste", 10, bruker_id=3).category() == "nothing_to_report"
    assert world.rules_found() == ["Q01 warn"]


def test_found_fictitious_by_number_after_it_was_reported_everything_is_annulled_then_nothing() -> None:
    world = World(fictitious_numbers=frozenset({PER}))
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    assert world.put("bruker", 1, fnr=PER).lines == ["Slutt C 2026-02-20", "Start C 2026-02-01"]
    assert world.put("tjeneste", 10, slutt_dato=d("02-21")).category() == "nothing_to_report"
    assert world.rules_found() == ["Q01 warn"]


def test_fictitious_by_name_is_never_sent(world: World) -> None:
    world.put("bruker", 5, fnr=KARI, fornavn="Donald", etternavn="DUCK")
    assert world.put("tjeneste", 10, bruker_id=5).category() == "nothing_to_report"
    assert world.rules_found() == ["Q01 warn"]
    assert world.put("bruker", 5, fornavn="Else").lines == ["Start N 2026-02-01"]


def test_fictitious_by_name_on_a_reported_person_is_a_finding_and_nothing_is_annulled(world: World) -> None:
    world.put("tjeneste", 10)
    assert world.put("bruker", 1, fornavn="Donald", etternavn="Duck").lines == []
    assert world.rules_found() == ["Q01 warn"]
    assert world.put("tjeneste", 10, slutt_dato=d("02-20")).lines == ["Slutt N 2026-02-20"]


def test_a_reported_service_moved_to_a_person_fictitious_by_name_stays_as_it_stands(world: World) -> None:
    world.put("bruker", 5, fnr=KARI, fornavn="Donald", etternavn="Duck")
    world.put("tjeneste", 10)
    assert world.put("tjeneste", 10, bruker_id=5, slutt_dato=d("02-20")).lines == []
    assert world.rules_found() == ["Q01 block"]
    assert world.put("tjeneste", 10, bruker_id=1).lines == ["Slutt N 2026-02-20"]


def test_names_are_compared_when_a_row_arrives_and_not_kept(world: World) -> None:
    world.put("bruker", 5, fnr=KARI, fornavn="Zaphodine", etternavn="Beeblebrox")
    row = world.ledger.read(lambda tx: tx.row("public.bruker", "5"))
    assert row is not None
    assert "fornavn" not in row.values
    assert not any("Zaphodine" in (value or "") for value in row.values.values())


# Profiles (invariant 13)


def test_synthetic_numbers_are_fictitious_under_production() -> None:
    world = World(profile=Profile.PRODUCTION)
    assert world.put("tjeneste", 10).category() == "nothing_to_report"
    assert world.rules_found() == ["Q01 warn"]


def test_real_series_numbers_are_parked_under_test_and_qa_unless_the_configuration_names_them() -> None:
    real = "02013299997"  # a worked example of the 2032 rule
    for profile, allowed, told in (
        (Profile.TEST, frozenset({real}), 0),
        (Profile.QA, frozenset(), 0),
        (Profile.QA, frozenset({real}), 1),
        (Profile.PRODUCTION, frozenset(), 1),
    ):
        world = World(profile=profile, allowed_numbers=allowed)
        world.put("bruker", 5, fnr=real)
        assert len(world.put("tjeneste", 10, bruker_id=5).lines) == told
        assert world.rules_found() == ([] if told else ["Q14 block"])


# Texts


@pytest.mark.parametrize("number", [None, "", "X" * 101, "A\nB"])
def test_a_user_number_that_cannot_be_sent_is_parked(number: str | None) -> None:
    world = World(GROUPED_PERSON)
    world.put("person", 1, fnr=OLA, brukernr=number)
    row = {"person_id": 1, "orgnr": B, "type": "LANG", "fra": d("02-01")}
    assert world.put("sak", 10, **row).category() == "parked"
    assert world.rules_found() == ["Q15 block"]
    assert world.put("person", 1, brukernr="X" * 100).lines == ["Start N 2026-02-01"]


def test_a_service_that_names_no_person_is_parked(world: World) -> None:
    world.put("tjeneste", 10, bruker_id=None)
    assert world.rules_found() == ["Q15 block"]
    assert "public.tjeneste.bruker_id is empty" in world.text("Q15")


@pytest.mark.parametrize(
    ("district", "told"), [("030101", "030101"), ("Sentrum", None), ("1", None), ("1234567", None)]
)
def test_a_district_that_cannot_be_sent_is_left_out_with_a_warning(
    world: World, district: str, told: str | None
) -> None:
    world.put("bruker", 1, bydel=district)
    assert world.put("tjeneste", 10).only.content.person.district == told
    assert world.rules_found() == ([] if told else ["Q17 warn"])


TEXT_KEYS = GROUPED_PERSON.replace("key: {column: sak_id, kind: integer}", "key: sak_id")


@pytest.mark.parametrize("key", [OLA, f"S-{OLA}", "X" * 256, "A\nB", " "])
def test_a_service_whose_key_cannot_be_an_id_is_parked_and_the_key_is_repeated_to_nobody(key: str) -> None:
    world = World(TEXT_KEYS)
    world.put("person", 1, fnr=KARI, brukernr="ABC")
    if not key.strip():
        with pytest.raises(ValueError, match="no readable key"):
            world.put("sak", key)
        return
    assert world.put("sak", key, person_id=1, orgnr=B, type="LANG", fra=d("02-01")).category() == "parked"
    assert world.rules_found(key) == ["Q16 block"]
    assert OLA not in world.text("Q16", key)


TEXT_PAUSES = """
pauses: {table: pause, key: pause_id, service: sak_id, from: {column: fra, kind: date}, to: {column: til, kind: date}}
"""


@pytest.mark.parametrize("key", [OLA, "X" * 256, "A\nB"])
def test_a_pause_whose_key_cannot_be_an_id_is_parked_alone(key: str) -> None:
    world = World(GROUPED_PERSON + TEXT_PAUSES)
    world.put("person", 1, fnr=KARI, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=B, type="LANG", fra=d("02-01"))
    assert world.put("pause", key, sak_id=10, fra=d("02-10")).category() == "parked"
    assert world.rules_found() == ["Q16 block"]
    assert OLA not in world.text("Q16")
    assert world.put("sak", 10, til=d("02-20")).lines == ["Slutt N 2026-02-20"]
