"""Made-up people and units for the demo: numbers of the synthetic Tenor series, names that nobody bears."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from agent.demo.step import Cell, Row
from agent.domain.identifiers import made_up_organisation_number, tenor_number

FORENAMES: Final = (
    "Prøvelill",
    "Testmund",
    "Liksomine",
    "Øvelsa",
    "Attrappa",
    "Fingertina",
    "Dukkemann",
    "Papirella",
    "Syntetius",
    "Påfunna",
)
SURNAMES: Final = (
    "Synteseth",
    "Oppdiktrud",
    "Prøvestadli",
    "Testerudåsen",
    "Liksombakk",
    "Attrapphaugen",
    "Fantasnes",
    "Øvelsviken",
    "Kulissebø",
    "Papirmoen",
)
FICTITIOUS: Final = ("Donald", "Duck")
"""The name that rule 1 of domain.md section 8 is about."""

BAD_ORGANISATION_NUMBERS: Final = ("999999999", "utenbys", "reha", "", None, "123456785", "9999999990")
"""What stands where an organisation number should (rules 2 and 3)."""

_DISTRICTS: Final = (None, None, "030101", "030102", "110304")


class Numbers:
    """Numbers of one demo world; each is given once. The same random source gives the same numbers."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._given: set[str] = set()

    def identity_number(self, birth: date, *, d_number: bool = False) -> str:
        """A right synthetic number for somebody born that day, not given before."""
        while True:
            number = tenor_number(birth, self._random.randrange(1000), d_number=d_number)
            if number is not None and number not in self._given:
                self._given.add(number)
                return number

    def organisation_number(self) -> str:
        """A right, made-up organisation number, not given before."""
        while True:
            number = made_up_organisation_number(self._random.randrange(19_000_000))
            if number is not None and number not in self._given:
                self._given.add(number)
                return number


def mistyped(number: str) -> str:
    """The number with another last check digit: always wrong."""
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def birth_date(random: Random, today: date) -> date:
    """Somebody's birthday, 60 to 99 years before today."""
    return today - timedelta(days=random.randrange(60 * 365, 99 * 365))


def unit_row(key: int, number: str | None, at: datetime) -> Row:
    """A unit's row."""
    return {
        "enhet_id": key,
        "orgnr": number,
        "navn": f"Demoenhet {key}",
        "registrert_tid": at,
        "endret_tid": at,
    }


def person_row(
    key: int,
    random: Random,
    *,
    number: str | None,
    number_type: str,
    born: date | None,
    at: datetime,
    fictitious: bool = False,
) -> Row:
    """A person's row, with a name from the lists or the fictitious one."""
    forename, surname = FICTITIOUS if fictitious else (random.choice(FORENAMES), random.choice(SURNAMES))
    return {
        "bruker_id": key,
        "fnr": number,
        "id_type": number_type,
        "fodselsdato": born,
        "fornavn": forename,
        "etternavn": surname,
        "bydel": random.choice(_DISTRICTS),
        "registrert_tid": at,
        "endret_tid": at,
    }


def changed(row: Row, at: datetime, **cells: Cell) -> Row:
    """The row with other cells, changed at `at`."""
    return {**row, **cells, "endret_tid": at}


def canaries(rows: Iterator[Row]) -> frozenset[str]:
    """Every identity number and name of the persons' rows: what must be found nowhere outside the EPJ."""
    found = (row[column] for row in rows for column in ("fnr", "fornavn", "etternavn"))
    return frozenset(cell for cell in found if isinstance(cell, str) and cell)
