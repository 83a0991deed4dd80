"""Free text that a message can carry, and that our schema agrees."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.identifiers import check_number, made_up_organisation_number
from agent.domain.melding import Contact, MeldingHead, NotWritable, build_melding
from agent.domain.melding_rules import check_melding
from agent.domain.message_text import KEY_LENGTH, USER_NUMBER_LENGTH, district_problem, text_problem
from agent.domain.notification import FIRST_PREVIOUS_GUID, Content, Event, Notification, ReportedPerson, Status

OSLO = ZoneInfo("Europe/Oslo")
AT = datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
PERSON = ReportedPerson(UUID(int=4), "B-17", "170538", "9")
NOTIFICATION = Notification(
    number=1,
    guid=UUID(int=1),
    previous_guid=FIRST_PREVIOUS_GUID,
    original_guid=None,
    status=Status.NEW,
    event=Event.PAUSE_FROM,
    event_guid=UUID(int=2),
    service_id="T-1",
    pause_id="P-1",
    arisen_at=AT,
    content=Content("18", date(2026, 11, 20), AT, made_up_organisation_number(0), PERSON),
)
CONTACTS = tuple(Contact("Kari Test", "kari@kommune.example", None, None, role) for role in ("16", "17"))
HEAD = MeldingHead("Demo", "DemoEPJ", "1.0", "0.1.0", CONTACTS, "0301")


def accepted(notification: Notification) -> bool:
    try:
        return check_melding(build_melding(HEAD, [notification], OSLO), OSLO) == []
    except NotWritable:
        return False


def with_person(person: ReportedPerson) -> Notification:
    return replace(NOTIFICATION, content=replace(NOTIFICATION.content, person=person))


@given(st.text(max_size=USER_NUMBER_LENGTH + 2))
@example("")
@example(" \t")
@example(" led")
@example("a\nb")
@example("\ud800")
@example("\ufffe")
@example("\x0b")
@example("\u00a0")
@example("\U0001f600" * USER_NUMBER_LENGTH)
@example("x" * (USER_NUMBER_LENGTH + 1))
def test_our_schema_agrees_about_the_user_number(text: str) -> None:
    right = text_problem(text, USER_NUMBER_LENGTH) is None
    assert accepted(with_person(replace(PERSON, user_number=text))) == right


@given(st.text(max_size=22))
@example("a\nb")
@example("\u00a0")
def test_a_number_of_another_type_that_passes_its_rule_passes_our_schema(text: str) -> None:
    if check_number(text, "4") is None:
        assert accepted(with_person(replace(PERSON, identity=text, identity_type="4")))


@given(st.text(max_size=40))
@example("x" * KEY_LENGTH)
@example("x" * (KEY_LENGTH + 1))
def test_our_schema_agrees_about_keys(text: str) -> None:
    right = text_problem(text, KEY_LENGTH) is None
    assert accepted(replace(NOTIFICATION, service_id=text)) == right
    assert accepted(replace(NOTIFICATION, pause_id=text)) == right


@given(st.text(max_size=8) | st.integers(0, 9_999_999).map(str))
@example("")
@example("٣٤")
def test_our_schema_agrees_about_districts(text: str) -> None:
    assert accepted(with_person(replace(PERSON, district=text))) == (district_problem(text) is None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "empty"), ("  ", "empty"), ("x" * 101, "longer"), ("a\nb", "line"), ("a\x00", "character")],
)
def test_the_reason_says_what_is_wrong(text: str, reason: str) -> None:
    assert reason in (text_problem(text, 100) or "")
