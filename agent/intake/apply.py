"""One change of one row, applied to what is kept: mapped columns only, with the moment each value was registered.

An older row is dropped, an unchanged one says nothing new, and every service that hangs on a changed row, before or
after, over every edge, is named so that it is looked at (docs/owed.md, "Older, and deleted").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.domain.assemble import assemble_person
from agent.domain.care import Dependency, RowRead, RowsFound
from agent.domain.mapping import Meaning, PauseTable, TableMapping
from agent.domain.quality.person import has_right_number
from agent.domain.rows import FICTITIOUS_NAME, KeptRow, RowVersion, Values, key_of, sort_key
from agent.intake.canonical import Canonical, canonical
from agent.ledger.transaction import LedgerTransaction
from agent.unit import ReportingUnit
from connectors.source import ABSENT, Change, Missing, Operation, Undecodable, Version


@dataclass(slots=True)
class Applied:
    """One change in the ledger: the services that it touched, in key order. `known`: the row says nothing new."""

    services: list[str] = field(default_factory=list)
    known: bool = False
    defective: bool = False
    cause: str = ""


def apply_change(tx: LedgerTransaction, unit: ReportingUnit, change: Change, now: datetime) -> Applied | None:
    """Keep the row of a change, unless it is older than the kept one; None for a row that is another unit's."""
    table = unit.mapping.tables[change.table]
    values = _canonical(change, table) if change.operation is Operation.UPSERT else {}
    key = _key(change, table)
    old = tx.row(change.table, key)
    is_ours = _is_ours(unit, change, old)
    if is_ours is None:
        return None
    if _older(old, change.version):
        return Applied(known=True)
    if change.operation is Operation.DELETE or not is_ours:
        return _delete(tx, unit, table, key, old, change, now)
    return _upsert(tx, unit, table, key, old, values, change, now)


def _delete(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: TableMapping,
    key: str,
    old: KeptRow | None,
    change: Change,
    now: datetime,
) -> Applied:
    at = change.committed_at or now
    gone = KeptRow(table.name, key, {}, {"": at}, _version(change.version, old), deleted=True)
    tx.put_row(gone, unit.lookups[table.name])
    if old is None or old.deleted:
        return Applied(known=True)
    return Applied(_touched(tx, unit, table, key, old.values, {}), cause=table.name)


def _upsert(
    tx: LedgerTransaction,
    unit: ReportingUnit,
    table: TableMapping,
    key: str,
    old: KeptRow | None,
    values: dict[str, Canonical],
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
    row = KeptRow(table.name, key, merged, since, _version(change.version, old), defect=defect)
    unchanged = old is not None and not old.deleted and old.values == merged and old.defect == defect
    tx.put_row(row, unit.lookups[table.name])
    if unchanged and defect is None:
        return Applied(known=True)
    _remember_right_number(tx, unit, row)
    return Applied(_touched(tx, unit, table, key, known, merged), defective=defect is not None, cause=table.name)


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
) -> list[str]:
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
    return sorted(touched, key=lambda one: sort_key(described, service.key, one))


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
    if canonical((change.row or {}).get(share.column), Meaning.TEXT) == share.value:
        return True
    return False if was else None


def _older(old: KeptRow | None, version: Version | None) -> bool:
    if old is None or old.version is None or version is None:
        return False
    return old.version.epoch == version.epoch and version.order < old.version.order


def _version(version: Version | None, old: KeptRow | None) -> RowVersion | None:
    if version is None:
        return old.version if old is not None else None
    return RowVersion(version.epoch, version.order)
