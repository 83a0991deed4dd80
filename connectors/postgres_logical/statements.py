"""The statements that make a PostgreSQL ready for capture: those that are still missing. Pure.

Advice about the whole server is a comment: its owner decides about it, and other programs may depend on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.inspection import Statement
from connectors.postgres_logical.facts import FULL, Facts, PublicationFacts, ServerFacts, SlotFacts
from connectors.postgres_logical.safety import Fit
from connectors.source import Capture, Table

_OPERATIONS: Final = ("insert", "update", "delete", "truncate")
_COMMENT: Final = "-- "
_LIST_PRICE: Final = (
    "The price of a column list: an upgrade of the EPJ can no longer drop a listed column or change its type, and "
    "after one that changes the primary key every UPDATE fails until the list has the new key's columns"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be prepared. `column_lists`: publish mapped columns only; `failover`: a slot that standbys keep."""

    publication: str
    slot: str
    role: str
    column_lists: bool = False
    failover: bool = False


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_advice(statement: Statement) -> bool:
    """Whether it is for the server's owner to decide, and is never run by us."""
    return all(line.startswith(_COMMENT) for line in statement.text.splitlines())


def missing_statements(wish: Wish, facts: Facts, fits: Sequence[Fit]) -> Iterator[Statement]:
    """What is missing, in the order to run it: the publication first, because a slot knows none made after it."""
    yield from _server(facts.server, facts.slot)
    yield from _publication(wish, facts.publication, fits)
    yield from _role(wish, facts, fits)
    yield from _slot(wish, facts)


def offline_statements(wish: Wish, capture: Capture) -> tuple[Statement, ...]:
    """The whole list for a database that was not looked at, for psql. Nothing checks here that a table has a key."""
    tables = [(_relation(*_split(table)), _mapped(table)) for table in capture.tables]
    schemas = sorted({_split(table)[0] for table in capture.tables} - {""})
    return (
        _keep_advice(),
        _create_publication(wish, [_member(name, columns if wish.column_lists else None) for name, columns in tables]),
        _create_role(wish.role),
        _connect(':"DBNAME"', wish.role),  # psql's own variable: the database it is connected to
        *(_usage(schema, wish.role) for schema in schemas),
        *(_select(name, columns, wish.role) for name, columns in tables),
        _create_slot(wish),
    )


# -- the server -------------------------------------------------------------------------------------------------------


def _server(server: ServerFacts, slot: SlotFacts | None) -> Iterator[Statement]:
    if server.wal_level != "logical":
        yield _advice(
            "ALTER SYSTEM SET wal_level = 'logical';",
            "the log carries rows only at this level; it needs a restart of the server, and the slot can be made only "
            "after that",
        )
    if slot is None and server.slots >= server.most_slots:
        yield _advice(
            f"ALTER SYSTEM SET max_replication_slots = {server.most_slots + 5};",
            "every replication slot of the server is taken: the agent needs one, and another while it reads the tables "
            "for the first time; it needs a restart of the server",
        )
    if server.most_senders < 2:
        yield _advice(
            "ALTER SYSTEM SET max_wal_senders = 10;",
            "each reader of the log takes one, the agent two while it reads the tables for the first time; it needs a "
            "restart of the server",
        )
    if server.keep_mebibytes < 0:
        yield _keep_advice()


def _keep_advice() -> Statement:
    return _advice(
        "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        "an agent that stands still makes the server keep its log; without a limit that fills the disk and stops the "
        "EPJ. Choose what the disk can spare: beyond it the slot is lost, and the agent stops and says so. It holds "
        "for every slot of the server",
    )


def _advice(text: str, why: str) -> Statement:
    return Statement(_COMMENT + text, f"to be decided by the server's owner: {why}")


# -- the publication --------------------------------------------------------------------------------------------------


def _publication(wish: Wish, publication: PublicationFacts | None, fits: Sequence[Fit]) -> Iterator[Statement]:
    if publication is None:
        yield _create_publication(wish, [_member(_name(fit), _listed(wish, fit)) for fit in fits])
        return
    name = quoted(wish.publication)
    options = []
    if publication.operations != frozenset(_OPERATIONS):
        options.append(f"publish = '{', '.join(_OPERATIONS)}'")
    if not publication.is_via_root:
        options.append("publish_via_partition_root = true")
    if options:
        yield Statement(
            f"ALTER PUBLICATION {name} SET ({', '.join(options)});",
            "every kind of change is published, and a partitioned table's under its own name",
        )
    for fit in fits:
        if fit.facts.published is None:
            yield Statement(
                f"ALTER PUBLICATION {name} ADD TABLE {_member(_name(fit), _listed(wish, fit))};",
                _priced("the changes of this table are published", wish.column_lists),
            )
        elif not publication.is_for_all and _list_is_wrong(wish, fit):
            columns = _listed(wish, fit)
            yield Statement(  # in one go: a change between the two would not be published
                f"ALTER PUBLICATION {name} DROP TABLE ONLY {_name(fit)}; "
                f"ALTER PUBLICATION {name} ADD TABLE {_member(_name(fit), columns)};",
                _priced(
                    "the table is published with "
                    + ("every column" if columns is None else "all mapped columns and the whole key"),
                    columns is not None,
                ),
            )


def _create_publication(wish: Wish, members: Sequence[str]) -> Statement:
    tables = ",\n    ".join(members)
    return Statement(
        f"CREATE PUBLICATION {quoted(wish.publication)} FOR TABLE\n    {tables}\n"
        f"    WITH (publish = '{', '.join(_OPERATIONS)}', publish_via_partition_root = true);",
        _priced("what the log tells the agent: the changes of these tables and of no other", wish.column_lists),
    )


def _listed(wish: Wish, fit: Fit) -> tuple[str, ...] | None:
    """The column list of a table, in its own order; None: every column."""
    if not wish.column_lists:
        return None
    known = fit.facts.published.columns if fit.facts.published is not None else None
    wanted = {*fit.columns, *fit.facts.identity, *(known or ())}
    return tuple(column for column in fit.facts.columns if column in wanted)


def _list_is_wrong(wish: Wish, fit: Fit) -> bool:
    published = fit.facts.published
    if published is None:
        return False
    if published.columns is None:
        return wish.column_lists
    is_fatal = fit.facts.identity_kind == FULL or bool(fit.facts.partitions_with_full_identity)
    return is_fatal or not published.columns.issuperset({*fit.columns, *fit.facts.identity})


def _member(name: str, columns: Sequence[str] | None) -> str:
    """ONLY: tables that inherit from this one have keys of their own, or none."""
    return f"ONLY {name}" + ("" if columns is None else f" ({_comma_list(columns)})")


def _priced(why: str, is_listed: bool) -> str:
    return f"{why}. {_LIST_PRICE}" if is_listed else why


# -- the role ---------------------------------------------------------------------------------------------------------


def _role(wish: Wish, facts: Facts, fits: Sequence[Fit]) -> Iterator[Statement]:
    role, name = facts.role, wish.role
    if role is None:
        yield _create_role(name)
    elif not (role.can_log_in and (role.can_replicate or role.is_superuser)):
        yield Statement(f"ALTER ROLE {quoted(name)} WITH LOGIN REPLICATION;", "the role may log in and read the log")
    if role is not None and role.is_superuser:
        return
    if role is None or not role.can_connect:
        yield _connect(quoted(facts.server.database), name)
    for schema in sorted({fit.facts.schema for fit in fits} - facts.usable_schemas):
        yield _usage(schema, name)
    for fit in fits:
        unreadable = [column for column in _needed(fit) if column not in fit.facts.readable]
        if unreadable:
            yield _select(_name(fit), unreadable, name)
    if any(fit.facts.has_row_security for fit in fits) and not (role is not None and role.passes_row_security):
        yield Statement(
            f"ALTER ROLE {quoted(name)} BYPASSRLS;",
            "a table has row level security: without this the first reading would lack rows in silence. It opens only "
            "what the role may SELECT",
        )


def _create_role(name: str) -> Statement:
    return Statement(
        f"CREATE ROLE {quoted(name)} WITH LOGIN REPLICATION;",
        "the agent's own role: it may read the log, and no table that is not granted below. Give it a password "
        "(psql: \\password) that goes into the connection file",
    )


def _connect(database: str, role: str) -> Statement:
    return Statement(f"GRANT CONNECT ON DATABASE {database} TO {quoted(role)};", "the role may enter this database")


def _usage(schema: str, role: str) -> Statement:
    return Statement(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)};", "the role may name tables of this schema"
    )


def _select(name: str, columns: Sequence[str], role: str) -> Statement:
    return Statement(
        f"GRANT SELECT ({_comma_list(columns)}) ON {name} TO {quoted(role)};",
        "the first reading of the table: the mapped columns and nothing else",
    )


# -- the slot ---------------------------------------------------------------------------------------------------------


def _slot(wish: Wish, facts: Facts) -> Iterator[Statement]:
    if facts.slot is None:
        yield _create_slot(wish)
    elif wish.failover and facts.slot.columns.get("failover") is False:
        yield _advice(
            f"ALTER_REPLICATION_SLOT {wish.slot} (FAILOVER true)",
            "standbys shall keep this slot as well. It is a command of a replication connection: stop the agent, then "
            'psql "dbname=.. replication=database" -c "the line above"',
        )


def _create_slot(wish: Wish) -> Statement:
    failover = ", failover => true" if wish.failover else ""
    return Statement(
        f"SELECT pg_create_logical_replication_slot('{wish.slot}', 'pgoutput'{failover});",
        "the agent's place in the log, of which nothing is thrown away before the agent has it. The server keeps its "
        "log from now on: start the agent soon, or leave this line out and let the agent make the slot (create_slot)",
    )


# -- names ------------------------------------------------------------------------------------------------------------


def _split(table: Table) -> tuple[str, str]:
    schema, _, name = table.name_in_source.rpartition(".")
    return schema, name


def _relation(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}" if schema else quoted(name)


def _name(fit: Fit) -> str:
    return _relation(fit.facts.schema, fit.facts.name)


def _mapped(table: Table) -> list[str]:
    columns = [column.name for column in table.columns]
    return [*columns, *(name for name in table.key if name not in columns)]


def _needed(fit: Fit) -> list[str]:
    """The mapped columns and the key, in the table's own order."""
    return [column for column in fit.facts.columns if column in fit.columns or column in fit.wanted.key]


def _comma_list(columns: Sequence[str]) -> str:
    return ", ".join(quoted(column) for column in columns)
