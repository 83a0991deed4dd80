"""The hodemelding around a Melding: head, bytes, and what is refused of a whole message."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from lxml import etree

from agent.domain.hodemelding import Head, HerIdType, Party, build_hodemelding, check_hodemelding, melding_in
from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.melding import Contact, MeldingHead, NotWritable, build_melding
from agent.domain.notification import FIRST_PREVIOUS_GUID, Content, Event, Notification, ReportedPerson, Status
from agent.domain.schemas import MSGHEAD_NAMESPACE
from agent.domain.xml_reading import NotRead, read_xml

OSLO = ZoneInfo("Europe/Oslo")
NUMBER = tenor_number(date(1938, 5, 17), 0) or ""
AT = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
PERSON = ReportedPerson(UUID(int=4), "B-17", NUMBER, "1")
NOTIFICATION = Notification(
    number=1,
    guid=UUID(int=1),
    previous_guid=FIRST_PREVIOUS_GUID,
    original_guid=None,
    status=Status.NEW,
    event=Event.START,
    event_guid=UUID(int=2),
    service_id="T-1",
    pause_id=None,
    arisen_at=AT,
    content=Content("18", date(2026, 11, 20), AT, made_up_organisation_number(0), PERSON),
)
CONTACTS = tuple(Contact("Kari Test", "kari@kommune.example", None, None, role) for role in ("16", "17"))
MELDING = build_melding(MeldingHead("Demo", "DemoEPJ", "1.0", "0.1.0", CONTACTS, "0301"), [NOTIFICATION], OSLO)
HEAD = Head(
    type_code="KPR_IPL",
    type_text="IPLOS til KPR",
    msg_id=UUID("99A394D5-1E9F-50AC-90FC-4A1FA1828ED7"),
    generated_at=AT,
    sender=Party("Prøve kommune", 8000001, "Saksbehandling", 8000002),
    receiver=Party("Helsedirektoratet", 8139520, "KPR", 8000003),
)


def named(path: str) -> str:
    return "/".join(f"{{{MSGHEAD_NAMESPACE}}}{step}" for step in path.split("/"))


def built(head: Head = HEAD) -> etree._Element:
    return etree.fromstring(build_hodemelding(head, MELDING, OSLO))


def test_a_right_message_has_no_problem() -> None:
    assert check_hodemelding(build_hodemelding(HEAD, MELDING, OSLO), OSLO) == []


def test_the_bytes_are_utf8_with_a_declaration_and_always_the_same() -> None:
    content = build_hodemelding(HEAD, MELDING, OSLO)
    assert content.startswith(b"<?xml version='1.0' encoding='UTF-8'?>")
    assert "Prøve".encode() in content
    assert content == build_hodemelding(HEAD, MELDING, OSLO)


def test_the_melding_is_copied() -> None:
    build_hodemelding(HEAD, MELDING, OSLO)
    assert MELDING.getparent() is None
    assert etree.tostring(melding_in(built())) == etree.tostring(MELDING)


def test_the_head_says_who_what_and_when() -> None:
    info = built()[0]
    assert [etree.QName(each).localname for each in info] == [
        "Type",
        "MIGversion",
        "GenDate",
        "MsgId",
        "Ack",
        "Sender",
        "Receiver",
    ]
    assert dict(info[0].attrib) == {"V": "KPR_IPL", "DN": "IPLOS til KPR"}
    assert [each.text for each in info[1:4]] == [
        "v1.2 2006-05-24",
        "2026-11-21T12:00:00+01:00",
        "99a394d5-1e9f-50ac-90fc-4a1fa1828ed7",
    ]
    assert dict(info[4].attrib) == {"V": "J", "DN": "Ja"}


def test_the_municipality_stands_outside_and_its_service_inside() -> None:
    root = built()
    for side, party in (("Sender", HEAD.sender), ("Receiver", HEAD.receiver)):
        outer = root.find(named(f"MsgInfo/{side}/Organisation"))
        assert outer is not None
        inner = outer.find(named("Organisation"))
        assert inner is not None
        assert outer.findtext(named("OrganisationName")) == party.name
        assert outer.findtext(named("Ident/Id")) == str(party.her_id)
        assert inner.findtext(named("OrganisationName")) == party.service_name
        assert inner.findtext(named("Ident/Id")) == str(party.service_her_id)
        assert [dict(each.attrib) for each in outer.iter(named("TypeId"))] == [
            {"V": "HER", "S": "2.16.578.1.12.4.1.1.9051", "DN": "HER-id"}
        ] * 2


def test_the_spelling_of_the_her_id_type_and_the_ack_are_data() -> None:
    head = replace(HEAD, ask_receipt=False, her_id_type=HerIdType(value="HER", text="HER-Id", system="9051"))
    root = built(head)
    assert root.find(named("MsgInfo/Ack")) is None
    assert {(each.get("S"), each.get("DN")) for each in root.iter(named("TypeId"))} == {("9051", "HER-Id")}
    assert check_hodemelding(build_hodemelding(head, MELDING, OSLO), OSLO) == []


def test_there_is_no_patient_in_the_head() -> None:
    assert not list(built().iter(named("Patient")))


@pytest.mark.parametrize(
    "head",
    [
        replace(HEAD, type_code="canary\x00"),
        replace(HEAD, sender=replace(HEAD.sender, name="canary\x00")),
    ],
)
def test_what_xml_cannot_hold_is_refused_without_quoting_it(head: Head) -> None:
    with pytest.raises(NotWritable) as caught:
        build_hodemelding(head, MELDING, OSLO)
    assert "canary" not in repr(caught.value)


BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "no HER-id": lambda content: content.replace(b"<Id>8000001</Id>", b"<Id></Id>"),
    "a number of a person for HER-id": lambda content: content.replace(b"8000001", NUMBER.encode()),
    "no name": lambda content: content.replace(b"Saksbehandling", b""),
    "no service": lambda content: content.replace(b"OrganisationName>KPR<", b"OrganisationName> <"),
    "another version": lambda content: content.replace(b"v1.2 2006-05-24", b"v1.1 2006-02-15"),
    "MsgId in upper case": lambda content: content.replace(b"99a394d5", b"99A394D5"),
    "a time without offset": lambda content: content.replace(b"12:00:00+01:00</GenDate>", b"12:00:00</GenDate>"),
    "a fault inside": lambda content: content.replace(b'versjonEPJ="1.0"', b""),
    "a rule broken inside": lambda content: content.replace(b'tjenesteType="18"', b'tjenesteType="99"'),
    "a DOCTYPE": lambda content: content.replace(b"<MsgHead", b"<!DOCTYPE MsgHead><MsgHead", 1),
    "truncated": lambda content: content[:-20],
    "nothing": lambda _content: b"",
    "a bare Melding": lambda _content: etree.tostring(MELDING),
}


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS)
def test_a_broken_message_is_refused_and_no_value_quoted(break_it: Callable[[bytes], bytes]) -> None:
    content = build_hodemelding(HEAD, MELDING, OSLO)
    broken = break_it(content)
    assert broken != content
    problems = check_hodemelding(broken, OSLO)
    assert problems
    assert not any(secret in repr(problems) for secret in (NUMBER, "Prøve", "8000001", "Kari"))


def test_places_inside_the_melding_are_named() -> None:
    content = build_hodemelding(HEAD, MELDING, OSLO).replace(b'brukerNr="B-17"', b'brukerNr=""')
    assert [problem.place for problem in check_hodemelding(content, OSLO)] == [
        "Melding[1]/Notifikasjon[1]/TjenesteStart[1]/Bruker[1]/@brukerNr"
    ]


def test_a_message_may_be_larger_than_a_receipt() -> None:
    padded = build_hodemelding(HEAD, MELDING, OSLO).replace(b"<MsgInfo>", b"<!--" + b"x" * 5_000_000 + b"--><MsgInfo>")
    assert isinstance(read_xml(padded), NotRead)
    assert check_hodemelding(padded, OSLO) == []


def test_the_placeholder_of_a_her_id_passes() -> None:
    """A dry run takes any municipality's file, its placeholders too; production refuses them in its configuration."""
    content = build_hodemelding(HEAD, MELDING, OSLO).replace(b"<Id>8000001</Id>", b"<Id>0</Id>")
    assert check_hodemelding(content, OSLO) == []
