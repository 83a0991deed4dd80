"""From a model's refusal to faults: where each stands in the file, the nearest right key, what to write instead."""

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.settings.faults import Fault, Part, Place, may_be_shown
from agent.settings.values import Section, needs_quotes
from agent.settings.yaml_reading import Document, has

Schema = Mapping[str, Any]
Model = TypeVar("Model", bound=Section)

_KEYS_LISTED: Final = 12
_MEANT: Final = {
    "int_type": "a whole number is meant here, without quotes and without a decimal point",
    "int_from_float": "a whole number is meant here, without quotes and without a decimal point",
    "int_parsing": "a whole number is meant here, without quotes",
    "float_type": "a number is meant here, without quotes",
    "float_parsing": "a number is meant here, without quotes",
    "bool_type": "write true or false, without quotes",
    "bool_parsing": "write true or false, without quotes",
    "model_type": "keys and values are meant here, each as key: value",
    "model_attributes_type": "keys and values are meant here, each as key: value",
    "dict_type": "keys and values are meant here, each as key: value",
    "tuple_type": "a list is meant here: write [first, second], or one item a line behind a dash",
    "list_type": "a list is meant here: write [first, second], or one item a line behind a dash",
    "set_type": "a list is meant here: write [first, second], or one item a line behind a dash",
    "frozen_set_type": "a list is meant here: write [first, second], or one item a line behind a dash",
    "path_type": "the path of a file is meant here, as text",
    "too_short": "the list is empty: write at least one",
}


def validated(document: Document, model: type[Model]) -> Model | None:
    """The document as a `model`; None where it is refused, with a fault for each thing that is wrong in it."""
    if not isinstance(document.data, dict):
        return None
    try:
        # as JSON: there a strict model takes lists for tuples and text for dates and paths, and converts nothing else
        return model.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        schema = _schema(model)
        found = error.errors(include_url=False, include_context=True, include_input=False)
        said = {fault.key for fault in document.faults if fault.key}
        told = [_fault(document, schema, detail) for detail in found if not _follows_from_others(document, detail)]
        told = [fault for fault in told if fault.key not in said]
        document.faults.extend(dict.fromkeys(told))
        return None


@cache
def _schema(model: type[Section]) -> Schema:
    return model.model_json_schema()


def _follows_from_others(document: Document, error: ErrorDetails) -> bool:
    """Whether a list counts as too short only because its items are refused."""
    return error["type"] == "too_short" and bool(document.at(*written_place(document, error["loc"])))


def _fault(document: Document, schema: Schema, error: ErrorDetails) -> Fault:
    place = written_place(document, error["loc"], missing=error["type"] == "missing")
    return document.fault(place, _text(document, schema, place, error))


def written_place(document: Document, loc: tuple[Part, ...], *, missing: bool = False) -> Place:
    """The place in the file of a model's `loc`, without the parts that a short form leaves out of the file."""
    place: Place = ()
    here: Any = document.data
    for index, part in enumerate(loc):
        if isinstance(here, dict | list) and has(here, part):
            here = cast(Any, here)[part]
            place = (*place, part)
        elif missing and index == len(loc) - 1:
            place = (*place, part)
    return place


def _text(document: Document, schema: Schema, place: Place, error: ErrorDetails) -> str:
    kind = error["type"]
    value = document.at(*place)
    if kind == "missing":
        return f"this key is missing. {description_at(schema, place)}".rstrip()
    if kind == "extra_forbidden":
        return _unknown_key(schema, place)
    if value is None and kind != "value_error":
        return f"there is no value here: write one. {description_at(schema, place)}".rstrip()
    if kind in {"string_type", "path_type"} and not isinstance(value, dict | list | str):
        source = document.sources.get(place, "")
        return needs_quotes("00000" if is_personal(schema, place) else source)
    if kind in {"string_type", "path_type"}:
        return "one text is meant here, not a list and not keys"
    if kind in {"literal_error", "enum"}:
        return _one_of(error.get("ctx", {}).get("expected", ""), value)
    if kind in _MEANT:
        return _MEANT[kind]
    if kind == "string_pattern_mismatch":
        return f"this form is not known here. {description_at(schema, place)}".rstrip()
    text = error["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:] if kind != "value_error" else text


def _unknown_key(schema: Schema, place: Place) -> str:
    known = known_keys(schema, place[:-1])
    near = nearest(str(place[-1]), known)
    if near is not None:
        return f'unknown key: did you mean "{near}"?'
    if 0 < len(known) <= _KEYS_LISTED:
        return f"unknown key: remove it; known here: {', '.join(known)}"
    return "unknown key: remove it"


def _one_of(expected: str, value: Any) -> str:
    choices = [choice.strip().strip("'") for choice in expected.replace(" or ", ",").split(",") if choice.strip()]
    near = nearest(value, choices) if isinstance(value, str) and may_be_shown(value) else None
    hint = f' (did you mean "{near}"?)' if near is not None else ""
    one_of = "one of " if len(choices) > 1 else ""
    return f"write {one_of}{', '.join(choices)}{hint}"


def nearest(word: str, known: list[str]) -> str | None:
    """The known word most like `word`, None where none is."""
    folded = {name.casefold().replace("-", "_"): name for name in known}
    found = difflib.get_close_matches(word.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def known_keys(schema: Schema, place: Place) -> list[str]:
    """The keys that a schema knows at a place, in its order."""
    return list(dict.fromkeys(key for node in nodes_at(schema, place) for key in node.get("properties", {})))


def description_at(schema: Schema, place: Place) -> str:
    """The sentence on a key, or on the list that an item stands in; "" where there is none."""
    while place and isinstance(place[-1], int):
        place = place[:-1]
    return next((node["description"] for node in nodes_at(schema, place) if node.get("description")), "")


def is_personal(schema: Schema, place: Place) -> bool:
    """Whether what stands at a place, or in it, is of a person."""
    return any(node.get("personal") for end in range(len(place) + 1) for node in nodes_at(schema, place[:end]))


def nodes_at(schema: Schema, place: Place) -> list[Schema]:
    """Every part of a JSON Schema that describes a place, the key's own description first."""
    nodes = list(_alternatives(schema, schema))
    for part in place:
        nodes = [below for node in nodes for child in _children(node, part) for below in _alternatives(schema, child)]
    return nodes


def _children(node: Schema, part: Part) -> Iterator[Schema]:
    if isinstance(part, int):
        if isinstance(node.get("items"), Mapping):
            yield node["items"]
        return
    if part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(node.get("additionalProperties"), Mapping):
        yield node["additionalProperties"]


def _alternatives(root: Schema, node: Schema) -> Iterator[Schema]:
    yield node
    if "$ref" in node:
        yield from _alternatives(root, root["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    for word in ("anyOf", "oneOf", "allOf"):
        for choice in node.get(word, ()):
            yield from _alternatives(root, choice)
