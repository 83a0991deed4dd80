"""A folder of official schemas: found by what they declare, compiled together. The schemas here are tiny and ours."""

from pathlib import Path

import pytest

from agent.dispatch.official_schemas import OfficialSchemas, OfficialSchemasUnusable

HEAD = "http://www.kith.no/xmlstds/msghead/2006-05-24"
MELDING = "http://www.npr.no/xmlstds/56_0_0_ipl"
HEAD_XSD = f"""<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="{HEAD}" elementFormDefault="qualified">
<element name="MsgHead"><complexType><sequence><any processContents="strict"/></sequence></complexType></element>
</schema>"""
MELDING_XSD = f"""<schema xmlns="http://www.w3.org/2001/XMLSchema" xmlns:n="{MELDING}" targetNamespace="{MELDING}">
<include schemaLocation="XPR(ipl)_codes.xsd"/>
<element name="Melding"><complexType><attribute name="fid" type="n:short" use="required"/></complexType></element>
</schema>"""
CODES_XSD = f"""<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="{MELDING}">
<simpleType name="short"><restriction base="string"><maxLength value="3"/></restriction></simpleType></schema>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "MsgHead.xsd").write_text(HEAD_XSD)
    (tmp_path / "a folder" / "XPR(ipl).xsd").write_text(MELDING_XSD)
    (tmp_path / "a folder" / "XPR(ipl)_codes.xsd").write_text(CODES_XSD)
    return tmp_path


def message(fid: str) -> bytes:
    return f'<MsgHead xmlns="{HEAD}"><Melding xmlns="{MELDING}" fid="{fid}"/></MsgHead>'.encode()


def test_a_message_is_judged_by_both_schemas(folder: Path) -> None:
    schemas = OfficialSchemas.load(folder)
    assert schemas.problems(message("abc")) == []
    assert schemas.problems(f'<Melding xmlns="{MELDING}" fid="abc"/>'.encode()) == []
    assert schemas.problems(f'<MsgHead xmlns="{HEAD}"/>'.encode()) != []


def test_no_problem_quotes_a_value(folder: Path) -> None:
    problems = OfficialSchemas.load(folder).problems(message("canary"))
    assert problems
    assert "canary" not in repr(problems)


def test_what_is_not_xml_is_a_problem(folder: Path) -> None:
    problems = OfficialSchemas.load(folder).problems(b"canary")
    assert problems
    assert "canary" not in repr(problems)


def test_a_folder_without_a_schema_is_unusable(folder: Path) -> None:
    (folder / "MsgHead.xsd").unlink()
    with pytest.raises(OfficialSchemasUnusable, match="MsgHead"):
        OfficialSchemas.load(folder)


def test_another_version_must_be_there(folder: Path) -> None:
    with pytest.raises(OfficialSchemasUnusable, match="58_0_1"):
        OfficialSchemas.load(folder, melding_namespace="http://www.npr.no/xmlstds/58_0_1_ipl")


@pytest.mark.parametrize("broken", ["not xml", HEAD_XSD.replace('processContents="strict"', 'processContents="x"')])
def test_a_broken_schema_is_unusable(folder: Path, broken: str) -> None:
    (folder / "MsgHead.xsd").write_text(broken)
    with pytest.raises(OfficialSchemasUnusable):
        OfficialSchemas.load(folder)


def test_a_schema_that_is_imported_and_missing_is_unusable(folder: Path) -> None:
    (folder / "a folder" / "XPR(ipl)_codes.xsd").unlink()
    with pytest.raises(OfficialSchemasUnusable):
        OfficialSchemas.load(folder)
