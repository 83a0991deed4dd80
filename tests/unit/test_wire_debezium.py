"""Records in Debezium's forms (connectors/wire/debezium.py), from recordings of our own making and by hand."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.replay import read_records
from connectors.source import (
    Capture,
    Change,
    Column,
    Encoding,
    Ignored,
    Kind,
    Missing,
    Operation,
    Record,
    Table,
    Undecodable,
    Unreadable,
    Version,
)
from connectors.wire.debezium import DebeziumReader
from connectors.wire.strict_json import NotStrictJson, read_strict_json

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "debezium"
COLUMNS = (Column("tjeneste_id", Kind.INTEGER), Column("status", Kind.TEXT), Column("start_dato", Kind.DATE))
CAPTURE = Capture((Table("demo.tjeneste", ("tjeneste_id",), COLUMNS),))
ROW = {"tjeneste_id": 1, "status": "AKTIV", "start_dato": 20468}
TYPED = {"tjeneste_id": 1, "status": "AKTIV", "start_dato": date(2026, 1, 15)}


def recorded(name: str) -> list[Record]:
    return [record for _, record in read_records(RECORDINGS / f"{name}.jsonl", CAPTURE)]


def changes(name: str) -> list[Change]:
    return [record for record in recorded(name) if isinstance(record, Change)]


def read(value: Any, key: Any = None, *, topic: str | None = None, capture: Capture = CAPTURE) -> Record:
    return DebeziumReader(capture).read(topic, key, value, place="here", raw=b"raw")


def change(value: Any, key: Any = None, *, topic: str | None = None, capture: Capture = CAPTURE) -> Change:
    record = read(value, key, topic=topic, capture=capture)
    assert isinstance(record, Change), record
    return record


def envelope(op: str = "c", *, after: Any = ROW, before: Any = None, **source: Any) -> dict[str, Any]:
    told = {"connector": "postgresql", "db": "prove", "schema": "demo", "table": "tjeneste", "lsn": 5, **source}
    return {"op": op, "before": before, "after": after, "source": told}


def test_the_life_of_a_row() -> None:
    created, updated, deleted, tombstone = recorded("life_of_a_row")
    assert isinstance(created, Change)
    assert (created.operation, created.key, created.row) == (Operation.UPSERT, {"tjeneste_id": 1}, TYPED)
    assert created.version == Version("postgresql:prove", (100,))
    assert created.committed_at == datetime(2026, 1, 1, 0, 0, 0, 100_007, UTC)
    assert isinstance(updated, Change)
    assert updated.row == {**TYPED, "status": Missing.UNAVAILABLE}
    assert isinstance(deleted, Change)
    assert (deleted.operation, deleted.key, deleted.row) == (Operation.DELETE, {"tjeneste_id": 1}, None)
    assert tombstone == Ignored("a tombstone")


def test_a_changed_key_is_a_deletion_and_a_creation() -> None:
    assert [(one.operation, one.key) for one in changes("changed_key")] == [
        (Operation.DELETE, {"tjeneste_id": 1}),
        (Operation.UPSERT, {"tjeneste_id": 2}),
    ]


def test_snapshot_rows_are_marked_and_incremental_ones_have_no_version() -> None:
    rows = changes("snapshot")
    assert [row.snapshot for row in rows] == [True] * 4
    assert [row.version is None for row in rows] == [False, False, True, False]


@pytest.mark.parametrize("mark", ["false", None, False])
def test_what_is_no_snapshot(mark: object) -> None:
    assert not change(envelope(snapshot=mark)).snapshot


def test_schemas_text_and_flattened_rows_say_the_same() -> None:
    for name in ("with_schemas", "json_text_as_kcat_writes_it", "flattened"):
        assert changes(name)[0].row == TYPED, name
        assert changes(name)[0].key == {"tjeneste_id": 1}
    flattened = changes("flattened")
    assert [one.operation for one in flattened] == [Operation.UPSERT, Operation.UPSERT, Operation.DELETE]
    assert [one.snapshot for one in flattened] == [True, False, False]
    assert flattened[1].version == Version("postgresql:prove", (108,))
    assert flattened[1].committed_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_no_row_is_ignored() -> None:
    assert [record.why for record in recorded("not_rows") if isinstance(record, Ignored)] == [
        "a heartbeat",
        "a heartbeat",
        "a transaction mark",
        "a schema change",
        "a message that is not a row",
        "a row of another table",
    ]


def test_truncate_has_no_key() -> None:
    (truncated,) = changes("truncated")
    assert (truncated.operation, truncated.key, truncated.row) == (Operation.TRUNCATE, None, None)


def tables(*names: str) -> Capture:
    return Capture(tuple(Table(name, ("tjeneste_id",), COLUMNS) for name in names))


def test_tables_by_source_topic_and_bare_name() -> None:
    assert change(envelope(), capture=tables("tjeneste")).table == "tjeneste"
    assert change(envelope(), capture=tables("tjeneste", "demo.tjeneste")).table == "demo.tjeneste"
    assert change(envelope(schema=None, db="demo", connector="mysql")).table == "demo.tjeneste"
    no_source = {"op": "c", "before": None, "after": ROW}
    assert change(no_source, topic="a.b.demo.tjeneste").table == "demo.tjeneste"
    assert isinstance(read(envelope(table="TJENESTE")), Ignored)
    assert isinstance(read(no_source), Unreadable)
    assert change({**ROW, "__table": "tjeneste", "__schema": "demo"}).table == "demo.tjeneste"
    assert isinstance(read({**ROW, "__table": "tjeneste"}), Unreadable), "the schema is not told"
    assert change(ROW, topic="p.demo.tjeneste").operation is Operation.UPSERT


def test_the_key_comes_from_the_key_else_from_a_row_that_can_be_trusted() -> None:
    assert change(envelope(), {"tjeneste_id": 9}).key == {"tjeneste_id": 9}
    assert change(envelope(), None).key == {"tjeneste_id": 1}
    assert change(envelope(), {"annet": 9}).key == {"tjeneste_id": 1}
    assert change(envelope("d", after=None, before=ROW), None).key == {"tjeneste_id": 1}
    assert change(envelope("d", after=None, before=ROW, connector="oracle"), {"annet": 9}).key == {"tjeneste_id": 1}
    assert isinstance(read(envelope("d", after=None, before=ROW), {"annet": 9}), Unreadable)
    assert isinstance(read(envelope("d", after=None, before=None), None), Unreadable)
    for bad in (None, "x", "__debezium_unavailable_value"):
        assert isinstance(read(envelope(), {"tjeneste_id": bad}), Unreadable)


def test_earlier_names_and_absent_columns() -> None:
    columns = (*COLUMNS[:1], Column("status", Kind.TEXT, earlier_names=("gammel", "tilstand")), COLUMNS[2])
    capture = Capture((Table("demo.tjeneste", ("tjeneste_id",), columns),))
    row = change(envelope(after={"tjeneste_id": 1, "tilstand": "A"}), capture=capture).row
    assert row is not None
    assert row["status"] == "A"
    assert row["start_dato"] == Undecodable("the column is not in the change")


def test_a_key_outside_the_mapped_columns_is_text() -> None:
    capture = Capture((Table("demo.tjeneste", ("tjeneste_id",), COLUMNS[1:]),))
    assert change(envelope(), capture=capture).key == {"tjeneste_id": "1"}


def test_encodings_of_columns_count_without_a_schema() -> None:
    columns = (COLUMNS[0], Column("start_dato", Kind.DATE, Encoding.MILLISECONDS))
    capture = Capture((Table("demo.tjeneste", ("tjeneste_id",), columns),))
    row = change(envelope(after={"tjeneste_id": 1, "start_dato": 20468 * 86_400_000}), capture=capture).row
    assert row == {"tjeneste_id": 1, "start_dato": date(2026, 1, 15)}


@pytest.mark.parametrize(
    ("source", "order"),
    [
        ({"connector": "postgresql", "lsn": 7}, (7,)),
        ({"connector": "postgresql", "lsn": None}, None),
        ({"connector": "postgresql", "lsn": 7, "snapshot": "incremental"}, None),
        (
            {"connector": "sqlserver", "commit_lsn": "1f:a00:5", "change_lsn": "1f:a00:3", "event_serial_no": 2},
            (31, 2560, 5, 31, 2560, 3, 2),
        ),
        ({"connector": "sqlserver", "commit_lsn": "0000001f:00000a00:0005"}, (31, 2560, 5, 0, 0, 0, 0)),
        ({"connector": "sqlserver", "commit_lsn": None}, None),
        (
            {"connector": "oracle", "commit_scn": "2000", "scn": "1990", "rs_id": " 0x000010.0000000a.0010 ", "ssn": 1},
            (2000, 1990, 16, 10, 16, 1),
        ),
        ({"connector": "oracle", "commit_scn": None, "scn": "1990", "snapshot": "true"}, (1990, 1990, 0, 0, 0, 0)),
        ({"connector": "mysql", "file": "bin.000012", "pos": 400, "row": 1}, (12, 400, 1)),
        ({"connector": "mariadb", "file": "bin.000012", "pos": 400}, (12, 400, 0)),
        ({"connector": "db2", "commit_lsn": "1:2:3", "change_lsn": "1:2:1"}, (1, 2, 3, 1, 2, 1)),
        ({"connector": "something"}, None),
    ],
)  # fmt: skip
def test_versions(source: dict[str, Any], order: tuple[int, ...] | None) -> None:
    version = change(envelope(**source)).version
    assert version == (None if order is None else Version(f"{source['connector']}:prove", order))


@pytest.mark.parametrize(
    ("source", "moment"),
    [
        ({"ts_ms": 1500}, datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)),
        ({"ts_ms": 1500, "ts_us": 1500001}, datetime(1970, 1, 1, 0, 0, 1, 500_001, UTC)),
        ({"ts_ms": 0}, None),
        ({"ts_ms": "1500"}, None),
        ({"ts_us": 10**30}, None),
    ],
)
def test_commit_time(source: dict[str, Any], moment: datetime | None) -> None:
    assert change(envelope(**source)).committed_at == moment


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "text",
        b"{",
        5,
        envelope("x"),
        envelope(after=None),
        envelope(after=[1]),
        {"schema": {"type": "struct"}, "payload": 5},
        '{"op": "c", "op": "d"}',
    ],
)
def test_records_that_cannot_be_understood_are_unreadable(value: Any) -> None:
    record = read(value)
    assert isinstance(record, Unreadable)
    assert (record.place, record.raw) == ("here", b"raw")


NESTED = 70


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"b": {"a": 1, "a": 2}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": "\\u0000"}',
        '{"a\\u0000": 1}',
        '{"a": "\\ud800"}',
        '{"a": "\\uDC00\\ud800"}',
        '{"a": "\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        "[" * NESTED + "]" * NESTED,
        '{"a": 1',
        '{"a": 1} x',
        '{"a": 1}{"a": 1}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1e99999999999999999999}',
        "\ufeff{}",
        "{'a': 1}",
        '{"a": "\n"}',
        "",
        b"\x00",
    ],
)
def test_json_that_is_not_strict_is_refused_without_quoting_it(text: str | bytes) -> None:
    with pytest.raises(NotStrictJson) as refusal:
        read_strict_json(text)
    assert "a" not in str(refusal.value).split("'")[1:2]


def test_strict_json_is_exact() -> None:
    brackets = "[" * 200
    document = read_strict_json(json.dumps({"n": 2**70, "e": "\U0001f600", "b": brackets, "u": "\\u0000"}))
    assert document == {"n": 2**70, "e": "\U0001f600", "b": brackets, "u": "\\u0000"}
    assert str(read_strict_json(b'{"a": 1.10}')) == "{'a': Decimal('1.10')}"
    with pytest.raises(NotStrictJson, match="larger"):
        read_strict_json(b'"' + b"x" * 100 + b'"', largest_bytes=50)


def test_no_value_of_a_row_stands_in_a_repr_or_a_reason() -> None:
    secret = {"tjeneste_id": "HEMMELIG", "status": "HEMMELIG", "start_dato": "HEMMELIG"}
    assert "HEMMELIG" not in repr(read(envelope(after=secret)))
    assert "HEMMELIG" not in repr(read(envelope(after={**secret, "tjeneste_id": 1})))
