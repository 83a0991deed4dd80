"""TLS against a real broker: who is not proven is not spoken to, and hears no password."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from connectors.inbox import InboxRefused
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender, NhnAmqpSettings
from connectors.sender import SenderRefused, SenderUnavailable
from tests.services import Broker
from tests.services.far_end import WAIT_S, Bus, account

pytestmark = pytest.mark.server
QUEUE = "8139520_async"


async def test_another_authority_is_refused(bus: Bus, tmp_path: Path) -> None:
    ca_file = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    with pytest.raises(SenderRefused) as caught:
        async with NhnAmqpSender(bus.settings(ca_file=ca_file), send_to_queue=QUEUE):
            pass
    assert caught.value.condition == "tls:certificate-refused"
    with pytest.raises(InboxRefused):
        async with NhnAmqpInbox(bus.settings(ca_file=ca_file), async_queue="1234_async", error_queue="1234_error"):
            pass


async def test_the_authorities_of_the_system_do_not_know_the_broker(rabbitmq40: Broker) -> None:
    with pytest.raises(SenderRefused):
        async with NhnAmqpSender(account(rabbitmq40, ca_file=None), send_to_queue=QUEUE):
            pass


async def test_another_name_is_refused(bus: Bus) -> None:
    """127.1 leads to the same broker, and its certificate does not say so."""
    with pytest.raises(SenderRefused) as caught:
        async with NhnAmqpSender(bus.settings(url=f"amqps://127.1:{bus.broker.tls_port}"), send_to_queue=QUEUE):
            pass
    assert caught.value.condition == "tls:certificate-refused"


async def test_a_port_without_tls_is_unavailable(bus: Bus) -> None:
    with pytest.raises(SenderUnavailable):
        async with NhnAmqpSender(bus.settings(url=f"amqps://127.0.0.1:{bus.broker.port}"), send_to_queue=QUEUE):
            pass


async def test_a_ca_file_that_is_missing_is_refused(rabbitmq40: Broker, tmp_path: Path) -> None:
    with pytest.raises(SenderRefused) as caught:
        async with NhnAmqpSender(account(rabbitmq40, ca_file=tmp_path / "none.pem"), send_to_queue=QUEUE):
            pass
    assert caught.value.condition == "file:unreadable"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")  # the old version is the point
async def test_tls_older_than_1_2_is_not_spoken(tmp_path: Path) -> None:
    """A server of our own: no broker of today offers it. Nothing of us reaches it."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(8))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        user_file = tmp_path / "user"
        user_file.touch(mode=0o600)
        settings = {"exchange": "X", "addresses": "v2", "user_file": user_file, "password_file": user_file}
        ours = NhnAmqpSettings(url=f"amqps://127.0.0.1:{port}", ca_file=ca_file, **settings)
        with pytest.raises(SenderUnavailable):
            async with asyncio.timeout(WAIT_S), NhnAmqpSender(ours, send_to_queue=QUEUE):
                pass
    assert heard == []
