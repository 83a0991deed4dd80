"""Random histories of a small EPJ, and the ways in which a source may deliver them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from hypothesis import strategies as st

from agent.demo.epj import EpjPicture
from agent.demo.expected import Rules as ExpectedRules
from connectors.source import Change
from tests.world import KARI, OLA, PER, A, B, World

FIRST_DAY: Final = date(2026, 3, 1)
LAST_DAY: Final = date(2026, 3, 12)

FIRST_TYPES: Final = {"LANG": "21", "KORT": "20", "BOLIG": "29", "PB": "none", "GAMMEL": "12"}
LATER_TYPES: Final = {**FIRST_TYPES, "LANG": "18", "NY": "20", "PB": "29"}
"""No local type is taken out again: what stood for it would be parked, and the oracle keeps no history of types."""

PERSONS: Final = (1, 2, 3, 4)
"""Person 4 is called Donald Duck from the first row on: the oracle keeps no history of names."""

UNITS: Final = (1, 2)
SERVICES: Final = (9, 10, 100)
PAUSES: Final = (5, 6, 7)

GOOD_DAYS: Final = [date(2026, 2, day) for day in (1, 5, 6, 10, 20)]
OTHER_DAYS: Final = [None, date(9999, 12, 31), date(2026, 3, 5), date(2026, 3, 12), date(2026, 4, 1)]
BAD_DAYS: Final = [date(2222, 2, 2), date(1985, 1, 1), date(2020, 6, 1), date(2021, 1, 1), date(2019, 3, 1)]

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """One change in the EPJ: `columns` None deletes the row."""

    table: str
    key: int
    columns: Columns | None = field(repr=True)


def _columns(table: str, *, bad: bool) -> st.SearchStrategy[Columns]:
    days = st.sampled_from(GOOD_DAYS + OTHER_DAYS[:2] + (OTHER_DAYS[2:] + BAD_DAYS if bad else []))
    status = st.sampled_from(["AKTIV", "AKTIV", "AKTIV", "FEILREGISTRERT"])
    person = {
        "fnr": st.sampled_from([OLA, KARI, PER] + ([None, "12345678901", ""] if bad else [])),
        "id_type": st.sampled_from(["F", "D"]),
        "fodselsdato": st.sampled_from([date(1940, 5, 17)] + ([None] if bad else [])),
    }
    unit = {"orgnr": st.sampled_from([A, B] + ([None, "999999999", "reha"] if bad else []))}
    service = {
        "bruker_id": st.sampled_from([1, 2] + ([3, 4, None] if bad else [])),
        "enhet_id": st.sampled_from([1, 2] + ([None] if bad else [])),
        "lokal_type": st.sampled_from(["LANG", "KORT", "BOLIG", "PB"] + (["NY", "GAMMEL"] if bad else [])),
        "start_dato": st.sampled_from([date(2026, 2, 1), date(2026, 2, 2), *(BAD_DAYS + OTHER_DAYS if bad else [])]),
        "slutt_dato": days,
        "status": status,
    }
    pause = {
        "tjeneste_id": st.sampled_from(SERVICES),
        "fra_dato": days,
        "til_dato": days,
        "status": status,
    }
    return st.fixed_dictionaries(
        {}, optional={"bruker": person, "enhet": unit, "tjeneste": service, "pause": pause}[table]
    )


def _event(*, bad: bool) -> st.SearchStrategy[Event]:
    tables = {"bruker": PERSONS, "enhet": UNITS, "tjeneste": SERVICES, "pause": PAUSES}

    def of(table: str) -> st.SearchStrategy[Event]:
        rows = st.builds(Event, st.just(table), st.sampled_from(tables[table]), _columns(table, bad=bad))
        if not bad and table in {"bruker", "enhet"}:
            return rows
        gone = st.builds(Event, st.just(table), st.sampled_from(tables[table]), st.none())
        return st.one_of(rows, rows, rows, gone)

    return st.sampled_from(["bruker", "enhet", "tjeneste", "tjeneste", "pause", "pause"]).flatmap(of)


def histories(*, bad: bool = True, most: int = 16) -> st.SearchStrategy[list[Event]]:
    """What happens in the EPJ, in order, after persons, units and services were made."""
    made = [Event("bruker", key, {"fnr": number}) for key, number in zip(PERSONS, (OLA, KARI, PER), strict=False)]
    made += [Event("bruker", 4, {"fnr": PER})]
    made += [Event("enhet", key, {"orgnr": number}) for key, number in zip(UNITS, (A, B), strict=True)]
    made += [Event("tjeneste", key, {}) for key in SERVICES]
    return st.lists(_event(bad=bad), min_size=1, max_size=most).map(lambda events: made + events)


class Epj:
    """Plays events in a world's rows and gives the changes of their source, each with its version."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._earlier: dict[str, dict[int, list[Mapping[str, Any]]]] = {}

    def play(self, events: list[Event]) -> list[Change]:
        changes = []
        for event in events:
            if event.columns is None:
                changes.append(self._world.deletion(event.table, event.key))
                continue
            name = {"fornavn": "Donald", "etternavn": "Duck"} if (event.table, event.key) == ("bruker", 4) else {}
            change = self._world.change(event.table, event.key, **event.columns, **name)
            changes.append(change)
            assert change.row is not None
            self._earlier.setdefault(event.table, {}).setdefault(event.key, []).append(change.row)
        return changes

    def picture(self) -> EpjPicture:
        tables = ("bruker", "enhet", "tjeneste", "pause")
        rows = {
            table: {int(key): row for key, row in self._world.rows.get(f"public.{table}", {}).items()}
            for table in tables
        }
        earlier = {table: self._earlier.get(table, {}) for table in tables}
        return EpjPicture(rows, earlier)


def expected_rules(types: Mapping[str, str]) -> ExpectedRules:
    return ExpectedRules(service_types={local: None if code == "none" else code for local, code in types.items()})


@st.composite
def interleavings(draw: st.DrawFn, changes: list[Change]) -> list[Change]:
    """The same changes in another order across keys; that of each key is kept."""
    queues: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        queues.setdefault((change.table, repr(change.key)), []).append(change)
    order: list[Change] = []
    while queues:
        key = draw(st.sampled_from(sorted(queues)))
        order.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return order


@st.composite
def transactions(draw: st.DrawFn, changes: list[Change]) -> list[list[Change]]:
    """The changes cut into transactions of one to five."""
    cut = []
    rest = list(changes)
    while rest:
        size = draw(st.integers(1, 5))
        cut.append(rest[:size])
        rest = rest[size:]
    return cut
