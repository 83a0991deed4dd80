"""The demo's register on a real broker, in the test's own process. All that reaches it is remembered as it came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from agent.demo.certificates import Issued, Usage, issue, make_authority, write
from agent.demo.register import Judgement, Register
from agent.demo.register_service import KnownSender, RegisterKeys, RegisterService
from connectors.inbox import Inbox, Incoming, Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender
from tests.services.far_end import Bus
from tests.services.topology import REGISTER

QUEUE, ERROR_QUEUE = f"{REGISTER}_async", f"{REGISTER}_error"
_ANSWERS = 16


@dataclass(frozen=True)
class Arrival:
    """One delivery: the AMQP message-id, the MsgId of its head, and the MsgHead bytes that were decrypted from it."""

    message_id: str
    msg_id: str
    content: bytes = field(repr=False)


class Keys:
    """Certificates of both sides by one throw-away authority, RSA 2048; the municipality's as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        authority = make_authority("Test authority", at=now, key_bits=2048)

        def made(name: str, usage: Usage) -> Issued:
            issued = issue(authority, name, usage, at=now, key_bits=2048)
            write(issued, folder, name)
            return issued

        self.signing = made("signing", Usage.SIGNING)
        self.decryption = made("decryption", Usage.ENCRYPTION)
        self.register_signing = made("register-signing", Usage.SIGNING)
        self.register_encryption = made("register-encryption", Usage.ENCRYPTION)


class RecordingRegister(Register):
    """Remembers what it was given, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[Arrival] = []
        self.message_id = ""

    def receive(self, content: bytes) -> Judgement:
        judgement = super().receive(content)
        self.arrivals.append(Arrival(self.message_id, judgement.message.msg_id, content))
        return judgement

    def messages(self) -> list[Arrival]:
        """Each message once, in the order in which it first came."""
        first: dict[str, Arrival] = {}
        for arrival in self.arrivals:
            first.setdefault(arrival.msg_id, arrival)
        return list(first.values())

    @property
    def again(self) -> int:
        """How many deliveries brought a message that had come before."""
        return len(self.arrivals) - len({arrival.msg_id for arrival in self.arrivals})

    def changed_on_the_way(self) -> list[str]:
        """MsgIds that came under two message-ids or with two contents, or that share a message-id."""
        by_msg_id: dict[str, set[tuple[str, bytes]]] = {}
        by_message_id: dict[str, set[str]] = {}
        for arrival in self.arrivals:
            by_msg_id.setdefault(arrival.msg_id, set()).add((arrival.message_id, arrival.content))
            by_message_id.setdefault(arrival.message_id, set()).add(arrival.msg_id)
        twofold = [msg_id for msg_id, seen in by_msg_id.items() if len(seen) > 1]
        return twofold + [msg_id for seen in by_message_id.values() if len(seen) > 1 for msg_id in seen]


class _NotingInbox:
    """An inbox that tells the register which message it is about to be given."""

    def __init__(self, inner: Inbox, register: RecordingRegister) -> None:
        self._inner = inner
        self._register = register

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.__aexit__(*exc)

    async def messages(self) -> AsyncIterator[Incoming]:
        async for incoming in self._inner.messages():
            self._register.message_id = incoming.message_id or ""
            yield incoming

    async def settle(self, incoming: Incoming, how: Settlement) -> None:
        await self._inner.settle(incoming, how)


@asynccontextmanager
async def answering(
    bus: Bus, keys: Keys, register: RecordingRegister, *, her_ids: frozenset[str], queue: str
) -> AsyncIterator[RegisterService]:
    """The register answers one municipality while inside. Its queue is emptied first."""
    await bus.far_end.empty(QUEUE, ERROR_QUEUE)
    account = bus.settings(user="register", window=_ANSWERS)
    service = RegisterService(
        register,
        keys=RegisterKeys(keys.register_signing.signing_identity(), (keys.register_encryption.decryption_key(),)),
        senders=[KnownSender(her_ids, queue, (keys.signing.certificate,), keys.decryption.certificate)],
        open_inbox=lambda: _NotingInbox(NhnAmqpInbox(account, async_queue=QUEUE, error_queue=ERROR_QUEUE), register),
        open_sender=lambda to: NhnAmqpSender(account, send_to_queue=to),
        answers=_ANSWERS,
    )
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=30)
