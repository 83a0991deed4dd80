"""Steps in batches that a source without an order across tables cannot mix up.

Debezium gives each table a topic, and between topics there is no order: what is told on the way from the first row to
the last depends on which one is read first (the last picture does not: tests/property/test_order_across_topics.py).
In one of these batches no service is touched by two tables, so that there is nothing to mix up.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from agent.demo.step import TABLES, RowChange, Step

Touched = tuple[str, object]
"""A service, a person or a unit: its table and key."""


def single_changes(steps: Iterable[Step]) -> list[Step]:
    """The same changes in the same order, each in a transaction of its own."""
    return [replace(step, changes=(change,)) for step in steps for change in step.changes]


def independent_batches(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """The steps in order; each batch as long as it can be."""
    rows: dict[Touched, Mapping[str, object]] = {}
    batch: list[Step] = []
    touched_by: dict[Touched, str] = {}
    for step in steps:
        touches = [(one, change.table) for change in step.changes for one in _touched(rows, change)]
        if any(touched_by.get(one, table) != table for one, table in touches):
            yield batch
            batch, touched_by = [], {}
        touched_by |= dict(touches)
        batch.append(step)
        for change in step.changes:
            rows.pop((change.table, change.key), None)
            if change.row is not None:
                rows[change.table, change.row[TABLES[change.table]]] = change.row
    yield batch


def _touched(rows: Mapping[Touched, Mapping[str, object]], change: RowChange) -> Iterator[Touched]:
    """The row's own service, person or unit; what a service refers to; the services that refer to a person or unit."""
    before, after = rows.get((change.table, change.key)), change.row
    key_column = TABLES[change.table]
    for row in (before, after):
        if row is not None and change.table != "pause":
            yield change.table, row[key_column]
        if row is not None and change.table in {"pause", "tjeneste"}:
            yield "tjeneste", row["tjeneste_id"]
        if row is not None and change.table == "tjeneste":
            yield "bruker", row["bruker_id"]
            yield "enhet", row["enhet_id"]
    if change.table in {"bruker", "enhet"}:
        keys = {change.key} | ({after[key_column]} if after is not None else set())
        for (table, key), row in rows.items():
            if table == "tjeneste" and row[key_column] in keys:
                yield table, key
