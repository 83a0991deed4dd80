"""Tables of other shapes than the demo's, and that a change in any row re-examines the services that hang on it."""

import pytest

from tests.shapes import CHANGED_ON, DECISIONS, GROUPED_PERSON, MANY_ROWS
from tests.world import KARI, OLA, A, B, C, World, d

# A decision with versions, numbers with a history, ends in a table of their own, units under parents


@pytest.fixture
def decisions() -> World:
    world = World(DECISIONS)
    world.together(
        world.change("person", 1, fodt=d("1940-05-17")),
        world.change("nummer", 1, person_id=1, nummer=OLA, gyldig_fra=d("2020-01-01")),
        world.change("enhet", 1, orgnr=A),
        world.change("enhet", 2, over_id=1),
        world.change("enhet", 3, over_id=2),
        world.change("vedtak", 5),
        world.change("vedtak_versjon", 50, vedtak_id=5, nr=1, type="L"),
    )
    return world


def begin(world: World) -> None:
    row = {"person_id": 1, "vedtak_id": 5, "enhet_id": 3, "fra": d("02-01")}
    told = world.put("tjeneste", 10, **row).only
    assert (told.content.service_type, told.content.organisation_number) == ("21", A)
    assert told.content.person.identity == OLA


def test_a_new_last_version_of_the_decision_changes_the_type(decisions: World) -> None:
    begin(decisions)
    told = decisions.put("vedtak_versjon", 51, vedtak_id=5, nr=2, type="K").only
    assert (told.status.value, told.content.service_type) == ("M", "20")
    assert decisions.put("vedtak_versjon", 52, vedtak_id=5, nr=0, type="L").lines == []  # not the last
    assert decisions.delete("vedtak_versjon", 51).only.content.service_type == "21"


def test_versions_are_ordered_as_numbers(decisions: World) -> None:
    decisions.put("vedtak_versjon", 51, vedtak_id=5, nr=9, type="K")
    decisions.put("vedtak_versjon", 52, vedtak_id=5, nr=10, type="L")
    begin(decisions)


def test_a_decision_that_moves_to_another_re_examines(decisions: World) -> None:
    begin(decisions)
    decisions.together(
        decisions.change("vedtak", 6), decisions.change("vedtak_versjon", 60, vedtak_id=6, nr=1, type="K")
    )
    assert decisions.put("tjeneste", 10, vedtak_id=6).only.content.service_type == "20"
    assert decisions.put("vedtak_versjon", 50, type="K").lines == []  # nothing hangs on it any more
    assert decisions.put("vedtak_versjon", 60, type="L").only.content.service_type == "21"


def test_a_decision_or_its_versions_that_are_not_there_hold_the_service(decisions: World) -> None:
    row = {"person_id": 1, "enhet_id": 3, "fra": d("02-01")}
    assert decisions.put("tjeneste", 10, **row, vedtak_id=7).category() == "held"
    assert decisions.put("vedtak", 7).category() == "held"
    assert decisions.put("vedtak_versjon", 70, vedtak_id=7, nr=1, type="L").lines == ["Start N 2026-02-01"]


def test_a_new_number_in_the_history_is_a_corrected_person(decisions: World) -> None:
    begin(decisions)
    told = decisions.put("nummer", 2, person_id=1, nummer=KARI, gyldig_fra=d("2024-01-01")).only
    assert (told.status.value, told.content.person.identity) == ("M", KARI)
    assert decisions.put("nummer", 3, person_id=1, nummer=OLA, gyldig_fra=d("2022-01-01")).lines == []


def test_a_person_without_any_number_in_the_history_goes_by_the_birth_date(decisions: World) -> None:
    decisions.put("person", 2, fodt=d("1950-01-02"))
    told = decisions.put("tjeneste", 11, person_id=2, vedtak_id=5, enhet_id=1, fra=d("02-01")).only
    assert (told.content.person.identity_type, told.content.person.identity) == ("9", "020150")


def test_a_number_of_a_history_that_was_right_is_remembered(decisions: World) -> None:
    begin(decisions)
    assert decisions.delete("nummer", 1).lines == []
    assert decisions.rules_found() == ["Q09 block"]


def test_an_end_in_a_table_of_its_own_is_none_until_its_row_comes(decisions: World) -> None:
    begin(decisions)
    assert decisions.rules_found() == []
    assert decisions.put("avslutning", 1, tjeneste_id=10, avsluttet=d("02-20")).lines == ["Slutt N 2026-02-20"]
    assert decisions.put("avslutning", 2, tjeneste_id=10, avsluttet=d("02-21")).lines == ["Slutt M 2026-02-21"]
    assert decisions.delete("avslutning", 2).lines == ["Slutt M 2026-02-20"]
    assert decisions.put("avslutning", 1, tjeneste_id=11).lines == ["Slutt C 2026-02-20"]


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_a_change_anywhere_above_a_unit_re_examines(decisions: World, unit: int) -> None:
    begin(decisions)
    assert decisions.put("enhet", unit, orgnr=B).only.content.organisation_number == B


def test_a_unit_that_gets_another_parent(decisions: World) -> None:
    begin(decisions)
    decisions.put("enhet", 4, orgnr=C)
    assert decisions.put("enhet", 2, over_id=4).only.content.organisation_number == C
    assert decisions.put("enhet", 2, over_id=77).lines == []
    assert decisions.rules_found() == ["H01 hold"]
    assert decisions.put("enhet", 77, orgnr=A).only.content.organisation_number == A


def test_units_in_a_circle_are_a_defect_and_no_endless_walk(decisions: World) -> None:
    decisions.put("enhet", 1, orgnr=None, over_id=3)
    row = {"person_id": 1, "vedtak_id": 5, "enhet_id": 3, "fra": d("02-01")}
    assert decisions.put("tjeneste", 10, **row).category() == "parked"
    assert "circle" in decisions.text("Q20")


# Many rows to one service


@pytest.fixture
def rows() -> World:
    world = World(MANY_ROWS)
    world.put("person", 1, fnr=OLA)
    world.put("person", 2, fnr=KARI)
    return world


def version(world: World, key: int, number: int, **columns: object) -> list[str]:
    row = {"tjeneste_id": 10, "versjon": number, "person_id": 1, "type": "LANG", "fra": d("02-01"), "orgnr": A}
    return world.put("vedtak", key, **{**row, **columns}).lines


def test_the_start_comes_from_the_first_row_and_everything_else_from_the_last(rows: World) -> None:
    assert version(rows, 1, 1) == ["Start N 2026-02-01"]
    told = version(rows, 2, 2, fra=d("02-10"), til=d("02-20"), person_id=2, type="KORT", orgnr=B)
    assert told == ["Start M 2026-02-01", "Slutt N 2026-02-20", "Utforer N 2026-03-01"]
    start = rows.chain[1].content
    assert (start.service_type, start.person.identity) == ("20", KARI)


def test_an_earlier_row_that_comes_late_gives_the_start(rows: World) -> None:
    version(rows, 2, 2, fra=d("02-10"))
    assert version(rows, 1, 1) == ["Start M 2026-02-01"]


def test_a_row_that_is_annulled_counts_no_more_and_the_last_one_annuls_the_service(rows: World) -> None:
    version(rows, 1, 1)
    version(rows, 2, 2, til=d("02-20"))
    assert rows.put("vedtak", 2, status="SLETTET").lines == ["Slutt C 2026-02-20"]
    assert rows.put("vedtak", 1, status="SLETTET").lines == ["Start C 2026-02-01"]
    assert rows.put("vedtak", 1, status=None).lines == ["Start N 2026-02-01"]


def test_when_every_row_is_deleted_the_service_is(rows: World) -> None:
    version(rows, 1, 1)
    version(rows, 2, 2)
    assert rows.delete("vedtak", 2).lines == []
    assert rows.delete("vedtak", 1).lines == ["Start C 2026-02-01"]


def test_a_row_that_moves_to_another_service_re_examines_both(rows: World) -> None:
    version(rows, 1, 1)
    version(rows, 2, 2, til=d("02-20"))
    moved = rows.put("vedtak", 2, tjeneste_id=11, fra=d("02-03"))
    assert moved.by_service == ["10: Slutt C 2026-02-20", "11: Start N 2026-02-03", "11: Slutt N 2026-02-20"]


# Pauses as columns of the service


@pytest.fixture
def columns() -> World:
    world = World(CHANGED_ON)
    world.put("person", 1, fnr=OLA)
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    return world


def test_a_pause_in_columns_takes_the_services_key_and_a_number(columns: World) -> None:
    told = columns.put("sak", 10, p2_fra=d("02-10"), p2_til=d("02-12"))
    assert told.lines == ["Fra 10-2 N 2026-02-10", "Til 10-2 N 2026-02-12"]
    assert columns.put("sak", 10, p1_fra=d("02-05")).lines == ["Fra 10-1 N 2026-02-05"]
    assert columns.put("sak", 10, p2_fra=d("02-11")).lines == ["Fra 10-2 M 2026-02-11"]


def test_a_pause_in_columns_that_are_emptied_is_annulled(columns: World) -> None:
    columns.put("sak", 10, p1_fra=d("02-10"), p1_til=d("02-12"))
    told = columns.put("sak", 10, p1_fra=None, p1_til=None)
    assert told.lines == ["Til 10-1 C 2026-02-12", "Fra 10-1 C 2026-02-10"]


def test_a_pause_in_columns_with_only_its_end_is_parked(columns: World) -> None:
    columns.put("sak", 10, p1_fra=d("02-10"), p1_til=d("02-12"))
    assert columns.put("sak", 10, p1_fra=None).category() == "parked"
    assert columns.rules_found() == ["Q06 block"]


# A mapping that names more than rows were kept with


def test_a_column_named_later_is_not_taken_for_empty() -> None:
    without_end = GROUPED_PERSON.replace("  end: {column: til, kind: date}\n", "")
    world = World(without_end)
    world.put("person", 1, fnr=OLA, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    assert world.restart(mapping=GROUPED_PERSON).lines == []
    assert world.rules_found() == ["Q20 block"]
    assert "til: not read since the mapping named it" in world.text("Q20")
    assert world.put("sak", 10, til=d("02-20")).lines == ["Slutt N 2026-02-20"]
    assert world.rules_found() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number: fnr", "number: pnr"),
        ("user_number: brukernr", "user_number: nummer"),
        ("organisation_number: orgnr", "organisation_number: onr"),
        ("start: {column: fra", "start: {column: begynner"),
        ("type: type", "type: slag"),
        ("person: {by: person_id", "person: {by: hvem_id"),
    ],
)
def test_each_fact_whose_column_was_named_later_is_unknown_and_what_stands_stays(old: str, new: str) -> None:
    world = World(GROUPED_PERSON)
    world.put("person", 1, fnr=OLA, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    assert world.restart(mapping=GROUPED_PERSON.replace(old, new)).lines == []
    assert world.rules_found() == ["Q20 block"]
    assert world.standing() == ["TjenesteStart 2026-02-01"]


def test_a_number_named_later_is_not_looked_for_above(decisions: World) -> None:
    begin(decisions)
    decisions.put("enhet", 3, orgnr=B)
    later = DECISIONS.replace("    column: orgnr", "    column: onr")
    assert decisions.restart(mapping=later).lines == []
    assert decisions.rules_found() == ["Q20 block"]
    decisions.put("enhet", 1, onr=C)
    assert decisions.rules_found() == ["Q20 block"]


def test_a_deleted_row_has_no_columns_and_is_no_defect() -> None:
    world = World(GROUPED_PERSON)
    world.put("person", 1, fnr=OLA, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    world.delete("sak", 10)
    assert world.restart(mapping=GROUPED_PERSON.replace("til", "slutt")).lines == []
    assert world.rules_found() == []


PAUSES = """
pauses: {table: pause, key: pause_id, service: sak_id, from: {column: fra, kind: date}, to: {column: til, kind: date}}
"""


def test_a_mapping_that_looks_rows_up_in_another_way_finds_what_was_kept() -> None:
    # Before, the pauses' rows were kept for the person's district; now they are found by their service.
    edge = "{by: person_id, table: pause, key: pause_id, match: til2, last: {column: sak_id, kind: integer}}"
    first = GROUPED_PERSON.replace("  name: navn", f"  name: navn\n  district: {{column: fra2, via: {edge}}}")
    second = GROUPED_PERSON + PAUSES.replace("column: fra", "column: fra2").replace("column: til", "column: til2")
    world = World(first.replace("fra2", "fra").replace("til2", "til"))
    world.put("person", 1, fnr=OLA, brukernr="ABC")
    world.put("sak", 10, person_id=1, orgnr=A, type="LANG", fra=d("02-01"))
    world.put("pause", "7", sak_id=10, fra="2026-02-10")
    told = world.restart(mapping=second.replace("fra2", "fra").replace("til2", "til"))
    assert told.lines == ["Fra 7 N 2026-02-10"]


def test_a_service_of_many_rows_that_was_never_reported_loses_its_findings_with_its_rows(rows: World) -> None:
    assert version(rows, 1, 1, orgnr=None) == []
    assert rows.rules_found() == ["Q03 block"]
    assert rows.delete("vedtak", 1).category() == "nothing_to_report"
    assert rows.rules_found() == []


def test_a_service_of_many_rows_that_was_imported_waits_for_its_rows(rows: World) -> None:
    version(rows, 1, 1)
    reported = rows.ledger.read(lambda tx: tx.reported("10"))
    assert reported is not None
    other = World(MANY_ROWS)
    other.ledger.run_now(lambda tx: tx.put_reported("10", reported))
    assert other.look_again().lines == []
    assert len(reported.standing) == 1
