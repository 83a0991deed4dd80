"""What must stand in the register, worked out from the EPJ's rows by plain code of its own: the oracle.

It follows domain.md section 9 without the agent's compare and quality modules, so that the two can be held against
each other. From rows alone not every fact is certain: what is refused by a rule may stand as it stood, or not at all.
Such facts are open, with the reason, and somebody has to explain them by a finding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import Enum
from fnmatch import fnmatch
from typing import Final

from agent.demo.epj import EpjPicture
from agent.demo.numbers import right_identity, right_organisation
from agent.demo.step import Cell, Row

ANNULLED: Final = frozenset({"FEILREGISTRERT", "SLETTET"})
_FOREVER: Final = date(9999, 12, 31)
_BIRTH_DATE: Final = "9"  # code system 9032: other


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one municipality, as its file gives them to the agent. None in `service_types`: not reported."""

    service_types: Mapping[str, str | None]
    cut_off: date = date(2021, 1, 1)
    earliest: date = date(1990, 1, 1)
    latest_days_ahead: int = 730
    reported: frozenset[str] = frozenset({"18", "19", "20", "21", "29"})
    need_number: frozenset[str] = frozenset({"18", "19", "20", "21"})
    obsolete: frozenset[str] = frozenset({"12", "13"})
    number_types: Mapping[str, str] = field(default_factory=lambda: {"F": "1", "D": "2", "H": "3", "DUF": "10"})
    fictitious_names: tuple[str, ...] = ("Donald Duck",)
    fictitious_numbers: frozenset[str] = field(default=frozenset(), repr=False)


DEMO_SERVICE_TYPES: Final[Mapping[str, str | None]] = {
    "LANG": "21",
    "KORT_UTR": "18",
    "KORT_REHAB": "19",
    "KORT": "20",
    "BOLIG": "29",
    "PB": None,
}
"""The demo's local service types (config/municipalities/)."""


class Stance(Enum):
    STANDS = "stands"  # exactly as the EPJ says
    ABSENT = "absent"
    MAY_STAND = "may stand"  # as the EPJ says, or not at all
    OPEN = "open"  # as it stood, or not at all


@dataclass(frozen=True, slots=True)
class Fact:
    """One event: its stance, its date where it stands, and why where it is not certain (empty: left out, unjudged)."""

    stance: Stance
    on: date | None = None
    why: str = ""

    def unless(self, why: str) -> "Fact":
        """The same fact where `why` keeps new events back; what is to be annulled is annulled all the same."""
        return self if self.stance is Stance.ABSENT or not why else Fact(Stance.OPEN, self.on, why)


ABSENT: Final = Fact(Stance.ABSENT)
TO_COME: Final = Fact(Stance.ABSENT, None, "it is to come")


@dataclass(frozen=True, slots=True)
class Expected:
    """One service. `service_type`, `person` and `provider` are None where nothing certain can be said.

    person: `fid`, `typeID`, `brukerNr`; pauses: key -> from, to; left_out: ended before the cut-off;
    planned: its start is to come, and its other facts are not judged here.
    """

    start: Fact
    end: Fact = ABSENT
    pauses: Mapping[str, tuple[Fact, Fact]] = field(default_factory=dict)
    service_type: str | None = None
    person: tuple[str, str, str] | None = field(default=None, repr=False)
    provider: str | None = None
    provider_open: str = ""
    left_out: bool = False
    planned: bool = False

    def is_right(self) -> bool:
        """Whether it stands and no rule can have anything against it, today or on a day to come."""
        facts = [self.start, self.end, *(fact for pause in self.pauses.values() for fact in pause)]
        return self.start.stance is Stance.STANDS and not self.provider_open and not any(fact.why for fact in facts)

    def reasons(self) -> Iterator[str]:
        """Why facts of it are open: each needs a finding."""
        facts = [self.start, self.end, *(fact for pause in self.pauses.values() for fact in pause)]
        yield from (fact.why for fact in facts if fact.stance is Stance.OPEN and fact.why)
        if self.start.stance is Stance.MAY_STAND and self.start.why:
            yield self.start.why
        if self.provider_open:
            yield self.provider_open


def expected_picture(epj: EpjPicture, rules: Rules, today: date) -> dict[str, Expected]:
    """`tjenesteID` -> what must stand for it, for every service row of the EPJ, as of today (the day in Norway)."""
    pauses: dict[Cell, list[Row]] = {}
    for pause in epj.rows["pause"].values():
        pauses.setdefault(pause["tjeneste_id"], []).append(pause)
    reading = _Reading(epj, rules, today)
    return {str(key): reading.service(row, pauses.get(key, [])) for key, row in epj.rows["tjeneste"].items()}


@dataclass(frozen=True, slots=True)
class _Reading:
    epj: EpjPicture
    rules: Rules
    today: date

    def service(self, row: Row, pauses: list[Row]) -> Expected:
        start, end = _date(row["start_dato"]), _date(row["slutt_dato"])
        code = self.rules.service_types.get(str(row["lokal_type"]), "")
        if row["status"] in ANNULLED or start is None or self._withdrawn_by_type(row, code):
            return Expected(ABSENT)
        if self._in_window(start) and start > self.today:
            return Expected(ABSENT, planned=True)
        by_name = self._fictitious(row)
        if by_name == "always":
            return Expected(ABSENT)
        person = self._person(row)
        kept_back = self._why_type(code) or by_name or ("" if isinstance(person, tuple) else person)
        # The right person is sent whatever else is wrong; the right type only with a person.
        known = person if isinstance(person, tuple) and not by_name else None
        return self._facts(row, start, end, pauses, kept_back=kept_back, code=code or None, person=known)

    def _facts(
        self,
        row: Row,
        start: date,
        end: date | None,
        pauses: list[Row],
        *,
        kept_back: str,
        code: str | None,
        person: tuple[str, str, str] | None,
    ) -> Expected:
        good_start = start if self._in_window(start) else None
        good_end = end if end and self._in_window(end) and end >= (good_start or end) else None
        left_out = good_end is not None and good_end < self.rules.cut_off
        number, why_number = self._provider(row, code)
        start_fact = Fact(Stance.STANDS, start) if good_start else Fact(Stance.OPEN, None, "the start is out of time")
        if good_start and why_number:
            start_fact = Fact(Stance.MAY_STAND, start, why_number)
        if good_start and left_out:
            start_fact = replace(start_fact, stance=Stance.MAY_STAND)
        pair = {str(pause["pause_id"]): self._pause(pause, good_start, good_end) for pause in pauses}
        return Expected(
            start=start_fact.unless(kept_back),
            end=self._end(end, good_start).unless(kept_back),
            pauses={key: (begins.unless(kept_back), ends.unless(kept_back)) for key, (begins, ends) in pair.items()},
            service_type=None if kept_back else code,
            person=person,
            provider=number,
            provider_open=why_number or kept_back,
            left_out=left_out,
        )

    def _end(self, end: date | None, good_start: date | None) -> Fact:
        if end is None or (self._in_window(end) and end > self.today):
            return ABSENT
        if good_start is None or not self._in_window(end) or end < good_start:
            return Fact(Stance.OPEN, None, "the end is out of time or before the start")
        return Fact(Stance.STANDS, end)

    def _pause(self, row: Row, good_start: date | None, good_end: date | None) -> tuple[Fact, Fact]:
        begins, ends = _date(row["fra_dato"]), _date(row["til_dato"])
        if row["status"] in ANNULLED:
            return ABSENT, ABSENT
        if begins and self._in_window(begins) and begins > self.today:
            return TO_COME, TO_COME
        to_come = ends is None or (self._in_window(ends) and ends > self.today)
        inside = begins and good_start and self._in_window(begins) and good_start <= begins <= (good_end or _FOREVER)
        if not inside or begins is None:
            left_out = ends and self.rules.earliest <= ends < self.rules.cut_off and ends >= (begins or ends)
            why = "" if left_out else "the pause has no from-date, or one out of time or outside the stay"
            fact = Fact(Stance.OPEN, None, why)
            return fact, ABSENT if to_come else fact
        wrong = ends and not (self._in_window(ends) and begins <= ends <= (good_end or _FOREVER))
        over = ends is not None and not wrong and ends < self.rules.cut_off
        stance = Stance.MAY_STAND if over else Stance.STANDS
        if to_come:
            return Fact(stance, begins), ABSENT if ends is None else TO_COME
        wrong_end = Fact(Stance.OPEN, None, "the pause's end is out of time, before it begins or after the stay")
        return Fact(stance, begins), wrong_end if wrong else Fact(stance, ends)

    def _provider(self, row: Row, code: str | None) -> tuple[str | None, str]:
        """The number of the present provider and "", or None and why nothing can be said of it."""
        if row["enhet_id"] is None:
            number: str | None = None
        elif (unit := self._find("enhet", row["enhet_id"])) is None:
            return None, "the unit's row is not there"
        else:
            number = str(unit["orgnr"]).strip() if unit["orgnr"] is not None else None
        if not number:
            return None, "the organisation number is missing" if code in self.rules.need_number else ""
        return (number, "") if right_organisation(number) else (None, "the organisation number is wrong")

    def _person(self, row: Row) -> tuple[str, str, str] | str:
        """`fid`, `typeID`, `brukerNr`, or why nothing can be said of the person."""
        person = self._find("bruker", row["bruker_id"])
        if person is None:
            return "the person's row is not there"
        if self._right_number(person):
            return str(person["fnr"]), self._number_type(person), str(person["bruker_id"])
        versions = self.epj.earlier["bruker"].get(_key(person["bruker_id"]), ())
        if any(self._right_number(version) for version in versions):
            return "the person's number was right and is wrong now"
        born = person["fodselsdato"]
        if not isinstance(born, date):
            return "the person has neither a number nor a birth date"
        return born.strftime("%d%m%y"), _BIRTH_DATE, str(person["bruker_id"])

    def _fictitious(self, row: Row) -> str:
        """`always` where the service never had another person; why it is open where it had; else empty."""
        person = self._find("bruker", row["bruker_id"])
        if person is None:
            return ""
        if person["fnr"] in self.rules.fictitious_numbers:
            return "always"
        if not self._fictitious_name(person):
            return ""
        versions = self.epj.earlier["tjeneste"].get(_key(row["tjeneste_id"]), ())
        once = any(version["bruker_id"] != row["bruker_id"] for version in versions)
        return "the service moved to a fictitious person" if once else "always"

    def _fictitious_name(self, person: Row) -> bool:
        name = f"{person['fornavn']} {person['etternavn']}".casefold()
        return any(fnmatch(name, pattern.casefold()) for pattern in self.rules.fictitious_names)

    def _withdrawn_by_type(self, row: Row, code: str | None) -> bool:
        """Known and not reported; or unmapped and never anything else."""
        if code != "":
            return code not in self.rules.reported | self.rules.obsolete
        versions = self.epj.earlier["tjeneste"].get(_key(row["tjeneste_id"]), ())
        types = self.rules.service_types
        return all(types.get(str(version["lokal_type"])) not in self.rules.reported for version in versions)

    def _why_type(self, code: str | None) -> str:
        if code == "":
            return "the local type is not mapped"
        return "" if code in self.rules.reported else "the code is obsolete"

    def _right_number(self, person: Row) -> bool:
        number = person["fnr"]
        return isinstance(number, str) and right_identity(number, self._number_type(person))

    def _number_type(self, person: Row) -> str:
        return self.rules.number_types.get(str(person["id_type"]), "1")

    def _find(self, table: str, key: Cell) -> Row | None:
        return self.epj.rows[table].get(key) if isinstance(key, int) else None

    def _in_window(self, day: date) -> bool:
        return self.rules.earliest <= day <= self.today + timedelta(days=self.rules.latest_days_ahead)


def _date(cell: Cell) -> date | None:
    return cell if isinstance(cell, date) and cell != _FOREVER else None


def _key(cell: Cell) -> int:
    return cell if isinstance(cell, int) else -1
