"""What a notification says, and when its fact was registered (docs/owed.md, "Content")."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid5

import pytest

from agent.domain.chain import unit_namespace
from agent.domain.notification import FIRST_PREVIOUS_GUID
from tests.world import KARI, A, B, C, World, at, d

REGISTERED = datetime(2026, 2, 25, 9, 30)  # noqa: DTZ001 - wall-clock time in Norway, as the EPJ writes it
CHANGED = datetime(2026, 2, 27, 8, 0)  # noqa: DTZ001 - the same


@pytest.fixture
def world() -> World:
    return World()


def test_m_and_c_point_to_the_original_n_and_never_to_an_m(world: World) -> None:
    new = world.put("tjeneste", 10).only
    first, second = (world.put("tjeneste", 10, start_dato=d(day)).only for day in ("02-02", "02-03"))
    annulled = world.delete("tjeneste", 10).only
    assert new.original_guid is None
    assert {first.original_guid, second.original_guid, annulled.original_guid} == {new.guid}


def test_an_m_carries_the_organisation_number_as_first_reported(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, enhet_id=2)
    world.put("pause", 7)
    world.put("tjeneste", 10, enhet_id=3)
    moved = world.put("tjeneste", 10, bruker_id=2)
    assert moved.lines == ["Start M 2026-02-01", "Fra 7 M 2026-02-10", "Utforer M 2026-03-01", "Utforer M 2026-03-01"]
    assert [one.content.organisation_number for one in moved.notifications] == [A, B, B, C]


def test_where_no_number_was_reported_and_the_type_now_needs_one_the_present_one_goes_and_no_change(
    world: World,
) -> None:
    world.put("tjeneste", 10, lokal_type="BOLIG", enhet_id=None)
    world.put("pause", 7)
    changed = world.put("tjeneste", 10, lokal_type="LANG", enhet_id=2)
    assert changed.lines == ["Start M 2026-02-01", "Fra 7 M 2026-02-10"]
    assert {one.content.organisation_number for one in changed.notifications} == {B}
    assert world.look_again().lines == []


def test_where_the_type_now_needs_a_number_that_is_not_there_what_stands_stays(world: World) -> None:
    world.put("tjeneste", 10, lokal_type="BOLIG", enhet_id=None)
    assert world.put("tjeneste", 10, lokal_type="LANG").lines == []
    assert world.rules_found() == ["Q03 block"]
    assert world.put("tjeneste", 10, enhet_id=2).lines == ["Start M 2026-02-01"]


def test_a_c_repeats_what_was_last_reported_with_its_own_times(world: World) -> None:
    world.put("tjeneste", 10)
    world.put("tjeneste", 10, start_dato=d("02-03"), bruker_id=2)
    told = world.chain[-1]
    world.now = at("2026-03-02 12:00")
    annulled = world.delete("tjeneste", 10).only
    assert annulled.event_guid == told.event_guid
    content = annulled.content
    assert (content.on, content.person, content.service_type) == (d("02-03"), told.content.person, "21")
    assert content.organisation_number == told.content.organisation_number
    assert content.registered_at == annulled.arisen_at == world.now


def test_every_n_and_m_has_a_new_event_guid_also_when_the_content_returns(world: World) -> None:
    days = ("02-01", "02-02", "02-01", "02-02")
    told = [world.put("tjeneste", 10, start_dato=d(day)).only for day in days]
    assert len({one.event_guid for one in told}) == 4
    world.delete("tjeneste", 10)
    assert world.put("tjeneste", 10, start_dato=d("02-02")).only.event_guid not in {one.event_guid for one in told}


def test_guids_are_derived_from_the_event_its_versions_and_the_status(world: World) -> None:
    new = world.put("tjeneste", 10).only
    again = world.put("tjeneste", 10, start_dato=d("02-02")).only
    namespace = unit_namespace("prove")
    assert new.event_guid == uuid5(namespace, "10/TjenesteStart//1")
    assert again.event_guid == uuid5(namespace, "10/TjenesteStart//2")
    assert (new.guid, again.guid) == (uuid5(new.event_guid, "N"), uuid5(again.event_guid, "M"))
    assert world.delete("tjeneste", 10).only.guid == uuid5(again.event_guid, "C")


def test_guids_are_seeded_by_the_units_own_name() -> None:
    one, other = (World(name=name).put("tjeneste", 10).only for name in ("prove", "test"))
    assert one.event_guid != other.event_guid


def test_ids_are_the_rows_own_keys(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    assert [(one.service_id, one.pause_id) for one in world.chain] == [("10", None), ("10", "7")]


def test_the_patient_guid_is_made_once_and_gives_nothing_away(world: World) -> None:
    one = world.put("tjeneste", 10).only.content.person
    other = world.put("tjeneste", 11).only.content.person
    assert one.patient_guid == other.patient_guid
    assert world.put("bruker", 1, fnr=KARI).notifications[0].content.person.patient_guid == one.patient_guid
    assert world.unit.patient_guid("1") == one.patient_guid
    assert replace(world.unit, secret=b"another").patient_guid("1") != one.patient_guid
    assert replace(world.unit, name="another").patient_guid("1") != one.patient_guid


def test_the_patient_guid_is_read_from_the_ledger_ever_after(world: World) -> None:
    imported = UUID("9b2f6b1e-9b3e-4d06-8f5e-3c6ab1f0a001")
    world.ledger.run_now(lambda tx: tx.put_person("1", imported, number_was_right=True))
    assert world.put("tjeneste", 10).only.content.person.patient_guid == imported


def test_a_chain_begins_with_the_zero_guid_and_rises_by_one(world: World) -> None:
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    first, second = world.chain
    assert (first.number, first.previous_guid) == (1, FIRST_PREVIOUS_GUID)
    assert (second.number, second.previous_guid) == (2, first.guid)


# hendelseRegTid


def test_a_row_first_seen_is_registered_when_it_was_made_and_its_end_when_it_was_changed(world: World) -> None:
    told = world.put("tjeneste", 10, slutt_dato=d("02-20"), registrert_tid=REGISTERED, endret_tid=CHANGED)
    moments = [one.content.registered_at for one in told.notifications]
    assert moments == [at("2026-02-25 08:30"), at("2026-02-27 07:00")]


def test_a_change_is_registered_at_the_mapped_moment_that_changed_with_it(world: World) -> None:
    world.put("tjeneste", 10, registrert_tid=REGISTERED, endret_tid=REGISTERED)
    told = world.put("tjeneste", 10, slutt_dato=d("02-20"), endret_tid=CHANGED).only
    assert told.content.registered_at == at("2026-02-27 07:00")


def test_a_mapped_moment_that_did_not_change_gives_way_to_the_commit(world: World) -> None:
    world.put("tjeneste", 10, registrert_tid=REGISTERED, endret_tid=CHANGED)
    told = world.put("tjeneste", 10, slutt_dato=d("02-20"), committed_at=at("2026-02-28 10:00")).only
    assert told.content.registered_at == at("2026-02-28 10:00")


def test_without_a_mapped_moment_the_commit_counts(world: World) -> None:
    told = world.put("tjeneste", 10, committed_at=at("2026-02-28 10:00")).only
    assert told.content.registered_at == at("2026-02-28 10:00")


def test_without_any_moment_it_is_when_we_saw_it(world: World) -> None:
    world.put("tjeneste", 10, start_dato=d("03-05"))
    # a changed mapping: no row carried the change
    world.put("tjeneste", 11)
    world.now = at("2026-03-03 12:00")
    told = world.restart(service_types={"LANG": "20"})
    assert told.by_service == ["11: Start M 2026-02-01"]
    assert told.only.content.registered_at == world.now


def test_it_is_never_before_the_start_of_the_facts_own_day(world: World) -> None:
    world.put("tjeneste", 10, start_dato=d("03-10"), committed_at=at("2026-02-28 10:00"))
    told = world.day("03-10").only
    assert told.content.registered_at == at("2026-03-09 23:00")  # midnight in Norway


def test_an_annulment_is_registered_when_its_cause_was(world: World) -> None:
    world.put("tjeneste", 10, registrert_tid=REGISTERED)
    told = world.put("tjeneste", 10, status="SLETTET", endret_tid=CHANGED).only
    assert told.content.registered_at == at("2026-02-27 07:00")
    world.put("tjeneste", 11, slutt_dato=d("02-20"))
    told = world.put("tjeneste", 11, slutt_dato=None, committed_at=at("2026-03-01 12:30")).only
    assert told.content.registered_at == at("2026-03-01 12:30")
    told = world.delete("tjeneste", 11, committed_at=at("2026-03-01 12:45")).only
    assert told.content.registered_at == at("2026-03-01 12:45")


@pytest.mark.parametrize(("columns", "gone"), [({"tjeneste_id": 9}, 1), ({"status": "SLETTET"}, 1)])
def test_an_annulled_pause_is_registered_when_it_was_moved_or_annulled(
    world: World, columns: dict[str, object], gone: int
) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    told = world.put("pause", 7, committed_at=at("2026-03-01 13:00"), **columns)
    annulled = [one for one in told.notifications if one.status.value == "C"]
    assert [one.content.registered_at for one in annulled] == [at("2026-03-01 13:00")] * gone


def test_an_annulled_pause_is_registered_when_it_was_deleted(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7))
    assert world.delete("pause", 7, committed_at=at("2026-03-01 14:00")).only.content.registered_at == at(
        "2026-03-01 14:00"
    )


def test_a_pauses_end_that_is_removed_is_registered_when_it_was(world: World) -> None:
    world.together(world.change("tjeneste", 10), world.change("pause", 7, til_dato=d("02-15")))
    told = world.put("pause", 7, til_dato=None, committed_at=at("2026-03-01 15:00")).only
    assert told.content.registered_at == at("2026-03-01 15:00")


def test_a_corrected_person_is_registered_when_the_person_was(world: World) -> None:
    world.put("tjeneste", 10)
    told = world.put("bruker", 1, fnr=KARI, endret_tid=datetime(2026, 3, 1, 14, 0))  # noqa: DTZ001 - as the EPJ writes
    assert told.only.content.registered_at == at("2026-03-01 13:00")
    world.now = at("2026-03-02 12:00")
    moved = world.put("tjeneste", 10, bruker_id=3, committed_at=at("2026-03-02 11:00")).only
    assert moved.content.registered_at == at("2026-03-02 11:00")


def test_a_change_of_type_is_registered_when_the_type_was(world: World) -> None:
    world.put("tjeneste", 10)
    told = world.put("tjeneste", 10, lokal_type="KORT", committed_at=at("2026-03-01 12:10")).only
    assert told.content.registered_at == at("2026-03-01 12:10")


def test_a_correction_that_the_epj_dates_back_is_registered_when_the_epj_says(world: World) -> None:
    world.put("tjeneste", 10, registrert_tid=REGISTERED, endret_tid=None)
    told = world.put("tjeneste", 10, start_dato=d("02-02"), endret_tid=datetime.fromisoformat("2026-02-20T08:00")).only
    assert told.content.registered_at == at("2026-02-20 07:00")
