"""The official schemas, from a folder that a person has put them in: used beside the project's own, never shipped.

The folder may hold them in any layout: the files that declare `MsgHead` and `Melding` are found by what they declare.
"""

from pathlib import Path
from threading import Lock
from typing import Final

from lxml import etree

from agent.domain.schemas import MELDING_NAMESPACE, MSGHEAD_NAMESPACE, compile_schema

_XSD: Final = "{http://www.w3.org/2001/XMLSchema}"


class OfficialSchemasUnusable(Exception):
    """The configured folder does not hold the schemas: mend `messages.official_schemas` or leave it out."""

    code = "KPR-602"


class OfficialSchemas:
    """The schemas of the hodemelding and of the Melding in it, compiled together. May be asked from several threads."""

    def __init__(self, schema: etree.XMLSchema) -> None:
        self._schema = schema
        self._lock = Lock()  # lxml keeps the findings of the last validation on the schema itself

    @classmethod
    def load(cls, folder: Path, melding_namespace: str = MELDING_NAMESPACE) -> "OfficialSchemas":
        """The schemas of `folder` and the folders in it. Raises OfficialSchemasUnusable."""
        wanted = {MSGHEAD_NAMESPACE: "MsgHead", melding_namespace: "Melding"}
        files = {namespace: _declaring(folder, namespace, element) for namespace, element in wanted.items()}
        imports = "".join(
            f'<xs:import namespace="{namespace}" schemaLocation="{file.resolve().as_uri()}"/>'
            for namespace, file in files.items()
        )
        # Content is any element with strict processing: one schema must know both namespaces.
        both = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
        try:
            return cls(compile_schema(etree.fromstring(both)))
        except etree.XMLSchemaParseError as error:
            raise OfficialSchemasUnusable(f"the schemas in {folder} do not fit together") from error

    def problems(self, content: bytes) -> list[str]:
        """What the official schemas refuse in a whole message, empty when valid. Lines only: they quote values."""
        try:
            document = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError:
            return ["the official schemas: it is not well-formed"]
        with self._lock:
            if self._schema.validate(document):
                return []
            kinds = {entry.type_name for entry in self._schema.error_log}  # type: ignore[attr-defined]  # lxml-stubs
        return [f"the official schemas: {kind}" for kind in sorted(kinds)]


def _declaring(folder: Path, namespace: str, element: str) -> Path:
    for file in sorted(folder.rglob("*.xsd")):
        try:
            root = etree.parse(str(file)).getroot()
        except (OSError, etree.XMLSyntaxError):
            continue
        if root.get("targetNamespace") == namespace and any(
            declared.get("name") == element for declared in root.iterfind(f"{_XSD}element")
        ):
            return file
    raise OfficialSchemasUnusable(f"no schema in {folder} declares {element} in {namespace}")
