"""What tests of the way out and back share: a chain, settings, a log that remembers, and a bus of a few lines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Self
from uuid import UUID, uuid5

from agent.dispatch.envelope import EnvelopeSettings, Product
from agent.dispatch.turn import DispatchTransaction
from agent.domain.delivery import State
from agent.domain.hodemelding import Party
from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.melding import Contact
from agent.domain.notification import FIRST_PREVIOUS_GUID, Content, Event, Notification, ReportedPerson, Status
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from connectors.inbox import Incoming, Queue, Settlement
from connectors.sender import Outcome, Outgoing, SenderUnavailable, Verdict

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
NUMBER = tenor_number(date(1938, 5, 17), 0) or ""
OURS, OURS_SERVICE, REGISTER, REGISTER_SERVICE = 8000001, 8000002, 8139520, 8000003

ENVELOPES = EnvelopeSettings(
    product=Product("Demo", "DemoEPJ", "1.0"),
    program_version="kpr-agent 0.1.0",
    contacts=tuple(Contact("Kari Test", "kari@kommune.example", None, None, role) for role in ("16", "17")),
    kommunenummer_on=lambda _: "4602",
    sender=Party("Kinn", OURS, "Saksbehandling", OURS_SERVICE),
    receiver=Party("KPR", REGISTER, "KPR", REGISTER_SERVICE),
    from_her_id=OURS_SERVICE,
    to_her_id=REGISTER_SERVICE,
    queue="8139520_async",
    reply_queue="8000002_async",
)


def notification(number: int) -> Notification:
    """The notification of that number in a chain where each reports the start of a service of its own."""
    return Notification(
        number=number,
        guid=guid_of(number),
        previous_guid=guid_of(number - 1),
        original_guid=None,
        status=Status.NEW,
        event=Event.START,
        event_guid=uuid5(SPACE, f"event {number}"),
        service_id=f"T-{number}",
        pause_id=None,
        arisen_at=NOW,
        content=Content(
            "18",
            date(2026, 11, 20),
            NOW,
            made_up_organisation_number(0),
            ReportedPerson(UUID(int=4), "B-17", NUMBER, "1"),
        ),
    )


def guid_of(number: int) -> UUID:
    return uuid5(SPACE, f"notification {number}") if number else FIRST_PREVIOUS_GUID


def open_ledger() -> Ledger:
    return Ledger.open(":memory:", unit="kinn", key=None)


def chain(ledger: Ledger, count: int) -> None:
    """Append so many notifications to the chain."""

    def work(tx: LedgerTransaction) -> None:
        first = (tx.chain_end() or (0, None))[0] + 1
        for number in range(first, first + count):
            tx.add_notification(notification(number), f"service {number}", {})

    ledger.run_now(work)


def states(ledger: Ledger) -> list[str]:
    """The state of every envelope in order."""
    return [envelope.state for envelope in all_envelopes(ledger)]


def all_envelopes(ledger: Ledger):
    return ledger.run_now(lambda tx: tx.envelopes([state.value for state in State], 100_000))


def answer(ledger: Ledger, msg_id: str, state: State) -> None:
    """Book an answer of the register the short way."""

    def work(tx: LedgerTransaction) -> None:
        envelope = tx.envelope_by_msg_id(msg_id)
        assert envelope is not None
        tx.set_envelope(envelope.id, state=state.value)

    ledger.run_now(work)


def count_ids() -> Callable[[], UUID]:
    """Ids 1, 2, 3 .. as UUIDs."""
    numbers = iter(range(1, 10**9))
    return lambda: UUID(int=next(numbers))


class RecordingLog:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def alarm(self, event: str, **fields: object) -> None:
        self.lines.append(("alarm", event, fields))

    def alarms(self) -> list[str]:
        return [event for level, event, _ in self.lines if level == "alarm"]

    def told(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.lines if name == event]


class Hours:
    """A clock, and waits that take no time: a wait on an event that nobody sets moves the clock on and returns.

    A wait whose event is set by somebody else in the meantime is cut short, as in life. `waits` remembers them.
    """

    def __init__(self, real_s: float = 0.02) -> None:
        self.real_s = real_s
        self.now = NOW
        self.waits: list[float] = []

    def clock(self) -> datetime:
        return self.now

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        self.waits.append(timeout_s)
        for _ in range(3):  # whoever is about to set it gets a chance to
            await asyncio.sleep(0)
            if event.is_set():
                return
        try:
            async with asyncio.timeout(self.real_s):  # worker threads set it from outside the loop
                await event.wait()
        except TimeoutError:
            self.now += timedelta(seconds=timeout_s)


class ScriptedBus:
    """What every sender of a test sends to. `script` answers each transfer; `delivered` is what the register gets.

    A verdict decides what is delivered: accepted and unknown ones are, unless `lose_unknown`.
    """

    def __init__(self, script: Callable[[int, Outgoing], Outcome | Verdict] | None = None) -> None:
        self.script = script or (lambda _number, _outgoing: Verdict.ACCEPTED)
        self.transfers: list[Outgoing] = []
        self.delivered: list[Outgoing] = []
        self.connections = 0
        self.refuse_to_open: list[Exception] = []
        self.flying = 0
        self.most_flying = 0
        self.hold: asyncio.Event | None = None
        self.on_delivery: Callable[[Outgoing], None] = lambda _: None
        self.lose_unknown = False
        self._changed = asyncio.Event()

    def sender(self) -> "ScriptedSender":
        return ScriptedSender(self)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20) -> None:
        """Wait until the condition holds; looked at after each transfer and every few milliseconds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.01):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def take(self, outgoing: Outgoing) -> Outcome:
        self.transfers.append(outgoing)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            answered = self.script(len(self.transfers), outgoing)
            outcome = answered if isinstance(answered, Outcome) else Outcome(answered)
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
        finally:
            self.flying -= 1
        if outcome.verdict is Verdict.ACCEPTED or (outcome.verdict is Verdict.UNKNOWN and not self.lose_unknown):
            self.delivered.append(outgoing)
            self.on_delivery(outgoing)
        self._changed.set()
        return outcome


class ScriptedSender:
    def __init__(self, bus: ScriptedBus) -> None:
        self._bus = bus

    async def __aenter__(self) -> Self:
        if self._bus.refuse_to_open:
            raise self._bus.refuse_to_open.pop(0)
        self._bus.connections += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def send(self, outgoing: Outgoing) -> Outcome:
        return await self._bus.take(outgoing)


class ScriptedInbox:
    """Gives the messages it was made with, and remembers how each was settled. At the end it waits, or raises."""

    def __init__(self, messages: Iterable[Incoming], *, then: Exception | None = None) -> None:
        self._messages = list(messages)
        self._then = then
        self.settled: list[tuple[int, Settlement]] = []
        self.on_settle: Callable[[Incoming, Settlement], None] = lambda _incoming, _how: None
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def messages(self) -> AsyncIterator[Incoming]:
        for incoming in self._messages:
            yield incoming
        if self._then is not None:
            raise self._then
        await asyncio.Event().wait()

    async def settle(self, incoming: Incoming, how: Settlement) -> None:
        self.on_settle(incoming, how)
        self.settled.append((incoming.handle, how))
        self.changed.set()


def incoming(handle: int, body: bytes = b"", **other: object) -> Incoming:
    """A message as a receipt comes, unless told otherwise."""
    fields: dict[str, object] = {
        "handle": handle,
        "queue": Queue.ASYNC,
        "message_id": f"id-{handle}",
        "correlation_id": None,
        "subject": "APPREC",
        "content_type": "application/pkcs7-mime; smime-type=signed-and-enveloped-data",
        "delivery_count": 0,
        "properties": {"fromHerId": str(REGISTER_SERVICE), "toHerId": str(OURS_SERVICE)},
        "body": body,
    }
    return Incoming(**(fields | other))  # type: ignore[arg-type]  # fields of Incoming


APPREC = """<AppRec xmlns="http://www.kith.no/xmlstds/apprec/2012-02-15"><MsgType V="APPREC"/>
<MIGversion>1.1 2012-02-15</MIGversion>
<GenDate>2026-11-21T13:00:00</GenDate><Id>{receipt_id}</Id>
<Sender><HCP><Inst><Name>KPR</Name><Id>{sender}</Id><TypeId V="HER" DN="HER-id"/></Inst></HCP></Sender>
<Receiver><HCP><Inst><Name>Kinn</Name><Id>{receiver}</Id><TypeId V="HER" DN="HER-id"/></Inst></HCP></Receiver>
<Status V="{status}"/>{error}
<OriginalMsgId><MsgType V="KPR_IPL"/><IssueDate>2026-11-21T12:00:00</IssueDate>
<Id>{msg_id}</Id></OriginalMsgId></AppRec>"""


def apprec(
    msg_id: str,
    status: str = "1",
    *,
    receipt_id: str = "r-1",
    error: str = "",
    sender: int = REGISTER,
    receiver: int = OURS,
) -> bytes:
    """An application receipt v1.1 for the message of that MsgId."""
    return APPREC.format(
        msg_id=msg_id, status=status, receipt_id=receipt_id, error=error, sender=sender, receiver=receiver
    ).encode()


def unavailable() -> SenderUnavailable:
    return SenderUnavailable("no connection", condition="amqp:connection:forced")


def is_dispatch_transaction(tx: LedgerTransaction) -> DispatchTransaction:
    """Type-checked proof that the ledger's transaction fits the protocol."""
    return tx
