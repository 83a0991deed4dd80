"""XML from outside, read safely: any DOCTYPE is refused, size and depth are capped, nothing is fetched.

lxml's `resolve_entities=False` alone lets a DTD through as empty text, so the document type is refused where it begins.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from lxml import etree

MAX_SIZE_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 64

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r\n"


class Fault(Enum):
    """Why bytes were not read as XML, in words that quote nothing of them."""

    EMPTY = "there is nothing in it"
    TOO_LARGE = "it is larger than is read"
    TOO_DEEP = "its elements are nested deeper than is read"
    DOCTYPE = "it has a document type declaration, which is never read"
    NOT_WELL_FORMED = "it is not well-formed XML"


@dataclass(frozen=True, slots=True)
class NotRead:
    """Bytes that were not read. `line` is where, from 1, or 0 where that means nothing."""

    fault: Fault
    line: int = 0


class _Refused(Exception):
    """Leaves the parser at once; never leaves this module."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class _Target:
    """Builds the tree and watches it grow. Comments and processing instructions are left out."""

    def __init__(self) -> None:
        self._builder = etree.TreeBuilder()
        self._depth = 0
        self._complete = False

    def doctype(self, _name: str, _public_id: str | None, _system_url: str | None) -> None:
        raise _Refused(Fault.DOCTYPE)

    def start(self, tag: str | bytes, attrib: dict[str | bytes, str | bytes]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(Fault.TOO_DEEP)
        self._builder.start(tag, attrib)

    def data(self, data: str | bytes) -> None:
        self._builder.data(data)

    def comment(self, text: str | bytes) -> None:
        """Leave it out."""

    def end(self, tag: str | bytes) -> None:
        self._builder.end(tag)
        self._depth -= 1
        self._complete = self._depth == 0

    def close(self) -> etree._Element | None:
        return self._builder.close() if self._complete else None


def read_xml(content: bytes, *, max_size_bytes: int = MAX_SIZE_BYTES) -> etree._Element | NotRead:
    """The root element of a document, or why it was not read. Never raises, whatever the bytes.

    White space before the XML declaration is forgiven. The encoding is the document's own: a byte order mark, else its
    declaration, else UTF-8.
    """
    if len(content) > max_size_bytes:
        return NotRead(Fault.TOO_LARGE)
    content = (
        content.removeprefix(_UTF8_BOM).lstrip(_SPACE) if content.startswith(_UTF8_BOM) else content.lstrip(_SPACE)
    )
    if not content:
        return NotRead(Fault.EMPTY)
    parser = etree.XMLParser(
        target=_Target(), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
    )
    try:
        root = etree.fromstring(content, parser)
    except _Refused as refused:
        return NotRead(refused.fault)
    except etree.XMLSyntaxError as error:
        # The error's text quotes the document; its line does not.
        return NotRead(Fault.NOT_WELL_FORMED, error.lineno or 0)
    except (LookupError, ValueError):
        # An encoding that libxml2 does not know, or text that Python cannot hold.
        return NotRead(Fault.NOT_WELL_FORMED)
    return NotRead(Fault.NOT_WELL_FORMED) if root is None else root


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return etree.QName(element).localname


def namespace(element: etree._Element) -> str:
    """The element's namespace, or empty text."""
    return etree.QName(element).namespace or ""


def children(element: etree._Element, name: str) -> list[etree._Element]:
    """The element's own children of that local name, in document order, whatever their namespace."""
    return [child for child in element if local_name(child) == name]


def text_of(element: etree._Element) -> str:
    """All text inside the element, trimmed."""
    return "".join(str(text) for text in element.itertext()).strip()


def normalised_id(text: str) -> str:
    """A message id as it is compared: trimmed, lower case, without braces and without a `urn:uuid:` in front.

    An id that is a UUID without hyphens gets them; one that is no UUID is only trimmed and lowered.
    """
    bare = text.strip().lower().removeprefix("urn:uuid:")
    bare = bare.removeprefix("{").removesuffix("}").strip()
    return str(UUID(bare)) if re.fullmatch(r"[0-9a-f]{32}", bare) else bare
