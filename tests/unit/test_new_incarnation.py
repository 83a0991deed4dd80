"""A person accepts that the source is another one: it is read again behind a closed gate (docs/operations.md)."""

import pytest

from agent.domain.gate import GateReason
from agent.examine import gate_reason
from agent.ledger.errors import PositionConflict
from agent.verbs.plan import accept_new_incarnation, make_plan
from connectors.source import Position, Transaction
from tests.world import World, d


def book(world: World, line: int, *records: object) -> None:
    transaction = Transaction(tuple(records), Position("another", {"line": (line,)}))  # type: ignore[arg-type]
    world.ledger.run_now(lambda tx: world.booking.book(tx, transaction, world.now))


def test_invariant_2_another_incarnation_is_refused_until_a_person_accepts_it() -> None:
    world = World()
    world.put("tjeneste", 10)
    with pytest.raises(PositionConflict):
        book(world, 1, world.change("tjeneste", 10))
    world.ledger.run_now(lambda tx: accept_new_incarnation(tx, world.now))
    book(world, 1, world.change("tjeneste", 10))
    assert world.ledger.read(lambda tx: tx.position()) == Position("another", {"line": (1,)})


def test_what_is_read_again_owes_only_the_difference_and_waits_for_a_person() -> None:
    world = World()
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    told = len(world.chain)
    world.ledger.run_now(lambda tx: accept_new_incarnation(tx, world.now))
    # The log begins with the service as it once was; then comes its end, on another day than was reported.
    book(world, 1, world.change("tjeneste", 10, slutt_dato=None))
    book(world, 2, world.change("tjeneste", 10, slutt_dato=d("02-22")))
    assert world.ledger.read(lambda tx: gate_reason(tx, world.unit)) is GateReason.READ_AGAIN
    plan = world.ledger.read(lambda tx: make_plan(tx, world.unit, world.now))
    assert [(line.event, line.status, line.count) for line in plan.lines] == [("TjenesteSlutt", "M", 1)]
    assert len(world.chain) == told
    world.ledger.run_now(lambda tx: tx.set_note("gate: read again", None))
    assert world.examine(approved=True).lines == ["Slutt M 2026-02-22"]
