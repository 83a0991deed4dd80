"""Which tables of a PostgreSQL can be captured without harm to the EPJ's own writes, and what is against the others.

PostgreSQL refuses every UPDATE and DELETE of a published table that has no replica identity, or whose column list lacks
a column of it (tried on 15 and 17, tests/contract/test_postgres_setup.py). Pure: what it judges comes from
facts.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from connectors.postgres_logical.facts import FULL, PARTITIONED, Facts, TableFacts
from connectors.source import SourceRefused, Table

_KINDS: Final = {
    "v": "is a view, which has no log of its own",
    "m": "is a materialized view, which has no log of its own",
    "f": "is a foreign table, whose log is in another database",
}
_NOT_LOGGED: Final = {"u": "is an unlogged table: its changes are not in the log", "t": "is a temporary table"}
_KEY: Final = (
    "give it a primary key, or a unique index on NOT NULL columns and ALTER TABLE .. REPLICA IDENTITY USING INDEX; "
    "or read it with the table_query source"
)


class TablesUnfit(SourceRefused):
    """Tables that cannot be captured as they are; most of them would refuse the EPJ's own writes once published."""

    code = "KPR-163"


@dataclass(frozen=True, slots=True)
class Objection:
    """What stands against capturing a table, and what a person does. Both name columns, never values."""

    table: str
    text: str
    repair: str


@dataclass(frozen=True, slots=True)
class Fit:
    """A wanted table that was found: `columns` as the database calls the mapped ones, in the mapping's order."""

    wanted: Table
    facts: TableFacts
    columns: tuple[str, ...]


def find(table: Table, facts: Facts) -> Fit | Objection:
    """The one table that is meant, with every mapped column; or what is missing."""
    name, candidates = table.name_in_source, facts.tables[table.name_in_source]
    if not candidates:
        return Objection(name, "is not in this database", "correct its name in the mapping, or the database's name")
    if len(candidates) > 1:
        schemas = ", ".join(sorted(candidate.schema for candidate in candidates))
        return Objection(name, f"is there in several schemas ({schemas})", "write schema.table in the mapping")
    (found,) = candidates
    columns: list[str] = []
    missing: list[str] = []
    for column in table.columns:
        names = [known for known in (column.name, *column.earlier_names) if known in found.columns]
        (columns if names else missing).append(names[0] if names else column.name)
    if missing:
        return Objection(name, f"lacks mapped columns: {', '.join(missing)}", "correct their names in the mapping")
    return Fit(table, found, tuple(columns))


def objections(fit: Fit, *, is_listed: bool) -> Iterator[Objection]:
    """What stands against publishing a table; `is_listed`: with a column list."""
    name, facts = fit.wanted.name_in_source, fit.facts
    if facts.kind in _KINDS or facts.persistence in _NOT_LOGGED:
        why = _KINDS.get(facts.kind) or _NOT_LOGGED[facts.persistence]
        yield Objection(name, why, "map the tables behind it, or read it with the table_query source")
        return
    if facts.has_children:
        why = "has tables that inherit from it, whose rows are not in its own log"
        yield Objection(name, why, "map the inheriting tables themselves, or read it with the table_query source")
    yield from _identity(fit)
    if is_listed and (facts.identity_kind == FULL or facts.partitions_with_full_identity):
        why = "has REPLICA IDENTITY FULL: with a column list every UPDATE and DELETE of it would fail"
        yield Objection(name, why, "leave the column lists out, or ALTER TABLE .. REPLICA IDENTITY DEFAULT")
    if facts.published is not None and facts.published.has_filter:
        why = "is published with a row filter, which hides rows from the agent"
        yield Objection(name, why, "take the filter away: ALTER PUBLICATION .. SET TABLE ..")
    generated = sorted(facts.generated.intersection(fit.columns))
    if generated:
        why = f"has mapped columns that are generated, which the log does not carry: {', '.join(generated)}"
        yield Objection(name, why, "map the columns that they are made of")


def _identity(fit: Fit) -> Iterator[Objection]:
    """How a deleted or updated row is told apart: PostgreSQL needs it for the write, the agent for its key."""
    name, facts = fit.wanted.name_in_source, fit.facts
    if facts.kind == PARTITIONED and (facts.identity_kind != "d" or not facts.identity):
        why = "is partitioned and not identified by a primary key: a new partition of it could refuse every UPDATE"
        yield Objection(name, why, "give the partitioned table a primary key and REPLICA IDENTITY DEFAULT")
    elif not facts.identity:
        why = "has no key (replica identity): published, every UPDATE and DELETE of it would fail"
        yield Objection(name, why, _KEY)
    elif missing := [column for column in _key_columns(fit) if column not in facts.identity]:
        why = f"tells a deleted row without {', '.join(missing)} of the mapped key: its replica identity is another one"
        yield Objection(name, why, f"map {', '.join(facts.identity)} as the key, or {_KEY}")
    if facts.partitions_without_identity:
        leaves = ", ".join(facts.partitions_without_identity)
        why = f"has partitions without a key, whose every UPDATE and DELETE would fail: {leaves}"
        yield Objection(name, why, "ALTER TABLE .. REPLICA IDENTITY DEFAULT on these partitions")


def _key_columns(fit: Fit) -> list[str]:
    names = dict(zip((column.name for column in fit.wanted.columns), fit.columns, strict=True))
    return [names.get(column, column) for column in fit.wanted.key]
