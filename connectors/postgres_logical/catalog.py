"""What the source must know of a live PostgreSQL before it reads: who answers, the slot, and what is published.

Everything is asked over a Session and judged here; nothing is changed.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from connectors.postgres_logical.session import Refused, Row, Session
from connectors.postgres_logical.troubles import (
    AnotherDatabase,
    OlderRestore,
    ServerUnfit,
    SlotAhead,
    SlotForeign,
    SlotInUse,
    SlotInvalidated,
    SlotMissing,
)
from connectors.wire.postgres_identity import cluster_name

OLDEST_VERSION: Final = 140000
LEAVING_S: Final = 5.0

_LOOK_EVERY_S: Final = 0.05

_UNDEFINED_FILE: Final = "58P01"
_DATABASE: Final = """
SELECT oid, datname, current_setting('wal_level'), pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_database
WHERE datname = pg_catalog.current_database()
"""
# to_jsonb: what newer versions say besides is there, or is not
_SLOT: Final = "SELECT pg_catalog.to_jsonb(s) FROM pg_catalog.pg_replication_slots s WHERE slot_name = {slot}"
_HOLDER: Final = """
SELECT a.application_name, s.active_pid FROM pg_catalog.pg_replication_slots s
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = {slot}
"""
_KEPT: Final = """
SELECT s.safe_wal_size, s.wal_status, current_setting('max_slot_wal_keep_size'),
       w.wal_bytes / greatest(extract(epoch FROM clock_timestamp() - w.stats_reset), 1)
FROM pg_catalog.pg_replication_slots s CROSS JOIN pg_catalog.pg_stat_wal w WHERE s.slot_name = {slot}
"""
_DURABLE: Final = "SELECT clock_timestamp(), pg_catalog.pg_current_wal_flush_lsn()"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Who answers: the cluster, its timeline, the database, and how far its log is durable."""

    system_identifier: str
    timeline: int
    database_oid: int
    database: str
    flushed_lsn: int

    @property
    def incarnation(self) -> str:
        return f"postgres:{cluster_name(self.system_identifier)}:{self.database_oid}"


@dataclass(frozen=True, slots=True)
class Known:
    """What a position remembers besides its place: the timeline it was read on, and the wanted tables' numbers.

    A table that was dropped and made anew says nothing of its old rows: another number under the name tells.
    """

    timeline: int | None
    tables: Mapping[str, int]

    @classmethod
    def read(cls, detail: str) -> Self:
        """From a position's detail; nothing is known from one that is empty."""
        known = json.loads(detail) if detail else {}
        return cls(known.get("timeline"), known.get("tables", {}))

    def written(self) -> str:
        return json.dumps({"timeline": self.timeline, "tables": dict(self.tables)}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as pg_replication_slots has it, in the words of any version."""

    name: str
    confirmed_lsn: int | None
    facts: Mapping[str, object]

    def check(self, database: str) -> None:
        """Raises where the slot is not one that we can read: SlotForeign, SlotInvalidated."""
        if self.facts.get("slot_type") != "logical" or self.facts.get("plugin") != "pgoutput":
            raise SlotForeign(self.name, f"it is {self.facts.get('slot_type')}, with {_said(self.facts, 'plugin')}")
        if self.facts.get("database") != database:
            raise SlotForeign(self.name, "it belongs to another database")
        if self.facts.get("temporary"):
            raise SlotForeign(self.name, "it is a temporary one")
        reason = self.facts.get("invalidation_reason")  # since version 17
        if reason or self.facts.get("wal_status") == "lost" or self.facts.get("conflicting"):
            raise SlotInvalidated(self.name, str(reason or f"wal_status {_said(self.facts, 'wal_status')}"))

    def check_free(self, holder: str) -> None:
        """Raises SlotInUse where another connection reads it."""
        if self.facts.get("active"):
            raise SlotInUse(self.name, holder)

    def check_reaches(self, position_lsn: int) -> None:
        """Raises SlotAhead where what comes behind the position is no longer to be had (invariant 2)."""
        if self.confirmed_lsn is None or self.confirmed_lsn > position_lsn:
            raise SlotAhead(self.name)


async def read_cluster(session: Session, *, timeout_s: float) -> Cluster:
    """Who answers a replication connection. Raises ServerUnfit for a server that cannot be read at all."""
    if session.server_version < OLDEST_VERSION:
        raise ServerUnfit("its version is older than 14")
    system, timeline, lsn, _ = (await session.ask("IDENTIFY_SYSTEM", doing="IDENTIFY_SYSTEM", timeout_s=timeout_s))[0]
    ((oid, name, wal_level, is_standby),) = await session.ask(
        _DATABASE,
        doing="asking for the database",
        timeout_s=timeout_s,
    )
    if is_standby == "t":  # it may not have come to our position yet, and would pass for an older restore
        raise ServerUnfit("it is a standby: name the primary, or several hosts with target_session_attrs=read-write")
    if wal_level != "logical":
        raise ServerUnfit("wal_level is not logical")
    return Cluster(str(system), int(timeline or 0), int(oid or 0), str(name), lsn_of(lsn) or 0)


async def check_history(
    session: Session, cluster: Cluster, timeline: int | None, position_lsn: int, *, timeout_s: float
) -> None:
    """Whether the position, read on `timeline`, lies in the history of the cluster that answers (invariant 2).

    After a promotion the timeline is another one: the position counts if it is not behind where the new one left the
    old. Raises OlderRestore.
    """
    if position_lsn > cluster.flushed_lsn:
        raise OlderRestore("its log ends before our position")
    if timeline is None or timeline == cluster.timeline:
        return
    if timeline > cluster.timeline:
        raise OlderRestore("it is on an older timeline than the one we read")
    try:
        ((_, history),) = await session.ask(
            f"TIMELINE_HISTORY {cluster.timeline}", doing="asking for the timeline's history", timeout_s=timeout_s
        )
    except Refused as refusal:
        if refusal.sqlstate == _UNDEFINED_FILE:
            raise OlderRestore("its timeline's history is not there, so that it cannot be shown to be ours") from None
        raise
    left_at = left_timeline_at(history or "", timeline)
    if left_at is None:
        raise OlderRestore("its history does not go through the timeline that we read")
    if position_lsn > left_at:
        raise OlderRestore("it left the timeline that we read before our position")


def left_timeline_at(history: str, timeline: int) -> int | None:
    """Where a history file (`timeline<TAB>lsn<TAB>reason` a line) says that `timeline` was left; None: never on it."""
    for line in history.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == str(timeline):
            return lsn_of(fields[1])
    return None


async def read_slot(session: Session, name: str, *, timeout_s: float) -> Slot | None:
    """The slot, or None where there is none of that name."""
    rows = await session.ask(
        _SLOT.format(slot=literal(name)),
        doing="asking for the slot",
        timeout_s=timeout_s,
    )
    if not rows:
        return None
    facts = json.loads(rows[0][0] or "{}")
    return Slot(name, lsn_of(facts.get("confirmed_flush_lsn")), facts)


async def slot_holder(session: Session, name: str, *, timeout_s: float) -> str:
    """Who reads the slot, as far as our rights show: ` (application_name, process 123)`, or nothing."""
    rows = await session.ask(
        _HOLDER.format(slot=literal(name)),
        doing="asking who reads the slot",
        timeout_s=timeout_s,
    )
    if not rows or rows[0][1] is None:
        return ""
    application, process = rows[0]
    return f" ({application or 'application unknown'}, process {process})"


async def ready_slot(
    session: Session, name: str, cluster: Cluster, position_lsn: int | None, *, timeout_s: float
) -> Slot | None:
    """The slot, looked at and free, its log reaching back to the position; None where there is none and none was read.

    Raises SlotMissing, SlotForeign, SlotInvalidated, SlotInUse and SlotAhead.
    """
    slot = await _rested(session, name, timeout_s=timeout_s)
    if slot is None:
        if position_lsn is not None:
            raise SlotMissing(name, was_read=True)
        return None
    slot.check(cluster.database)
    if slot.facts.get("active"):
        slot.check_free(await slot_holder(session, name, timeout_s=timeout_s))
    if position_lsn is not None:
        slot.check_reaches(position_lsn)
    return slot


async def _rested(session: Session, name: str, *, timeout_s: float) -> Slot | None:
    """The slot, after a wait for whoever has just left it: the server takes a moment to see it."""
    waited_until_s = time.monotonic() + LEAVING_S
    slot = await read_slot(session, name, timeout_s=timeout_s)
    while slot is not None and slot.facts.get("active") and time.monotonic() < waited_until_s:
        await asyncio.sleep(_LOOK_EVERY_S)
        slot = await read_slot(session, name, timeout_s=timeout_s)
    return slot


async def log_kept(session: Session, name: str, *, timeout_s: float) -> str:
    """How long the server goes on keeping the log for a slot that is not read, as a half sentence."""
    rows = await session.ask(
        _KEPT.format(slot=literal(name)),
        doing="asking how long the log is kept",
        timeout_s=timeout_s,
    )
    return describe_kept(rows[0]) if rows else ""


def describe_kept(row: Row) -> str:
    """From (safe_wal_size, wal_status, max_slot_wal_keep_size, bytes written a second on average)."""
    safe, status, limit, rate = row
    if limit == "-1":
        return "nothing was acknowledged; the server keeps the log without limit, as long as its disk has room"
    if safe is None or status == "lost":
        return f"nothing was acknowledged; how long the log is kept is not known (wal_status {status})"
    left_bytes, bytes_a_second = max(int(safe), 0), float(rate or 0)
    lasts = (
        f", about {left_bytes / bytes_a_second / 3600:.0f} h as it has been written so far" if bytes_a_second else ""
    )
    return (
        f"nothing was acknowledged; the server keeps the log until another {left_bytes / 2**20:.0f} MiB are "
        f"written{lasts}"
    )


async def durable_until(session: Session, *, timeout_s: float) -> tuple[int, datetime]:
    """How far the log is durable now, and the server's clock just before it was asked for that (UTC)."""
    ((clock, lsn),) = await session.ask(
        _DURABLE,
        doing="asking how far the log is",
        timeout_s=timeout_s,
    )
    return lsn_of(lsn) or 0, datetime.fromisoformat(str(clock))


def check_incarnation(cluster: Cluster, incarnation: str) -> None:
    """Raises AnotherDatabase where the position was read from another one (invariant 2)."""
    if cluster.incarnation == incarnation:
        return
    kind, _, rest = incarnation.partition(":")
    system = rest.partition(":")[0]
    if kind == "postgres" and system == cluster_name(cluster.system_identifier):
        raise AnotherDatabase("the same cluster, but another database in it")
    raise AnotherDatabase("its system identifier is another one")


def lsn_of(text: object) -> int | None:
    """`16/B374D848` as a number; None for NULL."""
    if not isinstance(text, str) or "/" not in text:
        return None
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def literal(text: str) -> str:
    """The text as a constant of SQL, whatever the session says of backslashes."""
    doubled = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{doubled}'" if "\\" in text else f"'{doubled}'"


def identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _said(facts: Mapping[str, object], name: str) -> str:
    return str(facts.get(name) or "unknown")
