"""The demo's register: it takes a right chain, refuses a broken one, and answers as it should over the bus."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest

from agent.demo.bus import Bus
from agent.demo.certificates import Usage
from agent.demo.register import Register, Script
from agent.demo.register_reading import NotTaken, RegisterFault, read_message
from agent.demo.register_receipt import build_receipt
from agent.demo.register_service import KnownSender, RegisterKeys, RegisterService
from agent.dispatch.envelope import build_envelope, outgoing
from agent.domain.notification import Event, Notification, Status
from agent.domain.receipt import Receipt, ReceiptVerdict, read_receipt
from agent.protection import protect, unprotect
from connectors.inbox import Incoming, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender, NhnAmqpSettings
from connectors.sender import Verdict
from tests.agent_on_histories import agents_run
from tests.certificates import NOW, make_identity
from tests.outbound import ENVELOPES, OURS, OURS_SERVICE, notification
from tests.register_model import RegisterModel

SPACE = UUID("2d1f0f4a-7f0c-4a35-9a51-6a1f9a0f7b11")
SENDER = str(OURS)


def message(*notifications: Notification, name: str = "") -> bytes:
    """MsgHead bytes as the agent writes them."""
    msg_id = uuid5(SPACE, name or f"{notifications[0].number}-{notifications[-1].number}")
    return build_envelope(notifications, ENVELOPES, msg_id=msg_id, message_id=msg_id, at=NOW).content


def texts(register: Register, *notifications: Notification) -> list[str]:
    """Why the register refuses a message of these notifications; empty when it takes it."""
    return [fault.text for fault in register.receive(message(*notifications)).faults]


def relinked(content: bytes, previous: UUID) -> bytes:
    """The message with another notifikasjonForrigeGUID in place of `previous`; the agent refuses to write one."""
    before = f'notifikasjonForrigeGUID="{previous}"'.encode()
    assert content.count(before) == 1
    return content.replace(before, f'notifikasjonForrigeGUID="{UUID(int=9)}"'.encode())


def changed(original: Notification, number: int, status: Status, **content: Any) -> Notification:
    """An M or C of a notification, at its place in the chain."""
    event_guid = original.event_guid if status is Status.ANNUL else uuid5(SPACE, f"version {number}")
    return replace(
        notification(number),
        original_guid=original.guid,
        status=status,
        event=original.event,
        event_guid=event_guid,
        service_id=original.service_id,
        content=replace(original.content, **content),
    )


@pytest.mark.parametrize("at_once", [1, 7])
def test_a_whole_history_is_taken_and_gives_the_picture_that_the_model_gives(at_once: int) -> None:
    _, notifications, _ = agents_run(1, 0.05)
    register = Register()
    for first in range(0, len(notifications), at_once):
        assert texts(register, *notifications[first : first + at_once]) == []
    assert register.picture() == register.picture(SENDER) == RegisterModel().replay(notifications).picture
    assert register.chain_end(SENDER) == register.notifications == len(notifications)


def test_what_was_told_before_is_taken_again_and_changes_nothing() -> None:
    register = Register()
    first, second = notification(1), notification(2)
    assert texts(register, first) == texts(register, second) == []
    before = register.picture()
    assert texts(register, first) == texts(register, first, second) == []
    assert (register.picture(), register.notifications, register.accepted) == (before, 2, 4)
    other = replace(first, content=replace(first.content, service_type="19"))
    assert texts(register, other) == ["the notification was told before, with other content"]


def test_behind_a_refused_message_everything_is_refused_until_it_comes_again() -> None:
    register = Register(Script(refused=frozenset({2})))
    assert texts(register, notification(1)) == []
    assert texts(register, notification(2)) == ["refused by the demo's script"]
    assert texts(register, notification(3)) == ["notifikasjonLopeNr 3 does not follow 1"]
    assert [texts(register, notification(number)) for number in (2, 3, 4)] == [[], [], []]
    assert (register.refused, register.chain_end(SENDER)) == (2, 4)


def test_a_link_to_another_notification_is_refused() -> None:
    forged = relinked(message(notification(1)), UUID(int=0))
    [fault] = Register().receive(forged).faults
    assert fault.text == "notifikasjonForrigeGUID is not the notification before it"


def test_references_must_name_an_n_that_stands() -> None:
    start = notification(1)
    annulled = changed(start, 2, Status.ANNUL)
    wrong = {
        "notifikasjonRef is no N of this sender": replace(changed(start, 2, Status.REPLACE), original_guid=UUID(int=8)),
        "notifikasjonRef is an N of another event": replace(changed(start, 2, Status.REPLACE), service_id="other"),
        "a C with another hendelseGUID than the version that stands": replace(annulled, event_guid=UUID(int=7)),
        "a C with other content than was last told": changed(start, 2, Status.ANNUL, service_type="19"),
        "no TjenesteStart stands for the service": replace(notification(2), event=Event.END),
        "an N of an event that stands": replace(notification(2), service_id=start.service_id),
    }
    for why, second in wrong.items():
        register = Register()
        assert texts(register, start) == []
        assert texts(register, second) == [why]
        assert register.chain_end(SENDER) == 1
    register = Register()
    assert texts(register, start) == texts(register, annulled) == []
    again = changed(start, 3, Status.REPLACE)
    assert texts(register, again) == ["notifikasjonRef is an N that was annulled"]
    assert register.picture() == {}


def test_a_start_is_not_annulled_under_what_stands_on_it() -> None:
    register = Register()
    start = notification(1)
    end = replace(notification(2), event=Event.END, service_id=start.service_id)
    assert texts(register, start, end) == []
    assert texts(register, changed(start, 3, Status.ANNUL)) == ["a C of a start on which other events stand"]


def test_a_message_is_taken_whole_or_not_at_all() -> None:
    register = Register()
    forged = relinked(message(notification(1), notification(2)), notification(1).guid)
    assert register.receive(forged).faults
    assert (register.chain_end(SENDER), register.picture()) == (0, {})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'statusNotifikasjon="N"', b'statusNotifikasjon="T"'),
        (b'tjenesteType="18"', b'tjenesteType="12"'),
        (b'typeKontaktperson="17"', b'typeKontaktperson="16"'),
        (b'kommuneNr="4602"', b'kommuneNr="46021"'),
        (b'meldingstype="K"', b'meldingstype="B"'),
        (b'hendelseDato="2026-11-20"', b'hendelseDato="2222-11-20"'),
        (b"tjenesteOrgNr=", b"kommentar="),
        (b"TjenesteStart", b"TjenesteNoe"),
    ],
)
def test_a_message_that_is_not_valid_is_refused(before: bytes, after: bytes) -> None:
    content = message(notification(1))
    assert before in content
    judgement = Register().receive(content.replace(before, after))
    assert judgement.faults


@pytest.mark.parametrize("content", [b"", b"<a/>", b"no xml", b"<!DOCTYPE a []><a/>"])
def test_what_has_no_head_cannot_be_answered(content: bytes) -> None:
    with pytest.raises(NotTaken):
        Register().receive(content)


@pytest.mark.parametrize("edition", ["1.0", "1.1"])
@pytest.mark.parametrize("faults", [(), (RegisterFault("X99", "a text", "d7e0"),)])
def test_the_agent_reads_the_receipt(edition: str, faults: tuple[RegisterFault, ...]) -> None:
    read = read_message(message(notification(1)))
    receipt = read_receipt(build_receipt(read, faults, receipt_id=UUID(int=3), at=NOW, edition=edition))
    assert isinstance(receipt, Receipt)
    assert receipt.verdict is (ReceiptVerdict.NEGATIVE if faults else ReceiptVerdict.POSITIVE)
    assert receipt.original_msg_id == read.msg_id
    assert [(error.code, error.pointer) for error in receipt.errors] == [("X99", "d7e0") for _ in faults]
    assert SENDER in receipt.receiver_her_ids


# Over the bus


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[Bus], NhnAmqpSettings]:
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("kpr")
    password.write_text("a password")
    password.chmod(0o600)

    def make(bus: Bus) -> NhnAmqpSettings:
        return NhnAmqpSettings(
            url=f"amqp://127.0.0.1:{bus.port}",
            exchange="Exchange",
            addresses="v2",
            user_file=user,
            password_file=password,
            window=10,
        )

    return make


class OnTheBus:
    """A municipality of a few lines, and the register, on an embedded bus."""

    def __init__(self, bus: Bus, settings: NhnAmqpSettings, script: Script) -> None:
        self.bus = bus
        self.settings = settings
        self.ours = make_identity("Kinn signing", Usage.SIGNING)
        self.our_decryption = make_identity("Kinn encryption", Usage.ENCRYPTION)
        self.theirs = make_identity("Register signing", Usage.SIGNING)
        self.their_decryption = make_identity("Register encryption", Usage.ENCRYPTION)
        known = KnownSender(
            frozenset({str(OURS), str(OURS_SERVICE)}),
            ENVELOPES.reply_queue,
            (self.ours.certificate,),
            self.our_decryption.certificate,
        )
        self.service = RegisterService(
            Register(script),
            keys=RegisterKeys(self.theirs.signing_identity(), (self.their_decryption.decryption_key(),)),
            senders=[known],
            open_inbox=lambda: NhnAmqpInbox(settings, async_queue=ENVELOPES.queue, error_queue="8139520_error"),
            open_sender=lambda queue: NhnAmqpSender(settings, send_to_queue=queue),
            clock=lambda: NOW,
            sleep=lambda _: asyncio.sleep(0),
        )

    async def send(self, *contents: bytes, signer: Any = None) -> None:
        async with NhnAmqpSender(self.settings, send_to_queue=ENVELOPES.queue) as sender:
            for number, content in enumerate(contents):
                identity = (signer or self.ours).signing_identity()
                body = protect(content, identity, self.their_decryption.certificate, at=NOW)
                envelope = stored(number)
                outcome = await sender.send(outgoing(envelope, body, ENVELOPES))
                assert outcome.verdict is Verdict.ACCEPTED

    async def receipts(self, count: int) -> list[ReceiptVerdict]:
        verdicts = []
        inbox = NhnAmqpInbox(self.settings, async_queue=ENVELOPES.reply_queue, error_queue="8000002_error")
        async with asyncio.timeout(30), inbox, aclosing(inbox.messages()) as messages:
            while len(verdicts) < count:
                incoming = await anext(messages)
                verdicts.append(self.read(incoming))
                await inbox.settle(incoming, Settlement.ACCEPT)
        return verdicts

    def read(self, incoming: Incoming) -> ReceiptVerdict:
        assert incoming.subject == "APPREC"
        assert incoming.properties["fromHerId"] == str(ENVELOPES.to_her_id)
        assert incoming.properties["toHerId"] == str(ENVELOPES.from_her_id)
        keys = [self.our_decryption.decryption_key()]
        receipt = read_receipt(unprotect(incoming.body, keys, [self.theirs.certificate], at=NOW))
        assert isinstance(receipt, Receipt)
        return receipt.verdict


def stored(number: int) -> Any:
    """What `outgoing` needs of a stored envelope."""
    message_id = str(uuid5(SPACE, f"message {number}"))
    return _Stored(number, message_id, message_id, datetime(2026, 11, 21, 12, tzinfo=UTC))


class _Stored:
    def __init__(self, number: int, msg_id: str, message_id: str, created_at: datetime) -> None:
        self.id, self.msg_id, self.message_id, self.created_at = number, msg_id, message_id, created_at


@asynccontextmanager
async def on_the_bus(
    settings: Callable[[Bus], NhnAmqpSettings], script: Script | None = None
) -> AsyncIterator[OnTheBus]:
    queues = [ENVELOPES.queue, "8139520_error", ENVELOPES.reply_queue, "8000002_error"]
    async with Bus(queues, {"kpr": "a password"}, exchange="Exchange") as bus:
        stage = OnTheBus(bus, settings(bus), script or Script())
        running = asyncio.create_task(stage.service.run())
        try:
            yield stage
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=30)


def chain(last: int) -> Sequence[bytes]:
    return [message(notification(number)) for number in range(1, last + 1)]


async def test_every_message_is_answered_once_it_is_taken(settings: Callable[[Bus], NhnAmqpSettings]) -> None:
    async with on_the_bus(settings) as stage:
        await stage.send(*chain(5))
        assert await stage.receipts(5) == [ReceiptVerdict.POSITIVE] * 5
        assert stage.service.register.chain_end(SENDER) == 5
        await stage.bus.until(lambda: not stage.bus.messages(ENVELOPES.queue))


async def test_the_script_refuses_answers_twice_late_and_never(settings: Callable[[Bus], NhnAmqpSettings]) -> None:
    script = Script(frozenset({5}), unanswered=frozenset({1}), twice=frozenset({2}), late_s={3: 60.0})
    async with on_the_bus(settings, script) as stage:
        await stage.send(*chain(6))
        verdicts = await stage.receipts(6)
        # 1 never, 2 twice, 3 late, 4 once, 5 refused by the script, 6 because it follows it
        assert verdicts.count(ReceiptVerdict.POSITIVE) == 4
        assert verdicts.count(ReceiptVerdict.NEGATIVE) == 2
        assert stage.service.register.chain_end(SENDER) == 4


async def test_a_message_by_another_signer_goes_to_the_dead_letters(
    settings: Callable[[Bus], NhnAmqpSettings],
) -> None:
    async with on_the_bus(settings) as stage:
        await stage.send(message(notification(1)), signer=make_identity("Somebody else", Usage.SIGNING))
        await stage.bus.until(lambda: stage.bus.messages("dead") != [])
        assert stage.service.dead_letters == 1
        assert stage.service.register.notifications == 0


async def test_after_a_lost_connection_it_answers_again(settings: Callable[[Bus], NhnAmqpSettings]) -> None:
    async with on_the_bus(settings) as stage:
        await stage.send(*chain(2))
        await stage.receipts(2)
        stage.bus.drop_connections()
        await stage.send(message(notification(3)))
        assert ReceiptVerdict.POSITIVE in await stage.receipts(1)
        assert stage.service.register.chain_end(SENDER) == 3
