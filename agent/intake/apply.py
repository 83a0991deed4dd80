"""One change of one row, applied to what is kept: mapped columns only, with the moment each value was registered.

An older row is dropped, an unchanged one says nothing new, and every service that hangs on a changed row, before or
after, over every edge, is named so that it is looked at (docs/owed.md, "Older, and deleted").
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from agent.domain.assemble import assemble_person
from agent.domain.care import Dependency, RowRead, RowsFound
from agent.domain.mapping import Meaning, PauseTable, TableMapping
from agent.domain.quality.person import has_right_number
from agent.domain.reported import Reported
from agent.domain.rows import FICTITIOUS_NAME, KeptRow, RowVersion, Values, key_of, sort_key
from agent.examine import RESTORED_TO
from agent.intake.canonical import Canonical, canonical
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit
from connectors.source import ABSENT, Change, Missing, Operation, Undecodable, Version

_ROWS_A_PAGE: Final = 500

INCARNATION = "source: incarnation"
"""The note that counts how often a person accepted another incarnation: versions compare within one only."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One change in the ledger: the services that it touched, in key order. `known`: the row says nothing new.

    deleted: the change deletes a row that was there, or says again that it did.
    """

    services: tuple[str, ...] = ()
    known: bool = False
    defective: bool = False
    deleted: bool = False
    cause: str = ""


def apply_change(tx: LedgerTransaction, unit: ReportingUnit, change: Change, now: datetime) -> Applied | None:
    """Keep the row of a change, unless it is older than the kept one; None for a row that is another unit's."""
    table = unit.mapping.tables[change.table]
    values = _canonical(change, table) if change.operation is Operation.UPSERT else {}
    key = _key(change, table)
    if _told_again(tx, unit, table, key, values, change):
        return Applied(known=True)
    old = tx.row(change.table, key)
    is_ours = _is_ours(unit, change, old)
    if is_ours is None:
        return None
    version = _version_here(tx, change.version)
    if _older(old, version):
        tx.mark_told(table.name, key)
        return Applied(_touched_again(tx, unit, table, key, old, change), known=True)
    version = version if version is not None or old is None else old.version
    if change.operation is Operation.DELETE or not is_ours:
        gone = delete_row(tx, unit, table, key, old, version, change.committed_at or now)
        return replace(gone, services=_touched_again(tx, unit, table, key, old, change)) if gone.known else gone
    return _upsert(tx, unit, table, key, old, values, version, change, now)


def delete_row(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: TableMapping,
    key: str,
    old: KeptRow | None,
    version: RowVersion | None,
    at: datetime,
) -> Applied:
    """Keep that a row is gone since `at`; `old` is what was kept of it."""
    gone = KeptRow(table.name, key, {}, {"": at}, version, deleted=True)
    tx.put_row(gone, unit.lookups[table.name])
    if old is None or old.deleted:
        return Applied(known=True, deleted=old is not None and version is not None and old.version == version)
    return Applied(_touched(tx, unit, table, key, old.values, {}), deleted=True, cause=table.name)


def delete_rows(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: str,
    page: Callable[[int], Sequence[KeptRow]],
    at: datetime,
) -> Iterator[Applied]:
    """Delete rows of a table, a page at a time until there is none left. `page` gives so many that are to go."""
    mapped = unit.mapping.tables[table]
    while rows := page(_ROWS_A_PAGE):
        for row in rows:
            yield delete_row(tx, unit, mapped, row.key, row, row.version, at)


def _upsert(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: TableMapping,
    key: str,
    old: KeptRow | None,
    values: dict[str, Canonical],
    version: RowVersion | None,
    change: Change,
    now: datetime,
) -> Applied:
    known = old.values if old is not None and not old.deleted else {}
    readable, defect = _readable(unit, table, values, known)
    if defect is not None:
        merged: Values = {**readable, **known}  # the last good values stay
        since = old.since if known and old is not None else {}
    else:
        merged = readable | _fictitious_name(unit, table, change)
        # A row of which no record could be read yet is first seen now.
        since = _since(unit, table, old if old is not None and known and old.since else None, merged, change, now)
    row = KeptRow(table.name, key, merged, since, version, defect=defect)
    supersedes = _supersedes(tx, unit, table, row)
    unchanged = old is not None and not old.deleted and old.values == merged and old.defect == defect
    tx.put_row(row, unit.lookups[table.name])
    for service in supersedes:
        tx.put_reported(service, replace(tx.reported(service) or Reported(service), superseded=True))
    if unchanged and defect is None and not supersedes:
        return Applied(_touched_again(tx, unit, table, key, old, change), known=True)
    _remember_right_number(tx, unit, row)
    return Applied(_touched(tx, unit, table, key, known, merged), defective=defect is not None, cause=table.name)


def _told_again(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: TableMapping,
    key: str,
    values: dict[str, Canonical],
    change: Change,
) -> bool:
    """Whether a scan tells just what is kept, found by a hash: nothing is decrypted and nothing kept anew.

    A row with a version is kept with that version, so it goes the whole way; so does one that lacks a value.
    """
    if not change.snapshot or change.version is not None or change.operation is not Operation.UPSERT:
        return False
    readable = {column: value for column, value in values.items() if value is None or isinstance(value, str)}
    if len(readable) < len(values) or _supersession(tx) is not None or not _is_of(unit, change):
        return False
    return tx.told_again(table.name, key, readable | _fictitious_name(unit, table, change))


def _supersession(tx: LedgerTransaction) -> datetime | None:
    """The moment to which a person said that the EPJ was restored, while it is read again."""
    text = tx.note(RESTORED_TO)
    return None if text is None else datetime.fromisoformat(text)


def _supersedes(tx: LedgerTransaction, unit: ReportingUnit, table: TableMapping, row: KeptRow) -> list[str]:
    """The services whose key a restored EPJ has given away: first told after that moment, and now told for the first
    time since. The backup did not have them, so whoever has their key now is another service.
    """
    if table.name != unit.mapping.service.table:
        return []
    restored_to = _supersession(tx)
    if restored_to is None or not tx.is_first_told(table.name, row.key):
        return []
    found = []
    for service in dict.fromkeys(_own_services(unit, table, row.key, {}, row.values)):
        first = tx.first_told_at(service)
        reported = tx.reported(service)
        if first is not None and first > restored_to and reported is not None and reported.standing:
            found.append(service)
    return found


def _canonical(change: Change, table: TableMapping) -> dict[str, Canonical]:
    row = change.row or {}
    return {column: canonical(row.get(column, ABSENT), meaning) for column, meaning in table.columns.items()}


def _key(change: Change, table: TableMapping) -> str:
    """The row's key; a source gives no change without one that can be read (connectors/source.py)."""
    parts = {}
    for column in table.key:
        text = canonical((change.key or {}).get(column), table.columns.get(column, Meaning.TEXT))
        parts[column] = text if isinstance(text, str) else None
    key = key_of(table.key, parts)
    if key is None:
        raise ValueError(f"a change of {change.table} has no readable key: its source should have said so")
    return key


def _readable(
    unit: ReportingUnit, table: TableMapping, values: dict[str, Canonical], known: Values
) -> tuple[dict[str, str | None], str | None]:
    """The values that can be read, what was not sent taken from what is known; why the rest cannot, None if all can."""
    readable: dict[str, str | None] = {}
    defects = []
    for column, value in values.items():
        if value == ABSENT and (table.name, column) in unit.optional_columns:
            readable[column] = known.get(column)
        elif isinstance(value, Undecodable):
            defects.append(f"{column}: {value.why}")
        elif isinstance(value, Missing):
            if column in known:
                readable[column] = known[column]
            else:
                defects.append(f"{column}: its value was not sent, and it was never seen before; read the row again")
        else:
            readable[column] = value
    return readable, "; ".join(defects) or None


def _fictitious_name(unit: ReportingUnit, table: TableMapping, change: Change) -> dict[str, str | None]:
    """Whether the person's name is on the list: compared now, and only the answer is kept."""
    columns = unit.mapping.person.name
    if not columns or table.name != unit.mapping.person_table:
        return {}
    row = change.row or {}
    name = " ".join(str(row[column]) for column in columns if isinstance(row.get(column), str))
    return {FICTITIOUS_NAME: "yes" if unit.fictitious_name(name) else None}


def _remember_right_number(tx: LedgerTransaction, unit: ReportingUnit, row: KeptRow) -> None:
    if row.table != unit.mapping.person_table or row.defect is not None:
        return
    person = assemble_person(unit.mapping, row, tx, zone=unit.rows_zone)
    if has_right_number(person):
        record = tx.person(person.key)
        if record is None or not record.number_was_right:
            tx.put_person(person.key, record.patient_guid if record else None, number_was_right=True)


def _since(
    unit: ReportingUnit,
    table: TableMapping,
    old: KeptRow | None,
    values: Values,
    change: Change,
    now: datetime,
) -> dict[str, datetime]:
    """For each column when its present value was registered (docs/owed.md, `hendelseRegTid`)."""
    committed = change.committed_at or now
    created = _moment(unit, values, table.registered.created)
    changed = _moment(unit, values, table.registered.changed)
    if old is None:
        first, last = created or changed or committed, changed or created or committed
        return {column: last if (table.name, column) in unit.ending_columns else first for column in values}
    moment = committed
    for column, registered in ((table.registered.changed, changed), (table.registered.created, created)):
        if registered is not None and column is not None and values.get(column) != old.values.get(column):
            moment = registered
            break
    return {
        column: old.since.get(column, moment) if column in old.values and old.values[column] == value else moment
        for column, value in values.items()
    }


def _moment(unit: ReportingUnit, values: Values, column: str | None) -> datetime | None:
    text = values.get(column) if column is not None else None
    if text is None or column is None or text.endswith("infinity"):
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=unit.rows_zone)
    return moment.astimezone(UTC)


def _touched(
    tx: LedgerTransaction, unit: ReportingUnit, table: TableMapping, key: str, old: Values, new: Values
) -> tuple[str, ...]:
    """Every service that hangs on the row, before and after, over every edge; by key."""
    read: set[Dependency] = {RowRead(table.name, key)}
    for columns in unit.lookups[table.name]:
        for values in (old, new):
            value = key_of(columns, values)
            if value is not None:
                read.add(RowsFound(table.name, columns, value))
    touched = set(tx.dependents(read))
    touched.update(_own_services(unit, table, key, old, new))
    service = unit.mapping.service
    described = unit.mapping.tables[service.table]
    return tuple(sorted(touched, key=lambda one: sort_key(described, service.key, one)))


def _touched_again(
    tx: LedgerTransaction, unit: ReportingUnit, table: TableMapping, key: str, old: KeptRow | None, change: Change
) -> tuple[str, ...]:
    """The services of a row that says nothing new, while a transaction is open: none otherwise.

    Its first parts may be known because reading was broken off behind them; their services are looked at with it all
    the same, so that no later transaction's state is told instead. To look at one too many owes nothing.
    """
    if change.snapshot or not tx.open_transaction():
        return ()
    values = old.values if old is not None else {}
    return _touched(tx, unit, table, key, values, values)


def _own_services(unit: ReportingUnit, table: TableMapping, key: str, old: Values, new: Values) -> Iterable[str]:
    """The services that a row names itself: its own, or the one that it is a part of."""
    mapping = unit.mapping
    groups = []
    if table.name == mapping.service.table:
        if mapping.service.key == table.key:
            yield key
        else:
            groups.append(mapping.service.key)
    groups += [part.service for part in mapping.pauses if isinstance(part, PauseTable) and part.table == table.name]
    if mapping.placements is not None and mapping.placements.table == table.name:
        groups.append(mapping.placements.service)
    for columns in groups:
        for values in (old, new):
            value = key_of(columns, values)
            if value is not None:
                yield value


def _is_ours(unit: ReportingUnit, change: Change, old: KeptRow | None) -> bool | None:
    """Whether a row is this unit's; False: it was and is no more; None: it never was."""
    share = unit.share
    if share is None or change.table not in share.tables:
        return True
    was = old is not None and not old.deleted
    if change.operation is Operation.DELETE:
        return True if was else None
    if _is_of(unit, change):
        return True
    return False if was else None


def _is_of(unit: ReportingUnit, change: Change) -> bool:
    """Whether a row that is told is this unit's."""
    share = unit.share
    if share is None or change.table not in share.tables:
        return True
    return canonical((change.row or {}).get(share.column), Meaning.TEXT) == share.value


def _version_here(tx: LedgerTransaction, version: Version | None) -> RowVersion | None:
    """A row's version, in an epoch of its own for each incarnation that a person accepted."""
    if version is None:
        return None
    incarnation = tx.note(INCARNATION)
    return RowVersion(version.epoch if incarnation is None else f"{incarnation}/{version.epoch}", version.order)


def _older(old: KeptRow | None, version: RowVersion | None) -> bool:
    if old is None or old.version is None or version is None:
        return False
    return old.version.epoch == version.epoch and version.order < old.version.order
