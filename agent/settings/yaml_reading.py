"""Strict YAML: one document of plain mappings, lists and scalars, with the line of every key and value.

What two readers of YAML understand in two ways is refused here, before any model sees it: `0301`, `NO`, duplicate
keys, anchors, aliases, merge keys, tags. A date stays text; the models know where a date is meant.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from agent.settings.faults import Fault, Part, Place, fault, may_be_shown, quoted_form

Data = dict[str, Any] | list[Any] | str | int | float | bool | None

SIZE_LIMIT_BYTES: Final = 1_000_000
DEPTH_LIMIT: Final = 30

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE_FALSE: Final = {"true": True, "false": False}
_TRUTHS_OF_YAML_1_1: Final = re.compile(r"yes|no|on|off|true|false", re.IGNORECASE)
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_OTHER_NUMBERS: Final = re.compile(
    r"[-+]?(0[0-7_]+|0[0-9]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*|[1-9][0-9_]*(:[0-5]?[0-9])+"
    r"|([0-9][0-9_]*)?\.[0-9]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.nan)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Document:
    """A file as read. `data` has no refused key; `lines` has the line of every key and of every item of a list.

    `sources` has the text of unquoted scalars as it stands in the file, for `write "0301"`.
    """

    file: Path
    data: Data = None
    lines: dict[Place, int] = field(default_factory=dict)
    sources: dict[Place, str] = field(default_factory=dict, repr=False)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of the nearest key at or above `place`."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def fault(self, place: Place, text: str) -> Fault:
        """A fault at a place of this file."""
        return fault(self.file, self.line(place), place, text)

    def at(self, *place: Part) -> Any:
        """What stands at a place; None where there is nothing."""
        here: Any = self.data
        for part in place:
            if not has(here, part):
                return None
            here = here[part]
        return here


def has(node: Any, part: Part) -> bool:
    """Whether a mapping has the key, or a list the index."""
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def read_yaml(file: Path) -> Document:
    """The document in `file`; what cannot be read is a fault in it. Never raises for the file's content or absence."""
    document = Document(file)
    text = _text_of(document)
    if text is None:
        return document
    try:
        if _has_aliases(document, text):
            return document  # composing them may loop or explode
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        document.faults.append(_not_yaml(file, error))
        return document
    except (yaml.YAMLError, RecursionError):
        document.faults.append(fault(file, 1, (), "this is not YAML: it holds forbidden characters or is too deep"))
        return document
    if len(nodes) != 1:
        text = "the file is empty" if not nodes else "the file holds several documents: make one file of each"
        line = 1 if len(nodes) < 2 else nodes[1].start_mark.line + 1
        document.faults.append(fault(file, line, (), text))
        return document
    document.data = _Reading(document).value(nodes[0], ())
    if not isinstance(document.data, dict) and not document.faults:
        document.faults.append(fault(file, 1, (), 'the file must be keys and values, such as "version: 1"'))
    return document


def _text_of(document: Document) -> str | None:
    try:
        raw = document.file.read_bytes()
    except OSError as error:
        why = error.strerror or "it cannot be opened"
        document.faults.append(fault(document.file, 1, (), f"the file cannot be read: {why}"))
        return None
    if len(raw) > SIZE_LIMIT_BYTES:
        document.faults.append(fault(document.file, 1, (), f"the file is larger than {SIZE_LIMIT_BYTES} bytes"))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        document.faults.append(fault(document.file, line, (), "the file is not UTF-8: save it as UTF-8"))
        return None


def _not_yaml(file: Path, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    problem = error.problem or "it cannot be understood"
    if "'\\t'" in problem:
        return fault(file, line, (), "a tab cannot stand here: indent with spaces")
    if error.context is not None and "while scanning a simple key" in error.context:
        line = (
            error.context_mark.line + 1 if error.context_mark is not None else line
        )  # where the key is, not what follows
        return fault(file, line, (), 'a key without ": " behind it, or a line that is indented wrongly')
    # PyYAML's own words name characters and tokens, never a value
    return fault(file, line, (), f"not YAML here: {problem}")


def _has_aliases(document: Document, text: str) -> bool:
    """Whether there is an alias. Every anchor, alias, tag and directive becomes a fault."""
    refused = (
        (yaml.AnchorToken, "anchors (&) are not used here: write the value where it is needed"),
        (yaml.AliasToken, "aliases (*) are not used here: write the value out, or put text in double quotes"),
        (yaml.TagToken, "tags (!) are not used here: write the plain value, or put text in double quotes"),
        (yaml.DirectiveToken, "directives (%) are not used here: remove the line"),
    )
    aliases = False
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        aliases = aliases or isinstance(token, yaml.AliasToken)
        for kind, why in refused:
            if isinstance(token, kind):
                document.faults.append(fault(document.file, token.start_mark.line + 1, (), why))
    return aliases


class _Reading:
    """Turns nodes into values and notes where each stood."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def value(self, node: yaml.Node, place: Place) -> Data:
        self._document.lines.setdefault(place, node.start_mark.line + 1)
        if len(place) > DEPTH_LIMIT:
            self._refuse(node, place, f"more than {DEPTH_LIMIT} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Data:
        found: dict[str, Data] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, place)
            if key is None:
                continue
            here = (*place, key)
            if key in found:
                self._refuse(
                    key_node, here, f"the key is here twice, first in line {self._document.lines[here]}: remove one"
                )
                continue
            self._document.lines[here] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, here)
        return found

    def _key(self, node: yaml.Node, place: Place) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(node, place, "a key must be text, not a list or a mapping")
            return None
        key: str = node.value
        if node.style is None and key == "<<":
            self._refuse(node, place, "merge keys (<<) are not used here: write the keys out")
            return None
        if node.style is None and not isinstance(_plain(key), str):
            self._refuse(node, (*place, key), f"this key is not text to YAML: {quoted_form(key)}")
        return key

    def _scalar(self, node: yaml.Node, place: Place) -> Data:
        text: str = node.value
        if not isinstance(node, yaml.ScalarNode) or node.style is not None:
            return text
        self._document.sources[place] = text
        value = _plain(text)
        if isinstance(value, _Ambiguous):
            self._refuse(node, place, value.why)
            return text
        return value

    def _refuse(self, node: yaml.Node, place: Place, text: str) -> None:
        self._document.faults.append(fault(self._document.file, node.start_mark.line + 1, place, text))


@dataclass(frozen=True, slots=True)
class _Ambiguous:
    why: str


def _plain(text: str) -> str | int | float | bool | _Ambiguous | None:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    if text in _TRUE_FALSE:
        return _TRUE_FALSE[text]
    if _TRUTHS_OF_YAML_1_1.fullmatch(text):
        meant = "true" if text.lower() in {"yes", "on", "true"} else "false"
        return _Ambiguous(
            f'YAML may read {text} as {meant}: write "{text}", in double quotes, for the text, or {meant}'
        )
    if _INTEGER.fullmatch(text) and len(text) <= 18:
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _OTHER_NUMBERS.fullmatch(text) and text not in {".", "-", "+"}:
        shown = text if may_be_shown(text) else "this"
        return _Ambiguous(f"YAML may read {shown} as another number: {quoted_form(text)}, or the plain number")
    return text
