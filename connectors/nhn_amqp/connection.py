"""A connection under the account at Norsk Helsenett's AMQP bus, and which failures are refusals."""

import ssl
from typing import Final
from urllib.parse import urlsplit

from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.wire.amqp_engine import CERTIFICATE_REFUSED, AmqpConnection, Peer, open_connection
from connectors.wire.amqp_links import AmqpError

NO_ROUTE: Final = frozenset({"amqp:not-found", "amqp:unauthorized-access"})
"""Conditions of an address that does not exist or is not ours to use: minutes' pace and an alarm."""

_REFUSED_AT_THE_DOOR: Final = NO_ROUTE | {
    CERTIFICATE_REFUSED,
    "amqp:invalid-field",  # an address of the dialect that this broker does not take
    "amqp:not-allowed",
    "amqp:not-implemented",
}


async def connect(settings: NhnAmqpSettings) -> AmqpConnection:
    """A connection under the account of `settings`, its secrets and certificates read anew. Raises AmqpError."""
    try:
        user = settings.user_file.read_text().strip()
        if settings.password_file.stat().st_mode & 0o007:
            raise AmqpError(
                f"everybody can read {settings.password_file}: chmod o= it", condition="file:permissions-too-loose"
            )
        password = settings.password_file.read_text().rstrip("\r\n")
        tls = _tls(settings)
    except (OSError, UnicodeDecodeError) as error:
        raise AmqpError(f"a file of the bus account cannot be read: {error}", condition="file:unreadable") from None
    return await open_connection(
        Peer(
            host=settings.host,
            port=settings.port,
            tls=tls,
            user=user,
            password=password,
            heartbeat_s=settings.heartbeat_s,
            operation_timeout_s=settings.operation_timeout_s,
            close_timeout_s=settings.close_timeout_s,
        )
    )


def _tls(settings: NhnAmqpSettings) -> ssl.SSLContext | None:
    if urlsplit(settings.url).scheme == "amqp":
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)  # checks the chain and the host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def is_refusal(error: AmqpError) -> bool:
    return error.condition in _REFUSED_AT_THE_DOOR or error.condition.startswith("file:")
