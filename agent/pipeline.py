"""One municipality at work: its loops, which meet only in its ledger, under one supervisor.

Each loop can die and is started again alone. What calls for a person is told with an alarm that names the repair, and
tried again at minutes' pace, so that the municipality goes on by itself once it is mended. Only a ledger that another
process has taken, or that is damaged, ends the pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any, Final, cast

from agent.composition import (
    dispatch_settings,
    envelope_settings,
    official_schemas,
    protection_files,
    receive_settings,
    reporting_unit,
    retry_settings,
    wanted,
)
from agent.control import Answer, Request, listening
from agent.dispatch.loop import Dispatch
from agent.domain.delivery import Pace
from agent.examine import notice_rules
from agent.intake.loop import TROUBLE, Ended, Intake
from agent.ledger.errors import LedgerError, LedgerUnavailable
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.observe.logs import Log
from agent.protection.protector import Protector
from agent.receive.loop import Receive, tell_overdue
from agent.retry import Retries
from agent.settings import Municipality
from agent.timer import Keep, Timer
from agent.verbs.answer import answer
from connectors.catalog import open_inbox, open_sender
from connectors.inbox import Inbox
from connectors.sharing.sources import Sources
from connectors.source import SourceError, SourceUnavailable

PROTECTION_THREADS: Final = 2
_ALARM_AFTER_FAILURES: Final = 5


def _now() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """A municipality's loops over its ledger. `run` ends after `stop`, when what was in flight is settled."""

    def __init__(
        self,
        municipality: Municipality,
        ledger: Ledger,
        log: Log,
        sources: Sources,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        settings = municipality.settings
        self._municipality = municipality
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._stopping = asyncio.Event()
        self._source_again = asyncio.Event()
        self._retries = Retries(retry_settings(settings))
        self._unit = reporting_unit(municipality, ledger.unit_secret)
        self._envelopes = envelope_settings(municipality, official_schemas(settings))
        self._executor = ThreadPoolExecutor(PROTECTION_THREADS, thread_name_prefix=f"protect-{municipality.unit}")
        self.dispatch, self.receive = self._ends()
        self._timer = self._make_timer()
        self._intake = Intake(
            self._unit,
            ledger,
            lambda position: sources.open(settings.source.chosen, wanted(municipality), position),
            log,
            chained=self.dispatch.nudge,
            looked=self._timer.nudge,
            clock=clock,
        )

    def _ends(self) -> tuple[Dispatch, Receive | None]:
        """The loops that send and receive; a folder takes plain messages, and nothing comes back from it."""
        settings = self._municipality.settings
        bus, parties = settings.bus.chosen, settings.parties
        ours = parties.municipality

        def inbox() -> Inbox | None:
            return open_inbox(bus, async_queue=ours.queue, error_queue=ours.error_queue)

        comes_back = inbox() is not None
        protector = Protector(protection_files(settings), legacy_3des=settings.protection.legacy_3des)
        dispatch = Dispatch(
            self._ledger,
            lambda: open_sender(bus, send_to_queue=parties.register_.queue),
            protector if comes_back else None,
            self._envelopes,
            dispatch_settings(settings),
            self._log,
            clock=self._clock,
            executor=self._executor,
        )
        if not comes_back:
            return dispatch, None

        receive = Receive(
            self._ledger,
            cast("Callable[[], Inbox]", inbox),  # looked at above: this bus gives one
            protector,
            receive_settings(settings),
            self._log,
            booked=dispatch.nudge,
            clock=self._clock,
            executor=self._executor,
        )
        return dispatch, receive

    def _make_timer(self) -> Timer:
        settings = self._municipality.settings

        async def overdue() -> None:
            await tell_overdue(self._ledger, self._log, now=self._clock(), after=settings.receipts.overdue_after)

        keep = settings.ledger.keep
        return Timer(
            self._unit,
            self._ledger,
            self._log,
            overdue,
            Keep(keep.message_bytes, keep.notification_fields, keep.receipts, keep.unreadable),
            settings.rules.missing_row_alarm,
            chained=self.dispatch.nudge,
            clock=self._clock,
        )

    def stop(self) -> None:
        """Take nothing more in; finish what is in flight (bounded by the dispatcher's drain)."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped. Raises what ends this municipality: a ledger that is another's, or damaged."""
        if await self._ledger.run(lambda tx: notice_rules(tx, self._unit)):
            self._log.info("rules_new_to_this_ledger", digest=self._unit.digest[:12])
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listening(self._municipality.settings.control_socket, self._answer))
            stack.callback(self._executor.shutdown, wait=False, cancel_futures=True)
            await self._supervise()

    async def _supervise(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        ours = [asyncio.create_task(self._keep_running("intake", self._intake.run))]
        ours.append(asyncio.create_task(self._keep_running("timer", self._timer.run)))
        wire = [asyncio.create_task(self._keep_running("dispatch", self.dispatch.run))]
        if self.receive is not None:
            wire.append(asyncio.create_task(self._keep_running("receive", self.receive.run)))
        tasks = [*ours, *wire]
        try:
            # A loop's task ends only when it is told to stop, or with what ends the municipality.
            done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            await _raise_first(done - {stopping})
        finally:
            stopping.cancel()
            for task in ours:
                task.cancel()
            self.dispatch.stop()
            if self.receive is not None:
                self.receive.stop()
            await asyncio.wait(wire, timeout=25)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)

    async def _keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop again and again until it ends by itself or a fault ends the municipality."""
        failures = 0
        while not self._stopping.is_set():
            began_at = self._clock()
            if name == "intake":
                self._source_again.clear()  # what a person decides from now on cuts the rest behind this run short
            try:
                await loop()
            except Ended:
                self._log.info("source_ended")
                await self._stopping.wait()
                return
            except SourceError as error:
                pace = Pace.QUICK if isinstance(error, SourceUnavailable) else Pace.SLOW
                tell = self._log.info if pace is Pace.QUICK and failures < _ALARM_AFTER_FAILURES else self._log.alarm
                # a source's text and repair quote no row (connectors/source.py)
                tell("source_trouble", error=error, reason=str(error), repair=error.repair, attempt=failures + 1)
                await self._note_trouble(error)
            except LedgerUnavailable as error:
                pace = Pace.QUICK
                self._log.alarm("ledger_unavailable", error=error, loop=name)
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault in one loop must not stop its neighbours
                pace = Pace.QUICK
                self._log.alarm("loop_failed", error=error, loop=name, attempt=failures + 1)
            else:
                if self._stopping.is_set():
                    return
                pace = Pace.QUICK
                self._log.alarm("loop_ended", loop=name)
            quiet = (self._clock() - began_at).total_seconds() > 60
            failures = 1 if quiet else failures + 1
            await self._rest(name, self._retries.wait_s(pace, failures))

    async def _note_trouble(self, error: SourceError) -> None:
        """So that `status` tells what stands in the way, and what to do."""
        text = f"{error} ({error.code})" + (f"; to do: {error.repair}" if error.repair else "")
        with suppress(LedgerUnavailable):
            await self._ledger.run(lambda tx: tx.set_note(TROUBLE, text))

    async def _rest(self, name: str, seconds: float) -> None:
        """Wait before a loop runs again; shorter where the daemon stops, or a person has decided about the source."""
        events = (self._stopping, self._source_again) if name == "intake" else (self._stopping,)
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _answer(self, request: Request) -> Answer:
        """What a verb asks of the daemon (agent/control.py)."""
        verb = request.get("verb")
        if verb == "receive":
            found: Answer | None = {"receiving": self.receive is not None}
            if self.receive is not None:
                self.receive.look_again()
        else:
            found = await answer(request, self._ledger, self._unit, lambda: self._envelopes, self._clock)
        if found is None:
            return {"error": "this daemon does not know that verb: is it of an older version?"}
        if verb == "confirm":
            self._source_again.set()
        self._timer.nudge()
        self.dispatch.nudge()
        return found


async def _raise_first(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        await task


def open_ledger(municipality: Municipality) -> Ledger:
    """The municipality's ledger, for writing. Raises LedgerError; LedgerBusy while a daemon runs."""
    ledger = municipality.settings.ledger
    return Ledger.open(ledger.path, unit=municipality.unit, key=LedgerKey.from_file(ledger.key_file))
