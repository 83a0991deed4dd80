"""Every file that is shipped: good, current, and explained word by word."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.settings import load, load_mapping
from agent.settings.mapping_file import MappingFile
from agent.settings.municipality import MunicipalitySettings
from agent.settings.schemas import SCHEMAS, schema_text, with_key_table
from agent.settings.yaml_reading import read_yaml
from tests.unit.settings_files import load_changed, told, write

ROOT = Path(__file__).resolve().parents[2]
PILOTS = sorted((ROOT / "config" / "municipalities").glob("*.yaml"))
EXAMPLES = [ROOT / "config" / "example.yaml", ROOT / "config" / "example-debezium.yaml"]
MAPPINGS = sorted((ROOT / "config" / "epj").glob("*.yaml"))
ANEW = "write it anew: python -m agent.settings"


def test_the_eight_pilots_are_there_and_all_files_load_together() -> None:
    loaded = load([*PILOTS, *EXAMPLES])
    assert loaded.faults == ()
    assert loaded.warnings == ()
    units = [municipality.unit for municipality in loaded.municipalities]
    assert sorted(units[:8]) == [
        "bygland",
        "bykle",
        "evje-og-hornnes",
        "fredrikstad",
        "kinn",
        "kristiansund",
        "sokndal",
        "valle",
    ]
    assert {municipality.settings.profile for municipality in loaded.municipalities} == {"test"}


@pytest.mark.parametrize("file", [*PILOTS, *EXAMPLES], ids=lambda file: file.stem)
def test_no_shipped_file_can_be_run_in_production(file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("profile: test", "profile: production")
    copy = tmp_path / "municipalities" / file.name
    copy.parent.mkdir()
    copy.write_text(text, encoding="utf-8")
    refused = {fault.key for fault in load([copy]).faults}
    assert {"parties.municipality.her_id", "parties.register.her_id", "contacts[0].email"} <= refused


@pytest.mark.parametrize("file", MAPPINGS, ids=lambda file: file.stem)
def test_every_shipped_mapping_is_good_and_has_tests(file: Path) -> None:
    mapping, tests, faults = load_mapping(file)
    assert faults == ()
    assert mapping is not None
    assert tests


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_json_schemas_are_current(name: str) -> None:
    shipped = (ROOT / "config" / "schema" / name).read_text(encoding="utf-8")
    assert shipped == schema_text(name), ANEW


def test_the_table_of_keys_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == with_key_table(page), ANEW


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_has_a_sentence(name: str) -> None:
    schema = json.loads(schema_text(name))
    for key, said in properties(schema):
        # a section's own sentence is not written twice
        section = schema["$defs"][said["$ref"].rsplit("/", 1)[-1]] if "$ref" in said else {}
        sentence = said.get("description") or section.get("description", "")
        assert sentence.rstrip(")").endswith("."), f"{key} has no sentence"


def test_every_word_of_the_mapping_stands_in_its_page_with_an_example() -> None:
    page = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    words = {key for key, _ in properties(MappingFile.model_json_schema())}
    assert len(words) > 40
    missing = sorted(word for word in words if not re.search(rf"(^|[\s{{-]){word}:", examples, re.MULTILINE))
    assert missing == []


def test_the_examples_of_the_mapping_page_are_good_yaml(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
    known = {key for key, _ in properties(MappingFile.model_json_schema())}
    for number, example in enumerate(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)):
        if "district: bydel\ndistrict:" in example or example.count("\nkey:") > 1:
            continue  # the same word in several forms
        file = tmp_path / f"{number}.yaml"
        file.write_text(example, encoding="utf-8")
        document = read_yaml(file)
        assert document.faults == [], example
        assert isinstance(document.data, dict)
        assert set(document.data) <= known, example


def test_the_example_shows_every_key_of_a_municipality() -> None:
    text = (ROOT / "config" / "example.yaml").read_text(encoding="utf-8")
    missing = sorted(
        key
        for key, _ in properties(MunicipalitySettings.model_json_schema())
        if not re.search(rf"(^|[\s{{#]){key}:", text, re.MULTILINE)
    )
    assert missing == []


def test_the_example_writes_the_defaults_that_it_calls_defaults(tmp_path: Path) -> None:
    """What is marked "# default" in the example is what a file without it gets."""
    (example,) = load([ROOT / "config" / "example.yaml"]).municipalities
    (bare,) = load([write(tmp_path)]).municipalities
    for section in ("messages", "gate", "receipts", "dispatch"):
        assert getattr(example.settings, section) == getattr(bare.settings, section), section
    assert example.settings.ledger.keep == bare.settings.ledger.keep
    without_people = {"fictitious", "allowed_numbers"}
    assert example.settings.rules.model_dump(exclude=without_people) == bare.settings.rules.model_dump(
        exclude=without_people
    )
    assert example.settings.bus.nhn_amqp is not None
    assert bare.settings.bus.nhn_amqp is not None
    tuning = {"window", "heartbeat_s", "operation_timeout_s", "close_timeout_s", "credit", "retry_as"}
    assert example.settings.bus.nhn_amqp.model_dump(include=tuning) == bare.settings.bus.nhn_amqp.model_dump(
        include=tuning
    )


@pytest.mark.parametrize("kind", ["postgres_logical", "kafka_debezium", "table_query", "replay"])
def test_the_sources_that_the_example_comments_out_are_good_too(tmp_path: Path, kind: str) -> None:
    text = (ROOT / "config" / "example.yaml").read_text(encoding="utf-8")
    before, _, source = text.partition("\nsource:")
    source, _, after = source.partition("\nbus:")
    block = re.search(rf"^  # {kind}:.*\n(?:  #   .*\n)*", source, re.MULTILINE)
    assert block is not None
    folder = tmp_path / "config"
    folder.mkdir()
    shutil.copytree(ROOT / "config" / "epj", folder / "epj")
    file = folder / "example.yaml"
    chosen = re.sub(r"^  # ", "  ", block[0], flags=re.MULTILINE)
    file.write_text(f"{before}\nsource:\n{chosen}\nbus:{after}", encoding="utf-8")
    loaded = load([file])
    assert loaded.faults == ()
    chosen_kind = type(loaded.municipalities[0].settings.source.chosen).__name__.casefold()
    assert chosen_kind.startswith(kind.replace("_", ""))


def test_the_ways_that_the_example_comments_out_are_good_too(tmp_path: Path) -> None:
    text = (ROOT / "config" / "example.yaml").read_text(encoding="utf-8")
    for line in (
        "only: {schema: fredrikstad}",
        "cpa_id: 12345678-1234-1234-1234-123456789012",
        "time_to_live: 30d",
        "official_schemas: ../official",
        "ca_file: ../secrets/ca.pem",
        "table_schema: public",
        "row_key: nokkel",
    ):
        assert f"# {line}" in text, line
        text = text.replace(f"# {line}", line, 1)
    file = ROOT / "config" / "example.yaml"
    copy = tmp_path / "config" / file.name
    copy.parent.mkdir()
    (tmp_path / "config" / "epj").symlink_to(ROOT / "config" / "epj")
    copy.write_text(text, encoding="utf-8")
    assert load([copy]).faults == ()


def test_no_shipped_file_names_a_secret_or_a_path_of_one_machine() -> None:
    for file in [*PILOTS, *EXAMPLES, *MAPPINGS]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"/(work|root|home)/", text), file
        assert not re.search(r"amqps?://[^/\s]*@", text), file


def test_shipped_files_pass_the_schemas_that_editors_use() -> None:
    """Only where the package jsonschema is installed; the loader's own tests do not depend on it."""
    if find_spec("jsonschema") is None:
        return
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # an optional package

    for name, files in (("municipality.schema.json", [*PILOTS, *EXAMPLES]), ("mapping.schema.json", MAPPINGS)):
        validator = Draft202012Validator(json.loads(schema_text(name)))
        for file in files:
            errors = [error.json_path for error in validator.iter_errors(as_json(file))]
            assert errors == [], file


def test_a_second_kind_of_source_is_refused_by_its_own_settings(tmp_path: Path) -> None:
    loaded = load_changed(
        tmp_path,
        ("  replay: {path: changes.jsonl}", "  replay: {path: c}\n  outbox_table: {url_file: u, table: t}"),
    )
    assert "source.outbox_table.columns" in told(loaded)


def as_json(file: Path) -> Any:
    """The file as an editor reads it: dates are text in JSON Schema."""
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    return json.loads(json.dumps(data, default=str))


def properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key of a schema with what is said of it."""
    for section in (schema, *schema.get("$defs", {}).values()):
        yield from section.get("properties", {}).items()
