"""The project's own strict schemas, part of the program: compiled once, and asked for defects that quote no value."""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import Final

from lxml import etree

MELDING_NAMESPACE: Final = "http://www.npr.no/xmlstds/56_0_0_ipl"
MELDING_VERSION: Final = "56.0.0"
MSGHEAD_NAMESPACE: Final = "http://www.kith.no/xmlstds/msghead/2006-05-24"

_COMPILING: Final = Lock()
_ATTRIBUTE: Final = re.compile(r"attribute '(\w{1,40})'")
_WORDS: Final = {
    "SCHEMAV_CVC_PATTERN_VALID": "has a form that is not allowed",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "is too long",
    "SCHEMAV_CVC_ENUMERATION_VALID": "has a code that is not allowed",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "is missing",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "must not be there",
    "SCHEMAV_CVC_ATTRIBUTE_4": "has another value than the fixed one",
    "SCHEMAV_CVC_AU": "has another value than the fixed one",
    "SCHEMAV_ELEMENT_CONTENT": "is missing, or stands where it must not",
    "SCHEMAV_CVC_ELT_1": "is not the root element expected",
    "SCHEMAV_CVC_IDC": "is not unique",
}
"""libxml2's names of what it found, in words of ours. Its own messages quote values and are never passed on."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Something that a schema refuses: `place` names elements and an attribute, `text` says what; neither a value."""

    place: str
    text: str


class StrictSchema:
    """A compiled schema. May be asked from several threads."""

    def __init__(self, schema: etree.XMLSchema) -> None:
        self._schema = schema
        self._lock = Lock()  # lxml keeps the findings of the last validation on the schema itself

    def defects(self, element: etree._Element) -> list[Defect]:
        """What is wrong with the element and all within it; empty when it is right."""
        with self._lock:
            if self._schema.validate(element):
                return []
            # Paths in the findings count from the element, so it needs a document of its own to look them up in.
            alone = deepcopy(element)
            self._schema.validate(alone)
            log: Iterable[etree._LogEntry] = self._schema.error_log  # type: ignore[assignment]  # lxml-stubs lack its iterator
            found = [_defect(entry, alone) for entry in log]
        return list({defect.place: defect for defect in reversed(found)}.values())[::-1]


@cache
def melding_schema(namespace: str = MELDING_NAMESPACE, version: str = MELDING_VERSION) -> StrictSchema:
    """The schema of `Melding` in a namespace and a version."""
    text = _read("melding.xsd").replace(f'"{MELDING_NAMESPACE}"', f'"{namespace}"')
    return _compiled(text.replace(f'fixed="{MELDING_VERSION}"', f'fixed="{version}"'))


@cache
def hodemelding_schema() -> StrictSchema:
    """The schema of the hodemelding around it."""
    return _compiled(_read("hodemelding.xsd"))


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _compiled(text: str) -> StrictSchema:
    return StrictSchema(compile_schema(etree.fromstring(text.encode("utf-8"))))


def compile_schema(root: etree._Element) -> etree.XMLSchema:
    """The compiled schema; raises etree.XMLSchemaParseError. One at a time, whoever asks.

    libxml2 fills tables that all schemas share while it compiles its first, and refuses a right one in a second thread.
    """
    with _COMPILING:
        return etree.XMLSchema(root)


def _defect(entry: etree._LogEntry, root: etree._Element) -> Defect:
    attribute = _ATTRIBUTE.search(entry.message)
    place = _place(entry.path, root) + (f"/@{attribute[1]}" if attribute else "")
    return Defect(place, _WORDS.get(entry.type_name, "does not fit the schema"))


def _place(path: str | None, root: etree._Element) -> str:
    """The element's path by local names, with its number among its siblings of that name."""
    prefixes = {prefix: uri for each in root.iter() for prefix, uri in each.nsmap.items() if prefix}
    found = root.getroottree().xpath(path, namespaces=prefixes) if path else None
    element = found[0] if isinstance(found, list) and found and etree.iselement(found[0]) else root
    steps = []
    for step in [element, *element.iterancestors()]:
        number = 1 + sum(1 for _ in step.itersiblings(step.tag, preceding=True))
        steps.append(f"{etree.QName(step).localname}[{number}]")
    return "/".join(reversed(steps))
