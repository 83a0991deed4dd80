"""The JSON Schemas that editors explain the files with, and the table of every key in docs/configuration.md."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from agent.settings.mapping_file import MappingFile
from agent.settings.municipality import MunicipalitySettings
from agent.settings.values import Section, duration_text

SCHEMAS: Final[Mapping[str, tuple[type[Section], str]]] = {
    "municipality.schema.json": (MunicipalitySettings, "kpr-agent: the file of one municipality"),
    "mapping.schema.json": (MappingFile, "kpr-agent: the mapping of one EPJ product"),
}
BEGIN: Final = "<!-- keys: begin, written by python -m agent.settings -->"
END: Final = "<!-- keys: end -->"

Schema = Mapping[str, Any]


class _AsWritten(GenerateJsonSchema):
    """Defaults as they are written in a file: durations with their unit, a section's as an empty section."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return duration_text(dft)
        return {} if isinstance(dft, BaseModel) else super().encode_default(dft)


def schema_text(name: str) -> str:
    """The JSON Schema of that file name, as it is written."""
    model, title = SCHEMAS[name]
    schema = model.model_json_schema(schema_generator=_AsWritten)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps(_without_titles({**schema, **head}, top=True), indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in SCHEMAS:
        file = folder / name
        file.write_text(schema_text(name), encoding="utf-8")
        files.append(file)
    return files


def key_table() -> str:
    """Every key of a municipality's file with its default and its sentence, as a Markdown table."""
    schema = MunicipalitySettings.model_json_schema(schema_generator=_AsWritten)
    rows = ["| key | default | what it is |", "|---|---|---|"]
    rows += [f"| `{key}` | {default} | {text} |" for key, default, text in _keys(schema, schema, "")]
    return "\n".join(rows)


def with_key_table(page: str) -> str:
    """The page with what stands between its two marks replaced by the table. ValueError without the marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError("the page has no marks for the table")
    return f"{before}{BEGIN}\n{key_table()}\n{END}{after}"


def _keys(root: Schema, node: Schema, prefix: str) -> Iterator[tuple[str, str, str]]:
    required = node.get("required", ())
    for key, said in node.get("properties", {}).items():
        below = _section(root, said)
        default = "required" if key in required else _default(said)
        if below is not None and not isinstance(said.get("default"), str | int):
            default = "required" if key in required else ""
        # pydantic leaves a sentence out where the section itself says the same
        sentence = said.get("description") or (below or {}).get("description", "")
        yield f"{prefix}{key}", default, sentence.replace("|", "\\|")
        if below is not None:
            many = "[]" if _is_list(said) else ""
            yield from _keys(root, below, f"{prefix}{key}{many}.")


def _default(said: Schema) -> str:
    default = said.get("default")
    if default is None or default in ([], {}):
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _is_list(said: Schema) -> bool:
    return said.get("type") == "array" or any(choice.get("type") == "array" for choice in said.get("anyOf", ()))


def _section(root: Schema, said: Schema) -> Schema | None:
    """The section behind a key, through references, choices and lists."""
    if "$ref" in said:
        found: Schema = root["$defs"][said["$ref"].rsplit("/", 1)[-1]]
        return found if "properties" in found else None
    below = [*said.get("anyOf", ()), *said.get("oneOf", ()), *said.get("allOf", ())]
    if isinstance(said.get("items"), Mapping):
        below.append(said["items"])
    return next((section for choice in below if (section := _section(root, choice)) is not None), None)


def _without_titles(node: Any, *, top: bool = False) -> Any:
    """The schema without pydantic's titles, which repeat each key."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str) and not top:
            continue
        if key in {"properties", "$defs"}:
            kept[key] = {name: _without_titles(inner) for name, inner in value.items()}
        else:
            kept[key] = _without_titles(value)
    return kept
