"""The other side of a test broker, as the user who may do all: puts any bytes on a queue, and takes what is there."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proton import Delivery, Message, symbol

from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.nhn_amqp.connection import connect
from connectors.wire.amqp_engine import AmqpConnection
from connectors.wire.amqp_links import Answer, ReceiverLink, RemoteState
from tests.services.rabbitmq import Broker

WAIT_S = 60
"""A bound that only a fault reaches."""


def account(broker: Broker, addresses: str = "v1", *, user: str = "kpr", **other: Any) -> NhnAmqpSettings:
    """The settings of an account at a test broker, over TLS unless `url` says otherwise."""
    user_file, password_file = broker.credentials(user)
    settings = {
        "url": broker.url,
        "exchange": broker.exchange,
        "addresses": addresses,
        "user_file": user_file,
        "password_file": password_file,
        "ca_file": broker.ca_file,
        "retry_as": "released" if broker.major == 3 else "modified",
    }
    return NhnAmqpSettings(**(settings | other))


def wrong_password(directory: Path) -> Path:
    file = directory / "wrong.password"
    file.touch(mode=0o600)
    file.write_text("not-the-password")
    return file


@dataclass(frozen=True)
class Bus:
    """A broker, spoken to in one dialect of addresses."""

    broker: Broker
    addresses: str

    def settings(self, **other: Any) -> NhnAmqpSettings:
        return account(self.broker, self.addresses, **other)

    @property
    def far_end(self) -> "FarEnd":
        return FarEnd(self.broker)


class FarEnd:
    """Open it with `far_end`. It sees messages as the bytes that were on the wire."""

    def __init__(self, broker: Broker) -> None:
        self._settings = account(broker, user="tester", url=broker.plain_url)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AmqpConnection]:
        connection = await connect(self._settings)
        try:
            yield connection
        finally:
            await connection.close()

    async def put(self, queue: str, *encoded: bytes) -> None:
        """Put messages, already encoded, straight into a queue, in order."""
        async with asyncio.timeout(WAIT_S), self._connection() as connection:
            link = await connection.attach_sender(f"/amq/queue/{queue}")
            for one in encoded:
                await link.credit()
                answer = await link.transfer(one)
                assert answer == Answer(RemoteState.ACCEPTED), answer

    async def take(self, queue: str, count: int) -> list[bytes]:
        """Take the first `count` messages from a queue; waits for them."""
        return [encoded async for encoded in self._take(queue, lambda taken, _: taken == count)]

    async def empty(self, *queues: str) -> None:
        """Take everything away, up to a message that is put there for this."""
        for queue in queues:
            marker = str(uuid.uuid4())
            await self.put(queue, encoded_message(message_id=marker))
            async for _ in self._take(queue, lambda _, encoded, marker=marker: decoded(encoded).id == marker):
                pass

    async def _take(self, queue: str, is_last: Callable[[int, bytes], bool]) -> AsyncIterator[bytes]:
        taken = 0
        async with asyncio.timeout(WAIT_S), self._reading(queue) as (link, arrived, changed):
            while True:
                while not arrived:
                    changed.clear()
                    await changed.wait()
                delivery, encoded = arrived.popleft()
                link.settle(delivery, Delivery.ACCEPTED)
                taken += 1
                yield encoded
                if is_last(taken, encoded):
                    return

    @asynccontextmanager
    async def _reading(
        self, queue: str
    ) -> AsyncIterator[tuple[ReceiverLink, deque[tuple[Delivery, bytes]], asyncio.Event]]:
        arrived: deque[tuple[Delivery, bytes]] = deque()
        changed = asyncio.Event()

        def arrive(_: ReceiverLink, delivery: Delivery, encoded: bytes) -> None:
            arrived.append((delivery, encoded))
            changed.set()

        async with self._connection() as connection:
            link = await connection.attach_receiver(f"/amq/queue/{queue}", arrive, lambda _: None)
            link.grant(1)
            yield link, arrived, changed


def encoded_message(**fields: Any) -> bytes:
    """A durable message with one data section, as proton writes it. Names are those of the AMQP properties."""
    names = {"message_id": "id", "to": "address"}
    fields = {names.get(name, name): value for name, value in fields.items()}
    if "content_type" in fields:
        fields["content_type"] = symbol(fields["content_type"])
    message = Message(**{"body": b"\0", "durable": True} | fields)
    message.inferred = True
    return bytes(message.encode())


def decoded(encoded: bytes) -> Message:
    """A message as proton reads it: not by the code under test."""
    message = Message()
    message.decode(encoded)
    return message
