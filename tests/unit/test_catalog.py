"""The source and bus sections, and what they open (connectors/catalog.py)."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.catalog import BusSection, Encodings, SourceSection, open_inbox, open_sender, open_source
from connectors.folder import FolderSender, FolderSettings
from connectors.outbox_table.source import OutboxTableSource
from connectors.replay import ReplaySource
from connectors.source import Capture, Encoding, Kind

OUTBOX = {
    "url_file": "kinn.url",
    "table": "kpr.endringslogg",
    "columns": {"key": "nr", "table": "tabell", "operation": "operasjon", "before": "foer", "after": "etter"},
}


def section(**keys: object) -> SourceSection:
    return SourceSection.model_validate_json(json.dumps(keys))


def test_each_source_is_opened_by_its_key() -> None:
    assert isinstance(open_source(section(outbox_table=OUTBOX).chosen, Capture(()), None), OutboxTableSource)
    assert isinstance(open_source(section(replay={"path": "x"}).chosen, Capture(()), None), ReplaySource)


def test_exactly_one_source_and_one_bus() -> None:
    for keys in ({}, {"outbox_table": OUTBOX, "replay": {"path": "x"}}):
        with pytest.raises(ValidationError, match="exactly one of"):
            section(**keys)
    with pytest.raises(ValidationError, match="exactly one of"):
        BusSection()


def test_a_folder_has_no_inbox(tmp_path: Path) -> None:
    bus = BusSection(folder=FolderSettings(path=tmp_path)).chosen
    assert isinstance(open_sender(bus, send_to_queue="q"), FolderSender)
    assert open_inbox(bus, async_queue="a", error_queue="e") is None


def test_an_encoding_is_the_columns_own_else_its_kinds() -> None:
    encodings = Encodings(
        date=Encoding.DAYS, columns={"demo.pause.fra": Encoding.SECONDS, "pause.til": Encoding.MILLISECONDS}
    )
    assert encodings.of("demo.pause", "fra", Kind.DATE) is Encoding.SECONDS
    assert encodings.of("demo.pause", "til", Kind.DATE) is Encoding.MILLISECONDS
    assert encodings.of("demo.pause", "annet", Kind.DATE) is Encoding.DAYS
    assert encodings.of("demo.pause", "annet", Kind.TIMESTAMP) is None


def test_every_key_has_a_sentence() -> None:
    def keys(schema: dict[str, object]) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for part in [schema, *schema.get("$defs", {}).values()]:  # type: ignore[attr-defined]  # JSON Schema
            found += part.get("properties", {}).values()
        return found

    for model in (SourceSection, BusSection):
        assert all(key.get("description") for key in keys(model.model_json_schema()))
