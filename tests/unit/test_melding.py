"""Writing a Melding, and the rules it must meet: each test breaks one thing in a right message."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.melding import (
    Contact,
    MeldingFormat,
    MeldingHead,
    NotWritable,
    build_melding,
    local_time,
    time_with_offset,
)
from agent.domain.melding_rules import MeldingProblem, Window, check_melding
from agent.domain.notification import (
    FIRST_PREVIOUS_GUID,
    Content,
    Event,
    Notification,
    ReportedPerson,
    Status,
)
from agent.domain.schemas import MELDING_NAMESPACE

OSLO = ZoneInfo("Europe/Oslo")
SEED = UUID("1b671a64-40d5-491e-99b0-da01ff1f3341")
NUMBER = tenor_number(date(1938, 5, 17), 0) or ""
UNIT = made_up_organisation_number(0) or ""
CONTACTS = (
    Contact("Kari Test", "kari@kommune.example", "40000000", None, "16"),
    Contact("Kari Test", "kari@kommune.example", None, "post@kommune.example", "17"),
)
HEAD = MeldingHead("Demo", "DemoEPJ", "1.0", "0.1.0", CONTACTS, "0301")
PERSON = ReportedPerson(uuid5(SEED, "person"), "B-17", NUMBER, "1")
ARISEN = datetime(2026, 11, 21, 11, 0, 5, 999_999, tzinfo=UTC)
FIRST = Notification(
    number=1,
    guid=uuid5(SEED, "1"),
    previous_guid=FIRST_PREVIOUS_GUID,
    original_guid=None,
    status=Status.NEW,
    event=Event.START,
    event_guid=uuid5(SEED, "event 1"),
    service_id="T-1",
    pause_id=None,
    arisen_at=ARISEN,
    content=Content("18", date(2026, 11, 20), ARISEN - timedelta(hours=2), UNIT, PERSON),
)
SECOND = replace(
    FIRST,
    number=2,
    guid=uuid5(SEED, "2"),
    previous_guid=FIRST.guid,
    original_guid=FIRST.guid,
    status=Status.REPLACE,
    event_guid=uuid5(SEED, "event 2"),
)
PAUSE = replace(
    FIRST,
    number=3,
    guid=uuid5(SEED, "3"),
    previous_guid=SECOND.guid,
    event=Event.PAUSE_FROM,
    event_guid=uuid5(SEED, "event 3"),
    pause_id="P-1",
)
CHAIN = (FIRST, SECOND, PAUSE)


def named(name: str) -> str:
    return f"{{{MELDING_NAMESPACE}}}{name}"


def checked(*notifications: Notification, head: MeldingHead = HEAD, **rules: Window) -> list[MeldingProblem]:
    return check_melding(build_melding(head, notifications, OSLO), OSLO, **rules)


def places(problems: list[MeldingProblem]) -> list[str]:
    return [problem.place.rpartition("/")[2] for problem in problems]


def test_a_right_message_has_no_problem() -> None:
    assert checked(*CHAIN) == []


def test_attributes_stand_as_the_standard_names_them() -> None:
    melding = build_melding(replace(HEAD, local_id="7"), [PAUSE], OSLO)
    assert dict(melding.attrib) == {
        "versjon": "56.0.0",
        "meldingstype": "K",
        "leverandor": "Demo",
        "navnEPJ": "DemoEPJ",
        "versjonEPJ": "1.0",
        "versjonUt": "0.1.0",
        "lokalident": "7",
    }
    assert [etree.QName(child).localname for child in melding] == [
        "Notifikasjon",
        "Kontaktperson",
        "Kontaktperson",
        "Kommune",
    ]
    assert dict(melding[0].attrib) == {
        "statusNotifikasjon": "N",
        "notifikasjonTid": "2026-11-21T12:00:05",
        "notifikasjonGUID": str(PAUSE.guid),
        "notifikasjonForrigeGUID": str(SECOND.guid),
        "notifikasjonLopeNr": "3",
    }
    assert melding[0][0].tag == named("MidlertidigStoppFra")
    assert dict(melding[0][0].attrib) == {
        "tjenesteType": "18",
        "hendelseRegTid": "2026-11-21T10:00:05+01:00",
        "tjenesteOrgNr": UNIT,
        "hendelseDato": "2026-11-20",
        "tjenesteID": "T-1",
        "hendelseGUID": str(PAUSE.event_guid),
        "midlertidigStoppID": "P-1",
    }
    assert dict(melding[0][0][0].attrib) == {
        "pasientGUID": str(PERSON.patient_guid),
        "brukerNr": "B-17",
        "fid": NUMBER,
        "typeID": "1",
    }
    assert melding[1].attrib["meldTelefon"] == "40000000"
    assert melding[2].attrib["meldEpost2"] == "post@kommune.example"
    assert dict(melding[3].attrib) == {"kommuneNr": "0301"}


def test_a_correction_names_the_original_and_a_district_is_written() -> None:
    person = replace(PERSON, district="030101")
    melding = build_melding(HEAD, [replace(SECOND, content=replace(SECOND.content, person=person))], OSLO)
    assert melding[0].attrib["notifikasjonRef"] == str(FIRST.guid)
    assert melding[0][0][0].attrib["bydel"] == "030101"


def test_namespace_and_version_are_data() -> None:
    form = MeldingFormat("http://www.npr.no/xmlstds/58_0_1_ipl", "58.0.1")
    melding = build_melding(replace(HEAD, form=form), [FIRST], OSLO)
    assert all(etree.QName(each).namespace == form.namespace for each in melding.iter())
    assert check_melding(melding, OSLO, form=form) == []
    assert check_melding(melding, OSLO) != []
    assert check_melding(build_melding(HEAD, [FIRST], OSLO), OSLO, form=form) != []
    wrong_version = build_melding(replace(HEAD, form=MeldingFormat(version="55.0.0")), [FIRST], OSLO)
    assert places(check_melding(wrong_version, OSLO)) == ["@versjon"]


def test_times_are_local_in_summer_and_winter_and_whole_seconds() -> None:
    winter = datetime(2026, 1, 15, 23, 30, 0, 999_999, tzinfo=UTC)
    summer = datetime(2026, 7, 15, 23, 30, tzinfo=timezone(timedelta(hours=-4)))
    assert time_with_offset(winter, OSLO) == "2026-01-16T00:30:00+01:00"
    assert time_with_offset(summer, OSLO) == "2026-07-16T05:30:00+02:00"
    assert local_time(winter, OSLO) == "2026-01-16T00:30:00"
    twice = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert time_with_offset(twice, OSLO) == "2026-10-25T02:30:00+01:00"
    assert time_with_offset(twice - timedelta(hours=1), OSLO) == "2026-10-25T02:30:00+02:00"


def test_the_hour_that_comes_twice_is_right() -> None:
    content = replace(FIRST.content, on=date(2026, 10, 25), registered_at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    assert checked(replace(FIRST, content=content)) == []


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        build_melding(HEAD, [replace(FIRST, arisen_at=datetime(2026, 1, 1))], OSLO)  # noqa: DTZ001 - that is the fault


@pytest.mark.parametrize("bad", ["a\x00b", "a\x1bb", "a\ud800b", "a\ufffeb"])
def test_what_xml_cannot_hold_is_refused_without_quoting_it(bad: str) -> None:
    content = replace(FIRST.content, person=replace(PERSON, user_number=f"{bad}canary"))
    with pytest.raises(NotWritable) as caught:
        build_melding(HEAD, [replace(FIRST, content=content)], OSLO)
    assert "Bruker/@brukerNr" in str(caught.value)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.code == "KPR-604"


def test_text_of_any_language_survives() -> None:
    odd = "Ærlig \"<&>' Østlie 𝔄"
    melding = build_melding(replace(HEAD, vendor=odd), [FIRST], OSLO)
    assert etree.fromstring(etree.tostring(melding)).attrib["leverandor"] == odd
    assert check_melding(melding, OSLO) == []


# What the official schema lets through, and what the receiver deletes.

Break = Callable[[etree._Element], object]


def remove(element: etree._Element) -> None:
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def second_event(melding: etree._Element) -> None:
    other = build_melding(HEAD, [PAUSE], OSLO)
    melding[0].append(other[0][0])


SCHEMA_BREAKS: dict[str, tuple[Break, str]] = {
    "unknown status": (lambda m: m[0].set("statusNotifikasjon", "X"), "@statusNotifikasjon"),
    "status T": (lambda m: m[0].set("statusNotifikasjon", "T"), "@statusNotifikasjon"),
    "two events": (second_event, "MidlertidigStoppFra[1]"),
    "no event": (lambda m: remove(m[0][0]), "Notifikasjon[1]"),
    "no person": (lambda m: remove(m[0][0][0]), "TjenesteStart[1]"),
    "no notification": (lambda m: [remove(each) for each in m.findall(named("Notifikasjon"))], "Kontaktperson[1]"),
    "two municipalities": (lambda m: etree.SubElement(m, named("Kommune"), kommuneNr="4602"), "Kommune[2]"),
    "five digits": (lambda m: m[-1].set("kommuneNr", "03010"), "@kommuneNr"),
    "municipality as a number": (lambda m: m[-1].set("kommuneNr", "301"), "@kommuneNr"),
    "the year 2222": (lambda m: m[0][0].set("hendelseDato", "2222-01-01"), "@hendelseDato"),
    "no such day": (lambda m: m[0][0].set("hendelseDato", "2026-02-30"), "@hendelseDato"),
    "a date with a time": (lambda m: m[0][0].set("hendelseDato", "2026-02-03T00:00:00"), "@hendelseDato"),
    "no version": (lambda m: m.attrib.pop("versjon"), "@versjon"),
    "another type": (lambda m: m.set("meldingstype", "B"), "@meldingstype"),
    "no vendor": (lambda m: m.set("leverandor", ""), "@leverandor"),
    "a long vendor": (lambda m: m.set("leverandor", "x" * 101), "@leverandor"),
    "a prohibited period": (lambda m: m.set("fraDatoPeriode", "2026-01-01"), "@fraDatoPeriode"),
    "a prohibited running number": (lambda m: m.set("lopenr", "1"), "@lopenr"),
    "no notifikasjonGUID": (lambda m: m[0].attrib.pop("notifikasjonGUID"), "@notifikasjonGUID"),
    "a GUID in braces": (lambda m: m[0].set("notifikasjonGUID", f"{{{FIRST.guid}}}"), "@notifikasjonGUID"),
    "a GUID in upper case": (lambda m: m[0].set("notifikasjonGUID", str(FIRST.guid).upper()), "@notifikasjonGUID"),
    "a running number that is no number": (lambda m: m[0].set("notifikasjonLopeNr", "1a"), "@notifikasjonLopeNr"),
    "a time with zone": (lambda m: m[0].set("notifikasjonTid", "2026-11-21T12:00:05Z"), "@notifikasjonTid"),
    "hour 24": (lambda m: m[0].set("notifikasjonTid", "2026-11-21T24:00:00"), "@notifikasjonTid"),
    "a registration without offset": (
        lambda m: m[0][0].set("hendelseRegTid", "2026-11-21T10:00:05"),
        "@hendelseRegTid",
    ),
    "no service id": (lambda m: m[0][0].set("tjenesteID", ""), "@tjenesteID"),
    "no event GUID": (lambda m: m[0][0].attrib.pop("hendelseGUID"), "@hendelseGUID"),
    "a pause id where none belongs": (lambda m: m[0][0].set("midlertidigStoppID", "P"), "@midlertidigStoppID"),
    "no pause id": (lambda m: m[2][0].attrib.pop("midlertidigStoppID"), "@midlertidigStoppID"),
    "ten digits of unit": (lambda m: m[0][0].set("tjenesteOrgNr", f"{UNIT}0"), "@tjenesteOrgNr"),
    "text for a unit": (lambda m: m[0][0].set("tjenesteOrgNr", "utenbys"), "@tjenesteOrgNr"),
    "an empty unit": (lambda m: m[0][0].set("tjenesteOrgNr", ""), "@tjenesteOrgNr"),
    "no number of the person": (lambda m: m[0][0][0].attrib.pop("fid"), "@fid"),
    "an empty number": (lambda m: m[0][0][0].set("fid", ""), "@fid"),
    "a long number": (lambda m: m[0][0][0].set("fid", "9" * 21), "@fid"),
    "no typeID": (lambda m: m[0][0][0].attrib.pop("typeID"), "@typeID"),
    "no brukerNr": (lambda m: m[0][0][0].attrib.pop("brukerNr"), "@brukerNr"),
    "a long brukerNr": (lambda m: m[0][0][0].set("brukerNr", "9" * 101), "@brukerNr"),
    "a district of one digit": (lambda m: m[0][0][0].set("bydel", "1"), "@bydel"),
    "a prohibited sex": (lambda m: m[0][0][0].set("kjonn", "2"), "@kjonn"),
    "a prohibited home": (lambda m: m[0][0][0].set("komNrHjem", "4602"), "@komNrHjem"),
    "a foreign telephone": (lambda m: m[3].set("meldTelefon", "+46 40000000"), "@meldTelefon"),
    "an e-mail without at": (lambda m: m[3].set("meldEpost1", "kari.kommune.example"), "@meldEpost1"),
    "a contact of another type": (lambda m: m[3].set("typeKontaktperson", "1"), "@typeKontaktperson"),
    "a contact without a name": (lambda m: m[3].attrib.pop("kontPerson"), "@kontPerson"),
    "the same notification twice": (lambda m: m[1].set("notifikasjonGUID", str(FIRST.guid)), "Notifikasjon[2]"),
}

RULE_BREAKS: dict[str, tuple[Break, str]] = {
    "unknown service type": (lambda m: m[0][0].set("tjenesteType", "99"), "@tjenesteType"),
    "obsolete service type": (lambda m: m[0][0].set("tjenesteType", "12"), "@tjenesteType"),
    "a type that is not reported": (lambda m: m[0][0].set("tjenesteType", "15"), "@tjenesteType"),
    "no unit for 18": (lambda m: m[0][0].attrib.pop("tjenesteOrgNr"), "@tjenesteOrgNr"),
    "a unit that is nobody": (lambda m: m[0][0].set("tjenesteOrgNr", "999999999"), "@tjenesteOrgNr"),
    "a unit below the range": (lambda m: m[0][0].set("tjenesteOrgNr", "809999997"), "@tjenesteOrgNr"),
    "a unit with a wrong digit": (
        lambda m: m[0][0].set("tjenesteOrgNr", f"{UNIT[:8]}{9 - int(UNIT[8])}"),
        "@tjenesteOrgNr",
    ),
    "the year 1986": (lambda m: m[0][0].set("hendelseDato", "1986-01-01"), "@hendelseDato"),
    "after the registration": (lambda m: m[0][0].set("hendelseDato", "2026-11-22"), "@hendelseDato"),
    "registration in another zone": (
        lambda m: m[0][0].set("hendelseRegTid", "2026-11-21T09:00:05+00:00"),
        "@hendelseRegTid",
    ),
    "unknown typeID": (lambda m: m[0][0][0].set("typeID", "11"), "@typeID"),
    "wrong check digits": (lambda m: m[0][0][0].set("fid", NUMBER[:10] + str((int(NUMBER[10]) + 1) % 10)), "@fid"),
    "a DUF number that is none": (lambda m: m[0][0][0].set("typeID", "10"), "@fid"),
    "a gap": (lambda m: m[1].set("notifikasjonLopeNr", "3"), "@notifikasjonLopeNr"),
    "a repeat": (lambda m: m[1].set("notifikasjonLopeNr", "1"), "@notifikasjonLopeNr"),
    "a broken link": (lambda m: m[1].set("notifikasjonForrigeGUID", str(PAUSE.guid)), "@notifikasjonForrigeGUID"),
    "a chain that begins in mid-air": (
        lambda m: m[0].set("notifikasjonForrigeGUID", str(PAUSE.guid)),
        "@notifikasjonForrigeGUID",
    ),
    "N with a reference": (lambda m: m[0].set("notifikasjonRef", str(PAUSE.guid)), "@notifikasjonRef"),
    "M without a reference": (lambda m: m[1].attrib.pop("notifikasjonRef"), "@notifikasjonRef"),
    "C without a reference": (
        lambda m: (m[1].set("statusNotifikasjon", "C"), m[1].attrib.pop("notifikasjonRef")),
        "@notifikasjonRef",
    ),
    "a reference to nothing": (lambda m: m[1].set("notifikasjonRef", str(FIRST_PREVIOUS_GUID)), "@notifikasjonRef"),
    "a reference to itself": (lambda m: m[1].set("notifikasjonRef", str(SECOND.guid)), "@notifikasjonRef"),
    "the empty GUID": (lambda m: m[2].set("notifikasjonGUID", str(FIRST_PREVIOUS_GUID)), "@notifikasjonGUID"),
    "no contact of type 16": (lambda m: remove(m[3]), "Kontaktperson"),
    "no contact of type 17": (lambda m: remove(m[4]), "Kontaktperson"),
    "municipality 0000": (lambda m: m[-1].set("kommuneNr", "0000"), "@kommuneNr"),
}


@pytest.mark.parametrize(("break_it", "place"), SCHEMA_BREAKS.values(), ids=SCHEMA_BREAKS)
def test_our_schema_refuses(break_it: Break, place: str) -> None:
    melding = build_melding(HEAD, CHAIN, OSLO)
    break_it(melding)
    assert place in places(check_melding(melding, OSLO))


@pytest.mark.parametrize(("break_it", "place"), RULE_BREAKS.values(), ids=RULE_BREAKS)
def test_our_rules_refuse(break_it: Break, place: str) -> None:
    melding = build_melding(HEAD, CHAIN, OSLO)
    break_it(melding)
    assert place in places(check_melding(melding, OSLO))


def test_a_reference_to_something_that_is_no_original_is_refused() -> None:
    third = replace(SECOND, number=3, guid=PAUSE.guid, previous_guid=SECOND.guid, original_guid=SECOND.guid)
    assert places(checked(FIRST, SECOND, third)) == ["@notifikasjonRef"]
    other_event = replace(third, original_guid=FIRST.guid, event=Event.END)
    assert places(checked(FIRST, SECOND, other_event)) == ["@notifikasjonRef"]
    assert checked(FIRST, SECOND, replace(third, original_guid=FIRST.guid)) == []


def test_the_problem_names_the_right_notification() -> None:
    late = replace(PAUSE, content=replace(PAUSE.content, service_type="99"))
    assert [problem.place for problem in checked(FIRST, SECOND, late)] == [
        "Melding[1]/Notifikasjon[3]/MidlertidigStoppFra[1]/@tjenesteType"
    ]


def test_type_29_needs_no_unit_but_a_change_of_provider_does() -> None:
    content = replace(FIRST.content, service_type="29", organisation_number=None)
    assert checked(replace(FIRST, content=content)) == []
    assert places(checked(replace(FIRST, content=content, event=Event.PROVIDER))) == ["@tjenesteOrgNr"]


def test_what_was_reported_may_be_annulled_though_its_type_is_reported_no_more() -> None:
    annulment = replace(SECOND, status=Status.ANNUL, content=replace(SECOND.content, service_type="15"))
    assert checked(FIRST, annulment) == []
    assert places(checked(FIRST, replace(annulment, status=Status.REPLACE))) == ["@tjenesteType"]


def test_a_person_with_a_birth_date_only_passes_as_type_9() -> None:
    content = replace(FIRST.content, person=replace(PERSON, identity="170538", identity_type="9"))
    assert checked(replace(FIRST, content=content)) == []


def test_the_event_may_happen_on_the_day_of_its_registration_in_norway() -> None:
    registered_at = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # the 21st in Norway
    content = replace(FIRST.content, on=date(2026, 11, 21), registered_at=registered_at)
    assert checked(replace(FIRST, content=content)) == []
    too_early = replace(content, registered_at=registered_at - timedelta(hours=1))
    assert places(checked(replace(FIRST, content=too_early))) == ["@hendelseDato"]


def test_the_window_is_configured() -> None:
    old = replace(FIRST, content=replace(FIRST.content, on=date(1985, 1, 1)))
    assert places(checked(old)) == ["@hendelseDato"]
    assert checked(old, window=Window(earliest=date(1985, 1, 1))) == []
    ahead = replace(FIRST.content, on=date(2027, 6, 1), registered_at=datetime(2027, 6, 1, 8, tzinfo=UTC))
    assert checked(replace(FIRST, content=ahead)) == []
    assert places(checked(replace(FIRST, content=ahead), window=Window(days_ahead=30))) == ["@hendelseDato"]


def test_numbers_may_go_on_from_another_system() -> None:
    assert checked(replace(PAUSE, number=70_001)) == []
    assert checked(replace(FIRST, number=70_001)) == []


@pytest.mark.parametrize("name", [*SCHEMA_BREAKS, *RULE_BREAKS])
def test_no_problem_quotes_a_value(name: str) -> None:
    break_it, _ = (SCHEMA_BREAKS | RULE_BREAKS)[name]
    melding = build_melding(HEAD, CHAIN, OSLO)
    values_before = {value for each in melding.iter() for value in each.attrib.values()}
    break_it(melding)
    values = {str(value) for each in melding.iter() for value in each.attrib.values()} | values_before
    long_enough = {value for value in values if len(value) > 3 and value != "999999999"}
    problems = check_melding(melding, OSLO)
    assert problems
    assert not [value for value in long_enough if any(value in f"{each.place} {each.text}" for each in problems)]


def test_values_stay_out_of_repr() -> None:
    assert "kari" not in repr(HEAD).lower()
    assert NUMBER not in repr(FIRST)


@given(st.text(max_size=120), st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_written_or_refused(user_number: str, identity: str, service_id: str) -> None:
    person = replace(PERSON, user_number=user_number, identity=identity, identity_type="9")
    odd = replace(FIRST, service_id=service_id, content=replace(FIRST.content, person=person))
    try:
        melding = build_melding(HEAD, [odd], OSLO)
    except NotWritable:
        return
    if check_melding(melding, OSLO) == []:
        again = etree.fromstring(etree.tostring(melding))
        assert again[0][0].attrib["tjenesteID"] == service_id
        assert again[0][0][0].attrib["brukerNr"] == user_number
        assert again[0][0][0].attrib["fid"] == identity
