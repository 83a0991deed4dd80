"""A driver's values by the mapping's kinds, equal to what the same data gives by other ways."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from connectors.source import Column, Encoding, Infinity, Kind, Undecodable
from connectors.wire.driver_values import driver_value

OSLO = timezone(timedelta(hours=1))
NOON = datetime(2026, 1, 15, 12, 30, 0, 123456)  # noqa: DTZ001  wall-clock time
GUID = UUID("0000ABCD-0000-0000-0000-00000000000F")

GOOD = [
    (Kind.TEXT, "AKTIV", "AKTIV"),
    (Kind.TEXT, "cc   ", "cc"),
    (Kind.TEXT, "0000-00-00", "0000-00-00"),
    (Kind.TEXT, GUID, "0000abcd-0000-0000-0000-00000000000f"),
    (Kind.TEXT, str(GUID).upper(), "0000abcd-0000-0000-0000-00000000000f"),
    (Kind.TEXT, True, "true"),
    (Kind.TEXT, 17, "17"),
    (Kind.TEXT, Decimal("17.50"), "17.5"),
    (Kind.TEXT, Decimal("1E+3"), "1000"),
    (Kind.INTEGER, 2**60 + 1, 2**60 + 1),
    (Kind.INTEGER, Decimal(2**60 + 1), 2**60 + 1),
    (Kind.INTEGER, "17  ", 17),
    (Kind.INTEGER, True, 1),
    (Kind.DATE, date(2026, 1, 15), date(2026, 1, 15)),
    (Kind.DATE, NOON, date(2026, 1, 15)),
    (Kind.DATE, "2026-01-15", date(2026, 1, 15)),
    (Kind.DATE, "2026-01-15 00:00:00", date(2026, 1, 15)),
    (Kind.DATE, "infinity", Infinity.PLUS),
    (Kind.DATE, "0000-00-00", None),
    (Kind.TIMESTAMP, NOON, NOON),
    (Kind.TIMESTAMP, date(2026, 1, 15), datetime.combine(date(2026, 1, 15), time())),
    (Kind.TIMESTAMP, "2026-01-15 12:30:00.123456", NOON),
    (Kind.TIMESTAMP, "0000-00-00 00:00:00.000000", None),
    (Kind.INSTANT, NOON.replace(tzinfo=OSLO), NOON.replace(hour=11, tzinfo=UTC)),
    (Kind.INSTANT, "2026-01-15T11:30:00.1234560Z", NOON.replace(hour=11, tzinfo=UTC)),
    (Kind.INSTANT, "-infinity", Infinity.MINUS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "raw", "expected"), GOOD)
def test_values(kind: Kind, raw: object, expected: object) -> None:
    value = driver_value(raw, Column("x", kind))
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("kind", Kind)
def test_null_is_null(kind: Kind) -> None:
    assert driver_value(None, Column("x", kind)) is None


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Kind.TEXT, NOON),
        (Kind.TEXT, b"secret"),
        (Kind.TEXT, memoryview(b"secret")),
        (Kind.TEXT, {"secret": 1}),
        (Kind.TEXT, Decimal("NaN")),
        (Kind.INTEGER, date(2026, 1, 15)),
        (Kind.INTEGER, Decimal("1.5")),
        (Kind.DATE, "2026-13-01"),
        (Kind.DATE, "2026-00-00"),
        (Kind.DATE, "0044-03-15 BC"),
        (Kind.DATE, 20_000),
        (Kind.DATE, NOON.replace(tzinfo=UTC)),
        (Kind.TIMESTAMP, NOON.replace(tzinfo=UTC)),
        (Kind.TIMESTAMP, timedelta(hours=1)),
        (Kind.INSTANT, NOON),
        (Kind.INSTANT, "2026-01-15T12:30:00"),
        (Kind.INSTANT, date(2026, 1, 15)),
        (Kind.INSTANT, datetime.min.replace(tzinfo=OSLO)),
    ],
)
def test_what_is_of_another_type_is_undecodable_and_not_quoted(kind: Kind, raw: object) -> None:
    value = driver_value(raw, Column("x", kind))
    assert isinstance(value, Undecodable)
    assert "secret" not in value.why


def test_a_number_is_a_date_where_the_configuration_says_how() -> None:
    assert driver_value(20_468, Column("x", Kind.DATE, Encoding.DAYS)) == date(2026, 1, 15)
    assert driver_value(1, Column("x", Kind.INSTANT, Encoding.SECONDS)) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
