"""The tables of a mapping as a graph: what is said of each table, and whether it fits together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.domain.mapping import Columns, Edge, Meaning, Registered, TableMapping, Which
from agent.settings.faults import Part
from agent.settings.mapping_file import MEANINGS, EdgeWords, KeyColumn, RegisteredWords
from agent.settings.model_faults import nearest, written_place
from agent.settings.yaml_reading import Document

Loc = tuple[Part, ...]
ColumnOf = tuple[str, str]
"""(table, column)."""


@dataclass(slots=True)
class _Told:
    """What is said of one table so far. `loc` is where it was first named; `used` when more than `tables` names it."""

    loc: Loc
    used: bool = False
    columns: dict[str, Loc] = field(default_factory=dict)
    key: Columns | None = None
    registered: Registered = field(default_factory=Registered)
    earlier_names: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Graph:
    """Gathers what a mapping file says of tables and columns; `tables()` judges it when all is gathered."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._told: dict[str, _Told] = {}
        self._kinds: dict[ColumnOf, Meaning] = {}
        self._same: list[tuple[ColumnOf, ColumnOf, Loc]] = []
        self._ordering: list[tuple[ColumnOf, Loc]] = []

    def fault(self, loc: Loc, text: str) -> None:
        """A fault at the place that `loc` has in the file."""
        self._document.faults.append(self._document.fault(written_place(self._document, loc), text))

    def table(self, name: str, loc: Loc) -> _Told:
        """What is said of a table, made when it is first named."""
        told = self._told.setdefault(name, _Told(loc))
        told.used = told.used or loc[0] != "tables"
        return told

    def column(self, table: str, name: str, kind: str | None, loc: Loc) -> str:
        """Note a column, with its kind where one is said; gives its name."""
        self.table(table, loc).columns.setdefault(name, loc)
        if kind is not None:
            meaning = MEANINGS[kind]
            known = self._kinds.setdefault((table, name), meaning)
            if known is not meaning:
                first = self._told[table].columns[name]
                where = self._document.line(written_place(self._document, first))
                self.fault(
                    loc,
                    f"{table}.{name} is {known.value} elsewhere (line {where}) and {kind} here: a column has one kind",
                )
        return name

    def columns(self, table: str, words: Iterable[KeyColumn], loc: Loc) -> Columns:
        """Note the columns of a key; gives their names."""
        return tuple(
            self.column(table, part.column, part.kind, (*loc, index, "kind")) for index, part in enumerate(words)
        )

    def key(self, table: str, words: Iterable[KeyColumn], loc: Loc) -> Columns:
        """Note a table's row key; another one said elsewhere is a fault."""
        names = self.columns(table, words, loc)
        told = self.table(table, loc)
        if len(set(names)) != len(names):
            self.fault(loc, "the same column twice in a key")
        if told.key is not None and set(told.key) != set(names):
            self.fault(
                loc,
                f"the key of {table} is {', '.join(told.key)} elsewhere: write that, or match with first or last for "
                "other columns",
            )
        told.key = told.key or names
        return told.key

    def same(self, here: tuple[str, Columns], there: tuple[str, Columns], loc: Loc) -> None:
        """Note that columns hold the same values, pair by pair, so that they have the same kinds."""
        if len(here[1]) != len(there[1]):
            self.fault(loc, f"{len(there[1])} columns are needed here, as many as the key that they hold has")
        for mine, theirs in zip(here[1], there[1], strict=False):
            self._same.append(((here[0], mine), (there[0], theirs), loc))

    def ordering(self, table: str, words: KeyColumn, loc: Loc) -> str:
        """Note a column that orders rows: its kind must be known, or 10 would stand before 9."""
        self._ordering.append(((table, words.column), loc))
        return self.column(table, words.column, words.kind, loc)

    def registered(self, table: str, words: RegisteredWords | None, loc: Loc) -> None:
        """Note the moments of a table's rows."""
        if words is None:
            return
        for name in (words.created, words.changed):
            if name is not None:
                self.column(table, name, words.kind, (*loc, "kind"))
        told, said = self.table(table, loc), Registered(words.created, words.changed)
        if told.registered not in (Registered(), said):
            self.fault(loc, f"registered is said of {table} elsewhere too: write it once")
        told.registered = said

    def earlier_names(self, table: str, names: Mapping[str, tuple[str, ...]]) -> None:
        """Note what columns were once called."""
        self.table(table, ("tables", table)).earlier_names = dict(names)

    def edge(self, here: str, words: EdgeWords, loc: Loc) -> Edge:
        """The edge from a row of `here`, with everything noted that it says of both tables."""
        self.table(words.table, (*loc, "table"))
        by = self.columns(here, words.by, (*loc, "by"))
        key = self.key(words.table, words.key, (*loc, "key")) if words.key is not None else None
        if words.match is not None:
            match = self.columns(words.table, words.match, (*loc, "match"))
        else:
            match = tuple(part.column for part in words.key or ())
            if key is not None and set(match) == set(key):
                # a reference to one row names the key's columns in the key's own order
                by = tuple(by[match.index(column)] for column in key)
                match = key
        self.same((here, by), (words.table, match), (*loc, "by"))
        if here == words.table and by == match:
            self.fault((*loc, "by"), "this step leads back to the row it comes from: by and key are the same columns")
        order, which = (words.first, Which.FIRST) if words.first is not None else (words.last, Which.LAST)
        order_by = None
        if order is not None:
            order_by = self.ordering(words.table, order, (*loc, "first" if which is Which.FIRST else "last"))
        return Edge(by, words.table, match, which, order_by)

    def path(self, start: str, words: Iterable[EdgeWords], loc: Loc) -> tuple[tuple[Edge, ...], str]:
        """The edges of a path and the table where it ends."""
        edges, here = [], start
        for index, step in enumerate(words):
            edges.append(self.edge(here, step, (*loc, index)))
            here = step.table
        return tuple(edges), here

    def tables(self, unkept: Mapping[str, Columns]) -> dict[str, TableMapping]:
        """Every table, once all is noted; faults for what does not fit. `unkept` columns (names) are left out."""
        self._settle_kinds()
        for (table, column), loc in self._ordering:
            if (table, column) not in self._kinds:
                self.fault(loc, f"say its kind, which orders the rows: {{column: {column}, kind: integer}}")
        return {
            name: TableMapping(
                name,
                self._key_of(name, told),
                {
                    column: self._kinds.get((name, column), Meaning.TEXT)
                    for column in told.columns
                    if column not in unkept.get(name, ())
                },
                told.registered,
                told.earlier_names,
            )
            for name, told in self._told.items()
        }

    def check_said_of_tables(self, said: Iterable[str]) -> None:
        """Faults for what `tables` says of tables and columns that nothing else names."""
        known = [name for name, told in self._told.items() if told.used]
        for table in said:
            loc: Loc = ("tables", table)
            told = self._told.get(table)
            if told is None or not told.used:
                self.fault(loc, _not_mapped("table", nearest(table, known)))
                continue
            for column in told.earlier_names:
                if column not in told.columns:
                    near = nearest(column, list(told.columns))
                    self.fault((*loc, "earlier_names", column), _not_mapped(f"column of {table}", near))

    def _key_of(self, name: str, told: _Told) -> Columns:
        if told.key is None:
            self.fault(told.loc, f"the key of {name} is said nowhere: write key here, or under tables")
            return ()
        return told.key

    def _settle_kinds(self) -> None:
        changed = True
        while changed:
            changed = False
            for here, there, _ in self._same:
                for one, other in ((here, there), (there, here)):
                    if one in self._kinds and other not in self._kinds:
                        self._kinds[other] = self._kinds[one]
                        changed = True
        for here, there, loc in self._same:
            mine, theirs = self._kinds.get(here), self._kinds.get(there)
            if mine is not None and theirs is not None and mine is not theirs:
                self.fault(
                    loc,
                    f"{'.'.join(here)} is {mine.value} and {'.'.join(there)} is {theirs.value}: they hold the same "
                    "key, so they need the same kind",
                )


def _not_mapped(what: str, near: str | None) -> str:
    hint = f': did you mean "{near}"?' if near is not None else ": remove it"
    return f"nothing in this file uses this {what}{hint}"
