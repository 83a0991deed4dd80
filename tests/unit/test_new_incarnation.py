"""A person accepts that the source is another one: it is read again behind a closed gate (docs/operations.md)."""

from datetime import timedelta

import pytest

from agent.domain.gate import GateReason
from agent.examine import gate_reason, open_gate
from agent.ledger.errors import PositionConflict
from agent.verbs.plan import make_plan
from agent.verbs.source_decisions import Accepted, accept_new_incarnation, delete_vanished, vanished
from connectors.source import Position, Transaction
from tests.world import World, d, short

TABLE = "public.tjeneste"


def book(world: World, line: int, *records: object) -> None:
    transaction = Transaction(tuple(records), Position("another", {"line": (line,)}))  # type: ignore[arg-type]
    world.ledger.run_now(lambda tx: world.booking.book(tx, transaction, world.now))


def accept(world: World, restored_to: object = None) -> Accepted:
    return world.ledger.run_now(
        lambda tx: accept_new_incarnation(tx, world.unit, world.now, restored_to=restored_to)  # type: ignore[arg-type]
    )


def planned(world: World) -> list[tuple[str, str, int]]:
    plan = world.ledger.read(lambda tx: make_plan(tx, world.unit, world.now))
    return [(line.event, line.status, line.count) for line in plan.lines]


def apply(world: World) -> list[str]:
    world.ledger.run_now(lambda tx: open_gate(tx, world.unit))
    return world.examine(approved=True).by_service


def test_invariant_2_another_incarnation_is_refused_until_a_person_accepts_it() -> None:
    world = World()
    world.put("tjeneste", 10)
    with pytest.raises(PositionConflict):
        book(world, 1, world.change("tjeneste", 10))
    accept(world)
    book(world, 1, world.change("tjeneste", 10))
    assert world.ledger.read(lambda tx: tx.position()) == Position("another", {"line": (1,)})


def test_what_is_read_again_owes_only_the_difference_and_waits_for_a_person() -> None:
    world = World()
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    told = len(world.chain)
    accept(world)
    # The log begins with the service as it once was; then comes its end, on another day than was reported.
    book(world, 1, world.change("tjeneste", 10, slutt_dato=None))
    book(world, 2, world.change("tjeneste", 10, slutt_dato=d("02-22")))
    assert world.ledger.read(lambda tx: gate_reason(tx, world.unit)) is GateReason.READ_AGAIN
    assert planned(world) == [("TjenesteSlutt", "M", 1)]
    assert len(world.chain) == told
    assert apply(world) == ["10: Slutt M 2026-02-22"]


def test_versions_of_an_earlier_incarnation_hold_nothing_back() -> None:
    """A restored database counts its log from an earlier place, in what looks like the same epoch."""
    world = World()
    world.put("tjeneste", 10, version=5_000)
    accept(world)
    book(world, 1, world.change("tjeneste", 10, version=7, start_dato=d("02-03")))
    book(world, 2, world.change("tjeneste", 10, version=6, start_dato=d("02-04")))
    assert apply(world) == ["10: Start M 2026-02-03"]


def test_what_vanished_is_listed_and_deleted_only_when_a_person_says_so() -> None:
    world = World()
    for key in (10, 11, 12):
        world.put("tjeneste", key)
    accepted = accept(world)
    assert accepted.kept[TABLE] == 3
    book(world, 1, world.change("tjeneste", 10), world.change("tjeneste", 11))
    found = world.ledger.read(lambda tx: vanished(tx, world.unit))
    assert (found["rows"][TABLE], found["services"]) == (1, ["12"])
    assert planned(world) == []
    world.ledger.run_now(lambda tx: delete_vanished(tx, world.unit, world.now))
    assert planned(world) == [("TjenesteStart", "C", 1)]
    assert apply(world) == ["12: Start C 2026-02-01"]


def restored(world: World) -> Accepted:
    """Service 10 was told before the backup, 11 and 12 after it; then the EPJ is restored."""
    world.put("tjeneste", 10)
    backup = world.now
    world.now += timedelta(hours=1)
    world.put("tjeneste", 11, slutt_dato=d("02-20"))
    world.put("tjeneste", 12)
    world.now += timedelta(hours=1)
    return accept(world, backup)


def test_the_services_first_told_after_the_backup_are_listed() -> None:
    assert restored(World()).first_told_since == ("11", "12")


def test_a_key_that_means_another_service_since_a_restore_is_annulled_and_told_anew() -> None:
    world = World()
    restored(world)
    book(world, 1, world.change("tjeneste", 10), world.change("tjeneste", 12, bruker_id=2, start_dato=d("02-14")))
    book(world, 2, world.change("tjeneste", 11, slutt_dato=None))
    assert planned(world) == [("TjenesteSlutt", "C", 1), ("TjenesteStart", "C", 2), ("TjenesteStart", "N", 2)]
    old = {one.guid for one in world.chain}
    assert apply(world) == [
        "12: Start C 2026-02-01", "12: Start N 2026-02-14",
        "11: Slutt C 2026-02-20", "11: Start C 2026-02-01", "11: Start N 2026-02-01",
    ]  # fmt: skip
    assert len({one.guid for one in world.chain}) == len(world.chain) > len(old)
    assert world.look_again().lines == []
    book(world, 3, world.change("tjeneste", 11, slutt_dato=d("02-21")))
    assert world.look_again().lines == ["Slutt N 2026-02-21"]


def test_after_the_restore_is_applied_a_key_keeps_its_meaning() -> None:
    world = World()
    restored(world)
    book(world, 1, world.change("tjeneste", 10), world.change("tjeneste", 11))
    apply(world)
    book(world, 2, world.change("tjeneste", 12, start_dato=d("02-09")))
    world.look_again()
    assert [short(one) for one in world.chain if one.service_id == "12"] == ["Start N 2026-02-01", "Start M 2026-02-09"]
