"""Error-queue messages in every shape that real senders give them. All data is made up."""

from collections.abc import Mapping
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.error_notice import ErrorNotice, read_error_notice
from agent.domain.identifiers import tenor_number

OURS = "99a394d5-1e9f-50ac-90fc-4a1fa1828ed7"
THEIRS = "11111111-2222-4333-8444-555555555555"
NUMBER = tenor_number(date(1938, 5, 17), 0) or ""
PROPERTIES = {
    "originalMessageId": OURS,
    "receiverTimeStamp": "11/21/2026 11:00:00",
    "errorCondition": "transport:invalid-field-value",
    "errorDescription": "Invalid value",
    "errorConditionData": "toHerId;fromHerId;",
    "fromHerId": "8139520",
    "toHerId": "8000001",
}
ENCRYPTED = "application/pkcs7-mime; smime-type=signed-and-enveloped-data"
SOAP12 = f"""<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>
<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>transport:not-well-formed-xml</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="no">Kan ikke leses</s:Text></s:Reason>
<s:Detail><messageId xmlns="">{OURS}</messageId></s:Detail></s:Fault></s:Body></s:Envelope>"""
SOAP11 = f"""<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault>
<faultcode>transport:expired-certificate</faultcode><faultstring>Utløpt</faultstring>
<detail><error><MessageId>{{{OURS.upper()}}}</MessageId></error></detail></e:Fault></e:Body></e:Envelope>"""


def read(
    properties: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    subject: str | None = "KPR_IPL",
    content_type: str | None = None,
    correlation_id: str | None = None,
    message_id: str | None = THEIRS,
) -> ErrorNotice:
    return read_error_notice(
        subject=subject,
        content_type=content_type,
        properties={} if properties is None else properties,
        correlation_id=correlation_id,
        message_id=message_id,
        body=body,
    )


@pytest.mark.parametrize("content_type", [None, ENCRYPTED])
@pytest.mark.parametrize("correlation_id", [None, OURS, THEIRS])
@pytest.mark.parametrize("message_id", [None, OURS, THEIRS])
def test_a_notice_in_properties(content_type: str | None, correlation_id: str | None, message_id: str | None) -> None:
    notice = read(PROPERTIES, content_type=content_type, correlation_id=correlation_id, message_id=message_id)
    assert notice.original_message_id == OURS
    assert notice.condition == "transport:invalid-field-value"
    assert notice.description == "Invalid value"
    assert notice.data == ("toHerId", "fromHerId")
    assert notice.received_at == "11/21/2026 11:00:00"
    assert not notice.temporary


def test_without_originalmessageid_the_cloned_ids_serve() -> None:
    assert read({}, correlation_id=OURS).original_message_id == OURS
    assert read({}, correlation_id=OURS).candidate_ids == (OURS, THEIRS)
    assert read({}, message_id=OURS).original_message_id == OURS
    assert read({}, message_id=None).original_message_id is None
    assert read({}, message_id="  ").candidate_ids == ()


@pytest.mark.parametrize(
    "written", [OURS.upper(), f"{{{OURS}}}", f" {OURS} ", f"urn:uuid:{OURS}", OURS.replace("-", "")]
)
def test_ids_are_normalised(written: str) -> None:
    assert read({"originalMessageId": written}).original_message_id == OURS


def test_property_names_differ_in_case() -> None:
    notice = read({"OriginalMessageId": OURS, "ERRORCONDITION": "Transport:Internal-Error"})
    assert (notice.original_message_id, notice.condition) == (OURS, "transport:internal-error")


def test_no_condition_at_all() -> None:
    notice = read({"originalMessageId": OURS, "errorDescription": "?"})
    assert (notice.condition, notice.description, notice.data) == ("", "?", ())


def test_properties_that_were_integers() -> None:
    odd: dict[str, object] = PROPERTIES | {"fromHerId": 8139520, "errorConditionData": 7}
    assert read(odd).data == ("7",)  # type: ignore[arg-type]  # a sender's integers, where a transport leaves them so


def test_an_encrypted_body_is_not_read() -> None:
    notice = read(PROPERTIES, b"\x30\x82\x0b\x9a\x06\x09\x2a\x86", content_type=ENCRYPTED)
    assert notice.condition == "transport:invalid-field-value"


def test_an_error_about_an_error_keeps_the_first_condition() -> None:
    about = PROPERTIES | {"originalMessageId": THEIRS, "errorDescription": "Could not handle the error message"}
    notice = read(about, correlation_id=OURS)
    assert notice.condition == "transport:invalid-field-value"
    assert notice.candidate_ids == (THEIRS, OURS)


@pytest.mark.parametrize(
    ("condition", "description", "temporary"),
    [
        ("transport:revoked-certificate", "Unable to determine revocation status of the certificate", True),
        ("transport:revoked-certificate", "UNABLE TO DETERMINE REVOCATION STATUS", True),
        ("transport:revoked-certificate", "The certificate is revoked", False),
        ("transport:revoked-certificate", "", False),
        ("transport:invalid-certificate", "Unable to determine revocation status", False),
        ("transport:internal-error", "", False),
        ("abuse:spoofing-attack", "", False),
    ],
)
def test_only_an_unknown_revocation_is_temporary(condition: str, description: str, *, temporary: bool) -> None:
    notice = read(PROPERTIES | {"errorCondition": condition, "errorDescription": description})
    assert notice.condition == condition
    assert notice.temporary is temporary


@pytest.mark.parametrize(
    ("subject", "content_type"),
    [
        ("AMQP_SOAP_FAULT", "application/soap+xml"),
        ("AMQP_SOAP_FAULT", None),
        (None, 'application/soap+xml; charset="utf-8"'),
        ("KPR_IPL", None),
    ],
)
@pytest.mark.parametrize(
    ("fault", "condition", "text"),
    [(SOAP12, "transport:not-well-formed-xml", "Kan ikke leses"), (SOAP11, "transport:expired-certificate", "Utløpt")],
    ids=["1.2", "1.1"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_soap_faults(
    fault: str, condition: str, text: str, encoding: str, subject: str | None, content_type: str | None
) -> None:
    notice = read({}, fault.encode(encoding), subject=subject, content_type=content_type)
    assert notice.original_message_id == OURS
    assert notice.condition == condition
    assert notice.description == text


def test_a_fault_inside_cdata() -> None:
    quoted = f"<?xml version='1.0' encoding='utf-16'?>{SOAP12}"
    notice = read({}, f"<Error><Text><![CDATA[ {quoted} ]]></Text></Error>".encode(), subject="AMQP_SOAP_FAULT")
    assert (notice.original_message_id, notice.condition) == (OURS, "transport:not-well-formed-xml")


def test_a_fault_without_subcode_and_with_relatesto() -> None:
    fault = f"""<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://www.w3.org/2005/08/addressing">
<s:Header><w:RelatesTo>urn:uuid:{OURS}</w:RelatesTo></s:Header><s:Body><s:Fault><s:Code><s:Value>s:Receiver</s:Value>
</s:Code></s:Fault></s:Body></s:Envelope>"""
    notice = read({}, fault.encode())
    assert (notice.original_message_id, notice.condition) == (OURS, "s:receiver")


def test_a_temporary_fault() -> None:
    fault = SOAP12.replace("transport:not-well-formed-xml", "transport:revoked-certificate").replace(
        "Kan ikke leses", "Unable to determine revocation status"
    )
    assert read({}, fault.encode()).temporary


def test_properties_come_before_the_fault() -> None:
    notice = read(PROPERTIES, SOAP11.encode())
    assert notice.condition == "transport:invalid-field-value"
    assert notice.description == "Invalid value Utløpt"


def test_a_sentence_where_the_condition_belongs_is_text() -> None:
    notice = read({"errorCondition": f"Feil med {NUMBER}", "errorConditionData": NUMBER, "errorDescription": NUMBER})
    assert notice.condition == ""
    assert NUMBER in notice.description
    assert NUMBER not in repr(notice)


def test_a_doctype_in_a_fault_is_not_read() -> None:
    notice = read({}, f"<!DOCTYPE x>{SOAP12}".encode(), subject="AMQP_SOAP_FAULT")
    assert notice.condition == ""


@given(
    st.none() | st.text(max_size=20),
    st.dictionaries(st.sampled_from([*PROPERTIES, "x"]), st.text(max_size=40)),
    st.none() | st.text(max_size=40),
    st.binary(max_size=80) | st.integers(0, 700).map(lambda cut: SOAP12.encode()[:cut] + SOAP12.encode()[cut + 3 :]),
)
def test_nothing_is_too_odd(
    subject: str | None, properties: dict[str, str], correlation_id: str | None, body: bytes
) -> None:
    notice = read(properties, body, subject=subject, correlation_id=correlation_id, content_type=subject)
    assert all(notice.candidate_ids)
