"""One ledger transaction: every room at once, so that what belongs together is committed together."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from agent.domain.finding import Severity
from agent.ledger.chain import ChainRoom
from agent.ledger.envelopes import EnvelopesRoom
from agent.ledger.findings import FindingsRoom
from agent.ledger.progress import ProgressRoom
from agent.ledger.queue import QueueRoom
from agent.ledger.receipts import ReceiptsRoom
from agent.ledger.retention import RetentionRoom
from agent.ledger.rows import RowsRoom
from agent.ledger.services import ServiceCounts, ServicesRoom
from connectors.source import Position


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """Everything that `kpr-agent status` shows of one municipality; nothing personal in it.

    waiting: notifications that no envelope carries yet. envelopes: state -> count. oldest_unanswered_at: when the
    envelope was sent that has waited longest. findings: (rule, severity) -> count. receipts: (kind, verdict) -> count.
    """

    position: Position | None
    seen_through: datetime | None
    open_transaction: bool
    notes: Mapping[str, str]
    due: int
    planned: int
    next_planned: date | None
    services: ServiceCounts
    findings: Mapping[tuple[str, Severity], int]
    notifications: int
    waiting: int
    envelopes: Mapping[str, int]
    overdue: int
    oldest_unanswered_at: datetime | None
    receipts: Mapping[tuple[str, str], int]
    unreadable: int
    counters: Mapping[str, int]


class LedgerTransaction(
    RowsRoom,
    ServicesRoom,
    FindingsRoom,
    QueueRoom,
    ProgressRoom,
    ChainRoom,
    EnvelopesRoom,
    ReceiptsRoom,
    RetentionRoom,
):
    """What a piece of work reads and writes. It lives as long as the transaction: what it streams is read within it.

    The rooms are its parts, one file for each; they share nothing but the connection, the seal and the clock.
    """

    __slots__ = ()

    def status(self, *, unanswered: Collection[str], overdue_before: datetime) -> LedgerStatus:
        """The state of everything. `unanswered`: the envelope states that await a receipt."""
        end = self.chain_end()
        number = 0 if end is None else end[0]
        oldest = self.oldest_unanswered(unanswered)
        return LedgerStatus(
            position=self.position(),
            seen_through=self.seen_through(),
            open_transaction=self.open_transaction(),
            notes=self.notes(),
            due=self.count_due(),
            planned=self.count_planned(),
            next_planned=self.next_planned(),
            services=self.count_services(),
            findings=self.count_findings(),
            notifications=number,
            waiting=number - self.last_enveloped_number(),
            envelopes=self.count_envelopes(),
            overdue=self.count_overdue(unanswered, overdue_before),
            oldest_unanswered_at=None if oldest is None else oldest.sent_at,
            receipts=self.count_receipts(),
            unreadable=self.count_unreadable(),
            counters=self.counters(),
        )
