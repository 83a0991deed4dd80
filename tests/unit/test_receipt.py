"""Application receipts as real systems write them: one test for each thing seen. All data is made up."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.identifiers import tenor_number
from agent.domain.receipt import Receipt, ReceiptError, ReceiptVerdict, UnreadableReceipt, read_receipt

V10 = "http://www.kith.no/xmlstds/apprec/2004-11-21"
V11 = "http://www.kith.no/xmlstds/apprec/2012-02-15"
ORIGINAL = "99a394d5-1e9f-50ac-90fc-4a1fa1828ed7"
NUMBER = tenor_number(date(1938, 5, 17), 0) or ""

INSTITUTION = """<HCP><Inst><Name>Register</Name><Id>8139520</Id><TypeId V="HER" DN="HER-id"/>
  <Dept><Name>KPR</Name><Id>8000003</Id><TypeId V="HER" DN="HER-id"/></Dept>
  <AdditionalId><Id>983744516</Id><Type V="ENH" DN="Organisasjonsnummeret i Enhetsregisteret"/></AdditionalId>
  </Inst></HCP>"""
MUNICIPALITY = '<HCP><Inst><Name>Prøve</Name><Id>8000001</Id><TypeId V="HER" DN="HER-id"/></Inst></HCP>'
OK = '<Status V="1" DN="OK"/>'
REJECTED = '<Status V="2" DN="Avvist"/>'
X99 = '<Error S="2.16.578.1.12.4.1.1.8221" V="X99" DN="Annen feil"/>'


def receipt(
    status: str = OK,
    errors: str = "",
    *,
    namespace: str = V11,
    mig: str = "v1.1 2012-02-15",
    original: str = f"<Id>{ORIGINAL}</Id>",
    original_type: str = '<MsgType V="KPR_IPL" DN="KPR_IPL"/>',
    sender: str = INSTITUTION,
    generated: str = "2026-11-21T12:00:00",
) -> str:
    return f"""<AppRec xmlns="{namespace}"><MsgType V="APPREC" DN="Applikasjonskvittering"/>
<MIGversion>{mig}</MIGversion>
<GenDate>{generated}</GenDate><Id>2f1c1b5e-0000-4000-8000-000000000001</Id>
<Sender>{sender}</Sender><Receiver>{MUNICIPALITY}</Receiver>{status}{errors}
<OriginalMsgId>{original_type}<IssueDate>2026-11-21T11:59:00</IssueDate>{original}</OriginalMsgId></AppRec>"""


def read(text: str | bytes) -> Receipt:
    found = read_receipt(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, Receipt), found
    return found


def unreadable(content: str | bytes) -> str:
    found = read_receipt(content.encode() if isinstance(content, str) else content)
    assert isinstance(found, UnreadableReceipt), found
    return found.why


@pytest.mark.parametrize(
    ("namespace", "mig"), [(V10, "1.0 2004-11-21"), (V11, "v1.1 2012-02-15"), (V11, "1.0 2004-11-21")]
)
def test_both_versions_are_read_whatever_migversion_says(namespace: str, mig: str) -> None:
    assert read(receipt(namespace=namespace, mig=mig)) == Receipt(
        original_msg_id=ORIGINAL,
        verdict=ReceiptVerdict.POSITIVE,
        errors=(),
        receipt_id="2f1c1b5e-0000-4000-8000-000000000001",
        generated_at="2026-11-21T12:00:00",
        sender_her_ids=("8139520", "8000003"),
        receiver_her_ids=("8000001",),
    )


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (OK, ReceiptVerdict.POSITIVE),
        ('<Status V="1"/>', ReceiptVerdict.POSITIVE),
        ('<Status V="1" DN=""/>', ReceiptVerdict.POSITIVE),
        ('<Status V=" 1 " DN=" ok"/>', ReceiptVerdict.POSITIVE),
        ('<Status V="1" DN="OK, ingen feil"/>', ReceiptVerdict.POSITIVE),
        ('<Status V="1" DN="Behandlet"/>', ReceiptVerdict.POSITIVE),
        (REJECTED, ReceiptVerdict.NEGATIVE),
        ('<Status V="2"/>', ReceiptVerdict.NEGATIVE),
        ('<Status V="2" DN="Rejected"/>', ReceiptVerdict.NEGATIVE),
        ('<Status V="3" DN="OK, feil i delmelding"/>', ReceiptVerdict.PARTIAL),
        ('<Status V="3"/>', ReceiptVerdict.PARTIAL),
        # number and text disagree, also where a vendor swaps 2 and 3
        ('<Status V="1" DN="Avvist"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="1" DN="Ikke OK"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="1" DN="OK, feil i delmelding"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="2" DN="OK"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="2" DN="OK, feil i delmelding"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="3" DN="Avvist"/>', ReceiptVerdict.UNCLEAR),
        # numbers that the schema lets through
        ('<Status V="73" DN="OK"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="123"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="OK" DN="1"/>', ReceiptVerdict.UNCLEAR),
        ('<Status V="" DN="OK"/>', ReceiptVerdict.UNCLEAR),
        ('<Status DN="OK"/>', ReceiptVerdict.UNCLEAR),
        ("<Status/>", ReceiptVerdict.UNCLEAR),
        ("", ReceiptVerdict.UNCLEAR),
        (OK + REJECTED, ReceiptVerdict.UNCLEAR),
        (OK + OK, ReceiptVerdict.UNCLEAR),
    ],
)
def test_verdict(status: str, verdict: ReceiptVerdict) -> None:
    assert read(receipt(status)).verdict is verdict


def test_a_positive_status_with_an_error_is_unclear_and_an_empty_error_is_none() -> None:
    assert read(receipt(OK, X99)).verdict is ReceiptVerdict.UNCLEAR
    assert read(receipt(OK, "<Error/>")).verdict is ReceiptVerdict.POSITIVE


def test_v_and_s_swapped_in_an_error_is_a_rejection() -> None:
    found = read(receipt(REJECTED, '<Error V="2.16.578.1.12.4.1.1.8221" S="X99" DN="Annen feil"/>'))
    assert found.verdict is ReceiptVerdict.NEGATIVE
    assert found.errors == (ReceiptError("X99", "2.16.578.1.12.4.1.1.8221", "Annen feil", ""),)


@pytest.mark.parametrize(("code", "system"), [("07", "8223"), ("B720007F", "8124"), ("E10", "8221"), ("S99", "8221")])
def test_codes_of_other_systems_are_kept(code: str, system: str) -> None:
    oid = f"2.16.578.1.12.4.1.1.{system}"
    assert read(receipt(REJECTED, f'<Error V="{code}" S="{oid}"/>')).errors == (ReceiptError(code, oid, "", ""),)


def test_a_sentence_where_the_code_belongs_is_text() -> None:
    found = read(receipt(REJECTED, f'<Error V="Ugyldig nummer {NUMBER}" DN="X99"/><Error V="{NUMBER}" S="{NUMBER}"/>'))
    assert found.errors[0] == ReceiptError("X99", "", f"Ugyldig nummer {NUMBER}", "")
    assert found.errors[1].code == ""
    assert found.errors[1].system == ""
    assert NUMBER not in repr(found)


def test_the_pointer_of_a_partial_receipt_is_normalised() -> None:
    error = f'<Error V="E35" S="2.16.578.1.12.4.1.1.8221" OT="{{{ORIGINAL.upper()}}}"/>'
    found = read(receipt('<Status V="3" DN="OK, feil i delmelding"/>', error + X99))
    assert [each.pointer for each in found.errors] == [ORIGINAL, ""]
    assert found.verdict is ReceiptVerdict.PARTIAL


def test_the_original_type_is_never_matched_on() -> None:
    assert (
        read(receipt(original_type='<MsgType V="KPR til register" DN="KPR_IPL"/>')).verdict is ReceiptVerdict.POSITIVE
    )
    assert read(receipt(original_type="")).original_msg_id == ORIGINAL


@pytest.mark.parametrize(
    "written",
    [
        ORIGINAL.upper(),
        f"{{{ORIGINAL}}}",
        f"{{{ORIGINAL.upper()}}}",
        f"\n  {ORIGINAL}\t",
        f"urn:uuid:{ORIGINAL}",
        ORIGINAL.replace("-", ""),
        f"99a394d5-<!-- a comment -->{ORIGINAL.removeprefix('99a394d5-')}",
        f"<![CDATA[{ORIGINAL}]]>",
    ],
)
def test_the_original_id_is_normalised(written: str) -> None:
    assert read(receipt(original=f"<Id>{written}</Id>")).original_msg_id == ORIGINAL


def test_ids_need_not_be_guids() -> None:
    assert read(receipt(original="<Id> Melding-42 </Id>")).original_msg_id == "melding-42"


@pytest.mark.parametrize("original", ["", "<Id/>", "<Id>  </Id>", f"<Id>{ORIGINAL}</Id><Id>another</Id>"])
def test_without_a_single_original_id_it_is_kept_for_a_person(original: str) -> None:
    assert "original" in unreadable(receipt(original=original))


def test_the_same_original_id_twice_is_one() -> None:
    assert read(receipt(original=f"<Id>{ORIGINAL}</Id><Id>{ORIGINAL.upper()}</Id>")).original_msg_id == ORIGINAL


@pytest.mark.parametrize(
    "generated",
    [
        "2026-11-21T12:00:00.1234567",
        "2026-11-21T12:00:00.123456789+01:00",
        "2026-11-21T12:00:00Z",
        " 2026-11-21T12:00:00 ",
    ],
)
def test_times_are_kept_as_they_were_written(generated: str) -> None:
    assert read(receipt(generated=generated)).generated_at == generated.strip()


def test_white_space_after_migversion_and_before_the_declaration() -> None:
    assert read(receipt(mig="v1.1 2012-02-15\n  ")).verdict is ReceiptVerdict.POSITIVE
    assert read(f"\n  <?xml version='1.0'?>{receipt()}").verdict is ReceiptVerdict.POSITIVE


@pytest.mark.parametrize(
    ("sender", "her_ids"),
    [
        ('<HCP><HCProf><Name>Lege</Name><Id>8000009</Id><TypeId V="HER"/></HCProf></HCP>', ("8000009",)),
        ('<HCP><HCProf><Id>1234567</Id><TypeId V="HPR" DN="HPR-nummer"/></HCProf></HCP>', ()),
        ('<HCP><Inst><Id>8139520</Id><TypeId V=" HER"/></Inst></HCP>', ("8139520",)),
        ('<HCP><Inst><Id>8139520</Id><TypeId V="HER-id" DN="HER"/></Inst></HCP>', ("8139520",)),
        ('<HCP><Inst><Id> 8139520 </Id><TypeId V="HER"/></Inst></HCP>', ("8139520",)),
        (
            '<HCP><Inst><Id>1</Id><AdditionalId><Id>8139520</Id><Type V="HER"/></AdditionalId></Inst></HCP>',
            ("8139520",),
        ),
        (f'<HCP><Inst><HCPerson><Id>{NUMBER}</Id><TypeId V="FNR"/></HCPerson></Inst></HCP>', ()),
        (f'<HCP><Inst><HCPerson><Id>{NUMBER}</Id><TypeId V="HER"/></HCPerson></Inst></HCP>', ()),
        ("<HCP><Inst/></HCP>", ()),
        ("", ()),
    ],
)
def test_her_ids_of_the_sender(sender: str, her_ids: tuple[str, ...]) -> None:
    found = read(receipt(sender=sender))
    assert found.sender_her_ids == her_ids
    assert found.verdict is ReceiptVerdict.POSITIVE


def test_free_text_stays_out_of_repr() -> None:
    error = f'<Error V="X99" DN="Pasienten {NUMBER} er ukjent" OT="{NUMBER}"/>'
    found = read(receipt(REJECTED, error))
    assert NUMBER in found.errors[0].text
    assert NUMBER not in repr(found)
    assert NUMBER not in str(found)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + receipt().encode(),
        b"\xef\xbb\xbf" + f"<?xml version='1.0' encoding='utf-8'?>{receipt()}".encode(),
        receipt().encode("utf-16"),
        f"<?xml version='1.0' encoding='UTF-16'?>{receipt()}".encode("utf-16"),
        b"\xfe\xff" + f"<?xml version='1.0' encoding='UTF-16'?>{receipt()}".encode("utf-16-be"),
        f"<?xml version='1.0' encoding='ISO-8859-1'?>{receipt()}".encode("latin-1"),
        f"<?xml version='1.0' encoding='windows-1252'?>{receipt()}".encode("cp1252"),
    ],
    ids=["bom", "bom and declaration", "utf-16", "utf-16 declared", "utf-16-be", "latin-1 declared", "cp1252 declared"],
)
def test_encodings_that_are_read(content: bytes) -> None:
    assert read(content).verdict is ReceiptVerdict.POSITIVE


def test_undeclared_latin1_is_not_well_formed() -> None:
    assert "well-formed" in unreadable(receipt().encode("latin-1"))


def test_a_receipt_inside_another_root_is_kept_for_a_person() -> None:
    assert "inside" in unreadable(f"<Envelope>{receipt()}</Envelope>")


def test_a_hodemelding_is_no_receipt_even_with_one_inside() -> None:
    head = "http://www.kith.no/xmlstds/msghead/2006-05-24"
    assert "hodemelding" in unreadable(f'<MsgHead xmlns="{head}"><MsgInfo/><Document>{receipt()}</Document></MsgHead>')


def test_another_namespace_is_never_positive_and_still_a_rejection() -> None:
    assert read(receipt(namespace="urn:other")).verdict is ReceiptVerdict.UNCLEAR
    assert read(receipt(REJECTED, namespace="urn:other")).verdict is ReceiptVerdict.NEGATIVE


def test_prefixes_and_attributes_with_a_namespace_are_read() -> None:
    text = receipt(REJECTED, X99).replace("<", "<a:").replace("<a:/", "</a:").replace("xmlns=", "xmlns:a=")
    found = read(text.replace(' V="2"', ' a:V="2"'))
    assert found.verdict is ReceiptVerdict.NEGATIVE
    assert found.errors[0].code == "X99"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   ",
        b"not xml",
        b"\x30\x82\x01\x00\x06\x09",
        b"<AppRec>",
        b"<AppRec/>trailing",
        b"<other/>",
        b"<AppRec/>",
        b"<?xml version='1.0' encoding='no-such'?><AppRec/>",
    ],
)
def test_rubbish_is_unreadable(content: bytes) -> None:
    unreadable(content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_any_doctype_is_refused(encoding: str) -> None:
    entities = "".join(f"<!ENTITY e{step} '{f'&e{step - 1};' * 10}'>" for step in range(1, 10))
    for declaration in (
        "<!DOCTYPE AppRec>",
        '<!DOCTYPE AppRec SYSTEM "http://127.0.0.1:1/x.dtd">',
        '<!DOCTYPE AppRec [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        f"<!DOCTYPE AppRec [<!ENTITY e0 'ha'>{entities}]>",
    ):
        text = declaration + receipt(original=f"<Id>{ORIGINAL}</Id>")
        assert "document type" in unreadable(text.encode(encoding))


def test_size_and_depth_are_capped() -> None:
    assert "larger" in unreadable(receipt() + " " * 5_000_000)
    assert "deeper" in unreadable(receipt(errors="<x>" * 70 + "</x>" * 70))
    assert "deeper" in unreadable("<x>" * 100_000)


def test_no_reason_quotes_the_document() -> None:
    for text in (f"<AppRec>{NUMBER}<", f"<{NUMBER}/>", f"<a>{NUMBER}</b>", f"<AppRec><x>{NUMBER}</x></AppRec>"):
        assert NUMBER not in unreadable(text)


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd(content: bytes) -> None:
    assert isinstance(read_receipt(content), UnreadableReceipt)


@given(st.integers(0, 1500), st.binary(max_size=6), st.integers(0, 40))
def test_a_damaged_receipt_never_crashes_the_reader(place: int, put: bytes, cut: int) -> None:
    whole = receipt(REJECTED, X99).encode()
    found = read_receipt(whole[:place] + put + whole[place + cut :])
    assert isinstance(found, Receipt | UnreadableReceipt)


ODD = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters='<&"\x00', exclude_categories=("Cc", "Cs")), max_size=30
)


@given(ODD, ODD, ODD, ODD, ODD)
def test_odd_values_never_crash_the_reader(code: str, system: str, text: str, status: str, original: str) -> None:
    written = receipt(
        f'<Status V="{status}" DN="{text}"/>',
        f'<Error V="{code}" S="{system}" DN="{text}" OT="{code}"/>',
        original=f"<Id>{original}</Id>",
    )
    found = read_receipt(written.encode())
    if isinstance(found, Receipt) and status.strip() not in {"1", "3"}:
        assert found.verdict not in {ReceiptVerdict.POSITIVE, ReceiptVerdict.PARTIAL}
