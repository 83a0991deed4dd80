"""The initial load: every row of the wanted tables as one snapshot has them, and the place where the log goes on.

Where there is no slot yet, the snapshot is the new slot's own. Where there is one (prepared, or of a load that was
broken off), it is that of a temporary slot: its rows are as of that slot's place, and the log is read from the older
one, so that what lies between comes again with older versions, deleted rows included. The position of the log alone
would not do: a commit may be in the log and not yet to be seen.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.postgres_logical.catalog import Slot, identifier, literal, lsn_of
from connectors.postgres_logical.published import Published
from connectors.postgres_logical.session import Refused, Session
from connectors.postgres_logical.troubles import ServerGone, ServerUnfit, SlotNotMade
from connectors.source import Change, Operation, Record, Unreadable, Version
from connectors.wire.captured import NoKey
from connectors.wire.copy_text import split_line

_CHANGED_MEANWHILE: Final = frozenset({"42P01", "42703", "42883"})
_NO_SLOT_LEFT: Final = "53400"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a load reads: the rows as of `lsn`, under the snapshot `name`; the log goes on at `resume_lsn`."""

    name: str
    lsn: int
    resume_lsn: int


async def take_snapshot(session: Session, slot: Slot | None, name: str, *, timeout_s: float) -> Snapshot:
    """Make the slot `name`, or a temporary one beside it; the snapshot lives until the session is used again.

    Waits for transactions that are open. Raises SlotNotMade, ServerUnfit and what of_sqlstate says.
    """
    made = name if slot is None else f"{name[:40]}_load_{secrets.token_hex(4)}"
    temporary = "" if slot is None else " TEMPORARY"
    statement = f"CREATE_REPLICATION_SLOT {identifier(made)}{temporary} LOGICAL pgoutput EXPORT_SNAPSHOT"
    try:
        async with asyncio.timeout(timeout_s):
            rows = await session.ask(statement, doing="making a replication slot", timeout_s=timeout_s + 1)
    except TimeoutError:
        await session.cancel()
        raise SlotNotMade(timeout_s) from None
    except asyncio.CancelledError:
        await session.cancel()
        raise
    except Refused as refusal:
        if refusal.sqlstate == _NO_SLOT_LEFT:
            raise ServerUnfit("all replication slots are in use (max_replication_slots)") from None
        raise refusal.trouble() from None
    _, point, snapshot, _ = rows[0]
    lsn = lsn_of(point) or 0
    resume_lsn = lsn if slot is None else slot.confirmed_lsn or 0
    return Snapshot(str(snapshot), lsn, resume_lsn)


async def adopt_snapshot(session: Session, snapshot: Snapshot, *, timeout_s: float) -> None:
    """Begin a transaction on `session` that sees what the snapshot sees, and goes on seeing it."""
    for statement in (
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SET TRANSACTION SNAPSHOT {literal(snapshot.name)}",
    ):
        try:
            await session.ask(statement, doing="taking over the slot's snapshot", timeout_s=timeout_s)
        except Refused as refusal:
            raise refusal.trouble() from None


async def read_rows(
    session: Session, tables: Sequence[Published], version: Version, *, chunk_rows: int, quiet_timeout_s: float
) -> AsyncIterator[tuple[Record, ...]]:
    """The rows in chunks, table after table, each with the snapshot's version; a row without a key is Unreadable."""
    for published in tables:
        name = published.table.name_in_source
        chunk: list[Record] = []
        read, count = _row_reader(published, version), 0
        lines = session.copy_out(published.load, doing=f"reading {name}", quiet_timeout_s=quiet_timeout_s)
        async with contextlib.aclosing(lines):  # type: ignore[type-var]  # it is a generator
            try:
                async for line in lines:
                    count += 1
                    chunk.append(read(line, count))
                    if len(chunk) >= chunk_rows:
                        yield tuple(chunk)
                        chunk = []
            except Refused as refusal:
                if refusal.sqlstate in _CHANGED_MEANWHILE:
                    raise ServerGone(f"the table {name} changed while it was to be read") from None
                raise refusal.trouble() from None
        if chunk:
            yield tuple(chunk)


def _row_reader(published: Published, version: Version) -> Callable[[bytes, int], Record]:
    reader = published.reader()

    def read(line: bytes, number: int) -> Record:
        cells = split_line(line)
        try:
            key = reader.key(cells)
        except NoKey as error:
            return Unreadable(f"{published.table.name_in_source}, row {number} of the load", str(error), line)
        return Change(
            table=reader.table.name,
            operation=Operation.UPSERT,
            key=key,
            row=reader.row(cells),
            version=version,
            snapshot=True,
        )

    return read
