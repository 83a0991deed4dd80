"""The demo's players: the bus, the register, and the agent as `kpr-agent run` runs it, all in this process."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from agent.app import supervise
from agent.demo.bus import Bus
from agent.demo.certificates import server_tls
from agent.demo.register import Register, Script
from agent.demo.register_service import KnownSender, RegisterKeys, RegisterService
from agent.demo.sources import LiveEpj
from agent.demo.world import (
    ERROR_QUEUE,
    EXCHANGE,
    HER_ID,
    QUEUE,
    REGISTER_ERROR_QUEUE,
    REGISTER_QUEUE,
    SERVICE_HER_ID,
    USER,
    Keys,
    Places,
    write_keys,
    write_municipality,
)
from agent.observe.logs import get
from agent.settings import Municipality, load
from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender
from connectors.sharing.sources import Sources

SCRIPT: Final = Script(refused=frozenset({4, 40, 75}), twice=frozenset({7}), late_s={9: 1.0})
"""What the register does for show. Numbers of messages in order: the first refusal falls in the first load."""

_END_TIMEOUT_S: Final = 35.0
"""Longer than the agent takes to drain."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. `agent` ends when `stop` is set."""

    places: Places
    municipality: Municipality
    bus: Bus
    register: Register
    stop: asyncio.Event
    agent: asyncio.Task[None]


@asynccontextmanager
async def on_stage(places: Places, keys: Keys, epj: LiveEpj) -> AsyncIterator[Stage]:
    """Start the bus, the register and the agent over the files of `places`; stop them at the end, bounded.

    The EPJ is made ready for the agent before that starts.
    """
    server = write_keys(places, keys)
    queues = (QUEUE, ERROR_QUEUE, REGISTER_QUEUE, REGISTER_ERROR_QUEUE)
    async with Bus(queues, {USER: keys.password}, exchange=EXCHANGE, tls=server_tls(server)) as bus:
        municipality = _municipality(places, bus.port, epj.section)
        register = Register(SCRIPT)
        account = municipality.settings.bus.chosen
        if not isinstance(account, NhnAmqpSettings):
            raise TypeError("the demo's municipality sends over the AMQP bus")
        await epj.prepare(municipality)
        stop = asyncio.Event()
        async with _running(_register_service(register, keys, account).run()):
            agent = asyncio.create_task(supervise(municipality, get(municipality=municipality.unit), stop, Sources()))
            try:
                yield Stage(places, municipality, bus, register, stop, agent)
            finally:
                stop.set()
                await asyncio.wait({agent}, timeout=_END_TIMEOUT_S)
                agent.cancel()
                with suppress(asyncio.CancelledError):
                    await agent


def _municipality(places: Places, port: int, source: str) -> Municipality:
    loaded = load([write_municipality(places, port, source)], look_at_files=True)
    if loaded.faults:
        raise RuntimeError("; ".join(map(str, loaded.faults)))  # a fault of the program: the file is our own
    return loaded.municipalities[0]


def _register_service(register: Register, keys: Keys, account: NhnAmqpSettings) -> RegisterService:
    municipality = KnownSender(
        frozenset({str(HER_ID), str(SERVICE_HER_ID)}),
        QUEUE,
        (keys.signing.certificate,),
        keys.decryption.certificate,
    )
    return RegisterService(
        register,
        keys=RegisterKeys(keys.register_signing.signing_identity(), (keys.register_decryption.decryption_key(),)),
        senders=[municipality],
        open_inbox=lambda: NhnAmqpInbox(account, async_queue=REGISTER_QUEUE, error_queue=REGISTER_ERROR_QUEUE),
        open_sender=lambda queue: NhnAmqpSender(account, send_to_queue=queue),
    )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=_END_TIMEOUT_S)
        if task.done() and not task.cancelled() and (fault := task.exception()) is not None:
            raise fault  # it had ended by itself: whatever follows from that must not hide it
