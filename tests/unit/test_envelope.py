"""An envelope: what is kept of a message, and what of it stands outside on the bus."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from lxml import etree

from agent.dispatch.envelope import EnvelopeSettings, MessageInvalid, NewEnvelope, build_envelope, outgoing
from agent.dispatch.official_schemas import OfficialSchemas
from agent.domain.identifiers import looks_like_identity_number
from agent.domain.notification import Event
from tests.outbound import ENVELOPES, NOW, NUMBER, OURS_SERVICE, REGISTER_SERVICE, notification

MSG_ID = UUID("99a394d5-1e9f-50ac-90fc-4a1fa1828ed7")
MESSAGE_ID = UUID("11a394d5-1e9f-50ac-90fc-4a1fa1828ed7")


@dataclass(frozen=True)
class Row:
    id: int = 17
    msg_id: str = str(MSG_ID)
    message_id: str = str(MESSAGE_ID)
    created_at: datetime = NOW


def built(*numbers: int, settings: EnvelopeSettings = ENVELOPES, at: datetime = NOW) -> NewEnvelope:
    return build_envelope(
        [notification(number) for number in numbers], settings, msg_id=MSG_ID, message_id=MESSAGE_ID, at=at
    )


def test_it_carries_its_notifications_in_order_and_its_own_ids() -> None:
    made = built(4, 5, 6)
    root = etree.fromstring(made.content)
    assert (made.first_number, made.last_number) == (4, 6)
    assert root.xpath("//@notifikasjonLopeNr") == ["4", "5", "6"]
    assert root.findtext(".//{*}MsgId") == str(MSG_ID)
    assert str(MESSAGE_ID) not in made.content.decode()


def test_the_same_in_gives_the_same_bytes() -> None:
    assert built(1).content == built(1).content


def test_the_kommunenummer_is_the_one_valid_in_norway_on_the_day_it_is_made() -> None:
    settings = replace(ENVELOPES, kommunenummer_on=lambda day: "3107" if day.year >= 2027 else "3004")
    before = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)
    assert b'kommuneNr="3004"' in built(1, settings=settings, at=before).content
    assert b'kommuneNr="3107"' in built(1, settings=settings, at=before + timedelta(minutes=1)).content


def test_a_message_that_is_not_valid_is_refused_and_quotes_no_person() -> None:
    wrong = replace(
        notification(3),
        event=Event.PAUSE_FROM,  # without the id that a pause needs
    )
    with pytest.raises(MessageInvalid) as caught:
        build_envelope([wrong], ENVELOPES, msg_id=MSG_ID, message_id=MESSAGE_ID, at=NOW)
    assert caught.value.first_number == 3
    assert "midlertidigStoppID" in str(caught.value)
    assert NUMBER not in str(caught.value)
    assert not looks_like_identity_number(str(caught.value))


def test_a_gap_inside_a_message_is_refused() -> None:
    with pytest.raises(MessageInvalid):
        built(1, 3)


def test_what_xml_cannot_hold_is_refused_by_its_place() -> None:
    wrong = replace(notification(1), service_id="T-\x00")
    with pytest.raises(MessageInvalid, match="tjenesteID"):
        build_envelope([wrong], ENVELOPES, msg_id=MSG_ID, message_id=MESSAGE_ID, at=NOW)


def test_the_official_schemas_are_asked_too_where_they_are_configured(tmp_path) -> None:
    head = "http://www.kith.no/xmlstds/msghead/2006-05-24"
    melding = "http://www.npr.no/xmlstds/56_0_0_ipl"
    for namespace, element in ((head, "MsgHead"), (melding, "Melding")):
        (tmp_path / f"{element}.xsd").write_text(
            f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{namespace}">'
            f'<xs:element name="{element}"><xs:complexType/></xs:element></xs:schema>'
        )
    strict = replace(ENVELOPES, official=OfficialSchemas.load(tmp_path))
    with pytest.raises(MessageInvalid, match="official") as caught:
        built(1, settings=strict)
    assert NUMBER not in str(caught.value)


def test_the_bytes_stay_out_of_repr() -> None:
    assert NUMBER not in repr(built(1))
    assert NUMBER not in repr(outgoing(Row(), built(1).content, ENVELOPES))
    assert "Kari" not in repr(ENVELOPES)


def test_invariant_10_the_properties_are_those_of_the_profile_all_strings_and_nobody_in_them() -> None:
    sent = outgoing(Row(created_at=NOW.astimezone(timezone(timedelta(hours=1)))), b"der", ENVELOPES)
    assert sent.properties == {
        "fromHerId": str(OURS_SERVICE),
        "toHerId": str(REGISTER_SERVICE),
        "applicationTimeStamp": "2026-11-21T12:00:00Z",
        "X-SystemIdentifier": "kpr-agent",
    }
    assert (sent.message_id, sent.to, sent.reply_to) == (str(MESSAGE_ID), "8139520_async", "8000002_async")
    assert sent.subject == "KPR_IPL"
    assert sent.content_type == "application/pkcs7-mime; smime-type=signed-and-enveloped-data"
    assert sent.time_to_live_s is None
    assert sent.file_name == "000017.xml"


def test_an_agreement_a_life_time_and_a_description_stand_there_only_where_configured() -> None:
    settings = replace(ENVELOPES, cpa_id="cpa-1", time_to_live_s=1209600, described=True)
    sent = outgoing(Row(), b"der", settings)
    assert sent.properties["cpaId"] == "cpa-1"
    assert sent.properties["X-MessageInfo-MsgId"] == str(MSG_ID)
    assert sent.properties["X-Sender-Lvl2Id"] == str(OURS_SERVICE)
    assert sent.time_to_live_s == 1209600
    assert all(isinstance(value, str) for value in sent.properties.values())


def test_a_plain_message_for_a_folder_says_so() -> None:
    assert outgoing(Row(), b"<x/>", ENVELOPES, protected=False).content_type == "application/xml"
