"""What an auditor and a caseworker ask the ledger: which messages, what came back, and what waits for a person."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from agent.domain.delivery import State
from agent.domain.finding import Severity
from agent.ledger.envelopes import Envelope
from agent.ledger.transaction import LedgerTransaction

Line = dict[str, Any]

_AT_A_TIME = 500


def messages(tx: LedgerTransaction, *, last: int) -> list[Line]:
    """The last messages in order: ids, the notifications in each, its state, and what came back."""
    found: list[Envelope] = []
    after = 0
    while some := tx.envelopes([state.value for state in State], _AT_A_TIME, after):
        found = [*found, *some][-last:]
        after = some[-1].id
    return [_message(tx, envelope) for envelope in found]


def reported_for(tx: LedgerTransaction, service_key: str) -> list[Line]:
    """Everything that was ever told of one service, by its key in the EPJ: when, in which message, what came back."""
    lines = []
    for stored in tx.notifications_of(service_key):
        one = stored.notification
        envelopes = tx.envelopes_with(one.number)
        lines.append(
            {
                "number": one.number,
                "event": one.event.value,
                "status": one.status.value,
                "date": one.content.on.isoformat(),
                "notification": str(one.guid),
                "pause": one.pause_id,
                "source": dict(stored.trace),
                "chained_at": _moment(stored.chained_at),
                "message": _message(tx, envelopes[-1]) if envelopes else None,
            }
        )
    return lines


def waiting_for_people(tx: LedgerTransaction) -> list[Line]:
    """Every finding that parks or holds something, the longest standing first."""
    found = [(finding, since) for finding, since in tx.findings() if finding.severity is not Severity.WARN]
    found.sort(key=lambda one: (one[0].severity.value, one[1], one[0].rule))
    return [
        {
            "rule": finding.rule,
            "severity": finding.severity.value,
            "service": finding.service,
            "since": _moment(since),
            "text": finding.text,
        }
        for finding, since in found
    ]


def message_lines(found: list[Line]) -> Iterator[str]:
    """One line for each message or notification, for a terminal."""
    for line in found:
        if "event" in line:
            message = line["message"]
            came = "not in a message yet" if message is None else f"message {message['msg_id']}: {_outcome(message)}"
            yield f"{line['number']:7} {line['date']} {line['event']} {line['status']}: {came}"
        else:
            numbers = f"{line['first_number']}-{line['last_number']}"
            yield f"{line['msg_id']} notifications {numbers}: {_outcome(line)}"


def _outcome(message: Line) -> str:
    sent = f"sent {message['sent_at']}" if message["sent_at"] else "not sent yet"
    answers = ", ".join(f"{answer['verdict']} {answer['booked_at']}" for answer in message["receipts"])
    return f"{message['state']}, {sent}" + (f", answered: {answers}" if answers else "")


def _message(tx: LedgerTransaction, envelope: Envelope) -> Line:
    return {
        "msg_id": envelope.msg_id,
        "message_id": envelope.message_id,
        "first_number": envelope.first_number,
        "last_number": envelope.last_number,
        "state": envelope.state,
        "attempts": envelope.attempts,
        "created_at": _moment(envelope.created_at),
        "sent_at": _moment(envelope.sent_at),
        "closed_at": _moment(envelope.closed_at),
        "receipts": [
            {"kind": receipt.kind, "verdict": receipt.verdict, "booked_at": _moment(receipt.booked_at)}
            for receipt in tx.receipts_of(envelope.id)
        ],
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
