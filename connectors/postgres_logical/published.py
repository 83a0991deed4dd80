"""What is published of the wanted tables, and whether it is all that is wanted. Asked at the start and ever again.

A table that left the publication, or a column that left a table, says nothing in the stream: it would just be quiet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.postgres_logical.catalog import identifier, literal
from connectors.postgres_logical.session import Row, Session
from connectors.postgres_logical.troubles import ColumnChanged, IdentityLacking, PublicationChanged, TableGone
from connectors.source import Capture, SourceChanged, Table
from connectors.wire.postgres_rows import ColumnUnfit, Described, KeyUnfit, TableReader

_PARTITIONED: Final = "p"
_GENERATED_IS_PUBLISHED: Final = 180000

_COLUMNS: Final = """
WITH RECURSIVE wanted AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname IN ({names})
), types AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_catalog.pg_type t
    UNION ALL
    SELECT s.type, t.typbasetype FROM types s JOIN pg_catalog.pg_type t ON t.oid = s.base WHERE t.typbasetype <> 0
), bases AS (
    SELECT s.type, s.base FROM types s JOIN pg_catalog.pg_type t ON t.oid = s.base WHERE t.typbasetype = 0
)
SELECT w.nspname, w.relname, w.oid, w.relkind, a.attname, b.base, a.attgenerated <> '',
       w.relreplident = 'f' OR EXISTS (
           SELECT FROM pg_catalog.pg_index i
           WHERE i.indrelid = w.oid AND a.attnum = ANY(i.indkey::int2[]) AND i.indisvalid AND i.indimmediate
             AND CASE w.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
FROM wanted w JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN bases b ON b.type = a.atttypid
ORDER BY 1, 2, a.attnum
"""
_TABLES: Final = """
SELECT t.schemaname, t.tablename, pg_catalog.to_jsonb(t) ->> 'rowfilter', n.name
FROM pg_catalog.pg_publication_tables t
LEFT JOIN LATERAL pg_catalog.jsonb_array_elements_text(
    NULLIF(pg_catalog.to_jsonb(t) -> 'attnames', 'null'::jsonb)) AS n(name) ON true
WHERE t.pubname = {publication} AND t.tablename IN ({names})
"""
_PUBLICATION: Final = """
SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot
FROM pg_catalog.pg_publication WHERE pubname = {publication}
"""
_ROOTS: Final = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_ancestors({oid}::oid::regclass) a
JOIN pg_catalog.pg_class c ON c.oid = a.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


class Unfit(Exception):
    """What is published is not all that is wanted: `trouble`, told how long the log is kept, is the error to raise."""

    def __init__(self, make: Callable[..., SourceChanged], *named: str) -> None:
        super().__init__(*named)
        self._make: Final = make
        self._named: Final = named

    def trouble(self, kept: str) -> SourceChanged:
        return self._make(*self._named, kept)


@dataclass(frozen=True, slots=True)
class Published:
    """A wanted table that is published. `described`: the columns that are read, in the order of a load."""

    table: Table
    schema: str
    name: str
    oid: int
    is_partitioned: bool
    described: tuple[Described, ...]
    row_filter: str | None

    def reader(self) -> TableReader:
        return TableReader(self.table, self.described)

    @property
    def load(self) -> str:
        """The statement that reads its rows: mapped columns only, and what a row filter of the publication lets by."""
        columns = ", ".join(identifier(column.name) for column in self.described)
        only = "" if self.is_partitioned else "ONLY "  # children by inheritance are tables of their own in the stream
        where = f" WHERE {self.row_filter}" if self.row_filter else ""
        rows = f"SELECT {columns} FROM {only}{identifier(self.schema)}.{identifier(self.name)}{where}"  # noqa: S608  quoted
        return f"COPY ({rows}) TO STDOUT"


async def read_published(
    session: Session, publication: str, capture: Capture, *, timeout_s: float
) -> tuple[Published, ...]:
    """Every wanted table as it is published, in the capture's order.

    Raises Unfit with a PublicationChanged, TableGone, ColumnChanged or IdentityLacking.
    """

    async def ask(statement: str) -> list[Row]:
        filled = statement.format(publication=literal(publication), names=names)
        return await session.ask(filled, doing="asking what is published", timeout_s=timeout_s)

    names = ", ".join(sorted({literal(table.name_in_source.rpartition(".")[2]) for table in capture.tables})) or "''"
    via_root = _check_operations(publication, await ask(_PUBLICATION))
    told: dict[_Place, _Told] = {}
    for schema, name, row_filter, column in await ask(_TABLES):
        listed = told.setdefault((str(schema), str(name)), _Told(row_filter, set())).columns
        if column is not None:
            listed.add(column)
    there: dict[_Place, _There] = {}
    for schema, name, oid, kind, column, type_oid, is_generated, is_identity in await ask(_COLUMNS):
        place = (str(schema), str(name))
        table = there.setdefault(place, _There(int(oid or 0), kind == _PARTITIONED, []))
        is_told = is_generated == "f" or session.server_version >= _GENERATED_IS_PUBLISHED
        if place in told and is_told and (not told[place].columns or column in told[place].columns):
            table.columns.append(Described(str(column), int(type_oid or 0), is_identity == "t"))
    found = []
    for wanted in capture.tables:
        place = _find(wanted, there, set(told), publication, via_root=via_root)
        found.append(_published(wanted, place, there[place], told[place].row_filter))
    return tuple(found)


async def is_under(session: Session, oid: int, capture: Capture, *, timeout_s: float) -> str | None:
    """The wanted table that the table numbered `oid` is a partition of, or None."""
    wanted = {table.name_in_source for table in capture.tables}
    rows = await session.ask(_ROOTS.format(oid=oid), doing="asking for a partition's root", timeout_s=timeout_s)
    return next((f"{schema}.{name}" for schema, name in rows if f"{schema}.{name}" in wanted or name in wanted), None)


_Place = tuple[str, str]
"""A schema and a name."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the publication tells of a table: its row filter, and its columns where they are listed."""

    row_filter: str | None
    columns: set[str]


@dataclass(frozen=True, slots=True)
class _There:
    """A table of a wanted name, and those of its columns that the stream tells."""

    oid: int
    is_partitioned: bool
    columns: list[Described]


def _check_operations(publication: str, rows: Sequence[Row]) -> bool:
    """Whether partitions are told as their root; refuses a publication that does not tell of every operation."""
    if not rows:
        raise Unfit(PublicationChanged, publication, "is not there")
    *told, via_root = (flag == "t" for flag in rows[0])
    words = ("insert", "update", "delete", "truncate")
    lacking = [word for word, is_told in zip(words, told, strict=True) if not is_told]
    if lacking:
        raise Unfit(PublicationChanged, publication, f"does not tell of {', '.join(lacking)}")
    return via_root


def _find(
    table: Table, there: Mapping[_Place, _There], told: set[_Place], publication: str, *, via_root: bool
) -> _Place:
    """Its schema and name; a name without a schema may be in any, but in one only."""
    schema, _, name = table.name_in_source.rpartition(".")
    fits = {place for place in there if place[1] == name and schema in {"", place[0]}}
    if not fits:
        raise Unfit(TableGone, table.name_in_source, "is not there")
    if not via_root and any(there[place].is_partitioned for place in fits):
        raise Unfit(
            PublicationChanged,
            publication,
            f"tells of {table.name_in_source} under its partitions' names: publish_via_partition_root must be true",
        )
    published = sorted(fits & told)
    if not published:
        raise Unfit(TableGone, table.name_in_source, f"is not in the publication {publication}")
    if len(published) > 1:
        raise Unfit(TableGone, table.name_in_source, "is published from several schemas: name the one that is meant")
    return published[0]


def _published(table: Table, place: _Place, there: _There, row_filter: str | None) -> Published:
    try:
        reader = TableReader(table, there.columns)
    except ColumnUnfit as unfit:
        raise Unfit(ColumnChanged, table.name_in_source, unfit.column, unfit.why) from None
    except KeyUnfit as unfit:
        raise Unfit(IdentityLacking, table.name_in_source, unfit.columns) from None
    read = reader.found_names
    described = tuple(column for column in there.columns if column.name in read)
    return Published(table, *place, there.oid, there.is_partitioned, described, row_filter)
