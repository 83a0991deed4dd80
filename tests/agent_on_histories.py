"""The agent's own core on seeded demo histories: what the oracle and the demo's register are tried on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.demo.epj import EpjPicture, picture_of
from agent.demo.expected import DEMO_SERVICE_TYPES
from agent.demo.histories import Histories
from agent.demo.step import TABLES, Action, RowChange, Step, key_of
from agent.domain import quality
from agent.domain.finding import Finding
from agent.domain.gate import GateLimits
from agent.domain.mapping import EpjMapping
from agent.domain.notification import Notification
from agent.domain.quality.rules import Profile
from agent.examine import open_gate
from agent.intake.booking import Booking
from agent.ledger.ledger import Ledger
from agent.settings import load_mapping
from agent.unit import ReportingUnit
from connectors.source import Change, Operation, Position, Transaction, Version

TODAY = date(2026, 11, 22)
MAPPING_FILE = Path(__file__).parents[1] / "config" / "epj" / "demo.yaml"


@cache
def mapping() -> EpjMapping:
    found, _, faults = load_mapping(MAPPING_FILE)
    assert found is not None, faults
    return found


def run_the_agent(steps: Sequence[Step]) -> tuple[list[Notification], list[Finding]]:
    """Every row change of the steps through booking and examination, one at a time, in a ledger in memory."""
    types = {local: code or "none" for local, code in DEMO_SERVICE_TYPES.items()}
    unit = ReportingUnit(
        name="demo",
        mapping=mapping(),
        rules=quality.Rules(profile=Profile.TEST, service_types=types),
        digest="digest",
        secret=b"s" * 32,
        limits=GateLimits(owed_share=1.0, owed_minimum=1_000_000),
        fictitious_name=lambda name: name.casefold() == "donald duck",
    )
    now = datetime(2026, 11, 22, 6, tzinfo=UTC)
    with Ledger.open(":memory:", unit="demo", key=None) as ledger:
        ledger.run_now(lambda tx: open_gate(tx, unit))
        booking = Booking(unit)
        records = [record for step in steps for change in step.changes for record in as_records(step, change)]
        for number, record in enumerate(records, 1):
            numbered = replace(record, version=Version("demo", (number,)))
            transaction = Transaction((numbered,), Position("demo", {"demo": (number,)}))
            ledger.run_now(lambda tx, one=transaction: booking.book(tx, one, now))
        notifications = [one.notification for one in ledger.read(lambda tx: list(tx.notifications(1, 10**9)))]
        return notifications, [finding for finding, _ in ledger.read(lambda tx: list(tx.findings()))]


def as_records(step: Step, change: RowChange) -> list[Change]:
    table, key_column = f"public.{change.table}", TABLES[change.table]
    at = step.at.replace(tzinfo=ZoneInfo("Europe/Oslo")).astimezone(UTC)
    gone = Change(table, Operation.DELETE, {key_column: change.key}, None, committed_at=at)
    if change.row is None:
        return [gone]
    described = mapping().tables[table]
    wanted = {*described.columns, *described.key, *mapping().person.name}
    key = key_of(change.table, change.row)
    row = {name: cell for name, cell in change.row.items() if name in wanted}
    new = Change(table, Operation.UPSERT, {key_column: key}, row, committed_at=at)
    return [gone, new] if change.action is Action.UPDATE and key != change.key else [new]


@cache
def agents_run(seed: int, bad_share: float) -> tuple[EpjPicture, list[Notification], list[Finding]]:
    steps = Histories(seed, 150, TODAY, bad_share=bad_share).steps()
    return picture_of(steps), *run_the_agent(steps)
