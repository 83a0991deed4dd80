"""Numbers of people, organisations and municipalities: are they right, and of which series?

Every function is pure and returns a reason that quotes nothing. Digits are ASCII digits; text is taken as it stands,
so a caller trims first. Sources: Skatteetaten's rules for fodselsnummer and D-nummer with the check digits valid from
2032, UDI's DUF-nummer, Bronnoysundregistrene's organisation number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from agent.domain.codes import (
    D_NUMBER,
    DUF_NUMBER,
    FELLES_HJELPENUMMER,
    FODSELSNUMMER,
    H_NUMBER,
)
from agent.domain.message_text import text_problem

MAX_IDENTITY_LENGTH: Final = 20
"""`fid` in characters: the receiver's own limit."""

_FIRST_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2)
_SECOND_WEIGHTS: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_DUF_WEIGHTS: Final = (4, 6, 3, 2, 4, 6, 3, 2, 7, 5)
_ORGANISATION_WEIGHTS: Final = (3, 2, 7, 6, 5, 4, 3, 2)
_CHECKED_AS_FODSELSNUMMER: Final = frozenset({FODSELSNUMMER, D_NUMBER, H_NUMBER})

_D_DAY: Final = 40  # added to the day
_DOLLY_MONTH: Final = 40  # added to the month, by H-nummer too
_TENOR_MONTH: Final = 80
_LOWEST_ORGANISATION_NUMBER: Final = 810_000_000
_PASSES_THE_CHECKSUM_BUT_IS_NOBODY: Final = "999999999"
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_ELEVEN_DIGITS: Final = re.compile(r"(?<!\d)(\d{6})[ -]?(\d{5})(?!\d)", re.ASCII)
_TWELVE_DIGITS: Final = re.compile(r"(?<!\d)\d{12}(?!\d)", re.ASCII)


class Problem(StrEnum):
    """Why an identity number is refused, in words for a caseworker that quote nothing of it."""

    MISSING = "the number is missing"
    TOO_LONG = "the number is longer than 20 characters"
    NOT_DIGITS = "the number holds something other than digits"
    LENGTH = "the number has too few or too many digits for its type"
    DATE = "the number's first six digits are no date"
    CHECK_DIGITS = "the number's check digits are wrong"
    NOT_WRITABLE = "the number holds a character that a message cannot hold"


@dataclass(frozen=True, slots=True)
class IdentityNumber:
    """A person's number that shows itself in no repr, string or format; `reveal` is the only way out."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The number as text. Call it where it is written into a message or compared, never where it is logged."""
        return self._text

    def __str__(self) -> str:
        return "IdentityNumber()"


def check_number(text: str, identity_type: str) -> Problem | None:
    """What is wrong with a number of a type of code system 9032, or None.

    Types 1, 2 and 3 share one rule: 11 digits, a date (whatever its series) and two check digits; which of the three
    it is, is not judged. Type 10 has its own checksum. Any other type need only be there and fit `fid`.
    """
    if not text.strip():
        return Problem.MISSING
    if identity_type in _CHECKED_AS_FODSELSNUMMER:
        return _problem_of_eleven(text)
    if identity_type == DUF_NUMBER:
        return _problem_of_duf(text)
    if len(text) > MAX_IDENTITY_LENGTH:
        return Problem.TOO_LONG
    return Problem.NOT_WRITABLE if text_problem(text, MAX_IDENTITY_LENGTH) else None


def is_synthetic(text: str, identity_type: str) -> bool:
    """Whether a right number belongs to a synthetic series, so that nobody bears it.

    Tenor (month + 80) shows in the digits alone. Dolly (month + 40) shares its digits with H-nummer, so it counts only
    where the type is 1 or 2. A number with wrong check digits is wrong, not synthetic: it may be a typing error.
    """
    if _problem_of_eleven(text) is not None:
        return False
    offset = _month_offset(int(text[2:4]))
    return offset == _TENOR_MONTH or (offset == _DOLLY_MONTH and identity_type in {FODSELSNUMMER, D_NUMBER})


def type_from_digits(text: str) -> str:
    """The type of code system 9032 that a number's form suggests, where the EPJ names none."""
    if _is_digits(text, 12):
        return DUF_NUMBER
    if _is_digits(text, 11) and text[0] in "89":
        return FELLES_HJELPENUMMER
    if _is_digits(text, 11) and text[0] in "4567":
        return D_NUMBER
    return FODSELSNUMMER


def looks_like_identity_number(text: str) -> bool:
    """Whether the text holds a person's number of any kind whose check digits are right.

    Fodselsnummer, D, H, synthetic, felles hjelpenummer, DUF; among other text too, but not inside a UUID. Used to
    refuse a row key that is one, because keys are sent as they stand.
    """
    rest = _UUID.sub("|", text)
    elevens = (match[1] + match[2] for match in _ELEVEN_DIGITS.finditer(rest))
    if any(_problem_of_eleven(digits) is None or _is_felles_hjelpenummer(digits) for digits in elevens):
        return True
    return any(_problem_of_duf(match[0]) is None for match in _TWELVE_DIGITS.finditer(rest))


def organisation_number_problem(text: str | None) -> str | None:
    """Why a provider's organisation number is refused, or None. The reason quotes nothing."""
    if text is None or not text.strip():
        return "the organisation number is missing"
    if not _is_digits(text, 9):
        return "the organisation number is not nine digits"
    if text == _PASSES_THE_CHECKSUM_BUT_IS_NOBODY:
        return "the organisation number is 999999999, which stands for nobody"
    if int(text) < _LOWEST_ORGANISATION_NUMBER:
        return "the organisation number is below 810000000"
    if _organisation_check_digit(text[:8]) != text[8]:
        return "the organisation number's check digit is wrong"
    return None


def kommunenummer_problem(text: str) -> str | None:
    """Why a kommunenummer is refused, or None: four digits, as text, not 0000."""
    if not _is_digits(text, 4) or text == "0000":
        return "a kommunenummer is four digits, written as text"
    return None


def her_id_problem(text: str) -> str | None:
    """Why a HER-id is refused, or None: a plain positive integer of at most nine digits without leading zeros."""
    if not (text.isascii() and text.isdigit()) or text.startswith("0") or len(text) > 9:
        return "a HER-id is a plain positive integer"
    return None


def tenor_number(birth: date, serial: int, *, d_number: bool = False) -> str | None:
    """A synthetic number of the Tenor series for tests and the demo, or None where no check digits exist for it.

    `serial`, 0 to 999, gives the three digits behind the date; they are not tied to the century of birth.
    """
    if not 0 <= serial <= 999:
        raise ValueError("serial is 0 to 999")
    day = birth.day + (_D_DAY if d_number else 0)
    stem = f"{day:02}{birth.month + _TENOR_MONTH:02}{birth.year % 100:02}{serial:03}"
    first = (11 - _weighted(stem, _FIRST_WEIGHTS)) % 11
    second = (11 - _weighted(f"{stem}{first}", _SECOND_WEIGHTS)) % 11 if first < 10 else 10
    return f"{stem}{first}{second}" if first < 10 and second < 10 else None


def made_up_organisation_number(serial: int) -> str | None:
    """An organisation number that passes its rules, for tests and the demo, or None where no check digit exists.

    `serial` is 0 to 18,999,999. It may coincide with a registered number: never send one outside a test.
    """
    if not 0 <= serial <= 18_999_999:
        raise ValueError("serial is 0 to 18999999")
    stem = f"{81_000_000 + serial}"
    digit = _organisation_check_digit(stem)
    number = f"{stem}{digit}"
    return None if digit is None or number == _PASSES_THE_CHECKSUM_BUT_IS_NOBODY else number


def _problem_of_eleven(text: str) -> Problem | None:
    if not (text.isascii() and text.isdigit()):
        return Problem.NOT_DIGITS
    if len(text) != 11:
        return Problem.LENGTH
    if not _has_date(text):
        return Problem.DATE
    return None if _check_digits_right(text) else Problem.CHECK_DIGITS


def _problem_of_duf(text: str) -> Problem | None:
    if not (text.isascii() and text.isdigit()):
        return Problem.NOT_DIGITS
    if len(text) != 12:
        return Problem.LENGTH
    return None if _weighted(text[:10], _DUF_WEIGHTS) == int(text[10:]) else Problem.CHECK_DIGITS


def _is_felles_hjelpenummer(text: str) -> bool:
    return text[0] in "89" and _check_digits_right(text)


def _check_digits_right(text: str) -> bool:
    # From 2032 the first check digit may leave 0, 1, 2 or 3; digits do not tell when a number was issued,
    # so all four are right for every number. The second is unchanged.
    first_left = (_weighted(text[:9], _FIRST_WEIGHTS) + int(text[9])) % 11
    second_left = (_weighted(text[:10], _SECOND_WEIGHTS) + int(text[10])) % 11
    return first_left in {0, 1, 2, 3} and second_left == 0


def _has_date(text: str) -> bool:
    day, month, year = int(text[:2]), int(text[2:4]), int(text[4:6])
    day -= _D_DAY if day > _D_DAY else 0
    offset = _month_offset(month)
    if offset is None:
        return False
    month -= offset
    if month == 2 and day == 29:
        return year % 4 == 0  # in one of the centuries it can belong to
    return 1 <= day <= _DAYS[month - 1]


def _month_offset(month: int) -> int | None:
    return next((offset for offset in (0, _DOLLY_MONTH, _TENOR_MONTH) if 1 <= month - offset <= 12), None)


def _organisation_check_digit(stem: str) -> str | None:
    digit = (11 - _weighted(stem, _ORGANISATION_WEIGHTS)) % 11
    return str(digit) if digit < 10 else None


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11


def _is_digits(text: str, length: int) -> bool:
    return len(text) == length and text.isascii() and text.isdigit()
