"""Moments as the ledger's clear columns hold them: microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """The moment as a number, exact. A datetime without a zone is a fault of the program: ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def microseconds_or_none(moment: datetime | None) -> int | None:
    """The same, where there may be none."""
    return None if moment is None else microseconds(moment)


def moment(number: int) -> datetime:
    """The moment of a number, aware, in UTC."""
    return _EPOCH + timedelta(microseconds=number)


def moment_or_none(number: int | None) -> datetime | None:
    """The same, where there may be none."""
    return None if number is None else moment(number)
