"""Connections of our own to Kafka's brokers: what aiokafka's consumer does not ask, or does not tell.

Its consumer says "unable to bootstrap" for a wrong password, a wrong certificate and a closed port alike, and nothing
at all when one of them happens later: it tries again for ever. So these connections are made first and kept beside it.
Every question of ours goes through them: a broker answers the requests of one connection in order, and in the
consumer's they would stand behind a fetch that waits for records.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final, TypeVar

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, create_conn, get_ip_port_afi
from aiokafka.protocol.offset import OffsetRequest

from connectors.kafka_debezium.diagnosis import why_closed
from connectors.kafka_debezium.login import Login
from connectors.kafka_debezium.place import Cluster, Topic
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.kafka_debezium.troubles import (
    BrokerTooOld,
    CertificateRefused,
    FetchRefused,
    KafkaUnavailable,
    LoginRefused,
    MechanismRefused,
    RightsMissing,
    TlsMismatch,
)
from connectors.source import SourceError, SourceUnavailable
from connectors.wire.kafka_metadata import AskMetadata, id_text

Result = TypeVar("Result")

_CLIENT: Final = "kpr-agent"
_READ_COMMITTED: Final = 1
_BEGINNING, _END = -2, -1
_CLOSE_TIMEOUT_S: Final = 2.0
_NO_ERROR, _NOT_AUTHORIZED = 0, 29


def silence_aiokafka() -> None:
    """Its loggers write a thousand lines a second while a broker is away or a topic is missing; our errors tell it.

    A level that somebody has set is left as it is.
    """
    logger = logging.getLogger("aiokafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)


class Brokers:
    """Asks brokers one question at a time. Every answer is waited for at most `operation_timeout_s`."""

    def __init__(self, settings: KafkaDebeziumSettings, login: Login) -> None:
        self._settings: Final = settings
        self._login: Final = login
        self._by_address: dict[str, AIOKafkaConnection] = {}
        self._addresses: dict[int, str] = {}

    async def describe(self, topics: Sequence[str]) -> Cluster:
        """The cluster's id and these topics. Raises SourceRefused and SourceUnavailable by what is wrong."""
        address, connection = await self._any()
        answer = (await self._ask(address, connection, AskMetadata(topics))).to_object()
        self._addresses = {broker["node_id"]: f"{broker['host']}:{broker['port']}" for broker in answer["brokers"]}
        found = {
            topic["name"]: Topic(
                topic["name"],
                topic["error_code"],
                id_text(topic["topic_id"]),
                {one["partition"]: (one["leader"], one["leader_epoch"]) for one in topic["partitions"]},
            )
            for topic in answer["topics"]
        }
        return Cluster(answer["cluster_id"] or "", found)

    async def offsets(self, topics: Iterable[Topic], *, ends: bool) -> dict[tuple[str, int], int]:
        """For each partition its first offset, or the one behind its last committed record."""
        asked: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for topic in topics:
            for number, (node, _) in topic.leaders.items():
                asked.setdefault(node, {}).setdefault(topic.name, []).append((number, _END if ends else _BEGINNING))
        found: dict[tuple[str, int], int] = {}
        for node, partitions in asked.items():
            if node not in self._addresses:
                raise KafkaUnavailable(f"the broker {node} leads partitions and is not among those that are there")
            address = self._addresses[node]
            connection = await self._at(address)
            answer = await self._ask(address, connection, OffsetRequest(-1, _READ_COMMITTED, list(partitions.items())))
            for name, told in answer.topics:
                for number, error, _, offset in told:
                    if error == _NOT_AUTHORIZED:
                        raise RightsMissing(f"describe the topic {name}")
                    if error != _NO_ERROR:
                        raise KafkaUnavailable(f"{name}/{number}: {errors.for_code(error).__name__} for its offsets")
                    found[name, number] = offset
        return found

    async def connect_anew(self) -> None:
        """Make new connections: an open one does not notice a password that has changed since."""
        await self.close()
        await self._any()

    async def close(self) -> None:
        connections, self._by_address = self._by_address, {}
        closing = [closed for one in connections.values() if (closed := one.close()) is not None]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_TIMEOUT_S)

    async def _any(self) -> tuple[str, AIOKafkaConnection]:
        """A connection that is open; else the first of bootstrap_servers that takes one. A refusal is final."""
        for address, connection in self._by_address.items():
            if connection.connected():
                return address, connection
        trouble: SourceUnavailable | None = None
        for address in (*self._settings.bootstrap_servers, *self._addresses.values()):
            try:
                return address, await self._at(address)
            except SourceUnavailable as error:
                trouble = trouble or error
        raise trouble or KafkaUnavailable("no broker is known")

    async def _at(self, address: str) -> AIOKafkaConnection:
        connection = self._by_address.get(address)
        if connection is None or not connection.connected():
            connection = self._by_address[address] = await self._connect(address)
        return connection

    async def _connect(self, address: str) -> AIOKafkaConnection:
        host, port, _ = get_ip_port_afi(address)
        timeout_s = self._settings.operation_timeout_s
        connecting = create_conn(
            host, port, client_id=_CLIENT, request_timeout_ms=int(timeout_s * 1000), **self._login.parameters
        )
        return await self._bounded(address, connecting)

    async def _ask(self, address: str, connection: AIOKafkaConnection, request: Any) -> Any:
        async def answer() -> Any:
            return await connection.send(request)

        return await self._bounded(address, answer())

    async def _bounded(self, address: str, work: Awaitable[Result]) -> Result:
        timeout_s = self._settings.operation_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError:
            raise KafkaUnavailable(f"Kafka at {address} did not answer in {timeout_s:g} s") from None
        except NotImplementedError:  # aiokafka's word for a request whose version the broker does not know
            raise BrokerTooOld(address) from None
        except (OSError, EOFError, errors.KafkaError, ValueError, AssertionError) as error:
            trouble = self._trouble(address, error)
        raise trouble or await why_closed(address, self._login)

    def _trouble(self, address: str, error: Exception) -> SourceError | None:
        """The reaction that a failed connection or question calls for; None where it was closed without a word."""
        cause = error.__cause__ if isinstance(error, errors.KafkaConnectionError) and error.__cause__ else error
        match cause:
            case ssl.SSLCertVerificationError():
                return CertificateRefused(address, cause.verify_message)
            case ssl.SSLError() if "ALERT" in (cause.reason or "") and "VERSION" not in (cause.reason or ""):
                return CertificateRefused(address, f"the platform says {cause.reason}")
            case ssl.SSLError():
                return TlsMismatch(address, with_tls=self._login.ssl_context is not None)
            case errors.SaslAuthenticationFailed():
                return LoginRefused(address)
            case errors.UnsupportedSaslMechanismError():
                return MechanismRefused(address, f"{self._settings.sasl_mechanism} is not offered")
            case errors.IllegalSaslStateError():
                return MechanismRefused(address, "this listener takes no login")
            case ValueError() | AssertionError():
                return FetchRefused(f"Kafka at {address} answers what cannot be read ({type(cause).__name__})")
            case EOFError() | ConnectionResetError() | BrokenPipeError():
                return None
            case socket.gaierror():
                return KafkaUnavailable(f"the host name of {address} is not known ({cause.strerror})")
            case OSError():
                return KafkaUnavailable(f"no connection to Kafka at {address} ({type(cause).__name__})")
            case errors.KafkaConnectionError():
                return None
        return KafkaUnavailable(f"Kafka at {address} failed ({type(cause).__name__})")
