"""Whatever happens in the EPJ and on the way: one chain without a gap that tells exactly what the EPJ says.

The EPJ's truth is worked out by agent/demo/expected.py and the register's by tests/register_model.py; neither shares
code with compare, the rules or the chain. World replays every notification through the register model.
"""

from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from agent.demo.expected import Expected, Fact, expected_picture
from agent.demo.picture_differences import compare_pictures
from agent.demo.told import provider_last_told
from agent.intake.booking import Booking
from connectors.source import Change, Position, Transaction
from tests.property.histories import (
    FIRST_DAY,
    FIRST_TYPES,
    LAST_DAY,
    LATER_TYPES,
    Epj,
    expected_rules,
    histories,
    interleavings,
    transactions,
)
from tests.world import World


class Killed(Exception):
    """The process dies inside a ledger transaction."""


def new_world() -> World:
    return World(seed=False, service_types=FIRST_TYPES)


def crash(world: World, changes: list[Change]) -> None:
    """A transaction that is booked and never committed, and a new process."""

    def book(tx: Any) -> None:
        position = Position("world", {"line": (1_000_000,)})
        world.booking.book(tx, Transaction(tuple(changes), position), world.now)
        raise Killed

    try:
        world.ledger.run_now(book)
    except Killed:
        world.booking = Booking(world.unit)


def deliver(world: World, changes: list[Change], data: st.DataObject) -> bool:
    """Every change reaches the world, at least once; whether the service types were changed on the way."""
    delivered: list[list[Change]] = []
    changed = False
    for transaction in data.draw(transactions(changes)):
        mishap = data.draw(st.sampled_from(["", "", "", "crash", "again", "day", "rules", "look"]))
        if mishap == "crash":
            crash(world, transaction)
        elif mishap == "again":
            for earlier in delivered[-3:]:
                world.together(*earlier)
        elif mishap == "day":
            world.day("2026-03-05")
        elif mishap == "rules" and not changed:
            changed = True
            held_back = data.draw(st.booleans())
            world.restart(service_types=LATER_TYPES, apply=not held_back)
            if held_back:
                world.together(*transaction)  # kept behind the closed gate
                world.restart(service_types=LATER_TYPES)
        elif mishap == "look":
            assert world.look_again().lines == []
        world.together(*transaction)
        delivered.append(transaction)
    return changed


def check_picture(world: World, epj: Epj, types: dict[str, str]) -> None:
    """The register holds what the EPJ says of every fact that is not parked or held, and each of those is a finding."""
    expected = expected_picture(epj.picture(), expected_rules(types), world.today)
    assert compare_pictures(expected, world.register.picture) == []
    for service, wanted in expected.items():
        reasons = [] if wanted.left_out else list(replace(wanted, pauses=without_old(wanted, epj)).reasons())
        if reasons:
            assert world.findings(service), f"service {service}: {reasons} without a finding"


def without_old(wanted: Expected, epj: Epj) -> dict[str, tuple[Fact, Fact]]:
    """The pauses but those with a to-date before the cut-off: they may be left out, and are not judged then."""
    rows = epj.picture().rows["pause"]
    ends = {key: rows[int(key)]["til_dato"] for key in wanted.pauses}
    return {key: facts for key, facts in wanted.pauses.items() if (ends[key] or date.max) >= date(2021, 1, 1)}


def check_idempotent(world: World) -> None:
    """Examining everything again, and a snapshot of everything, owe nothing."""
    assert world.look_again().lines == []
    for table, rows in world.rows.items():
        for row in list(rows.values()):
            described = world.unit.mapping.tables[table]
            assert world.put(table, row[described.key[0]]).lines == []


@given(data=st.data())
def test_the_register_holds_what_the_epj_says(data: st.DataObject) -> None:
    world = new_world()
    epj = Epj(world)
    events = data.draw(histories())
    changes = data.draw(interleavings(epj.play(events)))
    changed = deliver(world, changes, data)
    world.day(LAST_DAY.isoformat())
    note("\n".join(f"{one.service_id} {one.event.value} {one.status.value} {one.content.on}" for one in world.chain))
    check_picture(world, epj, LATER_TYPES if changed else FIRST_TYPES)
    check_idempotent(world)
    counted = world.counters()
    assert counted["changes"] == sum(counted[one] for one in ("reported", "parked", "held", "nothing_to_report"))


@given(data=st.data())
def test_the_final_picture_does_not_depend_on_the_order_across_keys(data: st.DataObject) -> None:
    events = data.draw(histories(bad=False))
    pictures = []
    for _ in range(2):
        world = new_world()
        epj = Epj(world)
        changes = data.draw(interleavings(epj.play(events)))
        for transaction in data.draw(transactions(changes)):
            world.together(*transaction)
        expected = expected_picture(epj.picture(), expected_rules(FIRST_TYPES), world.today)
        right = {service for service, wanted in expected.items() if wanted.is_right()}
        pictures.append({service: told(world, service) for service in sorted(right)})
    assert pictures[0] == pictures[1]


def told(world: World, service: str) -> dict[Any, Any]:
    """What stands for a service apart from what the road leaves: numbers as first reported, dates of changes."""
    held = world.register.picture[service]
    facts = {slot: (one.service_type, one.on, one.person) for slot, one in held.items() if "utforer" not in slot[0]}
    return {**facts, "provider": provider_last_told(held)}


@given(data=st.data())
def test_the_same_history_gives_the_same_notifications(data: st.DataObject) -> None:
    events = data.draw(histories(most=10))
    chains = []
    for _ in range(2):
        world = new_world()
        for change in Epj(world).play(events):
            world.together(change)
        chains.append(world.chain)
    assert chains[0] == chains[1]


@given(data=st.data())
def test_a_planned_day_gives_what_a_change_on_that_day_would(data: st.DataObject) -> None:
    """Days that come one by one leave the same picture as one look on the last day."""
    events = data.draw(histories(most=8))
    by_day, at_once = new_world(), new_world()
    epj = Epj(by_day)
    for change in epj.play(events):
        by_day.together(change)
    for day in range(FIRST_DAY.day + 1, LAST_DAY.day + 1):
        by_day.day(f"2026-03-{day:02d}")
    at_once.day(LAST_DAY.isoformat())
    other = Epj(at_once)
    for change in other.play(events):
        at_once.together(change)
    check_picture(by_day, epj, dict(FIRST_TYPES))
    check_picture(at_once, other, dict(FIRST_TYPES))
