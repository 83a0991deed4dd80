"""The pure parts of table_query: hours, pace, watermarks, states as positions, settings."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from connectors.source import SourceChanged, goes_backwards
from connectors.table_query.settings import QueriedTableSettings, TableQuerySettings
from connectors.table_query.state import Anchor, TableState, position_of, states_of
from connectors.table_query.timetable import Clocks, Hours, Pace, Timetable, read_hours
from connectors.table_query.watermark import RecentRows, Watermark, WatermarkKind

OSLO = ZoneInfo("Europe/Oslo")


def wall_clock(text: str) -> datetime:
    return datetime.fromisoformat(text)


def watermark(kind: WatermarkKind, *, lag_s: float = 60, numbers: int = 10, zone: ZoneInfo = OSLO) -> Watermark:
    return Watermark("tjeneste", "endret", kind, lag_s, numbers, zone)


MODIFIED = watermark(WatermarkKind.MODIFIED)
NUMBER = watermark(WatermarkKind.NUMBER)
ROWVERSION = watermark(WatermarkKind.ROWVERSION)


# -- hours and pace ---------------------------------------------------------------------------------------------------


def test_hours_go_past_midnight() -> None:
    hours = read_hours("22:00-06:00")
    assert hours == Hours(22 * 60, 6 * 60)
    open_at = [hour for hour in range(24) if hours.holds(datetime(2026, 1, 15, hour))]  # noqa: DTZ001  wall-clock
    assert open_at == [0, 1, 2, 3, 4, 5, 22, 23]
    assert read_hours("06:30-07:00").holds(wall_clock("2026-01-15T06:59:59"))
    assert not read_hours("06:30-07:00").holds(wall_clock("2026-01-15T07:00:00"))


@pytest.mark.parametrize("text", ["", "22-06", "22:00", "24:00-06:00", "22:00-22:00", "22:60-23:00"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 22:00-06:00|leave the hours out"):
        read_hours(text)


def clocks(now: Callable[[], datetime], run_s: Callable[[], float] = lambda: 0.0) -> Clocks:
    return Clocks(now, run_s)


@pytest.mark.parametrize(("now", "is_open"), [("20:59", False), ("21:00", True), ("04:59", True), ("05:00", False)])
def test_hours_are_those_of_the_zone(now: str, is_open: bool) -> None:
    moment = datetime.fromisoformat(f"2026-01-15T{now}:00+00:00")
    timetable = Timetable(read_hours("22:00-06:00"), OSLO, clocks(lambda: moment))
    assert timetable.is_open() is is_open


def test_a_scan_is_due_a_period_after_the_last_one_began() -> None:
    now = datetime(2026, 1, 15, tzinfo=UTC)
    timetable = Timetable(None, OSLO, clocks(lambda: now))
    assert timetable.is_due(3600, None)
    assert timetable.is_due(None, None)
    assert not timetable.is_due(None, now - timedelta(days=900))
    assert not timetable.is_due(3600, now - timedelta(seconds=3599))
    assert timetable.is_due(3600, now - timedelta(seconds=3600))


def test_pace_adds_up_and_forgets_what_is_past() -> None:
    run_s = [0.0]
    pace = Pace(10.0, clocks(lambda: datetime.now(UTC), lambda: run_s[0]))
    assert pace.wait_s() == 0
    pace.took(20)
    pace.took(10)
    assert pace.wait_s() == pytest.approx(3.0)
    run_s[0] = 10.0
    assert pace.wait_s() == 0
    pace.took(5)
    assert pace.wait_s() == pytest.approx(0.5)
    free = Pace(None, clocks(lambda: datetime.now(UTC)))
    free.took(10**9)
    assert free.wait_s() == 0


# -- watermarks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "last", "floor"),
    [
        (NUMBER, 100, 90),
        (NUMBER, Decimal(100), 90),
        (ROWVERSION, (258).to_bytes(8, "big"), (258).to_bytes(8, "big")),
        (MODIFIED, wall_clock("2026-01-15T12:00:30.9"), wall_clock("2026-01-15T11:59:30")),
        (MODIFIED, "2026-01-15 12:00:30.9", "2026-01-15 11:59:30"),
        (MODIFIED, "2026-01-15T12:00:30Z", "2026-01-15T11:59:30"),
        (MODIFIED, wall_clock("2026-01-15T12:00:30+01:00"), wall_clock("2026-01-15T10:59:30+00:00")),
    ],
)
def test_a_look_begins_the_lag_below_the_highest_seen_in_the_columns_own_form(
    mark: Watermark, last: object, floor: object
) -> None:
    assert mark.floor(last) == floor
    assert type(mark.floor(last)) is type(floor) or isinstance(last, Decimal)


def test_text_times_compare_as_text_with_the_floor() -> None:
    """The floor is a beginning of what the column writes in that second."""
    for written in ("2026-01-15 11:59:30", "2026-01-15 11:59:30.000", "2026-01-15 11:59:30Z"):
        assert str(MODIFIED.floor("2026-01-15 12:00:30")) <= written
    assert str(MODIFIED.floor("2026-01-15 12:00:30")) > "2026-01-15 11:59:29.999Z"


def test_an_open_end_can_be_what_a_value_is_written_like() -> None:
    assert MODIFIED.value(wall_clock("2026-01-15T12:00:30.9"), "infinity") == "2026-01-15 12:00:30"
    assert MODIFIED.value(MODIFIED.level("-infinity"), "-infinity") == "0001-01-02 00:00:00"


def test_clocks_set_back_are_read_an_hour_further_back() -> None:
    """2026-10-25, 03:00 is 02:00 again in Norway: what is written then bears an earlier time than what was seen."""
    assert MODIFIED.floor(wall_clock("2026-10-25T02:59:00")) == wall_clock("2026-10-25T01:58:00")
    assert MODIFIED.floor(wall_clock("2026-10-27T02:59:00")) == wall_clock("2026-10-27T02:58:00")
    assert MODIFIED.floor(wall_clock("2026-03-29T03:10:00")) == wall_clock("2026-03-29T03:09:00")
    in_utc = watermark(WatermarkKind.MODIFIED, zone=ZoneInfo("UTC"))
    assert in_utc.floor(wall_clock("2026-10-25T02:59:00")) == wall_clock("2026-10-25T02:58:00")


def test_a_quiet_table_has_an_empty_overlap_in_the_end() -> None:
    last = wall_clock("2026-01-15T12:00:00")
    assert MODIFIED.floor(last, quiet_s=30) == wall_clock("2026-01-15T11:59:30")
    assert MODIFIED.floor(last, quiet_s=600) == wall_clock("2026-01-15T12:09:00")
    assert NUMBER.floor(100, quiet_s=600) == 90


def test_a_time_ahead_of_the_clock_is_not_gone_on_from() -> None:
    now = datetime(2026, 1, 15, 11, tzinfo=UTC)  # 12:00 in Oslo
    assert MODIFIED.may_be_last(wall_clock("2026-01-15T12:00:00"), now)
    assert not MODIFIED.may_be_last(wall_clock("2026-01-15T12:00:01"), now)
    assert not MODIFIED.may_be_last(wall_clock("2026-01-15T11:30:00+00:00"), now)
    assert not MODIFIED.may_be_last("2026-01-15 11:30:00Z", now)
    for text in ("infinity", "-infinity", "0000-00-00 00:00:00"):
        assert not MODIFIED.may_be_last(text, now)
    assert NUMBER.may_be_last(2**60, now)


@pytest.mark.parametrize(
    ("mark", "raw"),
    [
        (MODIFIED, date(2026, 1, 15)), (MODIFIED, "2026-01-15"), (MODIFIED, "yesterday"), (MODIFIED, 5),
        (NUMBER, "5"), (NUMBER, True), (NUMBER, Decimal("1.5")), (NUMBER, 1.0),
        (ROWVERSION, b"1"), (ROWVERSION, 5),
    ],
)  # fmt: skip
def test_a_watermark_of_another_type_is_refused_and_not_quoted(mark: Watermark, raw: object) -> None:
    with pytest.raises(SourceChanged, match=r"tjeneste\.endret cannot be a watermark") as refusal:
        mark.level(raw)
    assert refusal.value.code == "KPR-156"
    assert "yesterday" not in str(refusal.value)


def test_a_row_went_back_when_its_watermark_is_lower_but_for_an_autumn_night() -> None:
    assert NUMBER.went_back(5, 4)
    assert not NUMBER.went_back(5, 5)
    assert MODIFIED.went_back(wall_clock("2026-01-15T12:00"), wall_clock("2026-01-15T11:59"))
    assert not MODIFIED.went_back(wall_clock("2026-10-25T02:59"), wall_clock("2026-10-25T02:05"))


def test_recent_rows_know_the_state_told_last_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.table_query.watermark._MOST_RECENT", 3)
    recent = RecentRows()
    assert recent.is_new("k", "a", 1)
    assert not recent.is_new("k", "a", 1)
    assert recent.is_new("k", "b", 1)
    assert recent.is_new("k", "a", 1)
    recent.forget("k")
    assert recent.is_new("k", "a", 1)
    for number in range(3):
        recent.is_new(f"other{number}", "a", 5)
    assert recent.is_new("k", "a", 1)
    recent.forget_below(5)
    assert recent.is_new("k", "a", 1)
    assert not recent.is_new("other2", "a", 5)


def test_the_newest_recent_rows_are_kept_with_the_position() -> None:
    recent = RecentRows()
    for number in range(500):
        recent.is_new(f"k{number}", "a", number)
    again = RecentRows(recent.kept())
    assert len(recent.kept()) == 100
    assert not again.is_new("k499", "a", 499)
    assert again.is_new("k1", "a", 1)


# -- positions --------------------------------------------------------------------------------------------------------


def test_a_state_outlives_its_position() -> None:
    moment = datetime(2026, 1, 15, 12, tzinfo=UTC)
    state = TableState(3, 17, is_scanning=True, after=("å", 2**70, Decimal("1.50"), UUID(int=7), b"\0\1", moment))
    state.last, state.scan_began, state.scan_began_there, state.complete_from = moment, moment, moment, moment
    state.anchor([Anchor((1,), moment), Anchor((2,), "2026-01-15 12:00:00")])
    state.recent.is_new("k", "a", None)
    position = position_of("query:x:", {"t": state})
    assert position.place == {"t": (3, 17)}
    resumed = states_of(["t", "new"], position)
    assert position_of("query:x:", {"t": resumed["t"]}) == position
    assert resumed["t"].after == state.after
    assert (resumed["new"].scan, resumed["new"].scan_began) == (0, None)
    assert not resumed["t"].recent.is_new("k", "a", None)


def test_a_new_scan_is_ahead_of_every_step_of_the_one_before() -> None:
    moment = datetime(2026, 1, 15, 12, tzinfo=UTC)
    state = TableState(1, 10**6, complete_from=moment)
    before = position_of("x", {"t": state})
    state.begin_scan(moment, moment)
    assert not goes_backwards(before, position_of("x", {"t": state}))
    assert (state.scan, state.step, state.complete_from) == (2, 0, moment)


def test_a_state_shows_no_key_in_its_repr() -> None:
    state = TableState(after=("hemmelig",), last="hemmelig", anchors=[Anchor(("hemmelig",), "hemmelig")])
    assert "hemmelig" not in repr(state)


# -- settings ---------------------------------------------------------------------------------------------------------


def settings(**keys: object) -> TableQuerySettings:
    return TableQuerySettings.model_validate_json(json.dumps({"url_file": "x", **keys}))


def test_settings_of_a_table_are_its_own_else_those_of_all() -> None:
    mark = {"watermark": {"column": "endret", "kind": "modified"}}
    chosen = settings(tables={"a": mark, "b": {"scan_every_s": 60}}, scan_every_s=None)
    assert (chosen.scans_of("a"), chosen.scans_of("b"), chosen.scans_of("c")) == (None, 60, None)
    assert chosen.tables["a"] == QueriedTableSettings.model_validate(mark)


@pytest.mark.parametrize(
    "keys",
    [
        {"sqlite_file": "y"}, {"url_file": None}, {"scan_between": "22-06"}, {"time_zone": "Norge/Oslo"},
        {"delete_after_scans": 1}, {"chunk_rows": 0}, {"rows_per_second": 0}, {"scan_every_s": 0},
        {"tables": {"a": {"watermark": {"column": "x", "kind": "hope"}}}}, {"unknown": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(**keys)


def test_a_page_is_no_more_than_what_the_pace_gives_in_ten_seconds() -> None:
    assert settings().page_rows == 500
    assert settings(rows_per_second=7).page_rows == 70
    assert settings(rows_per_second=0.01).page_rows == 1
    assert settings(rows_per_second=None, chunk_rows=10_000).page_rows == 10_000
