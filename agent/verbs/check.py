"""`kpr-agent check`: the files' faults, and the tests that mappings carry (rows in, events out)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

from agent.composition import protection_files, reporting_unit
from agent.examine import open_gate
from agent.intake.booking import Booking
from agent.ledger.ledger import Ledger
from agent.protection import check_certificates
from agent.settings import EXIT_CONFIGURATION, MappingTest, Municipality, check_files, load
from agent.unit import NORWAY, ReportingUnit
from connectors.source import Change, Operation, Position, Transaction, Value


def check_all(paths: Sequence[Path], *, look_at_files: bool = False) -> int:
    """Print what is good to stdout and what is not to stderr; 0, or 78 with faults or failed mapping tests."""
    code = check_files(paths, look_at_files=look_at_files)
    told: set[str] = set()
    for municipality in load(paths, look_at_files=look_at_files).municipalities:
        if look_at_files:
            told.update(_tell_certificates(municipality))
        for test in municipality.tests:
            text = run_test(municipality, test)
            if text is not None and text not in told:
                told.add(text)
                sys.stderr.write(text + "\n")
    return EXIT_CONFIGURATION if told else code


def _tell_certificates(municipality: Municipality) -> set[str]:
    """Tell what is wrong with keys and certificates; what will be wrong soon is told too, and is no fault."""
    now = datetime.now(UTC)
    usable = check_certificates(protection_files(municipality.settings), at=now, warn_days=0)
    for problem in check_certificates(protection_files(municipality.settings), at=now):
        sys.stderr.write(f"{municipality.file}: protection: {problem}{'' if problem in usable else ' (a warning)'}\n")
    return set(usable)


def run_test(municipality: Municipality, test: MappingTest) -> str | None:
    """Why a mapping's test fails; None when the events owed are the ones it expects."""
    now = datetime.combine(test.today, time(12), NORWAY)
    with Ledger.open(":memory:", unit=municipality.unit, key=None, clock=lambda: now) as ledger:
        unit = _unit(municipality, ledger, test)
        changes = tuple(_change(unit, table, row) for table, rows in test.rows.items() for row in rows)
        transaction = Transaction(changes, Position("mapping test", {"": (1,)}))

        ledger.run_now(lambda tx: open_gate(tx, unit))
        ledger.run_now(lambda tx: Booking(unit, approved=True).book(tx, transaction, now))
        end = ledger.read(lambda tx: tx.chain_end())
        last = end[0] if end is not None else 0
        found = ledger.read(lambda tx: [one.notification for one in tx.notifications(1, last)])
        texts = ledger.read(lambda tx: [finding.text for finding, _ in tx.findings()])
    owed = tuple(f"{one.event.value} {one.status.value}" for one in found)
    if owed == test.expect:
        return None
    file = municipality.settings.epj.mapping
    because = f"; findings: {'; '.join(texts)}" if texts else ""
    return f"{file}: test {test.name!r}: expected {_listed(test.expect)}, owed {_listed(owed)}{because}"


def _unit(municipality: Municipality, ledger: Ledger, test: MappingTest) -> ReportingUnit:
    """A mapping's test is about one municipality that is live and has a database of its own."""
    unit = replace(reporting_unit(municipality, ledger.unit_secret), share=None, shadow=False)
    if not test.service_types:
        return unit
    return replace(unit, rules=replace(unit.rules, service_types=test.service_types))


def _change(unit: ReportingUnit, table: str, row: Mapping[str, Value]) -> Change:
    described = unit.mapping.tables[table]
    values: dict[str, Value] = dict.fromkeys(described.columns)
    values.update(row)
    return Change(table, Operation.UPSERT, {column: values[column] for column in described.key}, values)


def _listed(events: Sequence[str]) -> str:
    return ", ".join(events) or "nothing"
