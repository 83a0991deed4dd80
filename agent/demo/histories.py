"""Lifelike care histories for the demo and the tests: seeded, so that the same arguments give the same steps.

People, units and services are made up. The steps of all of them come in one order of time, interleaved; some rows
arrive before the row that they refer to.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import chain
from operator import attrgetter
from random import Random
from typing import Final

from agent.demo import people
from agent.demo.life import ANNULLED, TYPES, Life, Surroundings
from agent.demo.mishaps import MISHAPS
from agent.demo.step import Row, RowChange, Step, deleted, inserted, updated
from agent.demo.turns import ORDINARY, Turn, annul, come_back, delete, touch

_FIRST_PERSON: Final = 2_001
_FIRST_UNIT: Final = 101
_FIRST_SERVICE: Final = 100_000
_KEYS_PER_LIFE: Final = 100
_OLDEST_YEAR: Final = 2016  # five years before the specification's cut-off
_MAX_TURNS: Final = 9


class Histories:
    """A municipality's services, told as steps.

    services: how many lives (one may pass from a service to the next, so there are a few more services);
    today: the day of the demo: every step is registered before it, planned dates lie after it;
    bad_share: how likely a turn is to be a mishap, and a person or unit to be wrong; 0.0 gives nothing to park.
    """

    def __init__(self, seed: int, services: int, today: date, *, bad_share: float = 0.05) -> None:
        self._seed = seed
        self._services = services
        self._today = today
        self._bad_share = bad_share
        self._numbers = people.Numbers(self._random("numbers"))
        bad = 7 if bad_share > 0 else 0
        units = max(4, min(40, services // 25))
        persons = max(4, services * 4 // 5)
        self._around = Surroundings(
            units=range(_FIRST_UNIT, _FIRST_UNIT + units),
            people=range(_FIRST_PERSON, _FIRST_PERSON + persons),
            bad_units=range(_FIRST_UNIT + units, _FIRST_UNIT + units + bad),
            bad_people=range(_FIRST_PERSON + persons, _FIRST_PERSON + persons + bad),
            today=today,
        )

    def steps(self) -> list[Step]:
        """Every step, in order of time; the same at each call."""
        self._numbers = people.Numbers(self._random("numbers"))
        lives = [step for number in range(self._services) for step in self._life(number)]
        first_used = _first_uses(lives)
        referred = chain(self._unit_steps(first_used), self._person_steps(first_used))
        return sorted(chain(referred, lives), key=attrgetter("at"))

    # Services

    def _life(self, number: int) -> Iterator[Step]:
        random = self._random("life", number)
        first_key = _FIRST_SERVICE + number * _KEYS_PER_LIFE
        spare = range(first_key + 1, first_key + _KEYS_PER_LIFE)
        life = Life(random, self._around, self._new_service(random, first_key, number), spare)
        moments = self._moments(random, life.start)
        life.at = moments[0]
        yield Step(life.at, "a service is registered", (life.insert_service(),))
        mending: Turn | None = None
        for life.at in moments[1:]:
            turn, mending = self._choose(life, mending)
            changes = turn(life) or touch(life)
            yield Step(life.at, turn.__name__.replace("_", " "), tuple(changes))

    def _choose(self, life: Life, mending: Turn | None) -> tuple[Turn, Turn | None]:
        """The next turn, and what will mend the mishap that is waiting for it."""
        if not life.present or life.service["status"] in ANNULLED:
            return (come_back if not life.present or life.random.random() < 0.5 else touch), mending
        if mending is not None and life.random.random() < 0.5:
            return mending, None
        if life.random.random() < self._bad_share:
            return life.random.choice(MISHAPS)
        turns, weights = zip(*ORDINARY, strict=True)
        turn: Turn = life.random.choices(turns, weights)[0]
        if mending is not None and turn in (annul, delete):
            return touch, mending
        return turn, mending

    def _new_service(self, random: Random, key: int, number: int) -> Row:
        local_type = random.choice([*TYPES, "LANG", "KORT", "KORT", "PB"])
        start = self._start(random)
        ended_early = start.year < 2021 and random.random() < 0.5
        unit = None if local_type == "BOLIG" and random.random() < 0.3 else random.choice(self._around.units)
        return {
            "tjeneste_id": key,
            "bruker_id": random.choice(self._around.people),
            "enhet_id": unit,
            "lokal_type": local_type,
            "start_dato": start,
            "slutt_dato": start + timedelta(days=random.randint(5, 300)) if ended_early else None,
            "status": "AKTIV",
            "saksnummer": f"{start.year}/{number + 1}",
            "registrert_tid": _working_hour(random, start),
            "endret_tid": _working_hour(random, start),
        }

    def _start(self, random: Random) -> date:
        kind = random.random()
        if kind < 0.08:
            return self._today + timedelta(days=random.randint(1, 60))
        if kind < 0.20:
            return date(_OLDEST_YEAR, 1, 1) + timedelta(days=random.randrange(5 * 365))
        return self._today - timedelta(days=int(random.triangular(1, 5 * 365, 60)))

    def _moments(self, random: Random, start: date) -> list[datetime]:
        """When the turns are registered: from about the start on, all before today, at least a minute apart."""
        last = self._today - timedelta(days=1)
        first = min(start + timedelta(days=random.randint(-20, 10)), last - timedelta(days=random.randint(0, 20)))
        turns = random.choices(range(_MAX_TURNS), (10, 14, 16, 16, 12, 10, 8, 8, 6))[0]
        days = [first, *(first + timedelta(days=random.randint(0, (last - first).days)) for _ in range(turns))]
        moments: list[datetime] = []
        for moment in sorted(_working_hour(random, day) for day in days):
            moments.append(max(moment, moments[-1] + timedelta(minutes=1)) if moments else moment)
        return moments

    # What services refer to

    def _unit_steps(self, first_used: dict[tuple[str, int], datetime]) -> Iterator[Step]:
        bad_numbers = iter(people.BAD_ORGANISATION_NUMBERS)
        for key in (*self._around.units, *self._around.bad_units):
            random = self._random("unit", key)
            at = self._arrival(random, first_used.get(("enhet_id", key)))
            bad = key in self._around.bad_units
            row = people.unit_row(key, next(bad_numbers) if bad else self._numbers.organisation_number(), at)
            yield Step(at, "a unit is registered", (inserted("enhet", row),))
            if random.random() < (0.3 if bad else 0.15):
                at = self._later(random, at)
                row = people.changed(row, at, orgnr=self._numbers.organisation_number())
                yield Step(at, "a unit gets another organisation number", (updated("enhet", row),))

    def _person_steps(self, first_used: dict[tuple[str, int], datetime]) -> Iterator[Step]:
        for key in (*self._around.people, *self._around.bad_people):
            random = self._random("person", key)
            at = self._arrival(random, first_used.get(("bruker_id", key)))
            row = self._bad_person(random, key, at) if key in self._around.bad_people else self._person(random, key, at)
            yield Step(at, "a person is registered", (inserted("bruker", row),))
            for later, note, change in self._person_turns(random, row, at):
                yield Step(later, note, (change,))

    def _person(self, random: Random, key: int, at: datetime) -> Row:
        """A person with a right number, a D-number, or (the sooner, the more bad data) none but a birth date."""
        born = people.birth_date(random, self._today)
        kind = random.random()
        d_number = kind < 0.05
        number: str | None = self._numbers.identity_number(born, d_number=d_number)
        if self._bad_share > 0 and kind > 1 - self._bad_share:
            number = random.choice([None, people.mistyped(str(number))])
        return people.person_row(
            key, random, number=number, number_type="D" if d_number else "F", born=born, at=at, fictitious=False
        )

    def _bad_person(self, random: Random, key: int, at: datetime) -> Row:
        """Turn about: Donald Duck, and somebody with neither number nor birth date."""
        born = people.birth_date(random, self._today)
        if key % 2:
            number = self._numbers.identity_number(born)
            return people.person_row(key, random, number=number, number_type="F", born=born, at=at, fictitious=True)
        return people.person_row(key, random, number=None, number_type="F", born=None, at=at)

    def _person_turns(self, random: Random, row: Row, at: datetime) -> Iterator[tuple[datetime, str, RowChange]]:
        born = row["fodselsdato"]
        if not isinstance(born, date) or row["fornavn"] == people.FICTITIOUS[0]:
            return
        kind = random.random()
        later = self._later(random, at)
        right = self._numbers.identity_number(born)
        if row["id_type"] == "D" or kind < 0.08:
            corrected = people.changed(row, later, fnr=right, id_type="F")
            yield later, "a person's number is corrected", updated("bruker", corrected)
        elif kind < 0.14:
            yield later, "a person moves", updated("bruker", people.changed(row, later, bydel="030103"))
        elif kind < 0.14 + self._bad_share and isinstance(number := row["fnr"], str):
            spoilt = people.changed(row, later, fnr=people.mistyped(number))
            yield later, "a person's number is spoilt", updated("bruker", spoilt)
            if random.random() < 0.5:
                mended_at = self._later(random, later)
                mended = people.changed(spoilt, mended_at, fnr=right)
                yield mended_at, "a person's number is mended", updated("bruker", mended)
        elif kind > 1 - self._bad_share / 4:
            yield later, "a person's row is deleted", deleted("bruker", row)

    # Time

    def _arrival(self, random: Random, first_used: datetime | None) -> datetime:
        """When a row comes that others refer to: mostly before its first use, now and then after it."""
        if first_used is None:
            return _working_hour(random, date(_OLDEST_YEAR, 1, 1))
        if random.random() < 0.06:
            return first_used + timedelta(minutes=random.randint(1, 120))
        return first_used - timedelta(minutes=random.randint(10, 10_000))

    def _later(self, random: Random, at: datetime) -> datetime:
        """A moment between `at` and the end of yesterday."""
        left_s = int((datetime.combine(self._today, time()) - at).total_seconds())
        return at + timedelta(seconds=random.randint(1, max(1, left_s - 1)))

    def _random(self, *parts: str | int) -> Random:
        return Random("/".join(str(part) for part in (self._seed, *parts)))


def _first_uses(steps: list[Step]) -> dict[tuple[str, int], datetime]:
    """(reference column, key) -> when a service first names it."""
    first: dict[tuple[str, int], datetime] = {}
    for step in steps:
        for change in step.changes:
            if change.table == "tjeneste" and change.row is not None:
                for column in ("bruker_id", "enhet_id"):
                    key = change.row[column]
                    if isinstance(key, int):
                        first[column, key] = min(step.at, first.get((column, key), step.at))
    return first


def _working_hour(random: Random, day: date) -> datetime:
    return datetime.combine(day, time(random.randint(7, 15), random.randrange(60), random.randrange(60)))
