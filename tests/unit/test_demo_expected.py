"""The oracle: what it expects of rows written by hand, and that it and the agent agree on seeded histories."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from agent.demo.epj import EpjPicture
from agent.demo.expected import DEMO_SERVICE_TYPES, Expected, Rules, Stance, expected_picture
from agent.demo.picture_differences import compare_pictures, differences
from agent.demo.reconciliation import lines, reconcile
from agent.demo.step import Row
from agent.demo.told import END, PROVIDER, START, Told
from agent.domain.finding import Finding, Severity
from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.notification import Event, Status
from tests.agent_on_histories import TODAY, agents_run
from tests.register_model import ChainRuleBroken, RegisterModel

RULES = Rules(DEMO_SERVICE_TYPES)
BORN = date(1938, 5, 17)
NUMBER = tenor_number(BORN, 0) or ""
ORGANISATION = made_up_organisation_number(0) or ""
WRONG_NUMBER = NUMBER[:-1] + str((int(NUMBER[-1]) + 1) % 10)


def rows(
    service: dict[str, Any] | None = None,
    person: dict[str, Any] | None = None,
    unit: dict[str, Any] | None = None,
    pauses: Sequence[dict[str, Any]] = (),
    earlier: dict[str, dict[int, list[Row]]] | None = None,
) -> EpjPicture:
    """An EPJ with one right service, changed as told."""
    people = {"bruker_id": 1, "fnr": NUMBER, "id_type": "F", "fodselsdato": BORN, "fornavn": "A", "etternavn": "B"}
    services = {"tjeneste_id": 3, "bruker_id": 1, "enhet_id": 2, "lokal_type": "LANG", "status": "AKTIV"}
    dates = {"start_dato": date(2026, 1, 10), "slutt_dato": None}
    pause = {"tjeneste_id": 3, "fra_dato": date(2026, 2, 1), "til_dato": None, "status": "AKTIV"}
    found: dict[str, dict[int, Row]] = {
        "bruker": {1: people | (person or {})},
        "enhet": {2: {"enhet_id": 2, "orgnr": ORGANISATION} | (unit or {})},
        "tjeneste": {3: services | dates | (service or {})},
        "pause": {number: pause | {"pause_id": number} | changed for number, changed in enumerate(pauses, 10)},
    }
    past = {table: {key: [row] for key, row in there.items()} for table, there in found.items()}
    for table, versions in (earlier or {}).items():
        for key, old in versions.items():
            past[table][key] = [*old, *past[table].get(key, [])]
    return EpjPicture(found, past)


def expected(**changes: Any) -> Expected:
    return expected_picture(rows(**changes), RULES, TODAY)["3"]


def test_a_right_service_stands_with_its_start_person_and_number() -> None:
    one = expected()
    assert (one.start.stance, one.start.on, one.end.stance) == (Stance.STANDS, date(2026, 1, 10), Stance.ABSENT)
    assert one.service_type == "21"
    assert one.provider == ORGANISATION
    assert one.person == (NUMBER, "1", "1")
    assert one.is_right()


@pytest.mark.parametrize(
    ("service", "stance"),
    [
        ({"status": "FEILREGISTRERT"}, Stance.ABSENT),
        ({"lokal_type": "PB"}, Stance.ABSENT),
        ({"lokal_type": "UNKNOWN"}, Stance.ABSENT),
        ({"start_dato": None}, Stance.ABSENT),
        ({"start_dato": TODAY + timedelta(days=1)}, Stance.ABSENT),
        ({"start_dato": TODAY}, Stance.STANDS),
        ({"start_dato": date(1990, 1, 1)}, Stance.STANDS),
        ({"start_dato": date(1989, 12, 31)}, Stance.OPEN),
        ({"start_dato": date(2222, 1, 1)}, Stance.OPEN),
        ({"bruker_id": 99}, Stance.OPEN),
        ({"enhet_id": 99}, Stance.MAY_STAND),
        ({"enhet_id": None}, Stance.MAY_STAND),
        ({"enhet_id": None, "lokal_type": "BOLIG"}, Stance.STANDS),
        ({"enhet_id": 99, "lokal_type": "BOLIG"}, Stance.MAY_STAND),
        ({"start_dato": date(2019, 1, 1), "slutt_dato": date(2020, 12, 31)}, Stance.MAY_STAND),
        ({"start_dato": date(2019, 1, 1), "slutt_dato": date(2021, 1, 1)}, Stance.STANDS),
    ],
)
def test_whether_a_start_stands(service: dict[str, Any], stance: Stance) -> None:
    assert expected(service=service).start.stance is stance


@pytest.mark.parametrize(
    ("end", "stance"),
    [
        (date(9999, 12, 31), Stance.ABSENT),
        (TODAY + timedelta(days=1), Stance.ABSENT),
        (TODAY, Stance.STANDS),
        (date(2026, 1, 10), Stance.STANDS),
        (date(2026, 1, 9), Stance.OPEN),
        (date(2222, 1, 1), Stance.OPEN),
    ],
)
def test_whether_an_end_stands(end: date, stance: Stance) -> None:
    assert expected(service={"slutt_dato": end}).end.stance is stance


@pytest.mark.parametrize(
    ("pause", "stances"),
    [
        ({}, (Stance.STANDS, Stance.ABSENT)),
        ({"til_dato": date(2026, 2, 1)}, (Stance.STANDS, Stance.STANDS)),
        ({"til_dato": TODAY + timedelta(days=1)}, (Stance.STANDS, Stance.ABSENT)),
        ({"til_dato": date(2026, 1, 31)}, (Stance.STANDS, Stance.OPEN)),
        ({"fra_dato": date(2026, 1, 10)}, (Stance.STANDS, Stance.ABSENT)),
        ({"fra_dato": date(2026, 1, 9)}, (Stance.OPEN, Stance.ABSENT)),
        ({"fra_dato": None, "til_dato": date(2026, 2, 3)}, (Stance.OPEN, Stance.OPEN)),
        ({"fra_dato": TODAY + timedelta(days=1)}, (Stance.ABSENT, Stance.ABSENT)),
        ({"status": "SLETTET"}, (Stance.ABSENT, Stance.ABSENT)),
    ],
)
def test_whether_a_pause_stands(pause: dict[str, Any], stances: tuple[Stance, Stance]) -> None:
    begins, ends = expected(pauses=[pause]).pauses["10"]
    assert (begins.stance, ends.stance) == stances


def test_a_person_without_a_right_number_goes_with_the_birth_date_unless_it_was_right_once() -> None:
    told = (f"{BORN:%d%m%y}", "9", "1")
    assert [expected(person={"fnr": number}).person for number in (None, "", WRONG_NUMBER)] == [told, told, told]
    once_right: Row = {"fnr": NUMBER, "id_type": "F"}
    spoilt = expected(person={"fnr": WRONG_NUMBER}, earlier={"bruker": {1: [once_right]}})
    assert spoilt.start.stance is Stance.OPEN
    assert set(spoilt.reasons()) == {"the person's number was right and is wrong now"}
    assert expected(person={"fnr": None, "fodselsdato": None}).start.stance is Stance.OPEN


def test_a_fictitious_person_is_never_sent_and_a_service_that_moved_to_one_is_open() -> None:
    duck = {"fornavn": "DONALD", "etternavn": "duck"}
    assert expected(person=duck).start.stance is Stance.ABSENT
    moved = expected(person=duck, earlier={"tjeneste": {3: [{"bruker_id": 77, "lokal_type": "LANG"}]}})
    assert moved.start.stance is Stance.OPEN


def test_a_type_that_was_mapped_once_is_open() -> None:
    once = expected(service={"lokal_type": "X"}, earlier={"tjeneste": {3: [{"bruker_id": 1, "lokal_type": "LANG"}]}})
    assert list(once.reasons())[:1] == ["the local type is not mapped"]


# What the register holds, held against it


def told(on: date = date(2026, 1, 10), number: int = 1, **changed: Any) -> Told:
    usual = Told("21", on, ORGANISATION, NUMBER, "1", "1", number)
    return replace(usual, **changed)


@pytest.mark.parametrize(
    ("held", "count"),
    [
        ({(START, ""): told()}, 0),
        ({}, 1),
        ({(START, ""): told(date(2026, 1, 11))}, 1),
        ({(START, ""): told(), (END, ""): told()}, 1),
        ({(END, ""): told()}, 2),
        ({(START, ""): told(service_type="20")}, 1),
        ({(START, ""): told(user_number="2")}, 1),
        ({(START, ""): told(organisation_number="853000019")}, 1),
        ({(START, ""): told(organisation_number="853000019"), (PROVIDER, "2"): told(number=2)}, 0),
        ({(START, ""): told(), (PROVIDER, "2"): told(number=2, organisation_number="853000019")}, 1),
        ({(START, ""): told(), ("MidlertidigStoppFra", "5"): told()}, 1),
    ],
)
def test_differences_are_found(held: dict[tuple[str, str], Told], count: int) -> None:
    assert len(list(differences(expected(), held))) == count


def test_a_start_told_without_a_number_waits_when_its_new_type_needs_one() -> None:
    lacking = expected(service={"enhet_id": None, "start_dato": date(2026, 1, 12)})
    without = told(service_type="29", organisation_number=None)
    assert list(differences(lacking, {(START, ""): without})) == []
    assert len(list(differences(lacking, {(START, ""): without, (END, ""): without}))) == 1
    assert len(list(differences(lacking, {(START, ""): replace(without, user_number="2")}))) == 1


def test_a_service_that_is_not_in_the_epj_may_not_stand() -> None:
    assert len(compare_pictures({}, {"9": {(START, ""): told()}})) == 1


def test_reconciling_asks_for_a_finding_where_a_fact_is_open_and_only_there() -> None:
    bad = rows(unit={"orgnr": "reha"})
    parked = Finding("Q02", Severity.BLOCK, "3", "service 3: mend it")
    assert not reconcile(bad, {}, [], rules=RULES, today=TODAY).agrees
    explained = reconcile(bad, {}, [parked], rules=RULES, today=TODAY)
    assert explained.agrees
    assert [one.service for one in explained.parked] == ["3"]
    assert "  service 3: mend it" in list(lines(explained))
    right = {"3": {(START, ""): told()}}
    assert reconcile(rows(), right, [], rules=RULES, today=TODAY).agrees
    assert not reconcile(rows(), right, [parked], rules=RULES, today=TODAY).agrees
    assert not reconcile(rows(), {}, [], rules=RULES, today=TODAY).agrees


# The agent itself, held against it


@pytest.mark.parametrize("bad_share", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", [1, 2])
def test_agent_and_oracle_agree_on_seeded_histories(seed: int, bad_share: float) -> None:
    epj, notifications, findings = agents_run(seed, bad_share)
    result = reconcile(epj, RegisterModel().replay(notifications).picture, findings, rules=RULES, today=TODAY)
    assert result.differences == ()
    assert result.standing_services > 80
    assert bool(result.parked) == (bad_share > 0)


@pytest.mark.parametrize("event", list(Event))
def test_an_event_that_the_agent_forgot_is_found(event: Event) -> None:
    """Teeth: take one standing event out of the picture, and the oracle must miss it."""
    epj, notifications, _ = agents_run(1, 0.0)
    picture = RegisterModel().replay(notifications).picture
    expecting = expected_picture(epj, RULES, TODAY)
    for service, held in picture.items():
        forgotten = max((slot for slot in held if slot[0] == event.value), default=None)
        if forgotten is not None and event is not Event.PROVIDER:
            lacking = picture | {service: {slot: one for slot, one in held.items() if slot != forgotten}}
            assert compare_pictures(expecting, lacking), event
            return
        if forgotten is not None:
            other = {slot: one for slot, one in held.items() if slot[0] != PROVIDER}
            first, last = held[START, ""].organisation_number, expecting[service].provider
            if first != last:
                assert compare_pictures(expecting, picture | {service: other})
                return
    pytest.fail("no such event stands")


def test_the_model_of_the_register_refuses_a_broken_chain() -> None:
    _, notifications, _ = agents_run(1, 0.0)
    change = next(n for n in notifications if n.status is Status.REPLACE)
    annulled = next(n for n in notifications if n.status is Status.ANNUL)
    broken = [
        notifications[1:],
        [*notifications[:5], notifications[4]],
        [*notifications[:3], *notifications[4:]],
        [*notifications[: change.number - 1], replace(change, original_guid=change.guid)],
        [*notifications[: annulled.number - 1], replace(annulled, event_guid=annulled.guid)],
        [*notifications[: annulled.number - 1], replace(annulled, content=replace(annulled.content, on=TODAY))],
        [*notifications[: change.number - 1], replace(change, status=Status.NEW, original_guid=None)],
    ]
    for chain in broken:
        with pytest.raises(ChainRuleBroken):
            RegisterModel().replay(chain)
