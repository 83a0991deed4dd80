"""What the tables of one EPJ product mean: a graph of tables around the service row.

Written by an integration developer as YAML (docs/mapping.md), read by agent/settings, walked by assemble. Columns hold
canonical text (see `KeptRow` in rows.py), so nothing here knows an encoding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

Columns = tuple[str, ...]


class Meaning(Enum):
    """What a column holds; the value is the word used in the mapping file."""

    TEXT = "text"
    INTEGER = "integer"
    DATE = "date"
    TIMESTAMP = "timestamp"
    INSTANT = "instant"


class Which(Enum):
    """Which of many rows counts, by the order column of the edge or the group."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Edge:
    """One step from a row to a row of `table`: the row whose `match` columns equal the `by` columns here.

    `match` is the table's own row key for a reference to one row. Otherwise many rows match, and `which` of them, by
    `order_by` (then by key), is taken.
    """

    by: Columns
    table: str
    match: Columns
    which: Which = Which.LAST
    order_by: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact stands: a column of the row that `via` leads to.

    `climb` is followed, again and again, while the column is empty there (a unit under parents). `values` translates
    local codes; a code that is not among them stays as it is.
    """

    column: str
    via: tuple[Edge, ...] = ()
    climb: Edge | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registered:
    """The columns that say when a row was made and last changed in the EPJ (TIMESTAMP or INSTANT)."""

    created: str | None = None
    changed: str | None = None


Annulled = Mapping[str, frozenset[str]]
"""Column -> the texts that say that the row was registered in error."""


@dataclass(frozen=True, slots=True)
class ServiceMapping:
    """The rows of a service. `key` names the service; where it is not the row key, many rows make one service.

    Then start and the first placement come from the first row by `order_by`, everything else from the last.
    """

    table: str
    key: Columns
    type: Place
    start: Place
    end: Place | None
    person: tuple[Edge, ...]
    provider: tuple[Edge, ...]
    provider_changed_on: Place | None = None
    order_by: str | None = None
    annulled_when: Annulled = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PersonMapping:
    """The person's row, reached by `ServiceMapping.person` (no edges: columns of the service row).

    `key` None: the person's key is the key of that row. `number_type` is a Place, a fixed code ("1"), or None: told
    from the digits. `name` columns are compared with the configured fictitious names when a row arrives, and not kept.
    """

    number: Place
    user_number: Place
    key: Place | None = None
    number_type: Place | str | None = None
    birth_date: Place | None = None
    district: Place | None = None
    name: Columns = ()


@dataclass(frozen=True, slots=True)
class PauseTable:
    """Pauses as rows of a table, `service` being the columns that hold the service's key."""

    table: str
    service: Columns
    begins: Place
    ends: Place
    annulled_when: Annulled = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseColumns:
    """A pause as two columns of the service row; its key is the service's key, a dash and `number`."""

    number: int
    begins: Place
    ends: Place


@dataclass(frozen=True, slots=True)
class PlacementTable:
    """Dated providers as rows of a table (it may be the service's own, grouped)."""

    table: str
    service: Columns
    begins: Place
    provider: tuple[Edge, ...]
    annulled_when: Annulled = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Every mapped column of a table with its meaning, and its row key.

    `earlier_names`: column -> the names that it once had.
    """

    name: str
    key: Columns
    columns: Mapping[str, Meaning]
    registered: Registered = Registered()
    earlier_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpjMapping:
    """The whole mapping of one product.

    `organisation_number` is reached by `ServiceMapping.provider` (or a placement's), then by its own `via`.
    `open_ended` are the date texts that mean "no date". `zone` is the zone of TIMESTAMP columns.
    """

    tables: Mapping[str, TableMapping]
    service: ServiceMapping
    person: PersonMapping
    organisation_number: Place
    pauses: tuple[PauseTable | PauseColumns, ...] = ()
    placements: PlacementTable | None = None
    open_ended: frozenset[str] = frozenset({"9999-12-31"})
    zone: str = "Europe/Oslo"

    @property
    def person_table(self) -> str:
        """The table of the person's row: the service's own where no edge leads away."""
        return self.service.person[-1].table if self.service.person else self.service.table

    def edges(self) -> Iterator[Edge]:
        """Every edge that assembling may follow, in no special order; the same edge may come twice."""
        service = self.service
        yield from service.person
        yield from service.provider
        if self.placements is not None:
            yield from self.placements.provider
        for place in self.places():
            yield from place.via
            if place.climb is not None:
                yield place.climb

    def places(self) -> Iterator[Place]:
        """Every place of a fact."""
        service, person = self.service, self.person
        yield from (service.type, service.start, person.number, person.user_number, self.organisation_number)
        optional = (
            service.end,
            service.provider_changed_on,
            person.key,
            person.number_type,
            person.birth_date,
            person.district,
        )
        yield from (place for place in optional if isinstance(place, Place))
        for pause in self.pauses:
            yield from (pause.begins, pause.ends)
        if self.placements is not None:
            yield self.placements.begins

    def lookups(self) -> dict[str, frozenset[Columns]]:
        """Table -> the column groups by which many rows are found: what the ledger must index."""
        found: dict[str, set[Columns]] = {name: set() for name in self.tables}
        for edge in self.edges():
            if edge.match != self.tables[edge.table].key:
                found[edge.table].add(edge.match)
        if self.service.key != self.tables[self.service.table].key:
            found[self.service.table].add(self.service.key)
        for pause in self.pauses:
            if isinstance(pause, PauseTable):
                found[pause.table].add(pause.service)
        if self.placements is not None:
            found[self.placements.table].add(self.placements.service)
        return {name: frozenset(groups) for name, groups in found.items()}

    def optional_columns(self) -> frozenset[tuple[str, str]]:
        """(table, column) of what no event needs: a change may leave them out, and what was known of them stays."""
        found = {
            (table.name, column)
            for table in self.tables.values()
            for column in (table.registered.created, table.registered.changed)
            if column is not None
        }
        found.update((self.service.table, column) for column in self.service.labels.values())
        for place in (self.person.district, self.person.birth_date):
            if place is not None:
                found.add((place.via[-1].table if place.via else self.person_table, place.column))
        return frozenset(found)

    def ending_columns(self) -> frozenset[tuple[str, str]]:
        """(table, column) of ends: in a row first seen these were registered when it last changed, not when made."""
        ends = set()
        if self.service.end is not None and not self.service.end.via:
            ends.add((self.service.table, self.service.end.column))
        for pause in self.pauses:
            table = pause.table if isinstance(pause, PauseTable) else self.service.table
            if not pause.ends.via:
                ends.add((table, pause.ends.column))
        return frozenset(ends)
