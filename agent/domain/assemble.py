"""Step 1: rows and the mapping give one CareService, and the list of everything that was read on the way.

The mapping is a graph of tables. Whatever row is asked for, found or not, is a dependency of the service, so a change
in any of them, over any number of edges, makes the service due again.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Final

from agent.domain.care import (
    Absent,
    Assembled,
    CareService,
    Dated,
    Dependency,
    Pause,
    Person,
    Placement,
    Provider,
    RowRead,
    RowsFound,
)
from agent.domain.mapping import (
    Annulled,
    Columns,
    Edge,
    EpjMapping,
    Meaning,
    PauseColumns,
    PauseTable,
    Place,
    Which,
)
from agent.domain.rows import FICTITIOUS_NAME, KeptRow, Rows, key_of, sort_key

CLIMB_LIMIT: Final = 16
"""Units under parents: deeper than this is a circle."""


@dataclass(frozen=True, slots=True)
class Found:
    """The value at a place: `text` None where it is empty; `absent` where a row on the way is not there."""

    text: str | None = None
    since: datetime | None = None
    absent: Absent | None = None
    defect: str | None = None


def assemble(
    mapping: EpjMapping, key: str, rows: Rows, *, zone: tzinfo, followed_pauses: Collection[str] = ()
) -> Assembled:
    """The service of that key as its rows tell it. `zone`: of TIMESTAMP columns and of the day of a moment."""
    walk = _Walk(mapping, rows, zone)
    return Assembled(walk.service(key, followed_pauses), frozenset(walk.read))


def assemble_person(mapping: EpjMapping, row: KeptRow, rows: Rows, *, zone: tzinfo) -> Person:
    """The person of a person's row, on its own: to remember that a number was right."""
    return _Walk(mapping, rows, zone).person_of(row, None)


def latest(*moments: datetime | None) -> datetime | None:
    """The last of the moments that are known."""
    return max((moment for moment in moments if moment is not None), default=None)


class _Walk:
    """One walk through the graph, which notes what it reads."""

    def __init__(self, mapping: EpjMapping, rows: Rows, zone: tzinfo) -> None:
        self._mapping = mapping
        self._rows = rows
        self._zone = zone
        self.read: set[Dependency] = set()

    # -- rows ---------------------------------------------------------------------------------------------------

    def _row(self, table: str, key: str) -> KeptRow | None:
        self.read.add(RowRead(table, key))
        return self._rows.row(table, key)

    def _find(self, table: str, columns: Columns, value: str) -> list[KeptRow]:
        self.read.add(RowsFound(table, columns, value))
        found = self._rows.find(table, columns, value)
        described = self._mapping.tables[table]
        return sorted(found, key=lambda row: sort_key(described, described.key, row.key))

    def _follow(self, row: KeptRow, edge: Edge) -> KeptRow | Absent | None:
        """The row at the other end; None where the reference is empty."""
        value = key_of(edge.by, row.values)
        if value is None:
            return None
        if edge.match == self._mapping.tables[edge.table].key:
            there = self._row(edge.table, value)
            if there is None or there.deleted:
                deleted = there is not None
                return Absent(edge.table, deleted, there.since.get("") if there else None)
            return there
        many = self._find(edge.table, edge.match, value)
        if not many:
            return Absent(edge.table, deleted=False, many=True)
        return self._pick(edge.table, many, edge.order_by, edge.which)

    def _pick(self, table: str, many: list[KeptRow], order_by: str | None, which: Which) -> KeptRow:
        ordered = self._ordered(table, many, order_by)
        return ordered[0] if which is Which.FIRST else ordered[-1]

    def _ordered(self, table: str, many: list[KeptRow], order_by: str | None) -> list[KeptRow]:
        if order_by is None:
            return many
        described = self._mapping.tables[table]
        return sorted(many, key=lambda row: sort_key(described, (order_by,), row.values.get(order_by) or ""))

    # -- values -------------------------------------------------------------------------------------------------

    def _value(self, row: KeptRow, place: Place) -> Found:
        here, since = row, None
        for edge in place.via:
            since = latest(since, *(here.since.get(column) for column in edge.by))
            there = self._follow(here, edge)
            if there is None:
                return Found(since=since, defect=unread(here, edge.by))
            if isinstance(there, Absent):
                return Found(since=since, absent=there)
            here = there
        text = here.values.get(place.column)
        if not text and place.climb is not None:
            return self._climb(here, place)
        text = place.values.get(text, text) if text is not None else None
        defect = here.defect or unread(here, (place.column,))
        return Found(text or None, latest(since, here.since.get(place.column)), defect=defect)

    def _climb(self, row: KeptRow, place: Place) -> Found:
        since = row.since.get(place.column)
        for _ in range(CLIMB_LIMIT):
            assert place.climb is not None  # noqa: S101 - _value calls this for climbing places only
            since = latest(since, *(row.since.get(column) for column in place.climb.by))
            defect = row.defect or unread(row, (place.column, *place.climb.by))
            above = self._follow(row, place.climb) if defect is None else None
            if above is None:
                return Found(since=since, defect=defect)
            if isinstance(above, Absent):
                return Found(since=since, absent=above)
            row = above
            text = row.values.get(place.column)
            if text:
                return Found(
                    place.values.get(text, text), latest(since, row.since.get(place.column)), defect=row.defect
                )
        return Found(since=since, defect="its parents form a circle")

    def _meaning(self, table: str, place: Place) -> Meaning:
        end = place.via[-1].table if place.via else table
        return self._mapping.tables[end].columns.get(place.column, Meaning.TEXT)

    def _dated(self, table: str, found: Found, place: Place | None) -> Dated:
        away = found.absent if found.absent is not None and not found.absent.many else None
        if place is None or found.text is None or found.defect is not None:
            return Dated(None, found.since, away, found.defect)
        return Dated(self._day(found.text, self._meaning(table, place)), found.since)

    def _day(self, text: str, meaning: Meaning) -> date | None:
        if text in self._mapping.open_ended or text[:10] in self._mapping.open_ended or text.endswith("infinity"):
            return None
        if meaning is Meaning.INSTANT:
            return datetime.fromisoformat(text).astimezone(self._zone).date()
        return date.fromisoformat(text[:10])

    # -- the service --------------------------------------------------------------------------------------------

    def service(self, key: str, followed_pauses: Collection[str]) -> CareService | None:
        rows = self._service_rows(key)
        if not rows:
            return None
        alive = [row for row in rows if not row.deleted]
        if not alive:
            return withdrawn(key, deleted=True, at=latest(*(row.since.get("") for row in rows)))
        mapping = self._mapping.service
        valid = [row for row in alive if not _annulled(row, mapping.annulled_when)]
        if not valid:
            at = latest(*(row.since.get(column) for row in alive for column in mapping.annulled_when))
            return withdrawn(key, deleted=False, at=at)
        first, last = valid[0], valid[-1]
        kind, start = self._value(last, mapping.type), self._value(first, mapping.start)
        end = self._value(last, mapping.end) if mapping.end is not None else Found()
        changed_on = self._value(last, mapping.provider_changed_on) if mapping.provider_changed_on else Found()
        pauses, gone = self._pauses(key, last, followed_pauses)
        return CareService(
            key=key,
            local_type=kind.text,
            type_since=kind.since,
            start=self._dated(mapping.table, start, mapping.start),
            end=self._dated(mapping.table, end, mapping.end),
            person=self._person(last),
            provider=self._provider(last, mapping.provider),
            provider_changed_on=self._dated(mapping.table, changed_on, mapping.provider_changed_on),
            provider_dated=mapping.provider_changed_on is not None,
            placements=self._placements(key),
            pauses=pauses,
            gone_pauses=gone,
            defect=first.defect or last.defect or unread(last, mapping.annulled_when) or kind.defect,
            labels=tuple((label, last.values.get(column) or "") for label, column in mapping.labels.items()),
            waits_for=kind.absent,
        )

    def _service_rows(self, key: str) -> list[KeptRow]:
        mapping = self._mapping.service
        if mapping.key == self._mapping.tables[mapping.table].key:
            row = self._row(mapping.table, key)
            return [] if row is None else [row]
        return self._ordered(mapping.table, self._find(mapping.table, mapping.key, key), mapping.order_by)

    def _person(self, row: KeptRow) -> Person | Absent | None:
        moved_at = None
        for edge in self._mapping.service.person:
            moved_at = latest(moved_at, *(row.since.get(column) for column in edge.by))
            there = self._follow(row, edge)
            if there is None:
                defect = unread(row, edge.by)
                return None if defect is None else Person("", None, None, None, None, None, defect=defect)
            if isinstance(there, Absent):
                return Absent(there.table, there.deleted, latest(there.since, moved_at))
            row = there
        return self.person_of(row, moved_at)

    def person_of(self, row: KeptRow, moved_at: datetime | None) -> Person:
        mapping = self._mapping.person
        number, user_number = self._value(row, mapping.number), self._value(row, mapping.user_number)
        kind = self._value(row, mapping.number_type) if isinstance(mapping.number_type, Place) else Found()
        fixed = mapping.number_type if isinstance(mapping.number_type, str) else None
        born = self._value(row, mapping.birth_date) if mapping.birth_date else Found()
        district = self._value(row, mapping.district) if mapping.district else Found()
        key = self._value(row, mapping.key) if mapping.key else Found(row.key)
        facts = (number, user_number, kind, born, key)
        return Person(
            key=key.text or row.key,
            number=number.text,
            number_type=fixed or kind.text,
            user_number=user_number.text,
            birth_date=self._dated(row.table, born, mapping.birth_date).on,
            district=district.text,
            fictitious_name=row.values.get(FICTITIOUS_NAME) is not None,
            changed_at=latest(number.since, user_number.since, kind.since, born.since),
            moved_at=moved_at,
            defect=row.defect or next((found.defect for found in facts if found.defect is not None), None),
            away=next((found.absent for found in facts if found.absent is not None and not found.absent.many), None),
        )

    def _provider(self, row: KeptRow, edges: Sequence[Edge]) -> Provider | Absent | None:
        since = None
        for edge in edges:
            since = latest(since, *(row.since.get(column) for column in edge.by))
            there = self._follow(row, edge)
            if there is None:
                return Provider(None, since, unread(row, edge.by))
            if isinstance(there, Absent):
                return Provider(None, since) if there.many else there
            row = there
        found = self._value(row, self._mapping.organisation_number)
        if found.absent is not None and not found.absent.many:
            return found.absent
        return Provider(found.text, latest(since, found.since), row.defect or found.defect)

    def _placements(self, key: str) -> tuple[Placement, ...] | None:
        mapping = self._mapping.placements
        if mapping is None:
            return None
        found = [row for row in self._find(mapping.table, mapping.service, key) if not row.deleted]
        return tuple(
            Placement(
                row.key,
                self._dated(mapping.table, self._value(row, mapping.begins), mapping.begins),
                self._provider(row, mapping.provider),
                row.defect or unread(row, mapping.annulled_when),
            )
            for row in found
            if not _annulled(row, mapping.annulled_when)
        )

    # -- pauses -------------------------------------------------------------------------------------------------

    def _pauses(
        self, key: str, row: KeptRow, followed: Collection[str]
    ) -> tuple[tuple[Pause, ...], dict[str, datetime | None]]:
        pauses: list[Pause] = []
        gone: dict[str, datetime | None] = {}
        for number, mapping in enumerate(self._mapping.pauses):
            if isinstance(mapping, PauseColumns):
                pauses.extend(self._pause_columns(key, row, mapping))
            else:
                prefix = "" if number == 0 else f"{number}:"
                pauses.extend(self._pause_rows(key, mapping, prefix, gone))
        here = {pause.key for pause in pauses}
        for pause_key in sorted(set(followed) - here - set(gone)):
            gone[pause_key] = self._went_at(key, row, pause_key)
        return tuple(pauses), {pause_key: at for pause_key, at in gone.items() if pause_key in followed}

    def _pause_columns(self, key: str, row: KeptRow, mapping: PauseColumns) -> list[Pause]:
        begins = self._dated(row.table, self._value(row, mapping.begins), mapping.begins)
        ends = self._dated(row.table, self._value(row, mapping.ends), mapping.ends)
        if begins.on is None and ends.on is None and begins.known and ends.known:
            return []
        return [Pause(f"{key}-{mapping.number}", begins, ends, ((0, mapping.number, ""),))]

    def _pause_rows(self, key: str, mapping: PauseTable, prefix: str, gone: dict[str, datetime | None]) -> list[Pause]:
        table = self._mapping.tables[mapping.table]
        pauses = []
        for row in self._find(mapping.table, mapping.service, key):
            if _annulled(row, mapping.annulled_when):
                gone[prefix + row.key] = latest(*(row.since.get(column) for column in mapping.annulled_when))
                continue
            pauses.append(
                Pause(
                    prefix + row.key,
                    self._dated(mapping.table, self._value(row, mapping.begins), mapping.begins),
                    self._dated(mapping.table, self._value(row, mapping.ends), mapping.ends),
                    sort_key(table, table.key, row.key),
                    row.defect or unread(row, mapping.annulled_when),
                )
            )
        return pauses

    def _went_at(self, key: str, service_row: KeptRow, pause_key: str) -> datetime | None:
        """When a reported pause that is not among the service's any more was deleted, moved or emptied."""
        for number, mapping in enumerate(self._mapping.pauses):
            if isinstance(mapping, PauseColumns):
                if pause_key == f"{key}-{mapping.number}":
                    return service_row.since.get(mapping.begins.column)
                continue
            prefix = "" if number == 0 else f"{number}:"
            row = self._row(mapping.table, pause_key.removeprefix(prefix)) if pause_key.startswith(prefix) else None
            if row is not None:
                return latest(row.since.get(""), *(row.since.get(column) for column in mapping.service))
        return None


def unread(row: KeptRow, columns: Iterable[str]) -> str | None:
    """Why a value of the row is not known: the mapping named its column after the row was kept; None where it is.

    It must never be taken for an empty one. A row with a defect says itself what is wrong with it.
    """
    if row.deleted or row.defect is not None:
        return None
    missing = sorted(column for column in columns if column not in row.values)
    return f"{', '.join(missing)}: not read since the mapping named it; read the row again" if missing else None


def _annulled(row: KeptRow, when: Annulled) -> bool:
    return any(row.values.get(column) in texts for column, texts in when.items())


def withdrawn(key: str, *, deleted: bool, at: datetime | None) -> CareService:
    """A service that was deleted, or registered in error, at that moment: nothing else of it counts."""
    nothing = Dated(None)
    return CareService(
        key=key,
        local_type=None,
        type_since=None,
        start=nothing,
        end=nothing,
        person=None,
        provider=None,
        provider_changed_on=nothing,
        provider_dated=False,
        placements=None,
        pauses=(),
        gone_pauses={},
        deleted=deleted,
        annulled=not deleted,
        withdrawn_at=at,
    )
