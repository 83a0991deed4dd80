# ruff: noqa: S608 - the SQL is put together from our own table names and a checked schema name, never from data
"""The demo's EPJ: our own four tables in SQLite or PostgreSQL, and a change log that triggers fill.

The tables are those of config/epj/demo.yaml. The log names them "public.<table>" on both databases, whatever schema
they stand in, so that one mapping fits. A change of a key is logged as a delete and an insert.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, TextClause, create_engine, event, text
from sqlalchemy.engine import URL

from agent.demo.epj_schema import COLUMNS, LOG_TABLE, schema_name, statements
from agent.demo.step import TABLES, Action, Cell, Row, RowChange, Step

_BUSY_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class EpjPicture:
    """What the EPJ holds now: table -> key -> row, dates as dates and moments as naive datetimes.

    `earlier`: every version that a row ever had, in order, the present one included, as the change log tells.
    """

    rows: Mapping[str, Mapping[int, Row]] = field(repr=False)
    earlier: Mapping[str, Mapping[int, Sequence[Row]]] = field(repr=False)


def open_sqlite(path: Path) -> Engine:
    """An engine on a SQLite file, made where it is not there; readers never wait for the writer (WAL)."""
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a demo's EPJ need not survive a power cut

    return engine


def create_tables(engine: Engine, schema: str | None = None) -> None:
    """Make the tables, the change log and its triggers. `schema`: on PostgreSQL only, default public."""
    with engine.begin() as connection:
        for statement in statements(engine.dialect.name, schema):
            connection.exec_driver_sql(statement)


def apply_steps(engine: Engine, steps: Iterable[Step], schema: str | None = None) -> int:
    """Apply steps, each in one transaction, and return how many there were."""
    count = 0
    with engine.connect() as connection:
        for step in steps:
            with connection.begin():
                for change in step.changes:
                    _apply(connection, change, schema)
            count += 1
    return count


def apply_step(engine: Engine, step: Step, schema: str | None = None) -> None:
    """Apply one step in one transaction."""
    apply_steps(engine, (step,), schema)


def last_logged(engine: Engine, schema: str | None = None) -> int:
    """The highest key of the change log, 0 while it is empty."""
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT max(nr) FROM {_qualified(LOG_TABLE, schema)}")).scalar() or 0)


def picture(engine: Engine, schema: str | None = None) -> EpjPicture:
    """What the EPJ holds now, and every version that its log knows, read in one transaction."""
    with engine.connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        rows = {table: _read_rows(connection, table, schema) for table in TABLES}
        return EpjPicture(rows, _read_log(connection, schema))


def picture_of(steps: Iterable[Step]) -> EpjPicture:
    """The picture that the steps give, without a database."""
    rows: dict[str, dict[int, Row]] = {table: {} for table in TABLES}
    earlier: dict[str, dict[int, list[Row]]] = {table: {} for table in TABLES}
    for change in (change for step in steps for change in step.changes):
        table = rows[change.table]
        if change.row is None or change.action is Action.UPDATE:
            table.pop(change.key, None)
        if change.row is not None:
            key = cast("int", change.row[TABLES[change.table]])
            table[key] = change.row
            earlier[change.table].setdefault(key, []).append(change.row)
    return EpjPicture(rows, earlier)


def _apply(connection: Connection, change: RowChange, schema: str | None) -> None:
    cells = {name: _bindable(connection, cell) for name, cell in (change.row or {}).items()}
    connection.execute(_statement(change.table, change.action, schema), {"old_key": change.key} | cells)


@cache
def _statement(table: str, action: Action, schema: str | None) -> TextClause:
    target, key_column, columns = _qualified(table, schema), TABLES[table], COLUMNS[table]
    match action:
        case Action.INSERT:
            values = ", ".join(f":{column}" for column in columns)
            return text(f"INSERT INTO {target} ({', '.join(columns)}) VALUES ({values})")
        case Action.UPDATE:
            settings = ", ".join(f"{column} = :{column}" for column in columns)
            return text(f"UPDATE {target} SET {settings} WHERE {key_column} = :old_key")
        case Action.DELETE:
            return text(f"DELETE FROM {target} WHERE {key_column} = :old_key")


def _bindable(connection: Connection, cell: Cell) -> Cell:
    if connection.dialect.name == "sqlite" and isinstance(cell, date):  # a datetime is a date too
        return cell.isoformat(timespec="seconds") if isinstance(cell, datetime) else cell.isoformat()
    return cell


def _read_rows(connection: Connection, table: str, schema: str | None) -> dict[int, Row]:
    names = COLUMNS[table]
    found = connection.execute(text(f"SELECT {', '.join(names)} FROM {_qualified(table, schema)}"))
    rows = [{name: read_cell(name, cell) for name, cell in zip(names, row, strict=True)} for row in found]
    return {cast("int", row[TABLES[table]]): row for row in rows}


def _read_log(connection: Connection, schema: str | None) -> dict[str, dict[int, list[Row]]]:
    earlier: dict[str, dict[int, list[Row]]] = {table: {} for table in TABLES}
    log = _qualified(LOG_TABLE, schema)
    after = "etter" if connection.dialect.name == "sqlite" else "etter::text"
    found = connection.execute(text(f"SELECT tabell, {after} FROM {log} WHERE etter IS NOT NULL ORDER BY nr"))
    for logged, row_text in found:
        table = str(logged).removeprefix("public.")
        row = {name: read_cell(name, cell) for name, cell in _from_json(row_text).items()}
        earlier[table].setdefault(cast("int", row[TABLES[table]]), []).append(row)
    return earlier


def _from_json(row_text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(row_text))


def read_cell(name: str, cell: Cell) -> Cell:
    """A cell as the database or the log gives it, its ISO text made a date or a naive datetime by the column's name."""
    if not isinstance(cell, str):
        return cell
    if name.endswith("_tid"):
        return datetime.fromisoformat(cell)
    return date.fromisoformat(cell) if name.endswith("dato") else cell


def _qualified(table: str, schema: str | None) -> str:
    return f"{schema_name(schema)}.{table}" if schema else table
