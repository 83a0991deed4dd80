"""An AMQP 1.0 client connection: proton's protocol engine, fed by an asyncio Protocol, with TLS by Python's `ssl`.

Only proton's Connection, Transport and Collector are used: no reactor, no second thread, and no dependence on whether
proton was built with TLS. Each link has a session of its own, because brokers end the whole session for the fault of
one link. Nothing is retried: a lost connection or link stays lost.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from proton import SASL, Collector, Condition, Connection, Event, ProtonException, Session, Transport

from connectors.wire.amqp_links import AmqpError, Link, OnMessage, ReceiverLink, SenderLink

CERTIFICATE_REFUSED: Final = "tls:certificate-refused"
"""Our own word beside the conditions of AMQP: the peer's certificate or name did not hold."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to connect and how long to wait. `tls` None means a plain connection."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    user: str
    password: str = field(repr=False)
    heartbeat_s: float
    operation_timeout_s: float
    close_timeout_s: float


class AmqpConnection(asyncio.Protocol):
    """One connection. Open it with `open_connection`; attach links; close it. Single-use."""

    def __init__(self, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        self.failure: AmqpError | None = None
        self.closed: Final = asyncio.Event()
        self._peer = peer
        self._loop = loop
        self._tcp: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._remote_closed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._links: dict[Session, Link] = {}
        self._pump_scheduled = False
        self._next_tick: asyncio.TimerHandle | None = None
        self._connection = Connection()
        self._connection.container = "kpr-agent"
        self._connection.hostname = peer.host
        self._connection.user = peer.user
        self._connection.password = peer.password
        self._collector = Collector()
        self._connection.collect(self._collector)
        self._transport = Transport()
        # proton announces half of it to the peer, and gives up when nothing came for all of it.
        self._transport.idle_timeout = peer.heartbeat_s
        sasl: SASL = self._transport.sasl()
        sasl.allowed_mechs("PLAIN")
        sasl.allow_insecure_mechs = True  # the engine does not see the TLS around it
        self._transport.bind(self._connection)

    # -- for the caller ----------------------------------------------------------------------------------------------

    @property
    def product(self) -> str:
        """What the peer says it is, such as "RabbitMQ 4.0.5"; empty when it says nothing."""
        told = self._connection.remote_properties or {}
        return " ".join(str(told[key]) for key in ("product", "version") if key in told)

    async def attach_sender(self, address: str) -> SenderLink:
        """A link to send over, attached. Raises AmqpError with the peer's condition, or at the time-out."""
        session = self._session()
        link = SenderLink(session.sender(f"send-{len(self._links)}"), address, self._kick)
        await self._attach(session, link, address)
        return link

    async def attach_receiver(
        self, address: str, on_message: OnMessage, on_failure: Callable[[AmqpError], None]
    ) -> ReceiverLink:
        """A link to receive over, attached and without credit: `grant` some. Raises AmqpError as `attach_sender`."""
        session = self._session()
        receiver = session.receiver(f"receive-{len(self._links)}")
        link = ReceiverLink(receiver, address, self._kick, on_message, on_failure)
        await self._attach(session, link, address)
        return link

    async def flush(self) -> None:
        """Hand everything to the operating system. Raises AmqpError when the connection is lost meanwhile."""
        self._pump()
        while not self._writable.is_set() and self.failure is None:
            async with _Bound(self._peer.operation_timeout_s, "the peer reads nothing"):
                await self._writable.wait()
            self._pump()
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """Say goodbye, wait a little for the answer, and go. Never raises for what the peer does."""
        if self._tcp is None:
            return
        try:
            async with asyncio.timeout(self._peer.close_timeout_s):
                if self.failure is None:
                    # Links are not detached one by one: RabbitMQ 3.10 answers a detach in a way that never completes.
                    self._connection.close()
                    self._pump()
                    await self._remote_closed.wait()
                    self._tcp.close()
                    await self.closed.wait()
        except TimeoutError:
            pass
        finally:
            self.fail(AmqpError("the connection was closed"))
            self._tcp.abort()

    def fail(self, error: AmqpError) -> None:
        """Give the connection up: every waiting caller gets `error`, the socket is dropped."""
        if self.failure is None:
            self.failure = error
            for link in self._links.values():
                link.fail(error)
            if self._tcp is not None:
                self._tcp.abort()
        if not self._opened.done():
            self._opened.set_result(None)  # the opener looks at `failure`
        self._remote_closed.set()
        self._writable.set()

    async def wait_until_open(self) -> None:
        """Until the peer has answered SASL and open; raises the failure otherwise."""
        await self._opened
        if self.failure is not None:
            raise self.failure

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # what create_connection makes  # noqa: S101
        self._tcp = transport
        self._connection.open()
        self._pump()
        self._tick()

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                room = self._transport.capacity()
                if room <= 0:
                    break
                self._transport.push(bytes(rest[:room]))
                rest = rest[room:]
                self._react()
            self._transport.tick(self._loop.time())  # silence counts from now, not from the timer's last turn
        except ProtonException as error:
            self.fail(AmqpError(f"the peer does not speak AMQP 1.0 as it should: {error}"))
            return
        self._pump()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_tick is not None:
            self._next_tick.cancel()
        self.closed.set()
        self.fail(
            AmqpError(f"the connection was lost ({type(exc).__name__})" if exc else "the peer closed the connection")
        )

    # -- the engine --------------------------------------------------------------------------------------------------

    def _session(self) -> Session:
        if self.failure is not None:
            raise self.failure
        session = self._connection.session()
        session.open()
        return session

    async def _attach(self, session: Session, link: Link, address: str) -> None:
        self._links[session] = link
        link.open()
        self._kick()
        async with _Bound(self._peer.operation_timeout_s, f"no answer to the attach of {address}"):
            await link.attached()

    def _kick(self) -> None:
        """Write soon: several changes in one turn of the loop become one write."""
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        tcp = self._tcp
        try:
            self._react()
            while tcp is not None and self.failure is None and self._writable.is_set():
                size = self._transport.pending()
                if size <= 0:
                    break
                data = bytes(self._transport.peek(size) or b"")
                tcp.write(data)
                self._transport.pop(len(data))
                self._react()
        except ProtonException as error:
            self.fail(AmqpError(f"the protocol engine gave up: {error}"))

    def _tick(self) -> None:
        """Heartbeats both ways: ours go out in time, and a peer that is silent too long fails the connection."""
        if self.failure is not None:
            return
        deadline = self._transport.tick(self._loop.time())
        self._pump()
        if deadline and self.failure is None:
            if self._next_tick is not None:
                self._next_tick.cancel()
            self._next_tick = self._loop.call_at(deadline, self._tick)

    def _react(self) -> None:
        while (event := self._collector.peek()) is not None:
            self._react_to(event)
            self._collector.pop()

    def _react_to(self, event: Any) -> None:  # proton types what an event is about as Optional, by its kind it is there
        match event.type:
            case Event.DELIVERY if link := self._link(event):
                link.on_delivery(event.delivery)
            case Event.LINK_FLOW if link := self._link(event):
                link.on_flow()
            case Event.LINK_REMOTE_OPEN if link := self._link(event):
                link.on_attached()
            case Event.LINK_REMOTE_CLOSE | Event.LINK_REMOTE_DETACH if link := self._link(event):
                link.fail(AmqpError.of(event.link.remote_condition, "the peer detached the link"))
            case Event.SESSION_REMOTE_CLOSE if link := self._links.get(event.session):
                link.fail(AmqpError.of(event.session.remote_condition, "the peer ended the session"))
            case Event.TRANSPORT if not self._opened.done():
                self._look_at_login()
            case Event.CONNECTION_REMOTE_OPEN:
                if not self._opened.done():
                    self._opened.set_result(None)
                self._loop.call_soon(self._tick)  # now the peer's own idle time-out is known
            case Event.CONNECTION_REMOTE_CLOSE:
                self._remote_closed.set()
                self._fail_with(event.connection.remote_condition, "the peer closed the connection")
            case Event.TRANSPORT_ERROR:
                self._fail_with(event.transport.condition, "the protocol failed")
            case _:
                pass  # of our own making

    def _look_at_login(self) -> None:
        """A refused password: proton tells it only when the peer hangs up, which RabbitMQ does seconds later."""
        outcome = self._transport.sasl().outcome
        if outcome in (SASL.AUTH, SASL.PERM):
            self.fail(AmqpError("user or password refused", condition="amqp:unauthorized-access"))
        elif outcome in (SASL.SYS, SASL.TEMP):
            self.fail(AmqpError("the peer cannot check the password now"))

    def _link(self, event: Any) -> Link | None:
        return self._links.get(event.link.session)

    def _fail_with(self, condition: Condition | None, text: str) -> None:
        if self.failure is None and not self._connection.state & Connection.LOCAL_CLOSED:
            self.fail(AmqpError.of(condition, text))


class _Bound:
    """asyncio.timeout, with AmqpError for TimeoutError."""

    def __init__(self, limit_s: float, text: str) -> None:
        self._timeout = asyncio.timeout(limit_s)
        self._text = f"{text} within {limit_s:g} s"

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._timeout.__aexit__(*exc)  # type: ignore[arg-type]  # passed on as it came
        except TimeoutError:
            raise AmqpError(self._text) from None


async def open_connection(peer: Peer) -> AmqpConnection:
    """A connection that the peer has opened. Raises AmqpError: unreachable, TLS, password, time-out."""
    connection = AmqpConnection(peer)
    with ExitStack() as undo:
        undo.callback(connection.fail, AmqpError("the connection was given up"))
        try:
            async with _Bound(peer.operation_timeout_s, f"no AMQP connection to {peer.host}:{peer.port}"):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    peer.host,
                    peer.port,
                    ssl=peer.tls,
                    server_hostname=peer.host if peer.tls else None,
                    ssl_handshake_timeout=peer.operation_timeout_s if peer.tls else None,
                )
                await connection.wait_until_open()
        except ssl.SSLCertVerificationError as error:
            text = f"the certificate of {peer.host} does not hold: {error.verify_message}"
            raise AmqpError(text, condition=CERTIFICATE_REFUSED) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise AmqpError(f"cannot connect to {peer.host}:{peer.port}: {why}") from None
        undo.pop_all()
    return connection
