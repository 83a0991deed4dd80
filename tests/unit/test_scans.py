"""Scans of whole tables: what they tell is looked at in its turn, and a row that they do not tell is absent."""

from dataclasses import replace

import pytest

from agent.domain.gate import GateLimits
from agent.intake.deletions import DeletionHeld
from agent.verbs.source_decisions import vanished
from connectors.source import Change, Mark, Scan
from tests.world import World, d

TABLE = "public.tjeneste"


def told(change: Change, *, version: bool = False) -> Change:
    return replace(change, snapshot=True, version=change.version if version else None)


def scan(world: World, *keys: int, absent_after: int | None = None, end: bool = True, **columns: object) -> None:
    """One scan of the services: a part for each row, in transactions of their own."""

    def part(mark: Mark) -> Scan:
        return Scan(mark, (TABLE,), absent_after)

    world.together(scan=part(Mark.BEGIN))
    for key in keys:
        world.together(told(world.change("tjeneste", key, **columns)), scan=part(Mark.INSIDE))
    if end:
        world.together(scan=part(Mark.END))


def kept(world: World) -> int:
    return world.ledger.read(lambda tx: tx.count_rows(TABLE))


def absent(world: World) -> dict[str, int]:
    return world.ledger.read(lambda tx: vanished(tx, world.unit))["rows"]


def test_what_a_scan_tells_is_examined_in_its_turn() -> None:
    world = World()
    scan(world, 10, 11)
    assert world.chain == []
    assert world.examine().by_service == ["10: Start N 2026-02-01", "11: Start N 2026-02-01"]


def test_a_scan_that_tells_what_is_kept_says_nothing_new_and_decrypts_nothing() -> None:
    world = World()
    scan(world, 10)
    world.examine()
    again = told(world.change("tjeneste", 10))
    assert world.ledger.run_now(
        lambda tx: tx.told_again(TABLE, "10", dict(tx.row(TABLE, "10").values))  # type: ignore[union-attr]
    )
    outcome = world.together(again, scan=Scan(Mark.INSIDE, (TABLE,)))
    assert outcome.category() == "nothing_to_report"
    assert world.examine().lines == []


def test_a_scan_that_tells_another_value_brings_the_correction() -> None:
    world = World()
    scan(world, 10)
    world.examine()
    scan(world, 10, start_dato=d("02-02"))
    assert world.examine().lines == ["Start M 2026-02-02"]


def test_a_row_missing_from_a_scan_is_listed_and_never_silently_deleted() -> None:
    world = World()
    scan(world, 10, 11)
    world.examine()
    for _ in range(3):
        scan(world, 10)
    assert (kept(world), absent(world), world.examine().lines) == (2, {TABLE: 1}, [])


def test_a_row_missing_from_two_complete_scans_is_deleted_where_that_is_configured() -> None:
    world = World()
    scan(world, 10, 11, absent_after=2)
    world.examine()
    scan(world, 10, absent_after=2)
    assert (kept(world), world.examine().lines) == (2, [])
    scan(world, 10, absent_after=2)
    assert (kept(world), world.examine().by_service) == (1, ["11: Start C 2026-02-01"])


def test_a_scan_that_was_broken_off_counts_for_nothing() -> None:
    world = World()
    scan(world, 10, 11, absent_after=2)
    world.examine()
    for _ in range(4):
        scan(world, 10, absent_after=2, end=False)
    scan(world, 10, absent_after=2)
    assert (kept(world), world.examine().lines) == (2, [])


def test_a_row_that_comes_back_after_one_scan_counts_anew() -> None:
    world = World()
    scan(world, 10, 11, absent_after=2)
    for keys in ((10,), (10, 11), (10,)):
        scan(world, *keys, absent_after=2)
    assert kept(world) == 2


def test_too_many_absent_rows_stop_the_source() -> None:
    world = World(limits=GateLimits(0.05, 20))
    keys = range(10, 40)
    scan(world, *keys, absent_after=2)
    scan(world, *keys[:9], absent_after=2)
    with pytest.raises(DeletionHeld, match=r"21 rows of public\.tjeneste are missing from full scans"):
        scan(world, *keys[:9], absent_after=2)
    assert kept(world) == 30


def test_a_scanned_row_of_the_log_is_older_than_what_the_log_has_told() -> None:
    """The initial load of a log: a row has the version of its snapshot, and is told though it is dropped."""
    world = World()
    snapshot = told(world.change("tjeneste", 10), version=True)
    world.put("tjeneste", 10, start_dato=d("02-05"))
    world.together(scan=Scan(Mark.BEGIN, (TABLE,)))
    world.together(snapshot, scan=Scan(Mark.INSIDE, (TABLE,)), final=False)
    world.together(scan=Scan(Mark.END, (TABLE,)))
    assert (world.examine().lines, absent(world)) == ([], {})
    assert [str(one.content.on) for one in world.chain] == ["2026-02-05"]


def test_nothing_is_examined_before_a_load_is_complete() -> None:
    world = World()
    world.together(scan=Scan(Mark.BEGIN, (TABLE,)), final=False)
    world.together(told(world.change("tjeneste", 10)), scan=Scan(Mark.INSIDE, (TABLE,)), final=False)
    assert world.examine().lines == []
    position = world.ledger.read(lambda tx: tx.position())
    world.together(scan=Scan(Mark.END, (TABLE,)))
    assert world.ledger.read(lambda tx: tx.position()) != position
    assert world.examine().lines == ["Start N 2026-02-01"]


def test_invariant_1_a_transaction_whose_reading_is_broken_off_between_its_parts_loses_nothing() -> None:
    """The first part is kept; when it comes again its rows say nothing new, and its services are looked at all the
    same.
    """
    world = World()
    first, second = world.change("tjeneste", 10), world.change("tjeneste", 11)
    world.together(first, final=False)
    world.booking = type(world.booking)(world.unit)  # killed here, and started again
    assert world.examine().lines == []
    world.together(first, final=False)
    # also in the order that an undisturbed reading gives
    assert world.together(second).by_service == ["10: Start N 2026-02-01", "11: Start N 2026-02-01"]
