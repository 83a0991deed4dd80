"""Why a broker closed a connection without a word: it is asked in the other ways that a listener may speak.

A broker that goes down closes connections too, so a mismatch is only named when the other way gets an answer.
"""

import asyncio
import ssl
from typing import Final

from aiokafka import errors
from aiokafka.conn import create_conn, get_ip_port_afi
from aiokafka.protocol.admin import SaslHandShakeRequest

from connectors.kafka_debezium.login import Login
from connectors.kafka_debezium.troubles import KafkaUnavailable, MechanismRefused, TlsMismatch
from connectors.source import SourceError

_WAIT_S: Final = 5.0


async def why_closed(address: str, login: Login) -> SourceError:
    """TlsMismatch, MechanismRefused (a login is wanted) or KafkaUnavailable."""
    with_tls = login.ssl_context is not None
    speaks_other_way = await _speaks_plainly(address) if with_tls else await _speaks_tls(address)
    if speaks_other_way:
        return TlsMismatch(address, with_tls=with_tls)
    if not login.sasl:
        mechanisms = await _mechanisms(address, login)
        if mechanisms:
            return MechanismRefused(address, f"this listener wants a login ({', '.join(mechanisms)})")
    return KafkaUnavailable(f"Kafka at {address} closed the connection")


async def _speaks_tls(address: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: only whether it shakes hands is asked
    host, port, _ = get_ip_port_afi(address)
    try:
        async with asyncio.timeout(_WAIT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
    except ssl.SSLError as error:
        return error.reason is not None and "ALERT" in error.reason  # a listener that wants a client certificate
    except (OSError, TimeoutError):
        return False
    return True


async def _speaks_plainly(address: str) -> bool:
    host, port, _ = get_ip_port_afi(address)
    try:
        async with asyncio.timeout(_WAIT_S):
            connection = await create_conn(host, port, request_timeout_ms=int(_WAIT_S * 1000))
    except (OSError, TimeoutError, ValueError, AssertionError, errors.KafkaError):
        return False
    connection.close()
    return True


async def _mechanisms(address: str, login: Login) -> list[str]:
    """What a listener offers to log in with; nothing where it takes no login."""
    host, port, _ = get_ip_port_afi(address)
    try:
        async with asyncio.timeout(_WAIT_S):
            connection = await create_conn(host, port, request_timeout_ms=int(_WAIT_S * 1000), **login.parameters)
            try:
                answer = await connection.send(SaslHandShakeRequest("PLAIN"))
            finally:
                connection.close()
    except (OSError, TimeoutError, ValueError, AssertionError, errors.KafkaError):
        return []
    return sorted(answer.enabled_mechanisms)
