"""Raw values of a change to values of a column's kind (connectors/wire/values.py)."""

import base64
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from connectors.source import Column, Encoding, Infinity, Kind, Missing, Undecodable, Value
from connectors.wire.values import Semantic, decode_value

DEBEZIUM = "io.debezium.time."
CONNECT = "org.apache.kafka.connect.data."
INT64 = 9_223_372_036_854_775_807


def decoded(
    raw: object, kind: Kind, *, schema: str | None = None, scale: int | None = None,
    encoding: Encoding | None = None, connector: str = "",
) -> Value:  # fmt: skip
    semantic = None if schema is None else Semantic(schema, scale)
    return decode_value(raw, Column("c", kind, encoding), semantic, connector)


@pytest.mark.parametrize("kind", Kind)
def test_null_is_null_and_unchanged_toast_is_unavailable(kind: Kind) -> None:
    placeholder = "__debezium_unavailable_value"
    assert decoded(None, kind) is None
    for raw in (
        placeholder,
        base64.b64encode(placeholder.encode()).decode(),
        placeholder.encode().hex(),
        [placeholder],
        list(placeholder.encode()),
        {placeholder: placeholder},
    ):
        assert decoded(raw, kind) is Missing.UNAVAILABLE


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("cc   ", "cc"),
        ("  cc", "  cc"),
        ("", ""),
        (12, "12"),
        (2**60 + 1, str(2**60 + 1)),
        (Decimal("12.00"), "12"),
        (Decimal("1.50"), "1.5"),
        (Decimal("-0.010"), "-0.01"),
        (Decimal("1E+3"), "1000"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ("0B5C4F6E-1111-4222-8333-ABCDEF556666", "0b5c4f6e-1111-4222-8333-abcdef556666"),
        ("0B5C4F6E111142228333ABCDEF556666", "0B5C4F6E111142228333ABCDEF556666"),
        ({"scale": 2, "value": "MDk="}, "123.45"),
        ("MDk=", "MDk="),
    ],
)
def test_text(raw: object, text: str) -> None:
    assert decoded(raw, Kind.TEXT) == text


def test_text_by_its_schema() -> None:
    assert decoded("MDk=", Kind.TEXT, schema=CONNECT + "Decimal", scale=2) == "123.45"
    assert decoded("ABCDEF", Kind.TEXT, schema="io.debezium.data.Uuid") == "abcdef"
    assert decoded("Aktiv", Kind.TEXT, schema="io.debezium.data.Enum") == "Aktiv"


@pytest.mark.parametrize("raw", ["a\x00b", "a\ud800", ["a"], {"a": 1}, Decimal("NaN"), Decimal("1E+999999")])
def test_text_that_cannot_be_read(raw: object) -> None:
    assert isinstance(decoded(raw, Kind.TEXT), Undecodable)


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (2**63 + 1, 2**63 + 1),
        ("42", 42),
        (" 42 ", 42),
        ("-7", -7),
        ("5.00", 5),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        (Decimal("7.0"), 7),
        (Decimal("0E-10"), 0),
        (7.0, 7),
        (True, 1),
        ({"scale": 0, "value": "AP8="}, 255),
        ({"scale": -2, "value": "AQ=="}, 100),
    ],
)
def test_integer(raw: object, number: int) -> None:
    value = decoded(raw, Kind.INTEGER)
    assert (value, type(value)) == (number, int)


def test_integer_by_its_schema() -> None:
    assert decoded("/w==", Kind.INTEGER, schema=CONNECT + "Decimal", scale=0) == -1
    assert decoded("1234", Kind.INTEGER, schema=CONNECT + "Decimal", scale=0) == -2658824
    assert isinstance(decoded("MDk=", Kind.INTEGER, schema=CONNECT + "Decimal", scale=2), Undecodable)
    assert isinstance(decoded("MDk=", Kind.INTEGER, schema=CONNECT + "Decimal"), Undecodable)
    assert isinstance(decoded("?", Kind.INTEGER, schema=CONNECT + "Decimal", scale=0), Undecodable)


@pytest.mark.parametrize(
    "raw", ["", "x", "1.5", "1e5", "٣", Decimal("1.5"), Decimal("1E+5000"), 1.5, [1], {"scale": 1}, "9" * 101, "NAN"]
)
def test_integer_that_cannot_be_read(raw: object) -> None:
    assert isinstance(decoded(raw, Kind.INTEGER), Undecodable)


DAY = date(2026, 3, 29)


@pytest.mark.parametrize(
    "raw", ["2026-03-29", "2026-03-29Z", "2026-03-29T00:00:00", "2026-03-29 13:45:30.1234567", "2026-03-29T00:00:00Z"]
)
def test_date_from_text(raw: str) -> None:
    assert decoded(raw, Kind.DATE) == DAY


@pytest.mark.parametrize(
    ("raw", "schema"),
    [
        (20541, DEBEZIUM + "Date"),
        (20541, CONNECT + "Date"),
        ("2026-03-29Z", DEBEZIUM + "IsoDate"),
        (20541 * 86_400_000, DEBEZIUM + "Timestamp"),
        (20541 * 86_400_000 + 5, CONNECT + "Timestamp"),
        (20541 * 86_400_000_000, DEBEZIUM + "MicroTimestamp"),
        (20541 * 86_400_000_000_000, DEBEZIUM + "NanoTimestamp"),
        ("2026-03-29T00:00:00Z", DEBEZIUM + "IsoTimestamp"),
    ],
)
def test_date_by_its_schema(raw: object, schema: str) -> None:
    assert decoded(raw, Kind.DATE, schema=schema) == DAY
    assert decoded(raw, Kind.DATE, schema=schema, encoding=Encoding.SECONDS) == DAY, "the schema comes before encodings"


@pytest.mark.parametrize("connector", ["postgresql", "mysql", "mariadb", "db2", "sqlserver"])
def test_a_number_is_days_where_the_connector_has_no_other_form(connector: str) -> None:
    assert decoded(20541, Kind.DATE, connector=connector) == DAY


@pytest.mark.parametrize("connector", ["oracle", ""])
def test_a_number_is_nothing_where_the_connector_has_several(connector: str) -> None:
    value = decoded(20541, Kind.DATE, connector=connector)
    assert isinstance(value, Undecodable)
    assert "encodings" in value.why
    assert decoded(20541, Kind.DATE, connector=connector, encoding=Encoding.DAYS) == DAY


def test_the_encoding_comes_before_the_connector() -> None:
    milliseconds = 20541 * 86_400_000
    assert decoded(milliseconds, Kind.DATE, connector="postgresql", encoding=Encoding.MILLISECONDS) == DAY


@pytest.mark.parametrize(
    ("raw", "schema"),
    [
        ("2026-03-29T13:45:30Z", None),
        ("2026-03-29T00:00:00Z", DEBEZIUM + "ZonedTimestamp"),
        ("2026-03-29T00:00:00+01:00", None),
        ("2026-03-29+01:00", None),
        ("2026-02-30", None),
        ("29.03.2026", None),
        ("20260329", None),
        ("2026-W13-7", None),
        ("", None),
        (1.5, None),
        (True, None),
        (2_932_897, DEBEZIUM + "Date"),
        (-719_163, DEBEZIUM + "Date"),
        ("+12345-01-01Z", None),
        ("-0043-03-15Z", None),
        ("0000-01-01", None),
    ],
)
def test_dates_that_cannot_be_read(raw: object, schema: str | None) -> None:
    assert isinstance(decoded(raw, Kind.DATE, schema=schema, connector="postgresql"), Undecodable)


def test_the_last_day_stays_a_date() -> None:
    assert decoded(2_932_896, Kind.DATE, connector="postgresql") == date(9999, 12, 31)
    assert decoded("9999-12-31Z", Kind.DATE) == date(9999, 12, 31)


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        ("infinity", Infinity.PLUS),
        ("-infinity", Infinity.MINUS),
        ("Infinity", Infinity.PLUS),
        (-622191234, Infinity.PLUS),
        (2146033979, Infinity.PLUS),
        (-625821272, Infinity.MINUS),
        (-2147472691, Infinity.MINUS),
        ("+292278994-08-16Z", Infinity.PLUS),
        ("+292269055-12-02Z", Infinity.MINUS),
        ("+5877611-06-21Z", Infinity.PLUS),
        ("-5877611-06-22Z", Infinity.MINUS),
    ],
)
def test_open_ends_of_dates(raw: object, end: Infinity) -> None:
    assert decoded(raw, Kind.DATE, connector="postgresql") is end


@pytest.mark.parametrize("encoding", [None, Encoding.MILLISECONDS, Encoding.MICROSECONDS])
@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (INT64, Infinity.PLUS),
        (-INT64 - 1, Infinity.MINUS),
        (9223372036825200000, Infinity.PLUS),
        (-9223372036832400000, Infinity.MINUS),
        ("+292278994-08-16T23:00:00Z", Infinity.PLUS),
        ("-292275055-05-16T23:00:00Z", Infinity.MINUS),
        ("infinity", Infinity.PLUS),
        ("-infinity", Infinity.MINUS),
    ],
)
def test_open_ends_of_timestamps(raw: object, end: Infinity, encoding: Encoding | None) -> None:
    assert decoded(raw, Kind.TIMESTAMP, encoding=encoding) is end


CLOCK = datetime(2026, 3, 29, 13, 45, 30, 123456)  # noqa: DTZ001  wall-clock time has no zone


@pytest.mark.parametrize(
    ("raw", "schema", "encoding"),
    [
        ("2026-03-29T13:45:30.123456Z", None, None),
        ("2026-03-29 13:45:30.123456", None, None),
        ("2026-03-29T13:45:30.1234569Z", DEBEZIUM + "IsoTimestamp", None),
        (1774791930123456, DEBEZIUM + "MicroTimestamp", None),
        (1774791930123456789, DEBEZIUM + "NanoTimestamp", None),
        (1774791930123456, None, Encoding.MICROSECONDS),
        (1774791930123456789, None, Encoding.NANOSECONDS),
    ],
)
def test_timestamp(raw: object, schema: str | None, encoding: Encoding | None) -> None:
    assert decoded(raw, Kind.TIMESTAMP, schema=schema, encoding=encoding) == CLOCK


def test_timestamp_before_1970_and_in_milliseconds() -> None:
    assert decoded(-1, Kind.TIMESTAMP, schema=DEBEZIUM + "Timestamp") == datetime(1969, 12, 31, 23, 59, 59, 999000)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("raw", "schema", "connector"),
    [
        (1774791930123456, None, "postgresql"),
        ("2026-03-29T13:45:30Z", DEBEZIUM + "ZonedTimestamp", ""),
        ("2026-03-29T13:45:30+02:00", None, ""),
        ("2026-03-29T24:00:00", None, ""),
        ("2026-03-29T13:61:00", None, ""),
        (10**17, DEBEZIUM + "Timestamp", ""),
    ],
)
def test_timestamps_that_cannot_be_read(raw: object, schema: str | None, connector: str) -> None:
    assert isinstance(decoded(raw, Kind.TIMESTAMP, schema=schema, connector=connector), Undecodable)


@pytest.mark.parametrize(
    ("raw", "schema", "encoding"),
    [
        ("2026-03-29T11:45:30.123456Z", DEBEZIUM + "ZonedTimestamp", None),
        ("2026-03-29T13:45:30.123456+02:00", None, None),
        ("2026-03-29 13:45:30.123456+02", None, None),
        ("2026-03-29T13:45:30.123456+0200", None, None),
        ("2026-03-29T07:15:30.123456-04:30", None, None),
        (1774784730123456, None, Encoding.MICROSECONDS),
    ],
)
def test_instant(raw: object, schema: str | None, encoding: Encoding | None) -> None:
    assert decoded(raw, Kind.INSTANT, schema=schema, encoding=encoding) == datetime(
        2026, 3, 29, 11, 45, 30, 123456, UTC
    )


@pytest.mark.parametrize(
    ("raw", "schema"),
    [
        ("2026-03-29T13:45:30", None),
        ("2026-03-29", None),
        (1774784730123, None),
        (1774784730123, DEBEZIUM + "Timestamp"),
        ("2026-03-29T13:45:30Z", DEBEZIUM + "IsoTimestamp"),
        ("9999-12-31T23:59:59-05:00", None),
    ],
)
def test_instants_that_cannot_be_read(raw: object, schema: str | None) -> None:
    assert isinstance(decoded(raw, Kind.INSTANT, schema=schema), Undecodable)


def test_no_reason_quotes_the_value() -> None:
    for kind in Kind:
        for raw in ("hemmelig\x00", "hemmelig", ["hemmelig"], {"hemmelig": 1}, 12345.25):
            value = decoded(raw, kind)
            if isinstance(value, Undecodable):
                assert "hemmelig" not in value.why
                assert "12345" not in value.why
