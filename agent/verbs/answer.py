"""What a verb that writes does to a ledger, and what it answers: the same in the daemon and where none runs."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from uuid import uuid4

from agent.control import Answer, Request
from agent.dispatch.envelope import EnvelopeSettings, MessageInvalid
from agent.dispatch.resend import ResendRefused, resend
from agent.ledger.ledger import Ledger
from agent.unit import ReportingUnit
from agent.verbs.plan import apply_plan
from agent.verbs.source_decisions import confirm, delete_vanished


async def answer(
    request: Request,
    ledger: Ledger,
    unit: ReportingUnit,
    envelopes: Callable[[], EnvelopeSettings],
    clock: Callable[[], datetime],
) -> Answer | None:
    """What was done, as plain data; None for a verb that no ledger alone can answer. Raises LedgerError.

    `envelopes` is called when a message is to be built again.
    """
    match request.get("verb"):
        case "apply":
            return await apply_plan(ledger.run, unit, clock)
        case "resend":
            return await _resend(request.get("message"), ledger, envelopes(), clock())
        case "confirm":
            return await ledger.run(confirm)
        case "vanished":
            return await ledger.run(lambda tx: delete_vanished(tx, unit, clock()))
    return None


async def _resend(message: str | None, ledger: Ledger, envelopes: EnvelopeSettings, at: datetime) -> Answer:
    try:
        return asdict(await ledger.run(lambda tx: resend(tx, message, envelopes, at=at, new_id=uuid4)))
    except (ResendRefused, MessageInvalid) as error:
        return {"error": str(error), "code": error.code}
