"""A connection under the account at Norsk Helsenett's AMQP bus, and which failures are refusals."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.sender import SenderError
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


@asynccontextmanager
async def entering(
    leave: Callable[[], Awaitable[None]], *, refused: type[SenderError], unavailable: type[SenderError]
) -> AsyncIterator[None]:
    """Connect and attach inside. A failure, or being cancelled, leaves no socket behind and is told by its reaction."""
    try:
        yield
    except AmqpError as error:
        await leave()
        kind = refused if _is_refusal(error) else unavailable
        raise kind(str(error), condition=error.condition) from None
    except BaseException:
        await leave()
        raise


def _is_refusal(error: AmqpError) -> bool:
    """Whether a person must mend something: credentials, rights, an address, a file."""
    return error.condition in _REFUSED_AT_THE_DOOR or error.condition.startswith("file:")
