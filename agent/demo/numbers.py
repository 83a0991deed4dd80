"""Checksums of domain.md section 6, written a second time and apart from agent/domain/identifiers.py.

The demo judges the agent by them, so they must not be the agent's own.
"""

from typing import Final

_K1: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
_K2: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
_DUF: Final = (4, 6, 3, 2, 4, 6, 3, 2, 7, 5)
_ORGANISATION: Final = (3, 2, 7, 6, 5, 4, 3, 2, 1)
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def right_identity(number: str | None, number_type: str) -> bool:
    """Whether a number of a type of code system 9032 is right: checksum for 1, 2, 3 and 10, else present and short."""
    if not number or not number.strip():
        return False
    if number_type == "10":
        return _digits(number, 12) and _sum(number[:10], _DUF) % 11 == int(number[10:])
    if number_type not in ("1", "2", "3"):
        return len(number) <= 20
    if not _digits(number, 11):
        return False
    day, month = int(number[:2]) % 40, int(number[2:4]) % 40
    if not 1 <= month <= 12 or not 1 <= day <= _MONTH_DAYS[month - 1]:
        return False
    # Numbers issued from 2032 on may leave 0 to 3 in the first sum.
    return _sum(number[:10], _K1) % 11 in (0, 1, 2, 3) and _sum(number, _K2) % 11 == 0


def right_organisation(number: str | None) -> bool:
    """Whether an organisation number is right: nine digits, in range, check digit, and not 999999999."""
    if number is None or not _digits(number, 9) or number == "999999999" or int(number) < 810_000_000:
        return False
    return _sum(number, _ORGANISATION) % 11 == 0


def _digits(text: str, length: int) -> bool:
    return len(text) == length and all(character in "0123456789" for character in text)


def _sum(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
