"""The demo's care histories: seeded, in order of time, lifelike, and wrong only where they are told to be."""

from collections import Counter
from datetime import date, datetime, time
from itertools import pairwise

import pytest

from agent.demo.debezium_lines import as_debezium, as_lines
from agent.demo.epj import picture_of
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules, expected_picture
from agent.demo.histories import Histories
from agent.demo.people import canaries, mistyped
from agent.demo.step import TABLES, Action, Step, paced, registered_now
from agent.demo.turns import ORDINARY
from agent.domain.identifiers import check_number, is_synthetic, organisation_number_problem

TODAY = date(2026, 11, 22)
RULES = Rules(DEMO_SERVICE_TYPES)


def history(seed: int = 1, services: int = 200, bad_share: float = 0.1) -> list[Step]:
    return Histories(seed, services, TODAY, bad_share=bad_share).steps()


def test_the_same_seed_gives_the_same_steps_and_another_seed_others() -> None:
    histories = Histories(1, 30, TODAY)
    assert histories.steps() == histories.steps() == Histories(1, 30, TODAY).steps()
    assert histories.steps() != Histories(2, 30, TODAY).steps()


def test_steps_come_in_order_of_time_interleaved_and_all_before_today() -> None:
    steps = history()
    moments = [step.at for step in steps]
    assert moments == sorted(moments)
    assert moments[-1] < datetime.combine(TODAY, time())
    services = [change.key // 100 for step in steps for change in step.changes if change.table == "tjeneste"]
    runs = sum(one != other for one, other in pairwise(services))
    assert runs > 2 * len(set(services))


def test_every_change_fits_the_rows_before_it() -> None:
    rows: set[tuple[str, int]] = set()
    for change in (change for step in history(services=400) for change in step.changes):
        there = (change.table, change.key)
        assert (there in rows) == (change.action is not Action.INSERT)
        rows.discard(there)
        if change.row is not None:
            rows.add((change.table, int(str(change.row[TABLES[change.table]]))))


def test_the_ordinary_turns_all_happen() -> None:
    notes = Counter(step.note for step in history(services=600))
    assert {turn.__name__.replace("_", " ") for turn, _ in ORDINARY} <= set(notes)


def test_without_bad_data_every_fact_is_certain() -> None:
    for seed in range(4):
        expected = expected_picture(picture_of(history(seed, bad_share=0.0)), RULES, TODAY)
        assert [service for service, one in expected.items() if list(one.reasons())] == []
        assert sum(one.is_right() for one in expected.values()) > 100


def test_with_bad_data_every_kind_of_defect_is_seen() -> None:
    expected = expected_picture(picture_of(history(services=1500, bad_share=0.3)), RULES, TODAY)
    reasons = Counter(reason for one in expected.values() for reason in one.reasons())
    assert {
        "the start is out of time",
        "the end is out of time or before the start",
        "the pause has no from-date, or one out of time or outside the stay",
        "the pause's end is out of time, before it begins or after the stay",
        "the organisation number is missing",
        "the organisation number is wrong",
        "the unit's row is not there",
        "the person's row is not there",
        "the person has neither a number nor a birth date",
        "the person's number was right and is wrong now",
        "the local type is not mapped",
    } <= set(reasons)


def test_some_rows_arrive_before_the_person_they_refer_to() -> None:
    seen: set[int] = set()
    early = 0
    for change in (change for step in history() for change in step.changes):
        if change.table == "bruker":
            seen.add(change.key)
        elif change.table == "tjeneste" and change.row is not None and change.row["bruker_id"] not in seen:
            early += 1
    assert early > 0


def test_no_number_is_anybodys() -> None:
    for row in picture_of(history(services=500)).rows["bruker"].values():
        number, number_type = row["fnr"], {"F": "1", "D": "2"}[str(row["id_type"])]
        is_wrong = not isinstance(number, str) or check_number(number, number_type) is not None
        assert is_wrong or is_synthetic(str(number), number_type), "a number that may be somebody's"


@pytest.mark.parametrize("serial", range(5))
def test_a_mistyped_number_is_wrong(serial: int) -> None:
    rows = picture_of(history(serial, bad_share=0.0)).rows["bruker"].values()
    assert all(check_number(mistyped(str(row["fnr"])), "1") is not None for row in rows)


def test_units_are_right_without_bad_data_and_wrong_with_it() -> None:
    right = picture_of(history(bad_share=0.0)).rows["enhet"].values()
    assert not any(organisation_number_problem(str(row["orgnr"])) for row in right)
    bad = picture_of(history()).rows["enhet"].values()
    assert (
        sum(organisation_number_problem(None if row["orgnr"] is None else str(row["orgnr"])) is not None for row in bad)
        > 2
    )


def test_a_paced_stream_begins_with_a_backlog_and_then_lasts() -> None:
    steps = history(services=50)
    stream = list(paced(steps, 20.0, backlog_share=0.5))
    assert [one.step for one in stream] == steps
    assert {one.delay_s for one in stream[: len(steps) // 2]} == {0.0}
    assert sum(one.delay_s for one in stream) == pytest.approx(20.0)


def test_a_step_can_be_registered_now() -> None:
    now = datetime(2026, 11, 22, 9, 30)  # noqa: DTZ001 - wall-clock time, as the EPJ writes it
    for step in history(services=20):
        moved = registered_now(step, now)
        for change, before in zip(moved.changes, step.changes, strict=True):
            if change.row is not None and before.row is not None:
                assert change.row["endret_tid"] == now
                is_new = change.action is Action.INSERT
                assert change.row["registrert_tid"] == (now if is_new else before.row["registrert_tid"])


def test_debezium_lines_tell_the_same_rows() -> None:
    steps = history(services=100)
    rows: dict[str, dict[int, dict[str, object]]] = {table: {} for table in TABLES}
    places: list[int] = []
    for event in as_debezium(steps):
        if event["value"] is None:
            continue
        source, after = event["value"]["source"], event["value"]["after"]
        places.append(source["lsn"])
        (key,) = event["key"].values()
        if event["value"]["op"] == "d":
            del rows[source["table"]][key]
        else:
            assert (key in rows[source["table"]]) == (event["value"]["op"] == "u")
            rows[source["table"]][key] = after
    assert places == sorted(set(places))
    picture = picture_of(steps).rows
    assert {table: set(found) for table, found in rows.items()} == {
        table: set(found) for table, found in picture.items()
    }
    starts = {key: row["start_dato"] for key, row in rows["tjeneste"].items()}
    epoch = date(1970, 1, 1)
    for key, row in picture["tjeneste"].items():
        start = row["start_dato"]
        assert starts[key] == (None if start is None else (start - epoch).days)  # type: ignore[operator]
    assert sum(1 for _ in as_lines(steps)) == sum(1 for _ in as_debezium(steps))


def test_canaries_are_every_number_and_name() -> None:
    rows = picture_of(history(services=30)).rows["bruker"].values()
    found = canaries(iter(rows))
    assert {str(row["etternavn"]) for row in rows} <= found
    assert {str(row["fnr"]) for row in rows if row["fnr"]} <= found
