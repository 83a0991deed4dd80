"""A change log in a database, for the outbox table's tests on SQLite and on PostgreSQL."""

import json
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from connectors.outbox_table.source import OutboxTableSettings, OutboxTableSource
from connectors.source import Position
from tests.contract.source_behaviour import CAPTURE, HISTORY, Written

COLUMNS = {
    "key": "nr",
    "table": "tabell",
    "operation": "operasjon",
    "before": "foer",
    "after": "etter",
    "transaction": "tx",
    "time": "tid",
}


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class OutboxStage:
    """The log `endringslogg` behind `engine`; `where` is the source's setting that finds it."""

    start: Position | None = None

    def __init__(self, engine: sa.Engine, where: dict[str, Path]) -> None:
        self.engine = engine
        self.clock = Clock()
        self.settings = OutboxTableSettings(
            **where, table="endringslogg", columns=COLUMNS, poll_s=0.01, batch_rows=7, longest_transaction_s=60
        )
        self.create()

    def create(self) -> None:
        with self.engine.begin() as connection:
            key = "bigserial" if self.engine.dialect.name == "postgresql" else "integer"
            json_type = "jsonb" if self.engine.dialect.name == "postgresql" else "text"
            auto = "" if self.engine.dialect.name == "postgresql" else "AUTOINCREMENT"
            connection.execute(
                sa.text(
                    f"CREATE TABLE endringslogg (nr {key} PRIMARY KEY {auto}, tabell text, operasjon text,"
                    f" foer {json_type}, etter {json_type}, tx text, tid text)"
                )
            )

    def write(self, changes: Sequence[Written]) -> None:
        for change in changes:
            with self.engine.begin() as connection:
                self.insert(connection, change)

    def insert(
        self, connection: sa.Connection, change: Written, *, nr: int | None = None, tx: str | None = None
    ) -> None:
        row = {"tjeneste_id": change.key, "status": change.status, "start_dato": "2026-01-15"}
        values: dict[str, object] = {
            "tabell": change.table,
            "operasjon": "D" if change.status is None else "U",
            "foer": json.dumps({**row, "status": "før"}) if change.status is None else None,
            "etter": None if change.status is None else json.dumps(row),
            "tx": tx,
        }
        if nr is not None:
            values["nr"] = nr
        self.put(connection, values)

    def put(self, connection: sa.Connection, values: dict[str, object]) -> None:
        is_postgresql = self.engine.dialect.name == "postgresql"
        marks = [
            f"CAST(:{name} AS jsonb)" if is_postgresql and name in {"foer", "etter"} else f":{name}" for name in values
        ]
        connection.execute(
            sa.text(f"INSERT INTO endringslogg ({', '.join(values)}) VALUES ({', '.join(marks)})"), values
        )

    def open(self, position: Position | None, **settings: object) -> OutboxTableSource:
        changed = self.settings.model_copy(update=settings)
        return OutboxTableSource(changed, CAPTURE, position, clock=self.clock)

    def exchange(self) -> None:
        self.remove()
        self.create()
        self.write(HISTORY[:5])

    def remove(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE endringslogg"))
