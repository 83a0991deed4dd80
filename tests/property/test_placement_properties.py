"""Dated providers: however placements came, went and were wrong, what stands in the end is their course."""

from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.demo.told import PROVIDER, START
from tests.shapes import PLACEMENTS
from tests.world import OLA, A, B, C, World

NUMBERS = {1: A, 2: B, 3: C}
DAYS = st.dates(date(2026, 1, 28), date(2026, 2, 8))
WRONG_DAYS = st.sampled_from([None, date(1980, 1, 1), date(2222, 2, 2), date(2026, 3, 10)])
KEYS = st.sampled_from([1, 2, 3, 4])


def _placement(days: st.SearchStrategy[date | None], units: list[int | None]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"fra": days, "enhet_id": st.sampled_from(units)})


GOOD = _placement(DAYS, [1, 2, 3])
ANY = st.one_of(GOOD, _placement(st.one_of(DAYS, WRONG_DAYS), [1, 2, 3, None, 99]), st.none())


def new_world() -> World:
    world = World(PLACEMENTS)
    world.together(
        world.change("person", 1, fnr=OLA),
        *(world.change("enhet", key, orgnr=number) for key, number in NUMBERS.items()),
        world.change("sak", 10, person_id=1, type="LANG", fra=date(2026, 2, 1)),
    )
    return world


def course(rows: list[dict[str, Any]], start: date) -> list[tuple[date, str]]:
    """From the start on: the day of each change of number, and the number."""
    ordered = sorted(rows, key=lambda row: (row["fra"], str(row["opphold_id"])))
    before = [row for row in ordered if row["fra"] <= start]
    first = before[-1] if before else ordered[0]
    found = [(start, NUMBERS[first["enhet_id"]])]
    for row in ordered[ordered.index(first) + 1 :]:
        if NUMBERS[row["enhet_id"]] != found[-1][1]:
            found.append((row["fra"], NUMBERS[row["enhet_id"]]))
    return found


@given(
    events=st.lists(st.tuples(KEYS, ANY), max_size=12),
    last=st.dictionaries(KEYS, GOOD, min_size=1, max_size=4),
    start=st.sampled_from([date(2026, 2, 1), date(2026, 2, 3)]),
)
def test_what_stands_in_the_end_is_the_course_of_the_placements(
    events: list[tuple[int, dict[str, Any] | None]], last: dict[int, dict[str, Any]], start: date
) -> None:
    world = new_world()
    for key, columns in events:
        if columns is None:
            world.delete("opphold", key)
        else:
            world.put("opphold", key, sak_id=10, **columns)
        assert world.look_again().lines == []
    mended = [world.change("opphold", key, sak_id=10, **columns) for key, columns in last.items()]
    gone = [world.deletion("opphold", key) for key in {1, 2, 3, 4} - last.keys()]
    world.together(*mended, *gone, world.change("sak", 10, fra=start))
    assert world.look_again().lines == []
    held = world.register.picture["10"]
    told = [(held[START, ""].on, held[START, ""].organisation_number)]
    told += sorted((one.on, one.organisation_number) for (event, _), one in held.items() if event == PROVIDER)
    assert sorted(told) == sorted(course(list(world.rows["opphold"].values()), start))
