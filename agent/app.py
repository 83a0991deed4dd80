"""The composition root: one daemon for any number of municipalities, each under its own supervisor.

A bad file, a damaged ledger or a crash stops one municipality, never its neighbours (invariant 12). SIGTERM drains and
exits 0; `kill -9` comes back by the same path (invariant 9).
"""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import Final

from agent.composition import program_version
from agent.dispatch.official_schemas import OfficialSchemasUnusable
from agent.ledger.errors import LedgerBusy, LedgerError
from agent.observe.logs import Log, get
from agent.pipeline import Pipeline, open_ledger
from agent.settings import EXIT_CONFIGURATION, Loaded, Municipality
from connectors.sharing.sources import Sources

EXIT_OK: Final = 0
_AGAIN_AFTER_S: Final = 30.0


async def run(loaded: Loaded, *, strict: bool = False) -> int:
    """Run these municipalities until SIGTERM or SIGINT; the exit code.

    Files with faults are logged and left out; `strict` refuses to start with any. 78 when no municipality is left.
    """
    log = get()
    _tell_faults(log, loaded)
    if not loaded.municipalities or (strict and loaded.faults):
        return EXIT_CONFIGURATION
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("started", version=program_version(), count=len(loaded.municipalities), pid=os.getpid())
    tell_service_manager("READY=1")
    sources = Sources()
    tasks = [
        asyncio.create_task(supervise(municipality, get(municipality=municipality.unit), stop, sources))
        for municipality in loaded.municipalities
    ]
    await asyncio.gather(*tasks)
    log.info("stopped")
    return EXIT_OK


async def supervise(municipality: Municipality, log: Log, stop: asyncio.Event, sources: Sources) -> None:
    """Keep one municipality running until `stop`: what ends its pipeline is told, and tried again.

    `sources`: the process's; municipalities that share a slot meet there.
    """
    while not stop.is_set():
        try:
            await _run_once(municipality, log, stop, sources)
        except LedgerBusy as error:
            log.alarm("ledger_busy", error=error)
        except (LedgerError, OfficialSchemasUnusable) as error:
            log.alarm("municipality_faulted", error=error)
        except Exception as error:  # noqa: BLE001 - one municipality's fault must never stop another (invariant 12)
            log.alarm("municipality_failed", error=error)
        if not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_AFTER_S):
                    await stop.wait()


async def _run_once(municipality: Municipality, log: Log, stop: asyncio.Event, sources: Sources) -> None:
    ledger = await asyncio.to_thread(open_ledger, municipality)
    try:
        pipeline = Pipeline(municipality, ledger, log, sources)
        log.info("municipality_started", profile=municipality.settings.profile, mode=municipality.settings.mode)
        running = asyncio.create_task(pipeline.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            pipeline.stop()
            await running
        finally:
            stopping.cancel()
            running.cancel()
        log.info("municipality_stopped")
    finally:
        await asyncio.to_thread(ledger.close)


def tell_service_manager(state: str) -> None:
    """sd_notify: tell systemd, where it listens (NOTIFY_SOCKET)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.sendall(state.encode())


def _tell_faults(log: Log, loaded: Loaded) -> None:
    for file, faults in loaded.refused.items():
        log.alarm("municipality_refused", file=file.name, count=len(faults))
