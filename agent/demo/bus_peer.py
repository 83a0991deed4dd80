"""One client of the embedded bus: proton's protocol engine as the server, its input and output by asyncio."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proton import Collector, Condition, Connection, Delivery, Endpoint, Event, Link, Session, Transport, symbol

from agent.demo.bus_sasl import Login
from agent.demo.bus_script import Answer, Attach, Refuse, Then, Verdict

if TYPE_CHECKING:
    from agent.demo.bus import Bus, Stored


@dataclass(slots=True, eq=False)
class Consumer:
    """A link on which a client receives, and what it has been sent and has not settled, by delivery tag."""

    peer: "Peer"
    link: Any  # proton.Sender: its attributes have no types
    queue: str
    unsettled: dict[str, "Stored"] = field(default_factory=dict)


class Peer(asyncio.Protocol):
    """What a client says is turned into calls of the Bus, and back."""

    def __init__(self, bus: "Bus") -> None:
        self.login = Login(bus.users)
        self._bus = bus
        self._connection = Connection()
        self._connection.container = "kpr-agent demo bus"
        self._connection.properties = {symbol("product"): "kpr-agent demo bus"}
        self._engine = Transport(Transport.SERVER)
        self._events = Collector()
        self._connection.collect(self._events)
        self._engine.bind(self._connection)
        self._consumers: dict[str, Consumer] = {}
        self._output_scheduled = False
        self._open = False
        self._timer: asyncio.TimerHandle | None = None
        self._delayed: set[asyncio.Task[None]] = set()
        self._handlers: dict[Any, Callable[[Any], None]] = {
            Event.CONNECTION_REMOTE_OPEN: lambda event: event.connection.open(),
            Event.CONNECTION_REMOTE_CLOSE: lambda event: event.connection.close(),
            Event.SESSION_REMOTE_OPEN: lambda event: event.session.open(),
            Event.SESSION_REMOTE_CLOSE: lambda event: self._end(event.session),
            Event.LINK_REMOTE_OPEN: lambda event: self._attach(event.link),
            Event.LINK_REMOTE_CLOSE: lambda event: self._close_link(event.link),
            Event.LINK_REMOTE_DETACH: lambda event: self._close_link(event.link),
            Event.LINK_FLOW: lambda event: self._flow(event.link),
            Event.DELIVERY: lambda event: self._delivery(event.delivery),
        }

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # what create_server makes
        self._transport = transport
        self._open = True
        self._bus.connected(self)

    def data_received(self, data: bytes) -> None:
        if self._bus.silent:
            return
        if not self.login.done:
            self._transport.write(self.login.receive(data))
            if not self.login.done:
                return
            if self.login.user is None:
                self._transport.close()
                return
            data = self.login.rest
            self._bus.changed()
        while data and (capacity := self._engine.capacity()) > 0:
            self._engine.push(data[:capacity])
            data = data[capacity:]
            self._handle()
        self._output()

    def connection_lost(self, error: Exception | None) -> None:
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        for task in self._delayed:
            task.cancel()
        for consumer in list(self._consumers.values()):
            self._bus.detach(consumer)
        self._consumers.clear()
        self._bus.disconnected(self)

    # For the Bus

    def drop(self) -> None:
        self._transport.abort()

    def close(self, condition: str) -> None:
        self._connection.condition = Condition(condition)
        self._connection.close()
        self._schedule_output()

    def links(self) -> list[Link]:
        found: list[Link] = []
        link = self._connection.link_head(Endpoint.LOCAL_ACTIVE)
        while link is not None:
            found.append(link)
            link = link.next(Endpoint.LOCAL_ACTIVE)
        return found

    def detach(self, link: Link, condition: str) -> None:
        link.condition = Condition(condition)
        self._close_link(link)
        self._schedule_output()

    def give_credit(self, count: int) -> None:
        for link in self.links():
            if link.is_receiver:
                link.flow(count)
        self._schedule_output()

    def send(self, consumer: Consumer, stored: "Stored", raw: bytes) -> None:
        tag = consumer.link.delivery_tag()
        consumer.link.delivery(tag)
        consumer.link.stream(raw)
        consumer.link.advance()
        consumer.unsettled[tag] = stored
        self._schedule_output()

    # Events of the engine

    def _handle(self) -> None:
        while (event := self._events.peek()) is not None:
            handler = self._handlers.get(event.type)
            if handler is not None:
                handler(event)
            self._events.pop()

    def _attach(self, link: Any) -> None:
        sends = link.is_receiver
        address = (link.remote_target if sends else link.remote_source).address or ""
        refusal = self._bus.on_attach(Attach(address, sends)) if self._bus.on_attach else None
        place = self._bus.destination(address) if sends else self._bus.queue_of(address)
        if refusal is None and place is None:
            refusal = Refuse("amqp:not-found", ends_session=True)
        if refusal is not None and refusal.ends_session:
            self._end(link.session, refusal.condition)
        elif refusal is not None:
            link.open()
            self.detach(link, refusal.condition)
        else:
            link.source.copy(link.remote_source)
            link.target.copy(link.remote_target)
            link.open()
            if sends:
                link.flow(self._bus.credit)
            else:
                self._consumers[link.name] = Consumer(self, link, str(place))
                self._bus.attach(self._consumers[link.name])

    def _close_link(self, link: Any) -> None:
        link.close()
        consumer = None if link.is_receiver else self._consumers.pop(link.name, None)
        if consumer is not None:
            self._bus.detach(consumer)

    def _end(self, session: Session, condition: str = "") -> None:
        if condition:
            session.condition = Condition(condition)
        for consumer in [each for each in self._consumers.values() if each.link.session == session]:
            self._bus.detach(self._consumers.pop(consumer.link.name))
        session.close()

    def _flow(self, link: Any) -> None:
        consumer = None if link.is_receiver else self._consumers.get(link.name)
        if consumer is not None:
            self._bus.deliver(consumer.queue)
            if link.drain_mode:
                link.drained()

    def _delivery(self, delivery: Delivery) -> None:
        if delivery.link.is_receiver:
            if delivery.readable and not delivery.partial:
                self._receive(delivery)
        elif delivery.updated:
            consumer = self._consumers.get(delivery.link.name)
            stored = consumer.unsettled.pop(delivery.tag, None) if consumer else None
            if consumer is not None and stored is not None:
                self._bus.settle(consumer.queue, stored, delivery.remote)
            delivery.settle()

    def _receive(self, delivery: Delivery) -> None:
        link: Any = delivery.link
        raw = link.recv(delivery.pending) or b""
        link.advance()
        exchange, queue = self._bus.destination(link.remote_target.address or "") or ("", "")
        answer = self._bus.answer(exchange, queue, raw)
        if answer.after is None:
            self._answer(delivery, queue, raw, answer)
            return
        task = asyncio.get_running_loop().create_task(self._answer_after(answer.after, delivery, queue, raw, answer))
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)

    async def _answer_after(
        self, event: asyncio.Event, delivery: Delivery, queue: str, raw: bytes, answer: Answer
    ) -> None:
        await event.wait()  # as long as the script likes; a lost connection cancels it
        self._answer(delivery, queue, raw, answer)
        self._output()

    def _answer(self, delivery: Delivery, queue: str, raw: bytes, answer: Answer) -> None:
        if answer.keep if answer.keep is not None else answer.verdict is Verdict.ACCEPTED:
            self._bus.store(queue, raw)
        link: Any = delivery.link
        if answer.verdict is not Verdict.NONE:
            if answer.condition and answer.verdict is Verdict.REJECTED:
                delivery.local.condition = Condition(answer.condition)
            delivery.update(answer.verdict.value)
            delivery.settle()
        match answer.then:
            case Then.NOTHING:
                if link.credit <= self._bus.credit // 2:  # in halves: one flow for each message is slow
                    link.flow(self._bus.credit - link.credit)
            case Then.DETACH:
                self.detach(link, answer.condition or "amqp:link:detach-forced")
            case Then.END:
                self._end(link.session, answer.condition or "amqp:internal-error")
            case Then.DROP:
                self._output()
                self.drop()

    # Output of the engine

    def _schedule_output(self) -> None:
        if not self._output_scheduled:
            self._output_scheduled = True
            asyncio.get_running_loop().call_soon(self._output)

    def _output(self) -> None:
        self._output_scheduled = False
        if not self._open or self._bus.silent:
            return
        self._handle()
        self._tick()
        while (pending := self._engine.pending()) > 0:
            data = self._engine.peek(pending) or b""
            self._transport.write(data)
            self._engine.pop(len(data))
        if pending < 0:  # the close has been said
            self._transport.close()

    def _tick(self) -> None:
        """Heartbeats: the engine says when it wants to be asked again."""
        now = time.monotonic()
        deadline = self._engine.tick(now)
        if self._timer is not None:
            self._timer.cancel()
        if deadline:
            self._timer = asyncio.get_running_loop().call_later(max(deadline - now, 0.01), self._output)
