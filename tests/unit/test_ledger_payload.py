"""Payloads: every value comes back exactly as it was put."""

from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.finding import Finding, Severity
from agent.domain.notification import Content, Event, Notification, ReportedPerson, Status
from agent.domain.reported import Reported, Standing
from agent.domain.rows import KeptRow, RowVersion
from agent.ledger import payload
from agent.ledger.moments import microseconds, moment
from connectors.source import Position

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS | st.just(UTC))  # noqa: DTZ001 (hypothesis adds the zone)
DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
PLACES = st.lists(st.integers(-(2**90), 2**90), max_size=3).map(tuple)

PERSONS = st.builds(ReportedPerson, st.uuids(), TEXT, TEXT, TEXT, st.none() | TEXT)
CONTENTS = st.builds(Content, TEXT, DAYS, MOMENTS, st.none() | TEXT, PERSONS)
STANDINGS = st.builds(Standing, st.sampled_from(Event), TEXT, st.uuids(), st.integers(1, 2**60), st.uuids(), CONTENTS)
REPORTED = st.builds(
    Reported,
    TEXT,
    st.lists(STANDINGS, max_size=3).map(tuple),
    st.dictionaries(st.tuples(st.sampled_from(Event), TEXT), st.integers(1, 99), max_size=3),
    st.frozensets(TEXT, max_size=3),
    st.integers(0, 99),
)
NOTIFICATIONS = st.builds(
    Notification,
    st.integers(1, 2**60),
    st.uuids(),
    st.uuids(),
    st.none() | st.uuids(),
    st.sampled_from(Status),
    st.sampled_from(Event),
    st.uuids(),
    TEXT,
    st.none() | TEXT,
    MOMENTS,
    CONTENTS,
)
ROWS = st.builds(
    KeptRow,
    st.just("public.tjeneste"),
    TEXT,
    st.dictionaries(TEXT, st.none() | TEXT, max_size=4),
    st.dictionaries(TEXT, MOMENTS, max_size=4),
    st.none() | st.builds(RowVersion, TEXT, PLACES),
    st.booleans(),
    st.none() | TEXT,
)
QUICK = settings(max_examples=40, deadline=None)  # deadline: a loaded machine is no failure


def offsets(row: KeptRow) -> list[timedelta | None]:
    return [since.utcoffset() for since in row.since.values()]


@QUICK
@given(ROWS)
def test_rows(row: KeptRow) -> None:
    back = payload.row_from_bytes("public.tjeneste", payload.row_to_bytes(row))
    assert back == row
    assert offsets(back) == offsets(row)


@QUICK
@given(REPORTED)
def test_reported(reported: Reported) -> None:
    back = payload.reported_from_bytes(payload.reported_to_bytes(reported))
    assert back == reported
    assert type(back.standing) is tuple
    assert type(back.followed_pauses) is frozenset


@QUICK
@given(NOTIFICATIONS, st.dictionaries(TEXT, TEXT, max_size=3))
def test_notifications(notification: Notification, trace: dict[str, str]) -> None:
    back, traced = payload.notification_from_bytes(payload.notification_to_bytes(notification, trace))
    assert (back, traced) == (notification, trace)
    # The offset is written into the message, so that equal instants are not enough.
    assert back.arisen_at.isoformat() == notification.arisen_at.isoformat()
    assert back.content.registered_at.isoformat() == notification.content.registered_at.isoformat()


@QUICK
@given(TEXT, st.dictionaries(TEXT, PLACES, max_size=3), TEXT)
def test_positions(incarnation: str, place: dict[str, tuple[int, ...]], detail: str) -> None:
    position = Position(incarnation, place, detail)
    assert payload.position_from_bytes(payload.position_to_bytes(position)) == position


@QUICK
@given(TEXT, TEXT, st.binary(max_size=50))
def test_unreadable_records(place: str, why: str, raw: bytes) -> None:
    assert payload.unreadable_from_bytes(payload.unreadable_to_bytes(place, why, raw)) == (place, why, raw)


def test_findings_and_persons() -> None:
    finding = Finding("Q01", Severity.HOLD, None, "text")
    assert payload.finding_from_bytes(payload.finding_to_bytes(finding)) == finding
    for guid in (None, UUID(int=7)):
        assert payload.person_from_bytes(payload.person_to_bytes("key", guid, True)) == ("key", guid, True)


@QUICK
@given(MOMENTS)
def test_moments_are_exact_to_the_microsecond(when: datetime) -> None:
    assert moment(microseconds(when)) == when


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 (that is the point)
    row = KeptRow("t", "1", {}, {"a": naive})
    for use in (lambda: microseconds(naive), lambda: payload.row_to_bytes(row)):
        with pytest.raises(ValueError, match="without a time zone"):
            use()
