"""What a live PostgreSQL says of itself: the tables a capture wants, the publication, the slot, the role, the server.

Read over one ordinary connection, from the catalogs alone: no row of a table is looked at, and nothing is written.
What is made of it stands in setup.py (statements) and inspection.py (observations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from connectors.source import Capture, Table

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow

ORDINARY: Final = "r"
PARTITIONED: Final = "p"
FULL: Final = "f"
"""pg_class.relreplident of REPLICA IDENTITY FULL."""

_SERVER: Final = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
       current_database() AS database, pg_is_in_recovery() AS is_standby, clock_timestamp() AS clock,
       (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       (SELECT oid FROM pg_database WHERE datname = current_database()) AS database_oid,
       current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int AS most_slots,
       (SELECT count(*) FROM pg_replication_slots) AS slots,
       current_setting('max_wal_senders')::int AS most_senders,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mebibytes,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted
"""
_TABLES: Final = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       c.relpersistence::text AS persistence, c.relreplident::text AS identity_kind,
       c.relrowsecurity AS has_row_security,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS has_children,
       c.relispartition AS is_partition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
"""
_COLUMNS: Final = """
SELECT a.attrelid::int8 AS oid, a.attname AS name, a.attgenerated <> '' AS is_generated,
       coalesce(has_column_privilege(r.oid, a.attrelid, a.attnum, 'SELECT'), false) AS is_readable
FROM pg_attribute a LEFT JOIN pg_roles r ON r.rolname = %s
WHERE a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# Only an index that is checked at once counts: PostgreSQL takes a deferrable primary key for none.
_IDENTITIES: Final = """
SELECT c.oid::int8 AS oid, array_agg(a.attname::text ORDER BY k.place) AS columns
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE c.oid = ANY(%s::oid[]) AND k.place <= i.indnkeyatts AND i.indimmediate AND i.indisvalid
  AND ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))
GROUP BY c.oid
"""
_PARTITIONS: Final = """
SELECT root.oid::int8 AS root, c.oid::int8 AS oid, c.oid::regclass::text AS name, c.relreplident::text AS identity_kind
FROM unnest(%s::oid[]) root(oid) CROSS JOIN LATERAL pg_partition_tree(root.oid) p JOIN pg_class c ON c.oid = p.relid
WHERE p.isleaf AND c.oid <> root.oid
"""
_PUBLICATION: Final = """
SELECT puballtables AS is_for_all, pubviaroot AS is_via_root,
       array_remove(ARRAY[CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
                          CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END], NULL)
           AS operations
FROM pg_publication WHERE pubname = %s
"""
_MEMBERS: Final = """
SELECT m.prrelid::int8 AS oid, m.prqual IS NOT NULL AS has_filter,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = m.prrelid AND a.attnum = ANY(m.prattrs)) AS columns
FROM pg_publication_rel m JOIN pg_publication p ON p.oid = m.prpubid WHERE p.pubname = %s
UNION ALL
SELECT c.oid::int8, false, NULL
FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid
JOIN pg_class c ON c.relnamespace = s.pnnspid AND c.relkind IN ('r', 'p') WHERE p.pubname = %s
"""
_ROLE: Final = """
SELECT rolsuper AS is_superuser, rolcanlogin AS can_log_in, rolreplication AS can_replicate,
       rolbypassrls AS passes_row_security,
       has_database_privilege(oid, current_database(), 'CONNECT') AS can_connect
FROM pg_roles WHERE rolname = %s
"""
_USAGE: Final = """
SELECT n.nspname AS name, has_schema_privilege(r.oid, n.oid, 'USAGE') AS is_usable
FROM pg_namespace n JOIN pg_roles r ON r.rolname = %s WHERE n.nspname = ANY(%s)
"""
# to_jsonb: what a version's slots have besides (invalidation_reason, failover, synced) is there or is not.
_SLOT: Final = """
SELECT to_jsonb(s) AS slot,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::int8 AS retained_bytes
FROM pg_replication_slots s WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server and the database that were asked. `keep_mebibytes` -1: a slot may keep log without limit."""

    version: int
    version_text: str
    database: str
    database_oid: int
    system_identifier: int
    is_standby: bool
    clock: datetime
    wal_level: str
    most_slots: int
    slots: int
    most_senders: int
    keep_mebibytes: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class Published:
    """A table in the publication: the columns listed (None: every one), and whether rows are filtered."""

    columns: frozenset[str] | None
    has_filter: bool


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table that is there. `identity`: the columns that a delete is told with; empty where there are none.

    `partitions_without_identity`: the leaves whose updates would fail once the root is published.
    """

    schema: str
    name: str
    kind: str
    persistence: str
    identity_kind: str
    identity: tuple[str, ...]
    columns: tuple[str, ...]
    generated: frozenset[str]
    readable: frozenset[str]
    has_children: bool
    is_partition: bool
    has_row_security: bool
    partitions_without_identity: tuple[str, ...]
    partitions_with_full_identity: tuple[str, ...]
    published: Published | None


@dataclass(frozen=True, slots=True)
class PublicationFacts:
    """The publication, its tables aside. `operations` of insert, update, delete, truncate."""

    is_for_all: bool
    is_via_root: bool
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """What the agent's role may do in this database."""

    is_superuser: bool
    can_log_in: bool
    can_replicate: bool
    passes_row_security: bool
    can_connect: bool


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """The slot as the server shows it: `columns` of pg_replication_slots, which differ between versions."""

    columns: Mapping[str, object]
    retained_bytes: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it. `tables` has every candidate for a wanted table, by its name in the source: none, one or several."""

    server: ServerFacts
    publication: PublicationFacts | None
    role: RoleFacts | None
    slot: SlotFacts | None
    tables: Mapping[str, tuple[TableFacts, ...]]
    usable_schemas: frozenset[str] = field(default=frozenset())


def bare_name(table: Table) -> str:
    """The table's name in the source, without its schema."""
    return table.name_in_source.rpartition(".")[2]


async def read_facts(
    connection: "AsyncConnection[DictRow]", capture: Capture, *, publication: str, slot: str, role: str
) -> Facts:
    """Look at everything once. Raises psycopg.Error."""

    async def rows(query: str, *values: object) -> list["DictRow"]:
        return await (await connection.execute(query, values or None)).fetchall()

    server = ServerFacts(**(await rows(_SERVER))[0])
    found_publication = await rows(_PUBLICATION, publication)
    members: dict[int, Published] = {}
    if found_publication:
        members = _members(await rows(_MEMBERS, publication, publication))
    found_role = await rows(_ROLE, role)
    found_slot = await rows(_SLOT, slot)
    tables = await rows(_TABLES, [bare_name(table) for table in capture.tables])
    oids = [row["oid"] for row in tables]
    partitions = await rows(_PARTITIONS, [row["oid"] for row in tables if row["kind"] == PARTITIONED])
    identities = {
        row["oid"]: tuple(row["columns"])
        for row in await rows(_IDENTITIES, oids + [partition["oid"] for partition in partitions])
    }
    columns = await rows(_COLUMNS, role, oids)
    usage = await rows(_USAGE, role, [row["schema"] for row in tables])
    facts = [
        _table(row, columns, identities, partitions, _published(row["oid"], members, found_publication))
        for row in tables
    ]
    return Facts(
        server,
        _publication(found_publication),
        RoleFacts(**found_role[0]) if found_role else None,
        SlotFacts(found_slot[0]["slot"], found_slot[0]["retained_bytes"]) if found_slot else None,
        {
            table.name_in_source: tuple(found for found in facts if _is_it(found, table.name_in_source))
            for table in capture.tables
        },
        frozenset(row["name"] for row in usage if row["is_usable"]),
    )


def _is_it(facts: TableFacts, wanted: str) -> bool:
    return wanted in {facts.name, f"{facts.schema}.{facts.name}"}


def _publication(rows: Sequence["DictRow"]) -> PublicationFacts | None:
    if not rows:
        return None
    (row,) = rows
    return PublicationFacts(row["is_for_all"], row["is_via_root"], frozenset(row["operations"]))


def _members(rows: Sequence["DictRow"]) -> dict[int, Published]:
    return {
        row["oid"]: Published(None if row["columns"] is None else frozenset(row["columns"]), row["has_filter"])
        for row in rows
    }


def _published(oid: int, members: Mapping[int, Published], publication: Sequence["DictRow"]) -> Published | None:
    if publication and publication[0]["is_for_all"]:
        return Published(None, has_filter=False)
    return members.get(oid)


def _table(
    row: "DictRow",
    columns: Sequence["DictRow"],
    identities: Mapping[int, tuple[str, ...]],
    partitions: Sequence["DictRow"],
    published: Published | None,
) -> TableFacts:
    own = [column for column in columns if column["oid"] == row["oid"]]
    leaves = [leaf for leaf in partitions if leaf["root"] == row["oid"]]
    names = tuple(column["name"] for column in own)
    return TableFacts(
        row["schema"],
        row["name"],
        row["kind"],
        row["persistence"],
        row["identity_kind"],
        names if row["identity_kind"] == FULL else identities.get(row["oid"], ()),
        names,
        frozenset(column["name"] for column in own if column["is_generated"]),
        frozenset(column["name"] for column in own if column["is_readable"]),
        row["has_children"],
        row["is_partition"],
        row["has_row_security"],
        tuple(leaf["name"] for leaf in leaves if leaf["identity_kind"] != FULL and leaf["oid"] not in identities),
        tuple(leaf["name"] for leaf in leaves if leaf["identity_kind"] == FULL),
        published,
    )
