"""Each station of the way measured alone: what the whole is held against, in the same run on the same machine."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from agent.composition import envelope_settings, protection_files, reporting_unit, wanted
from agent.dispatch.envelope import NewEnvelope, build_envelope, outgoing
from agent.dispatch.turn import Settled, Turn, take_turn
from agent.domain.delivery import Signal
from agent.domain.notification import Notification
from agent.examine import notice_rules, open_gate
from agent.intake.booking import Booking
from agent.ledger.envelopes import Envelope
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.pipeline import PROTECTION_THREADS
from agent.protection.protector import Protector
from agent.unit import ReportingUnit
from bench.stage import QUEUE, Stage
from connectors.catalog import open_source
from connectors.nhn_amqp.bus import NhnAmqpSender
from connectors.sender import Outgoing, Verdict
from connectors.source import Transaction
from tests.services.far_end import account

_TOGETHER = 64
"""Source transactions to one of the ledger's, as intake does it at most."""


@dataclass(frozen=True)
class Rate:
    """So many messages in so many seconds."""

    messages: int
    seconds: float

    @property
    def per_s(self) -> float:
        return self.messages / self.seconds


def harmonic(*rates: float) -> float:
    """The rate of stations that work one after the other: 1 / (1/a + 1/b + ...)."""
    return 1 / sum(1 / rate for rate in rates)


async def take_in(stage: Stage, rows: int) -> tuple[Rate, list[Notification]]:
    """Intake and examine: the EPJ's log to notifications, in a ledger in memory, where nothing is synced."""
    with stage.open_ledger() as there:
        secret = there.unit_secret
    unit = reporting_unit(stage.municipality, secret)
    with Ledger.open(":memory:", unit=unit.name, key=None) as ledger:
        ledger.run_now(lambda tx: (notice_rules(tx, unit), open_gate(tx, unit)))
        began = time.perf_counter()
        await _book_all(stage, unit, ledger, rows)
        seconds = time.perf_counter() - began
        chain = [stored.notification for stored in ledger.read(lambda tx: list(tx.notifications(1, 10**9)))]
    return Rate(len(chain), seconds), chain


async def _book_all(stage: Stage, unit: ReportingUnit, ledger: Ledger, rows: int) -> None:
    booking = Booking(unit)
    together: list[Transaction] = []
    seen = 0
    source = open_source(stage.municipality.settings.source.chosen, wanted(stage.municipality), None)

    def book(tx: LedgerTransaction) -> None:
        for transaction in together:
            booking.book(tx, transaction, datetime.now(UTC))

    async with source:
        async for transaction in source.transactions():
            together.append(transaction)
            seen += len(transaction.records)
            if len(together) == _TOGETHER or seen >= rows:
                ledger.run_now(book)
                together.clear()
            if seen >= rows:
                return


def build(stage: Stage, chain: Sequence[Notification]) -> tuple[Rate, list[NewEnvelope]]:
    """Building and validating messages of one notification, on as many threads as protection has."""
    settings = envelope_settings(stage.municipality)

    def one(notification: Notification) -> NewEnvelope:
        return build_envelope([notification], settings, msg_id=uuid4(), message_id=uuid4(), at=datetime.now(UTC))

    with ThreadPoolExecutor(PROTECTION_THREADS) as threads:
        began = time.perf_counter()
        made = list(threads.map(one, chain))
        return Rate(len(made), time.perf_counter() - began), made


def protect(stage: Stage, envelopes: Sequence[NewEnvelope]) -> tuple[Rate, list[bytes]]:
    """Signing and encrypting with RSA 3072 on two threads."""
    protector = Protector(protection_files(stage.municipality.settings))
    now = datetime.now(UTC)
    with ThreadPoolExecutor(PROTECTION_THREADS) as threads:
        began = time.perf_counter()
        bodies = list(threads.map(lambda made: protector.protect(made.content, now), envelopes))
        return Rate(len(bodies), time.perf_counter() - began), bodies


async def keep(stage: Stage, chain: Sequence[Notification], envelopes: Sequence[NewEnvelope], window: int) -> Rate:
    """The ledger in its file (WAL, FULL): envelopes stored, marked in flight, outcomes booked, `window` a transaction.

    These are the transactions of sending at their best; those of intake, one for up to 64 changes, count nowhere.
    """
    key = LedgerKey.from_file(stage.municipality.settings.ledger.key_file)
    with Ledger.open(stage.folder / "alone.db", unit="alone", key=key) as ledger:
        ledger.run_now(lambda tx: [tx.add_notification(notification, "1", {}) for notification in chain])
        settled: Sequence[Settled] = ()
        known = 0
        began = time.perf_counter()
        for start in range(0, len(envelopes), window):
            turn = Turn(
                datetime.now(UTC),
                settled=settled,
                known_id=known,
                room=1,
                built=envelopes[start : start + window],
                may_begin=window,
            )
            taken = await ledger.run(lambda tx, turn=turn: take_turn(tx, turn))
            settled = [Settled(envelope_id, Signal.ACCEPTED) for envelope_id in taken.begun]
            known = max(taken.begun)
        last = Turn(datetime.now(UTC), settled=settled, known_id=known)
        await ledger.run(lambda tx: take_turn(tx, last))
        return Rate(len(envelopes), time.perf_counter() - began)


async def send(stage: Stage, bodies: Sequence[bytes], window: int) -> tuple[Rate, list[float]]:
    """The bare AMQP client over TLS, `window` transfers without an answer; also each round trip in seconds."""
    waiting = iter(messages(stage, bodies))
    trips: list[float] = []
    async with NhnAmqpSender(account(stage.broker, "v2", window=window), send_to_queue=QUEUE) as sender:

        async def go_on() -> None:
            for message in waiting:
                left = time.perf_counter()
                outcome = await sender.send(message)
                if outcome.verdict is not Verdict.ACCEPTED:
                    raise RuntimeError(f"the broker did not take a message: {outcome.verdict}")
                trips.append(time.perf_counter() - left)

        began = time.perf_counter()
        await asyncio.gather(*(go_on() for _ in range(window)))
        return Rate(len(bodies), time.perf_counter() - began), trips


def messages(stage: Stage, bodies: Sequence[bytes]) -> list[Outgoing]:
    """Protected bodies as they would go onto the bus."""
    settings, now = envelope_settings(stage.municipality), datetime.now(UTC)

    def envelope(number: int) -> Envelope:
        name = str(uuid4())
        return Envelope(number, name, name, number, number, "ready", 0, now, None, None, None, None)

    return [outgoing(envelope(number), body, settings) for number, body in enumerate(bodies, 1)]
