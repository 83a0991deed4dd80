"""Debezium's records of SQL Server, Oracle, MySQL and Db2, built from its documentation: all say the same row."""

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.replay import read_records
from connectors.source import Capture, Change, Column, Encoding, Ignored, Kind, Operation, Record, Table, Unreadable

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "debezium"
TABLES = {"sqlserver": "dbo.tjeneste", "oracle": "EPJ.TJENESTE", "mysql": "epj.tjeneste", "db2": "EPJ.TJENESTE"}
KINDS = {
    "tjeneste_id": Kind.INTEGER,
    "guid": Kind.TEXT,
    "kode": Kind.TEXT,
    "aktiv": Kind.INTEGER,
    "start_dato": Kind.DATE,
    "registrert": Kind.TIMESTAMP,
    "sendt": Kind.INSTANT,
    "timer": Kind.TEXT,
}
ENCODINGS = {
    "sqlserver": {"registrert": Encoding.NANOSECONDS},
    "oracle": {"start_dato": Encoding.MILLISECONDS, "registrert": Encoding.MICROSECONDS},
    "mysql": {"registrert": Encoding.MICROSECONDS},
    "db2": {"registrert": Encoding.MICROSECONDS},
}
ROW = {
    "tjeneste_id": 2**53 + 1,
    "guid": "0b5c4f6e-1111-4222-8333-abcdef556666",
    "kode": "cc",
    "aktiv": 1,
    "start_dato": date(2026, 3, 29),
    "registrert": datetime(2026, 3, 29, 13, 45, 30, 123456),  # noqa: DTZ001  wall-clock time has no zone
    "sendt": datetime(2026, 3, 29, 11, 45, 30, 123456, UTC),
    "timer": "123.45",
}


def read(database: str) -> list[Record]:
    upper = database in {"oracle", "db2"}
    columns = tuple(
        Column(name.upper() if upper else name, kind, ENCODINGS[database].get(name)) for name, kind in KINDS.items()
    )
    capture = Capture((Table(TABLES[database], (columns[0].name,), columns),))
    return [record for _, record in read_records(RECORDINGS / f"{database}.jsonl", capture)]


def lowered(row: object) -> dict[str, object]:
    assert isinstance(row, dict)
    return {name.lower(): value for name, value in row.items()}


@pytest.mark.parametrize("database", TABLES)
def test_the_same_row_whatever_the_database(database: str) -> None:
    records = read(database)
    snapshot, updated, bare, deleted, tombstone, created, gone, second_tombstone, schema_change = records
    assert all(isinstance(one, Ignored) for one in (tombstone, second_tombstone, schema_change))
    for change in (snapshot, updated):
        assert isinstance(change, Change)
        assert lowered(change.row) == ROW
        assert lowered(change.key) == {"tjeneste_id": 2**53 + 1}
    if database == "oracle":  # its key is a decimal, and without a schema nothing tells its scale
        assert isinstance(bare, Unreadable)
    else:
        assert isinstance(bare, Change)
        assert lowered(bare.row) == {**ROW, "timer": "MDk="}, (
            "decimal.handling.mode string is asked for without schemas"
        )
    assert isinstance(snapshot, Change)
    assert [one.snapshot for one in records if isinstance(one, Change)].count(True) == 1
    assert snapshot.snapshot
    for change, operation in ((deleted, Operation.DELETE), (created, Operation.UPSERT), (gone, Operation.DELETE)):
        assert isinstance(change, Change)
        assert change.operation is operation
    assert isinstance(created, Change)
    assert lowered(created.key) == {"tjeneste_id": 8}


@pytest.mark.parametrize("database", TABLES)
def test_versions_rise_in_the_order_of_the_databases_log(database: str) -> None:
    changes = [one for one in read(database) if isinstance(one, Change)]
    orders = [one.version.order for one in changes if one.version is not None]
    assert len(orders) == len(changes)
    assert all(earlier <= later for earlier, later in pairwise(orders))
    assert len(set(orders)) == 4
    assert {one.version.epoch for one in changes if one.version} == {
        f"{database}:{'EPJ' if database in {'oracle', 'db2'} else 'epj'}"
    }
