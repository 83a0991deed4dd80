"""The SELECT statements of one table, for every database alike; SQLAlchemy writes them in each one's own words.

Nothing but SELECT. A page is cut by the key and never by a row number, so that rows which come or go meanwhile shift
nothing. Values are given without a type: each database compares them with its column's own type and collation, by which
it also orders. tests/golden/table_query/ shows what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from connectors.source import Column, Kind, Table

Select = sa.Select[Any]
Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Statements:
    """What is asked of one table.

    found: each wanted column's name in the database, by its name in the mapping. watermark: a column's name, or None.
    Every page has the key's columns, then the watermark's (NULL without one), then `columns`, in these orders.
    """

    table: Table
    found: Mapping[str, str]
    watermark: str | None
    dialect: str
    _there: sa.FromClause = field(init=False, repr=False)

    def __post_init__(self) -> None:
        marks = () if self.watermark is None else (self.watermark,)
        object.__setattr__(self, "_there", self._from(*dict.fromkeys((*self.found.values(), *marks))))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The wanted columns as they come in a page."""
        return self.table.columns

    def page(self, after: Sequence[object] | None, limit: int) -> Select:
        """The rows behind a key, in key order: a scan's page."""
        key = self._key()
        statement = self._rows().where(key[0].is_not(None)).order_by(*key).limit(limit)
        return statement if after is None else statement.where(_is_behind(key, after))

    def since(self, floor: object | None, ceiling: object | None, limit: int) -> Select:
        """The rows whose watermark is at `floor` or above, below `ceiling`, in the watermark's order."""
        key, mark = self._key(), self._watermark()
        statement = self._rows().where(
            key[0].is_not(None), mark.is_not(None) if floor is None else mark >= _value(floor)
        )
        if ceiling is not None:
            statement = statement.where(mark < _value(ceiling))
        return statement.order_by(mark, *key).limit(limit)

    def between(self, floor: object, ceiling: object, after: Sequence[object] | None, limit: int) -> Select:
        """The rows with a watermark at `floor` or above and below `ceiling`, behind a key, in key order."""
        key, mark = self._key(), self._watermark()
        statement = self._rows().where(key[0].is_not(None), mark >= _value(floor), mark < _value(ceiling))
        statement = statement.order_by(*key).limit(limit)
        return statement if after is None else statement.where(_is_behind(key, after))

    def highest(self, at_most: object | None = None) -> Select:
        """The highest watermark, or the highest up to a value; NULL where there is none."""
        mark = self._watermark()
        statement = sa.select(sa.func.max(mark).label("w"))
        return statement if at_most is None else statement.where(mark <= _value(at_most))

    def without_key(self) -> Select:
        """How many rows have no key."""
        return sa.select(sa.func.count().label("n")).select_from(self._there).where(self._key()[0].is_(None))

    def none(self) -> Select:
        """No row: an error where the table is not there, or may not be read."""
        return sa.select(sa.func.count().label("n")).select_from(self._from()).where(sa.text("1 = 0"))

    def these(self, keys: Sequence[Sequence[object]]) -> Select:
        """The rows with these keys, in no order."""
        return self._rows().where(sa.or_(*(_is(self._key(), key) for key in keys)))

    def probe(self, names: Sequence[str]) -> Select:
        """No row of these columns: an error where one is not there, or may not be read."""
        there = self._from(*names)
        return sa.select(*(there.c[name] for name in names)).where(sa.text("1 = 0"))

    def _rows(self) -> Select:
        mark = sa.null() if self.watermark is None else self._watermark()
        return sa.select(
            *(part.label(f"k{index}") for index, part in enumerate(self._key())),
            mark.label("w"),
            *(self._wanted(column).label(f"c{index}") for index, column in enumerate(self.columns)),
        )

    def _key(self) -> list[sa.ColumnElement[Any]]:
        return [self._there.c[self.found[name]] for name in self.table.key]

    def _watermark(self) -> sa.ColumnElement[Any]:
        if self.watermark is None:
            raise ValueError(f"{self.table.name} has no watermark")
        return self._there.c[self.watermark]

    def _wanted(self, column: Column) -> sa.ColumnElement[Any]:
        """A column as it is; a moment with a zone in a form that its driver does not strip of the zone."""
        found: sa.ColumnElement[Any] = self._there.c[self.found[column.name]]
        if column.kind is Kind.INSTANT and self.dialect == "mssql":
            return sa.func.convert(sa.text("nvarchar(40)"), found, sa.text("127"))  # ISO 8601, with Z if it has a zone
        if column.kind is Kind.INSTANT and self.dialect == "oracle":
            return sa.func.sys_extract_utc(found)  # refused for a column without a zone
        return found

    def _from(self, *names: str) -> sa.FromClause:
        """The table as `t`, with these columns: SQLite takes a quoted name that is no column for a text, t's never."""
        schema, _, name = self.table.name_in_source.rpartition(".")
        return sa.table(name, *(sa.column(part) for part in names), schema=schema or None).alias("t")


LOWEST_ROWVERSION_AT_WORK: Final = "SELECT MIN_ACTIVE_ROWVERSION()"
"""SQL Server: every rowversion below it belongs to a transaction that has ended."""


def _value(value: object) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=sa.types.NullType(), unique=True)


def _is(key: Sequence[sa.ColumnElement[Any]], values: Sequence[object]) -> Condition:
    return sa.and_(*(part == _value(value) for part, value in zip(key, values, strict=True)))


def _is_behind(key: Sequence[sa.ColumnElement[Any]], values: Sequence[object]) -> Condition:
    """(a, b) > (x, y) as every database has it: a >= x AND (a > x OR (a = x AND b > y)); the first for its index."""
    if len(key) == 1:
        return key[0] > _value(values[0])
    steps = [
        sa.and_(_is(key[:length], values[:length]), key[length] > _value(values[length]))
        if length
        else key[0] > _value(values[0])
        for length in range(len(key))
    ]
    return sa.and_(key[0] >= _value(values[0]), sa.or_(*steps))
