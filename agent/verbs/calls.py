"""Verbs from the command line: through the daemon where one answers, else under the ledger's own lock."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from agent.composition import envelope_settings, official_schemas, reporting_unit
from agent.control import Answer, NobodyAnswers, Request, ask
from agent.dispatch.envelope import MessageInvalid
from agent.dispatch.resend import ResendRefused, resend
from agent.examine import notice_rules
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.pipeline import open_ledger
from agent.settings import Municipality
from agent.unit import ReportingUnit
from agent.verbs.plan import apply_plan, make_plan
from agent.verbs.source_decisions import Accepted, accept_new_incarnation, confirm, delete_vanished

T = TypeVar("T")


def tell(municipality: Municipality, request: Request) -> Answer:
    """What the daemon answers; without one, what the same verb gives on the ledger. Raises LedgerError."""
    return asyncio.run(_tell(municipality, request))


def read_plan(municipality: Municipality) -> dict[str, Any]:
    """The plan, from the ledger as it is; the daemon may run. Raises LedgerError."""
    with _ledger_to_read(municipality) as ledger:
        unit = reporting_unit(municipality, ledger.unit_secret)
        return ledger.read(lambda tx: make_plan(tx, unit, datetime.now(UTC)).as_json())


def look(municipality: Municipality, ask_for: Callable[[LedgerTransaction], T]) -> T:
    """What the ledger answers; the daemon may run. Raises LedgerError."""
    with _ledger_to_read(municipality) as ledger:
        return ledger.read(ask_for)


def look_at_unit(municipality: Municipality, ask_for: Callable[[LedgerTransaction, ReportingUnit], T]) -> T:
    """What the ledger answers to a question about the unit; the daemon may run. Raises LedgerError."""
    with _ledger_to_read(municipality) as ledger:
        unit = reporting_unit(municipality, ledger.unit_secret)
        return ledger.read(lambda tx: ask_for(tx, unit))


def new_incarnation(municipality: Municipality, *, restored_to: datetime | None = None) -> Accepted:
    """Accept another incarnation of the source; no daemon may run. Raises LedgerError, LedgerBusy while one does."""
    with open_ledger(municipality) as ledger:
        unit = reporting_unit(municipality, ledger.unit_secret)
        return ledger.run_now(lambda tx: accept_new_incarnation(tx, unit, datetime.now(UTC), restored_to=restored_to))


def _ledger_to_read(municipality: Municipality) -> Ledger:
    settings = municipality.settings.ledger
    key = LedgerKey.from_file(settings.key_file)
    return Ledger.open(settings.path, unit=municipality.unit, key=key, read_only=True)


async def _tell(municipality: Municipality, request: Request) -> Answer:
    try:
        return await ask(municipality.settings.control_socket, request)
    except NobodyAnswers:
        with open_ledger(municipality) as ledger:
            return await _do(municipality, ledger, request)


async def _do(municipality: Municipality, ledger: Ledger, request: Request) -> Answer:
    match request["verb"]:
        case "apply":
            unit = reporting_unit(municipality, ledger.unit_secret)
            await ledger.run(lambda tx: notice_rules(tx, unit))
            return await apply_plan(ledger.run, unit, lambda: datetime.now(UTC))
        case "resend":
            settings = envelope_settings(municipality, official_schemas(municipality.settings))
            try:
                resent = await ledger.run(
                    lambda tx: resend(tx, request.get("message"), settings, at=datetime.now(UTC), new_id=uuid4)
                )
            except (ResendRefused, MessageInvalid) as error:
                return {"error": str(error), "code": error.code}
            return asdict(resent)
        case "confirm":
            return await ledger.run(confirm)
        case "vanished":
            unit = reporting_unit(municipality, ledger.unit_secret)
            return await ledger.run(lambda tx: delete_vanished(tx, unit, datetime.now(UTC)))
        case _:
            return {"error": "no daemon runs for this municipality"}
