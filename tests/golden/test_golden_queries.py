"""The statements of table_query, kept as files for each kind of database, those that no test can start included.

`pytest tests/golden --rewrite-golden` writes them anew; the difference is then reviewed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite
from sqlalchemy.dialects.oracle import oracledb

from connectors.source import Column, Kind, Table
from connectors.table_query.statements import LOWEST_ROWVERSION_AT_WORK, Statements

FOLDER = Path(__file__).parent / "table_query"
DIALECTS: dict[str, Any] = {
    "sqlserver": mssql.dialect(),
    "oracle": oracledb.dialect(),
    "postgresql": postgresql.dialect(paramstyle="named"),
    "mariadb": mysql.dialect(paramstyle="named"),
    "sqlite": sqlite.dialect(paramstyle="named"),
}
"""SQLAlchemy's own names for values (`:param_1`) in all of them: a driver's marks say nothing here."""
SERVICE = Table(
    "dbo.Tjeneste",
    ("Id",),
    (
        Column("Id", Kind.TEXT),
        Column("Status", Kind.TEXT),
        Column("StartDato", Kind.DATE),
        Column("RegistrertTid", Kind.INSTANT),
    ),
)
STAY = Table("kpr.opphold", ("kommune", "nr", "linje"), (Column("status", Kind.TEXT),))
KEY = UUID(int=7)
MOMENT = datetime(2026, 1, 15, 12, tzinfo=UTC).replace(tzinfo=None)


def asked(dialect: str) -> Iterator[tuple[str, sa.Select[Any]]]:
    """What is asked, and the statement."""
    name = DIALECTS[dialect].name
    marked = Statements(SERVICE, {column.name: column.name for column in SERVICE.columns}, "EndretTid", name)
    plain = Statements(STAY, {"kommune": "kommune", "nr": "nr", "linje": "linje", "status": "tilstand"}, None, name)
    yield "Is there a column of this name, and may it be read?", marked.probe(("Status",))
    yield "Is there the table?", marked.none()
    yield "A scan begins: rows that have no key", marked.without_key()
    yield "A scan begins: where looks begin", marked.highest()
    yield "The same, where the highest time lies ahead of the clock", marked.highest(MOMENT)
    yield "A scan's first page", marked.page(None, 501)
    yield "A scan's next page", marked.page((KEY,), 501)
    yield "A look by a time", marked.since(MOMENT, None, 501)
    if dialect == "sqlserver":
        yield "A look by a rowversion", marked.since(bytes(7) + b"\1", bytes(7) + b"\2", 501)
    yield "More rows of one moment than fit a page", marked.between(MOMENT, MOMENT, (KEY,), 501)
    yield "The rows read last, at each opening", marked.these([(KEY,), (UUID(int=8),)])
    yield "A key of three columns, no watermark: the first page", plain.page(None, 501)
    yield "A key of three columns, no watermark: the next page", plain.page(("0301", Decimal(5), 2), 501)


def written(dialect: str) -> str:
    parts = []
    for what, statement in asked(dialect):
        compiled = statement.compile(dialect=DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
        lines = "\n".join(line.rstrip() for line in str(compiled).splitlines())
        values = ", ".join(f"{name} = {value!r}" for name, value in compiled.params.items())
        parts.append(f"-- {what}\n{lines};\n" + (f"-- {values}\n" if values else ""))
    if dialect == "sqlserver":
        parts.append(f"-- Before a look by a rowversion\n{LOWEST_ROWVERSION_AT_WORK};\n")
    return "\n".join(parts)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_statements_are_as_kept(dialect: str, request: pytest.FixtureRequest) -> None:
    path = FOLDER / f"{dialect}.sql"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(written(dialect), encoding="utf-8")
    assert path.exists(), f"{path.name} is not there: run pytest tests/golden --rewrite-golden and review it"
    assert written(dialect) == path.read_text(encoding="utf-8"), f"{path.name} differs: review it, or mend the code"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_but_select_is_asked(dialect: str) -> None:
    for _, statement in asked(dialect):
        assert str(statement.compile(dialect=DIALECTS[dialect])).startswith("SELECT ")
        assert not statement._for_update_arg


def test_there_is_no_file_without_a_database() -> None:
    assert {path.stem for path in FOLDER.glob("*.sql")} == set(DIALECTS)
