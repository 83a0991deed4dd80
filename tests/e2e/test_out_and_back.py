"""Out and back for real but for the broker's name: AMQP 1.0 on a socket, CMS, a register that checks the chain."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from proton import Message

from agent.demo.bus import Answer, Bus, Then, Transfer, Verdict
from agent.demo.certificates import Usage, write
from agent.demo.register import Register, Script
from agent.demo.register_service import KnownSender, RegisterKeys, RegisterService
from agent.dispatch.loop import Dispatch, DispatchSettings
from agent.dispatch.resend import resend
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.protection import ProtectionFiles
from agent.protection.protector import Protector
from agent.receive.loop import Receive, ReceiveSettings
from agent.retry import RetrySettings
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender, NhnAmqpSettings
from tests.certificates import NOW, make_identity, make_variant
from tests.outbound import (
    ENVELOPES,
    NUMBER,
    OURS,
    OURS_SERVICE,
    REGISTER,
    REGISTER_SERVICE,
    RecordingLog,
    all_envelopes,
    chain,
    states,
)

OUT, IN, ERRORS, REGISTER_ERRORS = ENVELOPES.queue, ENVELOPES.reply_queue, "8000002_error", "8139520_error"
QUICK = RetrySettings(0.01, 0.05, 0.05)


def clock() -> datetime:
    return NOW


class Town:
    """One municipality and the register, each with its keys, on one bus."""

    def __init__(self, folder: Path, script: Script | None = None) -> None:
        self.folder = folder
        self.bus = Bus([OUT, IN, ERRORS, REGISTER_ERRORS], {"kpr": "a password"}, exchange="Exchange")
        self.register = Register(script)
        self.log = RecordingLog()
        self.signing = make_identity("Kinn signing", Usage.SIGNING)
        self.encryption = make_identity("Kinn encryption", Usage.ENCRYPTION)
        self.register_signing = make_identity("KPR signing", Usage.SIGNING)
        self.register_encryption = make_identity("KPR encryption", Usage.ENCRYPTION)
        (folder / "user").write_text("kpr")
        (folder / "password").write_text("a password")
        (folder / "password").chmod(0o600)
        ours = write(self.signing, folder, "signing")
        keys = write(self.encryption, folder, "encryption")
        self.files = ProtectionFiles(
            ours.key,
            ours.certificate,
            [(keys.key, keys.certificate)],
            write(self.register_encryption, folder, "register_encryption").certificate,
            [write(self.register_signing, folder, "register_signing").certificate],
        )
        self.key = LedgerKey(bytes(range(32)))
        self.ledger = self.open_ledger()

    def open_ledger(self) -> Ledger:
        return Ledger.open(self.folder / "kinn.db", unit="kinn", key=self.key)

    def account(self) -> NhnAmqpSettings:
        return NhnAmqpSettings(
            url=f"amqp://127.0.0.1:{self.bus.port}",
            exchange="Exchange",
            addresses="v2",
            user_file=self.folder / "user",
            password_file=self.folder / "password",
            window=50,
        )

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[RegisterService]:
        service = RegisterService(
            self.register,
            keys=RegisterKeys(self.register_signing.signing_identity(), (self.register_encryption.decryption_key(),)),
            senders=[
                KnownSender(
                    frozenset({str(OURS), str(OURS_SERVICE)}),
                    IN,
                    (self.signing.certificate,),
                    self.encryption.certificate,
                )
            ],
            open_inbox=lambda: NhnAmqpInbox(self.account(), async_queue=OUT, error_queue=REGISTER_ERRORS),
            open_sender=lambda queue: NhnAmqpSender(self.account(), send_to_queue=queue),
            clock=clock,
        )
        task = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def exchanging(self, window: int = 1) -> AsyncIterator[tuple[Dispatch, Receive]]:
        protector = Protector(self.files)
        dispatch = Dispatch(
            self.ledger,
            lambda: NhnAmqpSender(self.account(), send_to_queue=OUT),
            protector,
            ENVELOPES,
            DispatchSettings(window=window, look_ahead=2 * window + 8, retry=QUICK, drain_s=10),
            self.log,
            clock=clock,
        )
        receive = Receive(
            self.ledger,
            lambda: NhnAmqpInbox(self.account(), async_queue=IN, error_queue=ERRORS),
            protector,
            ReceiveSettings(
                frozenset({str(OURS), str(OURS_SERVICE)}),
                frozenset({str(REGISTER), str(REGISTER_SERVICE)}),
                retry=QUICK,
            ),
            self.log,
            booked=dispatch.nudge,
            clock=clock,
        )
        tasks = [asyncio.create_task(dispatch.run()), asyncio.create_task(receive.run())]
        try:
            yield dispatch, receive
        finally:
            dispatch.stop()
            receive.stop()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  what is looked at is set in several places
                await asyncio.sleep(0.01)

    async def until_all(self, state: str, count: int) -> None:
        await self.until(lambda: states(self.ledger).count(state) == count)


@pytest.fixture
async def make_town(tmp_path: Path) -> AsyncIterator[Callable[..., Town]]:
    made: list[Town] = []

    def make(script: Script | None = None) -> Town:
        made.append(Town(tmp_path, script))
        return made[-1]

    yield make
    for town in made:
        town.ledger.close()


@pytest.mark.parametrize("window", [1, 20])
async def test_what_is_sent_comes_back_receipted_in_one_chain(make_town: Callable[..., Town], window: int) -> None:
    town = make_town(Script(twice=frozenset({2, 5})))
    chain(town.ledger, 30)
    async with town.bus, town.answering(), town.exchanging(window):
        await town.until_all("receipted", 30)
        await town.until(lambda: town.ledger.run_now(lambda tx: tx.counters())["receipts_booked"] == 32)
    assert town.register.notifications == 30
    assert town.register.refused == 0
    assert town.log.alarms() == []


async def test_invariant_10_nothing_on_the_bus_can_be_read_or_names_a_person(make_town: Callable[..., Town]) -> None:
    town = make_town()
    chain(town.ledger, 2)
    async with town.bus, town.exchanging():
        await town.until_all("sent", 2)
        for raw in town.bus.messages(OUT):
            assert NUMBER.encode() not in raw
            assert b"Melding" not in raw
            message = Message()
            message.decode(raw)
            assert message.durable
            assert message.properties["fromHerId"] == str(OURS_SERVICE)
            assert "enqueuedTimeUtc" in message.properties
        assert NUMBER not in str(town.log.lines)


async def test_a_refused_message_halts_and_goes_again_by_a_persons_word(make_town: Callable[..., Town]) -> None:
    town = make_town(Script(refused=frozenset({3})))
    chain(town.ledger, 8)
    async with town.bus, town.answering(), town.exchanging() as (dispatch, _):
        await town.until(lambda: "sending_halted" in town.log.alarms())
        await town.until(lambda: not set(states(town.ledger)) & {"sent", "in_flight"})
        await town.ledger.run(lambda tx: resend(tx, None, ENVELOPES, at=NOW, new_id=uuid4))
        dispatch.nudge()
        await town.until_all("receipted", 8)
    assert town.register.notifications == 8
    assert "receipt_negative" in town.log.alarms()


async def test_connections_that_break_on_the_way_lose_and_double_nothing(make_town: Callable[..., Town]) -> None:
    town = make_town()
    chain(town.ledger, 20)
    breaks = {
        2: Answer(Verdict.NONE, keep=True, then=Then.DROP),  # it arrived, its outcome was lost
        5: Answer(Verdict.NONE, keep=False, then=Then.DROP),  # it never arrived
        9: Answer(Verdict.RELEASED, keep=False),
        12: Answer(Verdict.MODIFIED, keep=False),
        14: Answer(Verdict.REJECTED, keep=False, then=Then.DETACH),
    }
    ours = iter(range(1, 10**6))

    def script(transfer: Transfer) -> Answer | None:
        return breaks.get(next(ours)) if transfer.queue == OUT else None

    town.bus.on_transfer = script
    async with town.bus, town.answering(), town.exchanging():
        await town.until_all("receipted", 20)
    assert town.register.notifications == 20
    assert town.register.refused == 0
    assert {each.attempts for each in all_envelopes(town.ledger)} == {1, 2}


async def test_a_bus_that_goes_away_and_comes_back_is_found_again(make_town: Callable[..., Town]) -> None:
    town = make_town()
    chain(town.ledger, 3)
    async with town.bus, town.answering(), town.exchanging() as (dispatch, _):
        await town.until_all("receipted", 3)
        await town.bus.stop()
        chain(town.ledger, 3)
        dispatch.nudge()
        await town.until(lambda: bool(town.log.told("sender_unavailable")))
        await town.bus.start()
        await town.until_all("receipted", 6)
    assert town.register.notifications == 6


async def test_invariant_9_a_ledger_that_is_opened_again_sends_what_may_have_gone(
    make_town: Callable[..., Town],
) -> None:
    town = make_town()
    chain(town.ledger, 6)
    unanswered = asyncio.Event()
    town.bus.on_transfer = lambda _: Answer(after=unanswered)
    async with town.bus:
        protector = Protector(town.files)
        dispatch = Dispatch(
            town.ledger,
            lambda: NhnAmqpSender(town.account(), send_to_queue=OUT),
            protector,
            ENVELOPES,
            DispatchSettings(window=3),
            town.log,
            clock=clock,
        )
        task = asyncio.create_task(dispatch.run())
        await town.until(lambda: town.bus.transfers == 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        town.ledger.close()
        town.ledger = town.open_ledger()
        assert states(town.ledger)[:3] == ["in_flight"] * 3
        unanswered.set()
        town.bus.on_transfer = None
        async with town.answering(), town.exchanging():
            await town.until_all("receipted", 6)
    assert town.register.notifications == 6


async def test_a_message_of_somebody_else_is_left_and_stops_receiving(make_town: Callable[..., Town]) -> None:
    town = make_town()
    foreign = Message(id="other", subject="DIALOG", properties={"fromHerId": "99", "toHerId": str(OURS)}, body=b"x")
    foreign.inferred = True
    async with town.bus, town.exchanging() as (_, receive):
        await town.bus.put(IN, foreign.encode())
        await town.until(lambda: receive.stopped_by_foreign)
        await town.until(lambda: town.bus.consumers(IN) == 0)
        assert len(town.bus.messages(IN)) == 1
    assert town.log.told("message_not_ours")[0]["subject"] == "DIALOG"


async def test_an_error_notice_halts_the_chain_and_is_never_answered(make_town: Callable[..., Town]) -> None:
    town = make_town()
    chain(town.ledger, 2)
    async with town.bus, town.exchanging():
        await town.until_all("sent", 2)
        notice = Message(
            id=str(UUID(int=9)),
            properties={
                "originalMessageId": all_envelopes(town.ledger)[0].message_id,
                "errorCondition": "transport:invalid-certificate",
                "fromHerId": str(REGISTER_SERVICE),
                "toHerId": str(OURS_SERVICE),
            },
            body=b"",
        )
        notice.inferred = True
        before = town.bus.transfers
        await town.bus.put(ERRORS, notice.encode())
        await town.until_all("rejected", 1)
        await town.until(lambda: not town.bus.messages(ERRORS))
        assert town.bus.transfers == before
    assert town.log.told("error_notice")[0]["condition"] == "transport:invalid-certificate"


async def test_a_certificate_rotated_under_a_backlog_is_no_event(make_town: Callable[..., Town]) -> None:
    town = make_town()
    expired = make_variant(town.signing, "Kinn signing", Usage.SIGNING, days=-1)
    write(expired, town.folder, "signing")
    chain(town.ledger, 3)
    async with town.bus, town.answering(), town.exchanging():
        await town.until(lambda: town.log.alarms().count("protection_unusable") > 1)
        assert town.bus.transfers == 0
        write(town.signing, town.folder, "signing")
        await town.until_all("receipted", 3)
    assert town.register.notifications == 3
