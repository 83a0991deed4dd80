"""An embedded AMQP 1.0 broker: for the demo, for first runs, and for tests that script what goes wrong.

Queues live in memory, on the Bus, and survive a stop and a start. It answers as RabbitMQ 4 does with quorum queues and
a dead-letter queue, where a client can tell; it is no place for messages that anyone needs.
"""

import asyncio
import heapq
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import unquote

from proton import Data, Delivery, Described, Disposition, uint, ulong

from agent.demo.bus_peer import Consumer, Peer
from agent.demo.bus_script import Answer, Attach, Refuse, Then, Transfer, Verdict

__all__ = ["Answer", "Attach", "Bus", "Refuse", "Then", "Transfer", "Verdict"]

_TO_EXCHANGE: Final = re.compile(r"/exchange(s?)/([^/]+)/([^/]+)")
_FROM_QUEUE: Final = re.compile(r"/(amq/queue|queues)/([^/]+)")
_HEADER: Final = 0x70  # AMQP 1.0 part 3, section 3.2.1; its fifth field is delivery-count


@dataclass(slots=True)
class Stored:
    """A message in a queue. `delivery_count` counts failed deliveries, as the header's field does."""

    number: int
    raw: bytes = field(repr=False)
    delivery_count: int = 0


@dataclass(slots=True)
class _Queue:
    """`held` has every message that is not settled, by number; `waiting` the numbers that nobody has been sent."""

    held: dict[int, Stored] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)


class Bus:
    """An AMQP 1.0 listener on 127.0.0.1 while entered (or between `start` and `stop`); all calls from its event loop.

    `users` are names and passwords for SASL PLAIN. Any exchange exists unless `exchange` names the only one. Rejected
    messages, and those delivered in vain more than `delivery_limit` times, go to `dead_letter_queue`.
    `on_transfer` and `on_attach` script it: None, as hook or as answer, means the usual.
    """

    def __init__(
        self,
        queues: Iterable[str],
        users: Mapping[str, str],
        *,
        exchange: str | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        dead_letter_queue: str = "dead",
        delivery_limit: int = 10,
    ) -> None:
        self.users = users
        self.exchange = exchange
        self.port = port
        self.credit = 500
        """What a client that sends is granted, and kept at. Set 0 before it attaches to starve it; see give_credit."""
        self.silent = False
        """A black hole: nothing is read or written any more, and the connections stay open."""
        self.on_transfer: Callable[[Transfer], Answer | None] | None = None
        self.on_attach: Callable[[Attach], Refuse | None] | None = None
        self.transfers = 0
        self._tls = tls
        self._dead_letter_queue = dead_letter_queue
        self._delivery_limit = delivery_limit
        self._queues = {name: _Queue() for name in (*queues, dead_letter_queue)}
        self._numbers = 0
        self._peers: set[Peer] = set()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on the same port as before when it has been started before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection, as a crash does; the queues keep what is not settled."""
        if self._server is None:
            return
        self._server.close()
        self.drop_connections()
        async with asyncio.timeout(10):
            await self._server.wait_closed()
            await self.until(lambda: not self._peers)
        self._server = None

    # What is in the queues

    def messages(self, queue: str) -> list[bytes]:
        """Every message of a queue that is not settled, oldest first, byte for byte as it came."""
        return [stored.raw for stored in self._queues[queue].held.values()]

    def waiting(self, queue: str) -> int:
        """How many messages of a queue have not been sent to a consumer (or have come back)."""
        return len(self._queues[queue].waiting)

    async def put(self, queue: str, raw: bytes) -> None:
        """Put an encoded AMQP message (proton's `Message(..).encode()`) into a queue, as if a client had sent it."""
        self.store(queue, raw)

    def add_queue(self, queue: str) -> None:
        self._queues.setdefault(queue, _Queue())

    def delete_queue(self, queue: str) -> None:
        """Remove a queue and its messages; its consumers are detached, what is sent to it from now on is released."""
        for consumer in list(self._queues.pop(queue).consumers):
            consumer.peer.detach(consumer.link, "amqp:resource-deleted")

    # What happens to the connections

    @property
    def connections(self) -> int:
        """How many clients are logged in."""
        return sum(peer.login.user is not None for peer in self._peers)

    def consumers(self, queue: str) -> int:
        """How many links receive from a queue."""
        return len(self._queues[queue].consumers)

    def drop_connections(self) -> None:
        """Break every connection without a word."""
        for peer in list(self._peers):
            peer.drop()

    def close_connections(self, condition: str = "amqp:connection:forced") -> None:
        """Close every connection with an error."""
        for peer in list(self._peers):
            peer.close(condition)

    def detach_links(self, condition: str = "amqp:link:detach-forced") -> None:
        """Close every link with an error."""
        for peer in list(self._peers):
            for link in peer.links():
                peer.detach(link, condition)

    def give_credit(self, count: int) -> None:
        """Grant `count` more transfers on every link that a client sends on."""
        for peer in list(self._peers):
            peer.give_credit(count)

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 30) -> None:
        """Return once `condition()` holds; it is asked again whenever something has changed. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # For Peer

    def changed(self) -> None:
        self._changed.set()

    def connected(self, peer: Peer) -> None:
        self._peers.add(peer)

    def disconnected(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self.changed()

    def destination(self, address: str) -> tuple[str, str] | None:
        """Exchange and queue of an address to send to; None where the exchange does not exist."""
        matched = _TO_EXCHANGE.fullmatch(address)
        if matched is None:
            return None
        exchange, queue = _decoded(matched[2], matched[1] == "s"), _decoded(matched[3], matched[1] == "s")
        return (exchange, queue) if self.exchange in (None, exchange) else None

    def queue_of(self, address: str) -> str | None:
        """The queue of an address to receive from; None where it does not exist."""
        matched = _FROM_QUEUE.fullmatch(address)
        queue = _decoded(matched[2], matched[1] == "queues") if matched else ""
        return queue if queue in self._queues else None

    def answer(self, exchange: str, queue: str, raw: bytes) -> Answer:
        """The script's answer to a transfer, else the usual one: accepted, or released where there is no such queue."""
        self.transfers += 1
        scripted = self.on_transfer(Transfer(self.transfers, exchange, queue, raw)) if self.on_transfer else None
        usual = Answer(Verdict.ACCEPTED if queue in self._queues else Verdict.RELEASED)
        self.changed()
        return scripted or usual

    def store(self, queue: str, raw: bytes) -> None:
        if queue in self._queues:
            self._numbers += 1
            self._queues[queue].held[self._numbers] = Stored(self._numbers, raw)
            self._wait(queue, self._numbers)

    def attach(self, consumer: Consumer) -> None:
        self._queues[consumer.queue].consumers.append(consumer)
        self.changed()

    def detach(self, consumer: Consumer) -> None:
        """A consumer is gone: what it had not settled is delivered again, and counts as delivered in vain."""
        queue = self._queues.get(consumer.queue)
        if queue is not None and consumer in queue.consumers:
            queue.consumers.remove(consumer)
            for stored in consumer.unsettled.values():
                self._again(consumer.queue, stored, failed=True)
        consumer.unsettled.clear()
        self.changed()

    def settle(self, queue: str, stored: Stored, outcome: Disposition) -> None:
        """Act on a consumer's outcome."""
        if queue not in self._queues:
            return
        if outcome.type == Delivery.ACCEPTED:
            del self._queues[queue].held[stored.number]
            self.changed()
        elif outcome.type == Delivery.REJECTED or (outcome.type == Delivery.MODIFIED and outcome.undeliverable):
            self._dead_letter(queue, stored)
        else:
            self._again(queue, stored, failed=outcome.type == Delivery.MODIFIED and outcome.failed)

    def deliver(self, queue: str) -> None:
        """Send what waits to consumers that have credit, oldest first."""
        found = self._queues.get(queue)
        if found is None:
            return
        for consumer in found.consumers:
            while found.waiting and consumer.link.credit > 0:
                stored = found.held[heapq.heappop(found.waiting)]
                raw = _with_delivery_count(stored.raw, stored.delivery_count) if stored.delivery_count else stored.raw
                consumer.peer.send(consumer, stored, raw)

    def _wait(self, queue: str, number: int) -> None:
        heapq.heappush(self._queues[queue].waiting, number)
        self.deliver(queue)
        self.changed()

    def _again(self, queue: str, stored: Stored, *, failed: bool) -> None:
        stored.delivery_count += failed
        if stored.delivery_count > self._delivery_limit:
            self._dead_letter(queue, stored)
        else:
            self._wait(queue, stored.number)

    def _dead_letter(self, queue: str, stored: Stored) -> None:
        del self._queues[queue].held[stored.number]
        self.store(self._dead_letter_queue, stored.raw)
        self.changed()


def _decoded(part: str, percent_encoded: bool) -> str:
    return unquote(part) if percent_encoded else part


def _with_delivery_count(raw: bytes, count: int) -> bytes:
    """The message with that delivery-count in its header, and every other byte as it came."""
    first = Data()
    size = first.decode(raw)
    first.next()
    section: Any = first.get_object()
    is_header = section.descriptor == _HEADER
    fields = list(section.value) if is_header else []
    fields += [None] * (4 - len(fields))
    header = Data()
    header.put_object(Described(ulong(_HEADER), [*fields[:4], uint(count)]))
    return bytes(header.encode()) + (raw[size:] if is_header else raw)
