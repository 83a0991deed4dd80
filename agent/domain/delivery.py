"""States and signals of an envelope as ONE literal table; how soon to try again (invariant 8).

What an outcome means follows Norsk Helsenett's AMQP profile and what RabbitMQ does; what a receipt means follows
HIS 1135:2021 and AppRec (code system 8258). Three rules shape the table:

- Only a positive receipt closes an envelope; a broker's "accepted" means sent (invariant 6).
- A missing receipt is an alarm, never a resend (invariant 6). So OVERDUE moves nothing.
- What arrives late, twice or against what was said before changes nothing wrongly (invariant 7).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class State(Enum):
    """Where an envelope stands. The value is what the ledger keeps."""

    READY = "ready"  # to be sent, or sent again with the same id and bytes
    IN_FLIGHT = "in_flight"  # marked before the transfer: it may have gone
    SENT = "sent"  # the broker has it; the register has not answered
    UNCLEAR = "unclear"  # sent, and answered by something that only a person can judge
    RECEIPTED = "receipted"  # positively: closed
    REJECTED = "rejected"  # a negative receipt, or an error notice that is final: the chain halts here
    REFUSED = "refused"  # the broker can never take it: the chain halts here
    SUPERSEDED = "superseded"  # its notifications travel in another envelope


class Signal(Enum):
    """What happened to an envelope."""

    SEND_BEGUN = "send_begun"  # the next thing is its transfer
    ACCEPTED = "accepted"
    RELEASED = "released"
    MODIFIED = "modified"
    REJECTED_BY_BROKER = "rejected_by_broker"
    UNKNOWN = "unknown"  # transferred, and no answer came
    UNAVAILABLE = "unavailable"  # not transferred
    NO_ROUTE = "no_route"
    IMPOSSIBLE = "impossible"
    OVERTAKEN = "overtaken"  # settled, but one before it was not accepted: it goes again behind that one
    UNPROTECTED = "unprotected"  # a certificate or key does not serve: not transferred
    RESTARTED = "restarted"  # the program came up and knows nothing of a transfer
    RECEIPT_POSITIVE = "receipt_positive"
    RECEIPT_PARTIAL = "receipt_partial"  # 8258 status 3: received, with an error in a part
    RECEIPT_NEGATIVE = "receipt_negative"
    RECEIPT_UNCLEAR = "receipt_unclear"
    ERROR_NOTICE_TEMPORARY = "error_notice_temporary"
    ERROR_NOTICE_FINAL = "error_notice_final"
    OVERDUE = "overdue"  # the time set for a receipt has passed
    REISSUED = "reissued"  # a person sends its notifications again


class Alarm(Enum):
    """What a person is told. The value is the log's event name."""

    NOT_ROUTED = "message_not_routed"
    REJECTED_BY_BROKER = "message_rejected_by_broker"
    NO_ROUTE = "queue_not_found_or_not_allowed"
    REFUSED = "message_refused_for_good"
    PROTECTION = "protection_unusable"
    NEGATIVE = "receipt_negative"
    DEFECT = "receipt_with_defect"
    UNCLEAR = "receipt_unclear"
    ERROR_NOTICE = "error_notice"
    CONTRADICTION = "receipt_contradicts"
    LATE_DELIVERY = "superseded_message_was_delivered"
    OVERDUE = "receipt_overdue"


@dataclass(frozen=True, slots=True)
class Step:
    """What one signal does: the state after it, and what a person is told, if anything."""

    state: State
    alarm: Alarm | None = None


class Pace(Enum):
    """How soon the wire is tried again after an outcome."""

    AT_ONCE = "at_once"
    QUICK = "quick"  # seconds, growing, with jitter
    SLOW = "slow"  # minutes
    HALT = "halt"  # not before a person has acted


OPEN: Final = (State.READY, State.IN_FLIGHT)
"""To be sent, in order."""
UNANSWERED: Final = (State.SENT, State.UNCLEAR)
"""Behind the wire and not closed: what `dispatch.max_unreceipted` counts."""
HALTING: Final = (State.REJECTED, State.REFUSED)
"""Nothing with a higher place in the chain goes out while one of these stands."""
CLOSED: Final = (State.RECEIPTED, State.SUPERSEDED)
"""Nothing more is expected."""

_READY, _FLYING, _SENT, _UNCLEAR = State.READY, State.IN_FLIGHT, State.SENT, State.UNCLEAR
_DONE, _REJECTED, _REFUSED, _SUPERSEDED = State.RECEIPTED, State.REJECTED, State.REFUSED, State.SUPERSEDED

TABLE: Final[dict[State, dict[Signal, Step]]] = {
    # Outcomes can meet READY: the program marked it so when it gave up waiting for them. Receipts can meet it after
    # an outcome that stayed unknown, or where the transport answers in the same step.
    _READY: {
        Signal.SEND_BEGUN: Step(_FLYING),
        Signal.ACCEPTED: Step(_SENT),
        Signal.RELEASED: Step(_READY, Alarm.NOT_ROUTED),
        Signal.MODIFIED: Step(_READY),
        Signal.REJECTED_BY_BROKER: Step(_READY, Alarm.REJECTED_BY_BROKER),
        Signal.UNKNOWN: Step(_READY),
        Signal.UNAVAILABLE: Step(_READY),
        Signal.NO_ROUTE: Step(_READY, Alarm.NO_ROUTE),
        Signal.IMPOSSIBLE: Step(_REFUSED, Alarm.REFUSED),
        Signal.OVERTAKEN: Step(_READY),
        Signal.UNPROTECTED: Step(_READY, Alarm.PROTECTION),
        Signal.RESTARTED: Step(_READY),
        Signal.RECEIPT_POSITIVE: Step(_DONE),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED, Alarm.NEGATIVE),
        Signal.RECEIPT_UNCLEAR: Step(_UNCLEAR, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_READY, Alarm.ERROR_NOTICE),  # it goes again anyway
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_READY),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    _FLYING: {
        Signal.SEND_BEGUN: Step(_FLYING),
        Signal.ACCEPTED: Step(_SENT),
        Signal.RELEASED: Step(_READY, Alarm.NOT_ROUTED),
        Signal.MODIFIED: Step(_READY),
        Signal.REJECTED_BY_BROKER: Step(_READY, Alarm.REJECTED_BY_BROKER),
        Signal.UNKNOWN: Step(_READY),  # the same id and bytes again (invariant 5)
        Signal.UNAVAILABLE: Step(_READY),
        Signal.NO_ROUTE: Step(_READY, Alarm.NO_ROUTE),
        Signal.IMPOSSIBLE: Step(_REFUSED, Alarm.REFUSED),
        Signal.OVERTAKEN: Step(_READY),
        Signal.UNPROTECTED: Step(_READY, Alarm.PROTECTION),
        Signal.RESTARTED: Step(_READY),  # kill -9 and SIGTERM come back by the same path (invariant 9)
        Signal.RECEIPT_POSITIVE: Step(_DONE),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED, Alarm.NEGATIVE),
        Signal.RECEIPT_UNCLEAR: Step(_UNCLEAR, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_FLYING, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_FLYING),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    # Nothing but a person's word sends a message again that the broker has.
    _SENT: {
        Signal.SEND_BEGUN: Step(_SENT),
        Signal.ACCEPTED: Step(_SENT),
        Signal.RELEASED: Step(_SENT),
        Signal.MODIFIED: Step(_SENT),
        Signal.REJECTED_BY_BROKER: Step(_SENT),
        Signal.UNKNOWN: Step(_SENT),
        Signal.UNAVAILABLE: Step(_SENT),
        Signal.NO_ROUTE: Step(_SENT),
        Signal.IMPOSSIBLE: Step(_SENT),
        Signal.OVERTAKEN: Step(_SENT),
        Signal.UNPROTECTED: Step(_SENT),
        Signal.RESTARTED: Step(_SENT),
        Signal.RECEIPT_POSITIVE: Step(_DONE),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED, Alarm.NEGATIVE),
        Signal.RECEIPT_UNCLEAR: Step(_UNCLEAR, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_UNCLEAR, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_SENT, Alarm.OVERDUE),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    # Does not halt: if it was a refusal, the register refuses the next one for its order, and that halts.
    _UNCLEAR: {
        Signal.SEND_BEGUN: Step(_UNCLEAR),
        Signal.ACCEPTED: Step(_UNCLEAR),
        Signal.RELEASED: Step(_UNCLEAR),
        Signal.MODIFIED: Step(_UNCLEAR),
        Signal.REJECTED_BY_BROKER: Step(_UNCLEAR),
        Signal.UNKNOWN: Step(_UNCLEAR),
        Signal.UNAVAILABLE: Step(_UNCLEAR),
        Signal.NO_ROUTE: Step(_UNCLEAR),
        Signal.IMPOSSIBLE: Step(_UNCLEAR),
        Signal.OVERTAKEN: Step(_UNCLEAR),
        Signal.UNPROTECTED: Step(_UNCLEAR),
        Signal.RESTARTED: Step(_UNCLEAR),
        Signal.RECEIPT_POSITIVE: Step(_DONE),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED, Alarm.NEGATIVE),
        Signal.RECEIPT_UNCLEAR: Step(_UNCLEAR, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_UNCLEAR, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_UNCLEAR, Alarm.OVERDUE),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    # Closed by the register's word: nothing opens it. A later "no" is for a person to judge.
    _DONE: {
        Signal.SEND_BEGUN: Step(_DONE),
        Signal.ACCEPTED: Step(_DONE),
        Signal.RELEASED: Step(_DONE),
        Signal.MODIFIED: Step(_DONE),
        Signal.REJECTED_BY_BROKER: Step(_DONE),
        Signal.UNKNOWN: Step(_DONE),
        Signal.UNAVAILABLE: Step(_DONE),
        Signal.NO_ROUTE: Step(_DONE),
        Signal.IMPOSSIBLE: Step(_DONE),
        Signal.OVERTAKEN: Step(_DONE),
        Signal.UNPROTECTED: Step(_DONE),
        Signal.RESTARTED: Step(_DONE),
        Signal.RECEIPT_POSITIVE: Step(_DONE),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_DONE, Alarm.CONTRADICTION),
        Signal.RECEIPT_UNCLEAR: Step(_DONE, Alarm.CONTRADICTION),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_DONE, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_DONE, Alarm.CONTRADICTION),
        Signal.OVERDUE: Step(_DONE),
        Signal.REISSUED: Step(_DONE),
    },
    # A "yes" after a "no": a person decides, so the chain stays halted.
    _REJECTED: {
        Signal.SEND_BEGUN: Step(_REJECTED),
        Signal.ACCEPTED: Step(_REJECTED),
        Signal.RELEASED: Step(_REJECTED),
        Signal.MODIFIED: Step(_REJECTED),
        Signal.REJECTED_BY_BROKER: Step(_REJECTED),
        Signal.UNKNOWN: Step(_REJECTED),
        Signal.UNAVAILABLE: Step(_REJECTED),
        Signal.NO_ROUTE: Step(_REJECTED),
        Signal.IMPOSSIBLE: Step(_REJECTED),
        Signal.OVERTAKEN: Step(_REJECTED),
        Signal.UNPROTECTED: Step(_REJECTED),
        Signal.RESTARTED: Step(_REJECTED),
        Signal.RECEIPT_POSITIVE: Step(_REJECTED, Alarm.CONTRADICTION),
        Signal.RECEIPT_PARTIAL: Step(_REJECTED, Alarm.CONTRADICTION),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED),
        Signal.RECEIPT_UNCLEAR: Step(_REJECTED, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_REJECTED),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    # An earlier attempt with an unknown outcome may have gone: then the register's answer is the truth.
    _REFUSED: {
        Signal.SEND_BEGUN: Step(_REFUSED),
        Signal.ACCEPTED: Step(_REFUSED),
        Signal.RELEASED: Step(_REFUSED),
        Signal.MODIFIED: Step(_REFUSED),
        Signal.REJECTED_BY_BROKER: Step(_REFUSED),
        Signal.UNKNOWN: Step(_REFUSED),
        Signal.UNAVAILABLE: Step(_REFUSED),
        Signal.NO_ROUTE: Step(_REFUSED),
        Signal.IMPOSSIBLE: Step(_REFUSED),
        Signal.OVERTAKEN: Step(_REFUSED),
        Signal.UNPROTECTED: Step(_REFUSED),
        Signal.RESTARTED: Step(_REFUSED),
        Signal.RECEIPT_POSITIVE: Step(_DONE, Alarm.CONTRADICTION),
        Signal.RECEIPT_PARTIAL: Step(_DONE, Alarm.DEFECT),
        Signal.RECEIPT_NEGATIVE: Step(_REJECTED, Alarm.NEGATIVE),
        Signal.RECEIPT_UNCLEAR: Step(_REFUSED, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_REFUSED, Alarm.ERROR_NOTICE),
        Signal.ERROR_NOTICE_FINAL: Step(_REJECTED, Alarm.ERROR_NOTICE),
        Signal.OVERDUE: Step(_REFUSED),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
    # Its notifications are in a newer envelope, whose receipt counts. The register refuses what stood behind a
    # refused message, so a negative receipt here is expected.
    _SUPERSEDED: {
        Signal.SEND_BEGUN: Step(_SUPERSEDED),
        Signal.ACCEPTED: Step(_SUPERSEDED),
        Signal.RELEASED: Step(_SUPERSEDED),
        Signal.MODIFIED: Step(_SUPERSEDED),
        Signal.REJECTED_BY_BROKER: Step(_SUPERSEDED),
        Signal.UNKNOWN: Step(_SUPERSEDED),
        Signal.UNAVAILABLE: Step(_SUPERSEDED),
        Signal.NO_ROUTE: Step(_SUPERSEDED),
        Signal.IMPOSSIBLE: Step(_SUPERSEDED),
        Signal.OVERTAKEN: Step(_SUPERSEDED),
        Signal.UNPROTECTED: Step(_SUPERSEDED),
        Signal.RESTARTED: Step(_SUPERSEDED),
        Signal.RECEIPT_POSITIVE: Step(_SUPERSEDED, Alarm.LATE_DELIVERY),
        Signal.RECEIPT_PARTIAL: Step(_SUPERSEDED, Alarm.LATE_DELIVERY),
        Signal.RECEIPT_NEGATIVE: Step(_SUPERSEDED),
        Signal.RECEIPT_UNCLEAR: Step(_SUPERSEDED, Alarm.UNCLEAR),
        Signal.ERROR_NOTICE_TEMPORARY: Step(_SUPERSEDED),
        Signal.ERROR_NOTICE_FINAL: Step(_SUPERSEDED),
        Signal.OVERDUE: Step(_SUPERSEDED),
        Signal.REISSUED: Step(_SUPERSEDED),
    },
}

_PACES: Final[dict[Signal, Pace]] = {
    Signal.ACCEPTED: Pace.AT_ONCE,
    Signal.OVERTAKEN: Pace.AT_ONCE,
    Signal.MODIFIED: Pace.QUICK,
    Signal.UNKNOWN: Pace.QUICK,
    Signal.UNAVAILABLE: Pace.QUICK,
    Signal.RELEASED: Pace.SLOW,
    Signal.REJECTED_BY_BROKER: Pace.SLOW,
    Signal.NO_ROUTE: Pace.SLOW,
    Signal.UNPROTECTED: Pace.SLOW,
    Signal.IMPOSSIBLE: Pace.HALT,
}


def step(state: State, signal: Signal) -> Step:
    """The step that `signal` makes from `state`. Every pair has one (invariant 8)."""
    return TABLE[state][signal]


def pace(signal: Signal) -> Pace:
    """How soon the wire is tried again after the outcome `signal`. Raises KeyError for what is no outcome."""
    return _PACES[signal]
