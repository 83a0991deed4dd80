"""Verbs from the command line: through the daemon where one answers, else under the ledger's own lock."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from agent.composition import envelope_settings, official_schemas, reporting_unit
from agent.control import Answer, NobodyAnswers, Request, ask
from agent.dispatch.envelope import EnvelopeSettings
from agent.examine import notice_rules
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.pipeline import open_ledger
from agent.settings import Municipality
from agent.unit import ReportingUnit
from agent.verbs.answer import answer
from agent.verbs.plan import make_plan
from agent.verbs.source_decisions import Accepted, accept_new_incarnation

T = TypeVar("T")


def tell(municipality: Municipality, request: Request) -> Answer:
    """What the daemon answers; without one, what the same verb gives on the ledger. Raises LedgerError."""
    return asyncio.run(_tell(municipality, request))


def read_plan(municipality: Municipality) -> dict[str, Any]:
    """The plan, from the ledger as it is; the daemon may run. Raises LedgerError."""
    return look_at_unit(municipality, lambda tx, unit: make_plan(tx, unit, datetime.now(UTC)).as_json())


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
    unit = reporting_unit(municipality, ledger.unit_secret)
    if request["verb"] == "apply":
        await ledger.run(lambda tx: notice_rules(tx, unit))

    def envelopes() -> EnvelopeSettings:
        return envelope_settings(municipality, official_schemas(municipality.settings))

    found = await answer(request, ledger, unit, envelopes, lambda: datetime.now(UTC))
    return found if found is not None else {"error": "no daemon runs for this municipality"}
