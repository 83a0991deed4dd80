"""Demo histories as replay lines: change events as Debezium's PostgreSQL connector writes them, without schemas.

Dates are days since 1970, moments are microseconds of wall-clock time as if it were UTC (time.precision.mode=adaptive).
The replay source needs `encodings: {date: days, timestamp: microseconds}` to read them.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.demo.step import TABLES, Action, Cell, Row, RowChange, Step

_EPOCH: Final = date(1970, 1, 1)
_FIRST_LSN: Final = 26_000_000
_FIRST_TRANSACTION: Final = 700
_NORWAY: Final = ZoneInfo("Europe/Oslo")


def as_debezium(steps: Iterable[Step]) -> Iterator[dict[str, Any]]:
    """One event a row change, `{"topic", "key", "value"}` with objects; a delete is followed by its tombstone.

    The lsn grows with each event; the events of a step share a transaction and a commit time.
    """
    lsn = _FIRST_LSN
    for number, step in enumerate(steps):
        for operation, table, key, row in _events(step.changes):
            lsn += 56
            yield _event(operation, table, key, row, _source(step, table, _FIRST_TRANSACTION + number, lsn))
            if operation == "d":
                yield {"topic": _topic(table), "key": {TABLES[table]: key}, "value": None}


def as_lines(steps: Iterable[Step]) -> Iterator[str]:
    """The same as JSON text, one line each, without the line feed."""
    return (json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in as_debezium(steps))


def _events(changes: Iterable[RowChange]) -> Iterator[tuple[str, str, int, Row | None]]:
    for change in changes:
        if change.row is None:
            yield "d", change.table, change.key, None
            continue
        key = change.row[TABLES[change.table]]
        if not isinstance(key, int):
            raise TypeError(f"{change.table}: the key must be an integer")
        if change.action is Action.UPDATE and key != change.key:
            yield "d", change.table, change.key, None
            yield "c", change.table, key, change.row
        else:
            yield ("c" if change.action is Action.INSERT else "u"), change.table, key, change.row


def _event(operation: str, table: str, key: int, row: Row | None, source: dict[str, Any]) -> dict[str, Any]:
    # REPLICA IDENTITY DEFAULT: an update has no `before`, and of a delete's only the key is true.
    before = {TABLES[table]: key} if operation == "d" else None
    after = None if row is None else {name: _encoded(cell) for name, cell in row.items()}
    value = {"before": before, "after": after, "source": source, "op": operation, "ts_ms": source["ts_ms"]}
    return {"topic": _topic(table), "key": {TABLES[table]: key}, "value": value}


def _source(step: Step, table: str, transaction: int, lsn: int) -> dict[str, Any]:
    committed_ms = int(step.at.replace(tzinfo=_NORWAY).timestamp() * 1000)
    return {
        "version": "3.7.0.Final",
        "connector": "postgresql",
        "name": "demo",
        "ts_ms": committed_ms,
        "snapshot": "false",
        "db": "epj",
        "sequence": f'["{lsn - 56}","{lsn}"]',
        "schema": "public",
        "table": table,
        "txId": transaction,
        "lsn": lsn,
        "xmin": None,
    }


def _topic(table: str) -> str:
    return f"demo.public.{table}"


def _encoded(cell: Cell) -> str | int | None:
    if isinstance(cell, datetime):
        return int(cell.replace(tzinfo=UTC).timestamp()) * 1_000_000 + cell.microsecond
    return (cell - _EPOCH).days if isinstance(cell, date) else cell
