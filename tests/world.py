"""A small world for tests of the heart: rows go in as changes of a source, notifications come out, and are checked.

Every notification passes through the independent register model, so each test also proves the chain. All people, units
and numbers are made up.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from agent.domain.finding import Finding, Severity
from agent.domain.gate import GateLimits
from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.mapping import EpjMapping
from agent.domain.notification import Event, Notification
from agent.domain.quality import Profile, Rules
from agent.examine import examine_due, examine_planned, notice_rules, open_gate
from agent.intake.booking import Booking
from agent.ledger.ledger import Ledger
from agent.settings import load_mapping
from agent.unit import NORWAY, ReportingUnit
from connectors.source import (
    Change,
    Ignored,
    Operation,
    Position,
    Record,
    Scan,
    Transaction,
    Unreadable,
    Value,
    Version,
)
from tests.register_model import RegisterModel

DEMO_MAPPING: Final = Path(__file__).parent.parent / "config" / "epj" / "demo.yaml"
EPOCH: Final = "world"


def org(serial: int) -> str:
    """The serial-th made-up organisation number that has a check digit."""
    found = 0
    for candidate in range(10_000, 11_000):
        number = made_up_organisation_number(candidate)
        if number is not None:
            if found == serial:
                return number
            found += 1
    raise AssertionError("too few organisation numbers")


def fnr(serial: int, born: date = date(1940, 5, 17)) -> str:
    """The serial-th synthetic number (Tenor) of that birth date."""
    numbers = (tenor_number(born, candidate) for candidate in range(1000))
    return [number for number in numbers if number is not None][serial]


A, B, C = org(0), org(1), org(2)
"""The organisation numbers of the units 1, 2 and 3."""

OLA, KARI, PER = fnr(0), fnr(1), fnr(2)
"""The numbers of the persons 1, 2 and 3, born 17 May 1940."""

_SHORT: Final = {
    Event.START: "Start",
    Event.END: "Slutt",
    Event.PROVIDER: "Utforer",
    Event.PAUSE_FROM: "Fra",
    Event.PAUSE_TO: "Til",
}
_SERVICE_TYPES: Final = {
    "LANG": "21",
    "UTR": "18",
    "REHAB": "19",
    "KORT": "20",
    "BOLIG": "29",
    "PB": "none",
    "GAMMEL": "12",
    "GAMMEL2": "13",
    "TRYGG": "6",
}
_DEFAULTS: Final[Mapping[str, Mapping[str, Value]]] = {
    "bruker": {"fnr": None, "id_type": "F", "fodselsdato": date(1940, 5, 17), "fornavn": "Test", "etternavn": "Prove"},
    "enhet": {"orgnr": None},
    "tjeneste": {
        "bruker_id": 1,
        "enhet_id": 1,
        "lokal_type": "LANG",
        "start_dato": date(2026, 2, 1),
        "status": "AKTIV",
        "saksnummer": "S-1",
    },
    "pause": {"tjeneste_id": 10, "fra_dato": date(2026, 2, 10), "status": "AKTIV"},
}


def d(text: str) -> date:
    """A date; "02-10" is of 2026."""
    return date.fromisoformat(text if len(text) == 10 else f"2026-{text}")


def at(text: str) -> datetime:
    """A moment (UTC) from "2026-03-01 12:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def short(notification: Notification) -> str:
    """Such as "Start N 2026-02-01", and "Fra 7 N 2026-02-10" for a pause."""
    subject = f" {notification.pause_id}" if notification.pause_id is not None else ""
    return f"{_SHORT[notification.event]}{subject} {notification.status.value} {notification.content.on}"


@dataclass(frozen=True)
class Outcome:
    """What a transaction, a day or an examination brought."""

    notifications: tuple[Notification, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        return [short(one) for one in self.notifications]

    @property
    def by_service(self) -> list[str]:
        return [f"{one.service_id}: {short(one)}" for one in self.notifications]

    @property
    def only(self) -> Notification:
        (one,) = self.notifications
        return one

    def category(self) -> str:
        """The one category of a transaction of one change."""
        names = [name for name in ("reported", "parked", "held", "nothing_to_report") if self.counts.get(name)]
        assert len(names) == 1, dict(self.counts)
        return names[0]


@cache
def read_mapping(text: str) -> EpjMapping:
    """A mapping from the text of a mapping file; the demo's for an empty one. Its faults fail the test."""
    if not text:
        mapping, _, faults = load_mapping(DEMO_MAPPING)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mapping.yaml"
            path.write_text(text)
            mapping, _, faults = load_mapping(path)
    assert mapping is not None, faults
    return mapping


class World:
    """A reporting unit with an open gate, an empty ledger and a source that the test writes.

    `now` is the moment of every look; `today` follows from it. Rows keep what was last put, so that a test names only
    the columns that change. A version is given to each change unless the test says otherwise.
    """

    def __init__(
        self,
        mapping: str = "",
        *,
        now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC),
        seed: bool = True,
        gate_open: bool = True,
        name: str = "prove",
        fictitious_names: Sequence[str] = ("Donald Duck",),
        limits: GateLimits | None = None,
        settle: timedelta | None = None,
        **rules: Any,
    ) -> None:
        self.now = now
        self.ledger = Ledger.open(":memory:", unit=name, key=None, clock=lambda: self.now)
        names = frozenset(one.casefold() for one in fictitious_names)
        self.unit = ReportingUnit(
            name=name,
            mapping=read_mapping(mapping),
            rules=Rules(**{"profile": Profile.TEST, "service_types": _SERVICE_TYPES, **rules}),
            digest="first",
            secret=self.ledger.unit_secret,
            limits=limits or GateLimits(1.0, 1_000),
            settle=settle or timedelta(0),
            fictitious_name=lambda name: name.strip().casefold() in names,
        )
        self.booking = Booking(self.unit)
        self.rows: dict[str, dict[str, dict[str, Value]]] = {}
        self.register = RegisterModel(dated_providers=self.unit.mapping.placements is not None)
        self.chain: list[Notification] = []
        self._line = 0
        self._version = 0
        if gate_open:
            self.ledger.run_now(lambda tx: open_gate(tx, self.unit))
        self.ledger.run_now(lambda tx: notice_rules(tx, self.unit))
        if seed and not mapping:
            self.seed()

    # -- what happens in the EPJ --------------------------------------------------------------------------------

    def seed(self) -> None:
        """The persons 1 to 3 and the units 1 to 3 (A, B, C)."""
        persons = [self.change("bruker", key, fnr=number) for key, number in ((1, OLA), (2, KARI), (3, PER))]
        units = [self.change("enhet", key, orgnr=number) for key, number in ((1, A), (2, B), (3, C))]
        self.together(*persons, *units)

    def put(self, table: str, key: Value, **columns: Any) -> Outcome:
        """One transaction that makes or changes one row: `put("tjeneste", 10, slutt_dato=d("02-20"))`."""
        return self.together(self.change(table, key, **columns))

    def delete(self, table: str, key: Value, **options: Any) -> Outcome:
        """One transaction that deletes one row."""
        return self.together(self.deletion(table, key, **options))

    def change(
        self,
        table: str,
        key: Value,
        *,
        version: int | None = None,
        committed_at: datetime | None = None,
        **columns: Any,
    ) -> Change:
        """The change that makes the row what it was, with these columns."""
        name, described = self._table(table)
        kept = self.rows.setdefault(name, {})
        names = set(described.columns) | set(described.key) | self._name_columns(name)
        before = kept.get(repr(key)) or {**dict.fromkeys(names), **_DEFAULTS.get(table, {}), described.key[0]: key}
        unknown = set(columns) - names
        assert not unknown, f"{name} has no {unknown}"
        row = {**before, **columns}
        kept[repr(key)] = row
        at_ = committed_at or self.now
        return Change(name, Operation.UPSERT, {c: row[c] for c in described.key}, row, self._next(version), at_)

    def deletion(
        self, table: str, key: Value, *, version: int | None = None, committed_at: datetime | None = None
    ) -> Change:
        """The change that deletes the row."""
        name, described = self._table(table)
        self.rows.get(name, {}).pop(repr(key), None)
        return Change(
            name,
            Operation.DELETE,
            {described.key[0]: key},
            None,
            self._next(version),
            committed_at or self.now,
        )

    def together(self, *records: Record, final: bool = True, scan: Scan | None = None) -> Outcome:
        """One transaction of the source with these records. Raises what booking raises, with nothing booked."""
        self._line += 1
        position = Position("world", {"line": (self._line,)})
        transaction = Transaction(tuple(records), position, final=final, seen_through=self.now, scan=scan)
        before, booking = len(self.chain), self.booking.remembered()
        booked = self.ledger.run_now(lambda tx: booking.book(tx, transaction, self.now))
        self.booking = booking
        self._take()
        counts = {name: by for name, by in booked.counts.items() if by}
        parts = ("reported", "parked", "held", "nothing_to_report")
        assert counts.get("changes", 0) == sum(counts.get(part, 0) for part in parts)
        assert counts.get("lines", 0) == sum(counts.get(part, 0) for part in ("changes", "ignored", "unreadable"))
        return Outcome(tuple(self.chain[before:]), counts)

    def unreadable(self) -> Outcome:
        return self.together(Unreadable("line 1", "it is no JSON", b"{"))

    def ignored(self) -> Outcome:
        return self.together(Ignored("a tombstone"))

    # -- what happens around it ---------------------------------------------------------------------------------

    def day(self, day: str) -> Outcome:
        """Noon (UTC) of a day, after the source has shown progress; what the days that came brought."""
        before = len(self.chain)
        self.now = datetime.combine(d(day), time(12), tzinfo=UTC)
        self.ledger.run_now(lambda tx: tx.set_seen_through(self.now))
        while self.ledger.run_now(lambda tx: examine_planned(tx, self.unit, self.now, limit=100)) is not None:
            pass
        self._take()
        return Outcome(tuple(self.chain[before:]))

    def look_again(self) -> Outcome:
        """Everything that is known is examined again."""
        self.ledger.run_now(lambda tx: tx.mark_all_due("a test"))
        return self.examine()

    def examine(self, *, approved: bool = False) -> Outcome:
        """What is due is examined, to the end."""
        before = len(self.chain)
        due = -1
        while due != (due := self.ledger.read(lambda tx: tx.count_due())) and due:
            self.ledger.run_now(lambda tx: examine_due(tx, self.unit, self.now, limit=1_000, approved=approved))
        self._take()
        return Outcome(tuple(self.chain[before:]))

    def restart(
        self, *, mapping: str | None = None, digest: str = "second", apply: bool = True, **rules: Any
    ) -> Outcome:
        """The program starts again with other rules, and a person applies what it would send (unless told not to)."""
        self.unit = replace(
            self.unit,
            mapping=self.unit.mapping if mapping is None else read_mapping(mapping),
            rules=replace(self.unit.rules, **rules),
            digest=digest,
        )
        self.booking = Booking(self.unit)
        self.ledger.run_now(lambda tx: notice_rules(tx, self.unit))
        if apply:
            self.ledger.run_now(lambda tx: open_gate(tx, self.unit))
        return self.examine(approved=apply)

    # -- what is seen -------------------------------------------------------------------------------------------

    @property
    def today(self) -> date:
        return self.now.astimezone(NORWAY).date()

    def findings(self, service: str | None = "10") -> list[Finding]:
        """The findings of one service as they stand, by rule."""
        found = self.ledger.read(lambda tx: [finding for finding, _ in tx.findings_of(service)])
        return sorted(found, key=lambda finding: (finding.rule, finding.text))

    def rules_found(self, service: str | None = "10") -> list[str]:
        """Such as ["Q02 block"]."""
        return [f"{finding.rule} {finding.severity.value}" for finding in self.findings(service)]

    def text(self, rule: str, service: str | None = "10") -> str:
        """The text of the one finding of that rule."""
        (text,) = [finding.text for finding in self.findings(service) if finding.rule == rule]
        return text

    def parked(self, service: str = "10") -> bool:
        return any(finding.severity is Severity.BLOCK for finding in self.findings(service))

    def held(self, service: str = "10") -> bool:
        return any(finding.severity is Severity.HOLD for finding in self.findings(service))

    def standing(self, service: str = "10") -> list[str]:
        """What stands for a service, as the register model sees it, such as "TjenesteStart 2026-02-01"."""
        held = self.register.picture.get(service, {})
        return sorted(f"{event} {told.on}" for (event, _), told in held.items())

    def counters(self) -> Counter[str]:
        return Counter(self.ledger.read(lambda tx: tx.counters()))

    # -- inside -------------------------------------------------------------------------------------------------

    def _table(self, table: str) -> tuple[str, Any]:
        tables = self.unit.mapping.tables
        name = table if table in tables else f"public.{table}"
        return name, tables[name]

    def _name_columns(self, table: str) -> set[str]:
        return set(self.unit.mapping.person.name) if table == self.unit.mapping.person_table else set()

    def _next(self, version: int | None) -> Version | None:
        if version == -1:
            return None
        if version is None:
            self._version += 1
            version = self._version
        return Version(EPOCH, (version,))

    def _take(self) -> None:
        end = self.ledger.read(lambda tx: tx.chain_end())
        last = end[0] if end is not None else 0
        first = len(self.chain) + 1
        if last >= first:
            stored = self.ledger.read(lambda tx: [one.notification for one in tx.notifications(first, last)])
            self.register.replay(stored)
            self.chain.extend(stored)
