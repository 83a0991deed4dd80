"""What `kpr-agent doctor` sees in a live PostgreSQL, as the agent's own role: each thing with a verdict and a repair.

It looks with the connection that the source uses, changes nothing, and takes no part of the log. A database that cannot
be looked at is itself an observation.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from connectors.inspection import Observation, Verdict
from connectors.postgres_logical.connection import connection_string, read_parameters
from connectors.postgres_logical.facts import FULL, PARTITIONED, Facts, RoleFacts, ServerFacts, read_facts
from connectors.postgres_logical.safety import Fit, Objection, find, objections
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.postgres_logical.setup import OLDEST_VERSION
from connectors.postgres_logical.troubles import of_connecting
from connectors.source import Capture, Position, SourceError
from connectors.wire.postgres_identity import cluster_name

_TRIED: Final = frozenset({15, 17})
_CLOCK_WARNING_S: Final = 2.0
_CLOCK_FAULT_S: Final = 60.0
_NEARLY_LOST: Final = 0.5
_LARGE_BYTES: Final = 10 * 1024**3
_MEBIBYTE: Final = 1024**2
_PREPARE: Final = "have the database's owner run what `kpr-agent source prepare FILE` prints"
_READ_AGAIN: Final = "then read everything again: `kpr-agent source new-incarnation FILE`"


async def inspect(
    settings: PostgresLogicalSettings, capture: Capture, position: Position | None
) -> tuple[Observation, ...]:
    """How the database stands; `position` is the stored one. Raises nothing for a database in trouble."""
    try:
        parameters = read_parameters(settings.connection_file)
        facts, apart_s = await _look(settings, capture, parameters)
    except SourceError as error:
        return (Observation(Verdict.FAULT, "connection", str(error), error.repair),)
    return (
        *_connection(facts.server, parameters),
        *_server(facts.server, apart_s),
        *_incarnation(facts.server, position),
        *_role(facts.role, parameters.get("user", "")),
        await _replication(settings, parameters),
        *_publication(settings, facts),
        *(one for table in capture.tables for one in _table(find(table, facts), facts)),
        *_slot(settings, facts, position),
    )


async def _look(
    settings: PostgresLogicalSettings, capture: Capture, parameters: Mapping[str, str]
) -> tuple[Facts, float]:
    """The facts, and how far the server's clock is ahead of ours, in seconds."""
    from psycopg import AsyncConnection, Error  # noqa: PLC0415  loaded when a connection is opened
    from psycopg.rows import dict_row  # noqa: PLC0415

    try:
        async with await AsyncConnection.connect(
            connection_string(parameters, connect_timeout=f"{settings.connect_timeout_s:.0f}"),
            autocommit=True,
            row_factory=dict_row,
        ) as connection:
            await connection.execute(f"SET statement_timeout = {settings.operation_timeout_s * 1000:.0f}")
            if connection.info.server_version < OLDEST_VERSION:
                raise SourceError("PostgreSQL is older than 15", repair="upgrade it, or use the outbox_table source")
            began_at, began_s = datetime.now(UTC), time.monotonic()
            facts = await read_facts(
                connection,
                capture,
                publication=settings.publication,
                slot=settings.slot,
                role=connection.info.user,
            )
            took_s = time.monotonic() - began_s
    except Error as error:
        if error.sqlstate is None:
            raise of_connecting(str(error), parameters) from None
        raise SourceError(f"the catalogs could not be read (SQLSTATE {error.sqlstate})", repair=_PREPARE) from None
    ahead_s = (facts.server.clock - began_at).total_seconds()
    return facts, 0.0 if 0 <= ahead_s <= took_s else ahead_s  # it was read at some moment in between


async def _replication(settings: PostgresLogicalSettings, parameters: Mapping[str, str]) -> Observation:
    """Whether a connection for replication is let in: it has rules of its own."""
    from psycopg import AsyncConnection, Error  # noqa: PLC0415  loaded when a connection is opened

    more = {"connect_timeout": f"{settings.connect_timeout_s:.0f}", "replication": "database"}
    try:
        async with await AsyncConnection.connect(connection_string(parameters, **more), autocommit=True) as connection:
            await connection.execute("IDENTIFY_SYSTEM")
    except Error as error:
        trouble = of_connecting(str(error), parameters)
        return Observation(Verdict.FAULT, "replication", str(trouble), trouble.repair)
    return Observation(Verdict.GOOD, "replication", "a replication connection is let in")


def _connection(server: ServerFacts, parameters: Mapping[str, str]) -> Iterator[Observation]:
    mode = parameters.get("sslmode", "prefer")
    if server.is_encrypted and mode in {"verify-full", "verify-ca"}:
        yield Observation(Verdict.GOOD, "TLS", f"the connection is encrypted, sslmode={mode}")
    elif server.is_encrypted:
        text = f"the connection is encrypted, and nobody checks to whom (sslmode={mode})"
        yield Observation(Verdict.WARNING, "TLS", text, "set sslmode=verify-full and sslrootcert in connection_file")
    elif "sslmode" not in parameters:
        yield Observation(Verdict.GOOD, "TLS", "not encrypted; the server is on this machine")
    else:
        text = "the connection is not encrypted: personal data can be read on the way"
        yield Observation(Verdict.WARNING, "TLS", text, "set sslmode=verify-full and sslrootcert in connection_file")


def _server(server: ServerFacts, apart_s: float) -> Iterator[Observation]:
    major = server.version // 10_000
    if major in _TRIED:
        yield Observation(Verdict.GOOD, "version", f"PostgreSQL {server.version_text}")
    else:
        text = f"PostgreSQL {server.version_text}: tried are {' and '.join(map(str, sorted(_TRIED)))}"
        yield Observation(Verdict.WARNING, "version", text, "try it with a copy of the database first")
    if server.wal_level == "logical":
        yield Observation(Verdict.GOOD, "wal_level", "logical")
    else:
        text = f"wal_level is {server.wal_level}: the log does not carry rows"
        yield Observation(Verdict.FAULT, "wal_level", text, "set it to logical and restart the server")
    if server.keep_mebibytes < 0:
        text = "max_slot_wal_keep_size is -1: a reader that stands still makes the log fill the disk"
        yield Observation(Verdict.WARNING, "log limit", text, _PREPARE)
    else:
        yield Observation(Verdict.GOOD, "log limit", f"a slot keeps at most {server.keep_mebibytes} MiB of log")
    text = f"the server's clock is {abs(apart_s):.1f} s {'ahead of' if apart_s >= 0 else 'behind'} ours"
    if abs(apart_s) < _CLOCK_WARNING_S:
        yield Observation(Verdict.GOOD, "clock", text)
    else:
        verdict = Verdict.FAULT if abs(apart_s) >= _CLOCK_FAULT_S else Verdict.WARNING
        yield Observation(verdict, "clock", text, "let both machines keep their time by NTP")


def _incarnation(server: ServerFacts, position: Position | None) -> Iterator[Observation]:
    here = f"postgres:{cluster_name(server.system_identifier)}:{server.database_oid}"
    if position is None:
        yield Observation(Verdict.GOOD, "identity", f"{here}; nothing has been read yet")
    elif position.incarnation == here:
        yield Observation(Verdict.GOOD, "identity", "the database whose changes were read")
    else:
        text = f"another database answers than the one whose changes were read ({here}, not {position.incarnation})"
        yield Observation(Verdict.FAULT, "identity", text, f"point connection_file at that one, or {_READ_AGAIN}")


def _role(role: RoleFacts | None, name: str) -> Iterator[Observation]:
    if role is None:
        return
    if role.is_superuser:
        text = f"the role {name} is a superuser: it may do far more than it needs"
        yield Observation(Verdict.WARNING, "role", text, "make a role as `kpr-agent source prepare FILE` prints it")
    elif not role.can_replicate:
        yield Observation(Verdict.FAULT, "role", f"the role {name} may not read the log (REPLICATION)", _PREPARE)
    else:
        yield Observation(Verdict.GOOD, "role", f"the role {name} may log in and read the log")


def _publication(settings: PostgresLogicalSettings, facts: Facts) -> Iterator[Observation]:
    publication, name = facts.publication, settings.publication
    if publication is None:
        yield Observation(Verdict.FAULT, "publication", f"there is no publication {name} in this database", _PREPARE)
        return
    missing = sorted({"insert", "update", "delete", "truncate"} - publication.operations)
    if missing:
        text = f"the publication {name} leaves out {', '.join(missing)}"
        yield Observation(Verdict.FAULT, "publication", text, f"{_PREPARE}; what was left out is lost: {_READ_AGAIN}")
    elif publication.is_for_all:
        text = f"the publication {name} is FOR ALL TABLES: one without a key refuses every UPDATE and DELETE of the EPJ"
        yield Observation(Verdict.WARNING, "publication", text, _PREPARE)
    elif not publication.is_via_root and any(
        table.kind == PARTITIONED for tables in facts.tables.values() for table in tables
    ):
        text = f"the publication {name} tells a partitioned table under its partitions' names"
        yield Observation(Verdict.FAULT, "publication", text, _PREPARE)
    else:
        yield Observation(Verdict.GOOD, "publication", f"the publication {name} tells every kind of change")


def _table(fit: Fit | Objection, facts: Facts) -> Iterator[Observation]:
    if isinstance(fit, Objection):
        yield Observation(Verdict.FAULT, f"table {fit.table}", fit.text, fit.repair)
        return
    name, table = fit.wanted.name_in_source, fit.facts
    subject, listed = f"table {name}", table.published.columns if table.published is not None else None
    against = [*objections(fit, is_listed=listed is not None)]
    for one in against:
        yield Observation(Verdict.FAULT, subject, one.text, one.repair)
    if table.published is None:
        yield Observation(Verdict.FAULT, subject, "is not in the publication", f"{_PREPARE}; {_READ_AGAIN}")
        return
    unlisted = [] if listed is None else [one for one in (*fit.columns, *table.identity) if one not in listed]
    if unlisted:
        text = f"its column list lacks {', '.join(dict.fromkeys(unlisted))}"
        yield Observation(Verdict.FAULT, subject, text, _PREPARE)
    unreadable = [column for column in fit.columns if column not in table.readable]
    may_read = facts.role is not None and (facts.role.is_superuser or facts.role.passes_row_security)
    if unreadable or table.schema not in facts.usable_schemas:
        yield Observation(Verdict.FAULT, subject, "the role may not SELECT all mapped columns of it", _PREPARE)
    if table.has_row_security and not may_read:
        text = "has row level security: the role would not read all rows of it"
        yield Observation(Verdict.FAULT, subject, text, _PREPARE)
    if listed is not None:
        text = "is published with a column list: an upgrade of the EPJ cannot drop or retype a listed column"
        yield Observation(Verdict.WARNING, subject, text, "agree on it with the EPJ's vendor, or publish every column")
    elif table.identity_kind == FULL:
        text = "has REPLICA IDENTITY FULL: each UPDATE and DELETE writes the whole old row into the log"
        yield Observation(Verdict.WARNING, subject, text, "give it a primary key, where the vendor agrees")
    elif not against and not unreadable:
        yield Observation(Verdict.GOOD, subject, f"published, identified by {', '.join(table.identity)}")


def _slot(settings: PostgresLogicalSettings, facts: Facts, position: Position | None) -> Iterator[Observation]:
    slot, name = facts.slot, settings.slot
    if slot is None:
        if position is not None:
            text = f"the slot {name} is missing, and with it the log since our position"
            yield Observation(Verdict.FAULT, "slot", text, f"find out who dropped it, {_READ_AGAIN}")
        elif settings.create_slot:
            yield Observation(Verdict.GOOD, "slot", f"there is no slot {name} yet: the first start makes it")
        else:
            yield Observation(Verdict.FAULT, "slot", f"there is no slot {name}, and create_slot is false", _PREPARE)
        return
    columns = slot.columns
    if columns.get("plugin") != "pgoutput" or columns.get("database") != facts.server.database:
        text = f"the slot {name} is of another plugin or database"
        yield Observation(Verdict.FAULT, "slot", text, "give the agent a slot of its own")
        return
    reason = columns.get("invalidation_reason") or ("lost" if columns.get("wal_status") == "lost" else None)
    if reason or columns.get("conflicting"):
        text = f"the slot {name} is invalidated ({reason or 'conflicting'}): log that was not read is gone"
        yield Observation(Verdict.FAULT, "slot", text, f"drop the slot, {_READ_AGAIN}")
        return
    reader = "is being read" if columns.get("active") else "is read by nobody now"
    more = "".join(f", {word} {columns[word]}" for word in ("failover", "synced") if columns.get(word) is not None)
    yield Observation(Verdict.GOOD, "slot", f"the slot {name} {reader}, wal_status {columns.get('wal_status')}{more}")
    yield from _retained(facts, slot.retained_bytes or 0)


def _retained(facts: Facts, retained_bytes: int) -> Iterator[Observation]:
    keep_mebibytes = facts.server.keep_mebibytes
    text = f"the server keeps {retained_bytes / _MEBIBYTE:.0f} MiB of log for the slot"
    is_large = (
        retained_bytes > _LARGE_BYTES
        if keep_mebibytes < 0
        else (retained_bytes > _NEARLY_LOST * keep_mebibytes * _MEBIBYTE)
    )
    if keep_mebibytes >= 0:
        text += f", at most {keep_mebibytes} MiB"
    if is_large:
        repair = (
            "start the agent, or find out what it waits for (kpr-agent status), before the slot or the disk is lost"
        )
        yield Observation(Verdict.WARNING, "kept log", text, repair)
    else:
        yield Observation(Verdict.GOOD, "kept log", text)
