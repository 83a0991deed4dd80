"""The whole path with a throw-away ledger and no network: change events in, plain messages and a summary out.

It shows what is owed on one day, not the road that a live chain would have taken: every change is examined as of
`as_of`, which also sets every time written into messages, so that two runs give the same files.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from agent.composition import envelope_settings, official_schemas, reporting_unit, wanted
from agent.dispatch.envelope import EnvelopeSettings, build_envelope
from agent.domain.gate import GateReason, too_much
from agent.domain.notification import Status
from agent.domain.rows import sort_key
from agent.examine import open_gate
from agent.intake.booking import Booked, Booking
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.settings import Municipality
from agent.unit import ReportingUnit
from connectors.folder import FolderSender, FolderSettings
from connectors.replay import read_records
from connectors.sender import Outgoing, Verdict
from connectors.source import Position, Record, Transaction

COUNTS: Final = (
    "lines",
    "changes",
    "ignored",
    "unreadable",
    "reported",
    "parked",
    "held",
    "nothing_to_report",
    "services_held",
    "services_parked",
    "notifications",
    "messages",
)
"""The summary's counts, in its order (domain.md section 9, "Counting")."""

_RECORDS_A_TRANSACTION: Final = 200
_MESSAGES_A_READING: Final = 200

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is."""


class OutputRefused(Exception):
    """The output folder cannot serve. The text says what to do."""

    code = "KPR-701"


@dataclass(slots=True)
class _GateReport:
    """What a live gate would have held. Each change is a look of its own, so the breaker sees it alone."""

    first: GateReason
    owed: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    trips: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))

    def add(self, booked: Booked, tx: LedgerTransaction, unit: ReportingUnit) -> None:
        owed = booked.examination.owed if booked.examination is not None else {}
        for status, services in owed.items():
            self.owed[status] += services
        if max(owed.values(), default=0) > unit.limits.owed_minimum:
            status_too_much = too_much(owed, {}, tx.count_services().standing, unit.limits)
            if status_too_much is not None:
                self.trips[status_too_much] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "would_hold": any(self.owed.values()),
            "reason": self.first.value,
            "services_owed": {status.value: count for status, count in self.owed.items()},
            "breaker_trips": {status.value: count for status, count in self.trips.items()},
        }


def dry_run(
    municipality: Municipality, changes: Path, out: Path, as_of: datetime, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Run the change events of a file through every step, write `out`/messages and `out`/summary.json; the summary.

    Raises OutputRefused for an `out` that is not empty, SourceError for a file that cannot be read, MessageInvalid
    for a message that must not go out (a fault of the program). Parked and unreadable input raises nothing.
    """
    _prepare(out)
    with Ledger.open(":memory:", unit=municipality.unit, key=None, clock=lambda: as_of) as ledger:
        unit = reporting_unit(municipality, ledger.unit_secret)
        ledger.run_now(lambda tx: open_gate(tx, unit))
        first = GateReason.SHADOW if unit.shadow else GateReason.FIRST_LOAD
        gate = _GateReport(first)
        counts = _take_in(ledger, unit, municipality, changes, as_of, gate, progress)
        settings = envelope_settings(municipality, official_schemas(municipality.settings))
        most = municipality.settings.messages.max_notifications
        counts["messages"] = asyncio.run(_write_messages(ledger, unit, settings, most, as_of, out, progress))
        summary = ledger.read(lambda tx: _summary(tx, unit, counts, gate))
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(out.iterdir()):
            raise OutputRefused(f"{out} is not empty: name a new folder, or empty this one")
    except OSError as error:
        raise OutputRefused(f"{out} cannot be used: {error.strerror}") from None


def _take_in(
    ledger: Ledger,
    unit: ReportingUnit,
    municipality: Municipality,
    changes: Path,
    as_of: datetime,
    gate: _GateReport,
    progress: Progress,
) -> Counter[str]:
    """Every record of the file, each a transaction of its own in the source's sense; many to one of the ledger's."""
    counts: Counter[str] = Counter()
    booking = Booking(unit, approved=True)
    total = changes.stat().st_size if changes.exists() else 0

    def book(tx: LedgerTransaction, records: list[tuple[int, Record]]) -> None:
        for number, record in records:
            position = Position("dry run", {"line": (number,)})
            booked = booking.book(tx, Transaction((record,), position), as_of)
            counts.update(booked.counts)
            gate.add(booked, tx, unit)

    batch: list[tuple[int, Record]] = []
    for number, (at, record) in enumerate(read_records(changes, wanted(municipality)), 1):
        batch.append((number, record))
        if len(batch) == _RECORDS_A_TRANSACTION:
            ledger.run_now(lambda tx, batch=batch: book(tx, batch))  # type: ignore[misc] # a lambda's default
            batch = []
            progress("reading changes", at, total)
    ledger.run_now(lambda tx: book(tx, batch))
    progress("reading changes", total, total)
    return counts


async def _write_messages(
    ledger: Ledger,
    unit: ReportingUnit,
    settings: EnvelopeSettings,
    most: int,
    as_of: datetime,
    out: Path,
    progress: Progress,
) -> int:
    """The chain as plain messages, `000001.xml` and on; how many."""
    end = ledger.read(lambda tx: tx.chain_end())
    total = end[0] if end is not None else 0
    written = 0
    async with FolderSender(FolderSettings(path=out / "messages")) as sender:
        for first, last in _spans(total, most):
            notifications = ledger.read(
                lambda tx, first=first, last=last: [  # type: ignore[misc] # a lambda's defaults
                    stored.notification for stored in tx.notifications(first, last)
                ]
            )
            written += 1
            msg_id, message_id = _ids(unit, written)
            made = build_envelope(notifications, settings, msg_id=msg_id, message_id=message_id, at=as_of)
            await _write(sender, made.content, f"{written:06d}.xml")
            if written % _MESSAGES_A_READING == 0 or last == total:
                progress("writing messages", last, total)
    return written


async def _write(sender: FolderSender, content: bytes, name: str) -> None:
    message = Outgoing(
        message_id=name,
        to="",
        reply_to="",
        subject="",
        content_type="application/xml",
        properties={},
        body=content,
        file_name=name,
    )
    outcome = await sender.send(message)
    if outcome.verdict is not Verdict.ACCEPTED:
        raise OutputRefused(f"{name} cannot be written: {outcome.text}")


def _spans(total: int, most: int) -> Iterator[tuple[int, int]]:
    for first in range(1, total + 1, most):
        yield first, min(first + most - 1, total)


def _ids(unit: ReportingUnit, number: int) -> tuple[UUID, UUID]:
    return uuid5(unit.namespace, f"dry run/{number}/MsgId"), uuid5(unit.namespace, f"dry run/{number}/message-id")


def _summary(tx: LedgerTransaction, unit: ReportingUnit, counts: Counter[str], gate: _GateReport) -> dict[str, Any]:
    services = tx.count_services()
    end = tx.chain_end()
    counts["services_held"] = services.held
    counts["services_parked"] = services.parked
    counts["notifications"] = end[0] if end is not None else 0
    by_event = {f"{event}:{status}": count for (event, status), count in sorted(tx.count_notifications().items())}
    return {
        **{name: counts[name] for name in COUNTS},
        "by_event": by_event,
        "findings": _findings(tx, unit),
        "gate": gate.as_json(),
    }


def _findings(tx: LedgerTransaction, unit: ReportingUnit) -> list[dict[str, str | None]]:
    described = unit.mapping.tables[unit.mapping.service.table]
    service_key = unit.mapping.service.key
    found = sorted(
        (finding for finding, _ in tx.findings()),
        key=lambda finding: (
            finding.service is None,
            sort_key(described, service_key, finding.service) if finding.service is not None else (),
            finding.rule,
            finding.text,
        ),
    )
    return [
        {"rule": one.rule, "severity": one.severity.value, "service": one.service, "text": one.text} for one in found
    ]
