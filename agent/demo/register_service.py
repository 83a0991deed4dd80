"""The demo's register on the bus: takes messages from its queue, and answers each on its sender's queue.

A message is settled only after its answer was accepted by the broker, so that after any trouble it comes again and is
answered again: taking it twice changes nothing. What is no message of a known sender goes to the dead letters.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

from cryptography import x509

from agent.demo.register import Judgement, Register
from agent.demo.register_reading import NotTaken
from agent.demo.register_receipt import build_receipt
from agent.protection import CONTENT_TYPE, DecryptionKey, ProtectionError, SigningIdentity, protect, unprotect
from connectors.inbox import Inbox, Incoming, Queue, Settlement
from connectors.sender import Outgoing, Sender, SenderError, SenderUnavailable, Verdict

_RECONNECT_S: Final = 0.5
_SUBJECT: Final = "APPREC"


@dataclass(frozen=True, slots=True)
class KnownSender:
    """A municipality as the register knows it: its HER-ids (both levels), its queue, its certificates."""

    her_ids: frozenset[str]
    queue: str
    signing_certificates: tuple[x509.Certificate, ...]
    encryption_certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class RegisterKeys:
    """The register's own keys."""

    signing: SigningIdentity
    decryption: tuple[DecryptionKey, ...] = field(repr=False)


class RegisterService:
    """`run` serves until it is cancelled. `open_inbox` and `open_sender` (given a queue) are called at each connection.

    edition: the AppRec's, "1.0" or "1.1"; answers: how many answers may be on their way at once.
    `dead_letters` counts messages that nobody could answer; `answered` the answers that the broker has.
    """

    def __init__(
        self,
        register: Register,
        *,
        keys: RegisterKeys,
        senders: Sequence[KnownSender],
        open_inbox: Callable[[], Inbox],
        open_sender: Callable[[str], Sender],
        edition: str = "1.1",
        answers: int = 8,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self.register = register
        self.dead_letters = 0
        self.answered = 0
        self._keys = keys
        self._senders = {her_id: sender for sender in senders for her_id in sender.her_ids}
        self._open_inbox = open_inbox
        self._open_sender = open_sender
        self._edition = edition
        self._slots = asyncio.Semaphore(answers)
        self._clock = clock
        self._sleep = sleep
        self._new_id = new_id

    async def run(self) -> None:
        """Serve; after any trouble with the bus, connect again a little later."""
        while True:
            try:
                await self._serve()
            except* SenderError:
                pass  # what was not settled comes again
            await self._sleep(_RECONNECT_S)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            lines = _Lines(stack, self._open_sender)
            inbox = await stack.enter_async_context(self._open_inbox())
            async with asyncio.TaskGroup() as answering:
                async for incoming in inbox.messages():
                    sender = self._senders.get(incoming.properties.get("fromHerId", ""))
                    judgement = await self._judge(incoming, sender)
                    if judgement is None or sender is None:
                        self.dead_letters += 1
                        await inbox.settle(incoming, Settlement.DEAD_LETTER)
                        continue
                    await self._slots.acquire()
                    answering.create_task(self._answer(inbox, lines, incoming, sender, judgement))

    async def _judge(self, incoming: Incoming, sender: KnownSender | None) -> Judgement | None:
        """What the register says; None where it is not a message that can be answered. Nothing is ever answered on the
        error queue.
        """
        if sender is None or incoming.queue is Queue.ERROR:
            return None
        try:
            content = await asyncio.to_thread(
                unprotect, incoming.body, self._keys.decryption, sender.signing_certificates, at=self._clock()
            )
            return self.register.receive(content)
        except (ProtectionError, NotTaken):
            return None

    async def _answer(
        self, inbox: Inbox, lines: "_Lines", incoming: Incoming, sender: KnownSender, judgement: Judgement
    ) -> None:
        try:
            if judgement.late_s:
                await self._sleep(judgement.late_s)
            for _ in range(judgement.times):
                await self._send(lines, incoming, sender, judgement)
            await inbox.settle(incoming, Settlement.ACCEPT)
        finally:
            self._slots.release()

    async def _send(self, lines: "_Lines", incoming: Incoming, sender: KnownSender, judgement: Judgement) -> None:
        at = self._clock()
        receipt = build_receipt(
            judgement.message, judgement.faults, receipt_id=self._new_id(), at=at, edition=self._edition
        )
        body = await asyncio.to_thread(protect, receipt, self._keys.signing, sender.encryption_certificate, at=at)
        message_id = str(self._new_id())
        outgoing = Outgoing(
            message_id=message_id,
            to=sender.queue,
            reply_to="",
            subject=_SUBJECT,
            content_type=CONTENT_TYPE,
            properties={
                "fromHerId": incoming.properties.get("toHerId", ""),
                "toHerId": incoming.properties.get("fromHerId", ""),
                "applicationTimeStamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            body=body,
        )
        outcome = await (await lines.to(sender.queue)).send(outgoing)
        if outcome.verdict is not Verdict.ACCEPTED:
            raise SenderUnavailable("an answer was not accepted", condition=outcome.condition)
        self.answered += 1


class _Lines:
    """A sender for each queue, opened when it is first needed."""

    def __init__(self, stack: AsyncExitStack, open_sender: Callable[[str], Sender]) -> None:
        self._stack = stack
        self._open_sender = open_sender
        self._open: dict[str, Sender] = {}
        self._opening = asyncio.Lock()

    async def to(self, queue: str) -> Sender:
        async with self._opening:
            if queue not in self._open:
                self._open[queue] = await self._stack.enter_async_context(self._open_sender(queue))
            return self._open[queue]
