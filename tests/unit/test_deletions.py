"""Rows that go in numbers stop the source until a person has confirmed it (agent/intake/deletions.py)."""

import pytest

from agent.domain.gate import GateLimits
from agent.examine import open_gate
from agent.intake.deletions import HELD, DeletionHeld, keep_held
from agent.verbs.source_decisions import confirm
from connectors.source import Change, Operation, Version
from tests.world import World, short

LIMITS = GateLimits(0.05, 20)
EMPTIED = Change("public.tjeneste", Operation.TRUNCATE, None, None, Version("world", (10_000,)))


def stocked(services: int, limits: GateLimits = LIMITS) -> World:
    world = World(limits=limits)
    for key in range(10, 10 + services):
        world.put("tjeneste", key)
    assert len(world.chain) == services
    return world


def confirmed(world: World, held: DeletionHeld) -> str:
    """A person confirms what intake has put down; what the answer says."""
    world.ledger.run_now(lambda tx: keep_held(tx, held.deletion))
    return str(world.ledger.run_now(confirm)["text"])


def kept(world: World) -> int:
    return world.ledger.read(lambda tx: tx.count_rows("public.tjeneste"))


def test_an_emptied_table_stops_the_source_with_nothing_booked() -> None:
    world = stocked(3)
    before = world.ledger.read(lambda tx: (tx.position(), tx.counters()))
    with pytest.raises(DeletionHeld, match=r"public\.tjeneste was emptied \(TRUNCATE\) and had 3 rows") as held:
        world.together(EMPTIED)
    assert held.value.code == "KPR-105"
    assert "source confirm" in held.value.repair
    assert world.ledger.read(lambda tx: (tx.position(), tx.counters())) == before
    assert kept(world) == 3


def test_a_confirmed_emptying_annuls_what_stands() -> None:
    world = stocked(3)
    with pytest.raises(DeletionHeld) as held:
        world.together(EMPTIED)
    assert "had 3 rows" in confirmed(world, held.value)
    outcome = world.together(EMPTIED, world.change("tjeneste", 99))
    assert [line for line in outcome.lines if " C " in line] == ["Start C 2026-02-01"] * 3
    assert outcome.by_service[-1] == "99: Start N 2026-02-01"
    assert outcome.counts["ignored"] == 1
    assert kept(world) == 1


def test_a_confirmation_is_for_one_deletion_only() -> None:
    world = stocked(3)
    with pytest.raises(DeletionHeld) as held:
        world.together(EMPTIED)
    confirmed(world, held.value)
    world.put("bruker", 1)  # the source moves on: what was confirmed did not come
    with pytest.raises(DeletionHeld):
        world.together(EMPTIED)
    assert world.ledger.run_now(confirm)["confirmed"]
    world.together(EMPTIED)
    assert not world.ledger.run_now(confirm)["confirmed"]
    assert world.ledger.read(lambda tx: tx.note(HELD)) is None


def test_emptying_a_table_of_which_nothing_is_kept_stops_nothing() -> None:
    world = World(limits=LIMITS)
    assert world.together(EMPTIED).counts == {"lines": 1, "ignored": 1}


def test_a_mass_deletion_in_one_transaction_stops_the_source() -> None:
    world = stocked(22)
    deletions = [world.deletion("tjeneste", key) for key in range(10, 31)]
    with pytest.raises(DeletionHeld, match=r"21 rows of public\.tjeneste go at once") as held:
        world.together(*deletions)
    assert kept(world) == 22
    confirmed(world, held.value)
    world.together(*deletions)
    assert kept(world) == 1


def test_an_ordinary_day_of_deletions_stops_nothing() -> None:
    world = stocked(22)
    assert len(world.together(*[world.deletion("tjeneste", key) for key in range(10, 30)]).lines) == 20


def test_a_mass_deletion_in_parts_is_asked_for_however_often_it_comes() -> None:
    """Its first parts are kept when the last one is held; read again, they must not look like old news."""
    world = stocked(30)
    parts = [[world.deletion("tjeneste", key) for key in keys] for keys in (range(10, 20), range(20, 34))]
    for _ in range(2):
        world.together(*parts[0], final=False)
        with pytest.raises(DeletionHeld, match="24 rows") as held:
            world.together(*parts[1])
        world.booking = type(world.booking)(world.unit)  # the source is opened again
    confirmed(world, held.value)
    world.together(*parts[0], final=False)
    world.together(*parts[1])
    world.ledger.run_now(lambda tx: open_gate(tx, world.unit))  # 24 annulments are too much for the gate too
    world.examine(approved=True)
    assert [short(one) for one in world.chain[30:]] == ["Start C 2026-02-01"] * 24


def test_a_dry_run_asks_nobody() -> None:
    world = stocked(3)
    world.booking = type(world.booking)(world.unit, approved=True)
    assert len(world.together(EMPTIED).lines) == 3
