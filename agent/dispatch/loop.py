"""The way out: notifications into envelopes, protected ahead of the wire, sent in order, each outcome booked.

The loop takes turns (agent/dispatch/turn.py): one ledger transaction each, then the I/O that it allows. An envelope is
marked in flight before its transfer and its outcome is booked before another takes its place in the window, so that
after a crash at most the window is sent twice, with the same ids and bytes (invariants 5 and 9).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from agent.dispatch.envelope import EnvelopeSettings, MessageInvalid
from agent.dispatch.line import Letter, Line, Preparation, Protects, names, settled_prefix
from agent.dispatch.turn import INVALID_NOTE, DispatchLedger, Settled, Taken, Turn, restart, take_turn
from agent.dispatch.wire import Wire
from agent.domain.delivery import Pace, Signal, pace
from agent.ledger.errors import LedgerUnavailable
from agent.observe.logs import Log
from agent.retry import USUAL_PACE, Retries, RetrySettings, wait_for_event
from connectors.sender import Sender, SenderError, SenderRefused, SenderUnavailable

T = TypeVar("T")

_ALARM_AFTER_FAILURES: Final = 5


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """window: transfers without a booked outcome. look_ahead: envelopes prepared before their turn.

    protection_fresh_s: a message protected longer ago is protected again, so that a rotated certificate is used.
    drain_s: how long `stop` waits for outcomes.
    """

    window: int = 1
    max_unreceipted: int = 500
    max_notifications: int = 1
    look_ahead: int = 16
    retry: RetrySettings = USUAL_PACE
    poll_s: float = 30.0
    protection_fresh_s: float = 300.0
    drain_s: float = 20.0


class Dispatch:
    """Sends one municipality's notifications. `run` ends after `stop`; anything else that ends it is a fault.

    `open_sender` makes a new sender for each connection. `executor` runs building and protection (None: the loop's
    own). `clock` gives aware UTC; `wait` waits for an event for at most so many seconds. A mutated clock or wait is
    all that a test needs to go through days.
    """

    def __init__(
        self,
        ledger: DispatchLedger,
        open_sender: Callable[[], AbstractAsyncContextManager[Sender]],
        protector: Protects | None,
        envelopes: EnvelopeSettings,
        settings: DispatchSettings,
        log: Log,
        *,
        new_id: Callable[[], UUID] = uuid4,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for_event,
        executor: Executor | None = None,
    ) -> None:
        self._ledger = ledger
        self._open_sender = open_sender
        self._envelopes = envelopes
        self._settings = settings
        self._log = log
        self._clock = clock
        self._wait = wait
        self._retries = Retries(settings.retry)
        self._wake = asyncio.Event()
        self._nudged = False
        self._line = Line()
        self._stop = asyncio.Event()
        self._give_up = False
        self._failures = 0
        self._one_by_one = 0  # so many more go alone: after an unknown outcome nobody can tell which was meant
        self._unreceipted: int | None = None  # an upper bound: receipts only lower it
        self._paused = False
        self._halted_id: int | None = None
        self._invalid_until: datetime | None = None
        self._preparation = Preparation(
            protector,
            envelopes,
            new_id=new_id,
            clock=clock,
            wake=self.nudge,
            executor=executor,
            fresh_s=settings.protection_fresh_s,
        )

    def nudge(self) -> None:
        """Something changed in the ledger (new notifications, receipts, a resend), or an envelope was built.

        While a letter flies and another waits, the turn that books the flight sees to it: one fsync for both.
        """
        self._nudged = True
        if not self._line.is_busy:
            self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is in flight has its outcome, or after `drain_s`."""
        if not self._stop.is_set():
            self._stop.set()
            self._wake.set()
            asyncio.get_running_loop().call_later(self._settings.drain_s, self._drained)

    def _drained(self) -> None:
        self._give_up = True
        self._wake.set()

    async def run(self) -> None:
        """Send until stopped. Raises what is a fault of the program or the ledger; a restart takes it up again."""
        again = await self._ledger.run(restart)
        if again:
            self._log.info("sending_resumes_after_restart", count=again)
        while not self._stop.is_set():
            failed = await self._one_connection()
            if failed is None:
                continue
            self._failures += 1
            wait_s = self._retries.wait_s(pace(failed), self._failures)
            if wait_s > 0:
                self._log.info("sending_waits", signal=failed, wait_s=round(wait_s, 1), attempt=self._failures)
                await self._wait(self._stop, wait_s)

    async def _one_connection(self) -> Signal | None:
        """Send over one sender until something fails: that signal. None when stopped."""
        async with AsyncExitStack() as stack:
            try:
                sender = await self._unless_stopped(stack.enter_async_context(self._open_sender()))
            except SenderRefused as error:
                self._log.alarm("sender_refused", error=error, condition=error.condition, queue=self._envelopes.queue)
                return Signal.NO_ROUTE
            except SenderUnavailable as error:
                self._tell_unavailable(error)
                return Signal.UNAVAILABLE
            if sender is None:
                return None
            self._log.info("sender_open", queue=self._envelopes.queue)
            return await self._send_over(sender)

    def _tell_unavailable(self, error: SenderError) -> None:
        tell = self._log.alarm if self._failures + 1 == _ALARM_AFTER_FAILURES else self._log.info
        tell("sender_unavailable", error=error, condition=error.condition, attempt=self._failures + 1)

    async def _unless_stopped(self, opening: Coroutine[Any, Any, T]) -> T | None:
        task = asyncio.create_task(opening)
        stopper = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopper}, return_when=asyncio.FIRST_COMPLETED)  # opening is bounded
            return await task if task.done() else None
        finally:
            stopper.cancel()
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, SenderError):
                    await task

    async def _send_over(self, sender: Sender) -> Signal | None:
        line = self._line = Line()
        try:
            async with Wire(sender, line, self._preparation, self._envelopes, self._wake.set) as wire:
                while True:
                    self._wake.clear()
                    self._nudged = False
                    taken = await self._turn(line, wire)
                    if line.fault is not None:
                        raise line.fault
                    if not line.flying and not self._going(line):
                        return line.failed
                    if not self._has_more_to_do(line, taken):
                        await self._wait(self._wake, self._settings.poll_s)
                    if self._give_up:
                        await wire.abandon()
        finally:
            line.forget()

    def _has_more_to_do(self, line: Line, taken: Taken) -> bool:
        """Whether another turn can do something before anything happens."""
        if line.is_busy:
            return False
        if self._nudged:
            return True
        if not self._going(line):
            return False
        has_room = line.prepared < self._settings.look_ahead
        return (
            taken.stored is None
            or (bool(line.built) and not taken.more)
            or (has_room and (taken.more or taken.more_to_build))
        )

    # One turn

    async def _turn(self, line: Line, wire: Wire) -> Taken:
        """One ledger transaction, then what follows from it in memory. Without a disk: the same turn again later."""
        await self._gather_built(line)
        settled = settled_prefix(line)
        turn = self._planned(line, settled)
        try:
            taken = await self._ledger.run(lambda tx: take_turn(tx, turn))
        except LedgerUnavailable as error:
            self._log.alarm("ledger_unavailable", error=error)
            await self._wait(self._stop, self._retries.wait_s(Pace.QUICK, 1))
            self._wake.set()
            return Taken()
        self._after_booking(line, settled, taken)
        self._after_reading(line, taken)
        self._after_beginning(line, wire, taken)
        self._tell_state(line, taken)
        return taken

    def _planned(self, line: Line, settled: list[Letter]) -> Turn:
        going = self._going(line) and all(letter.signal is Signal.ACCEPTED for letter in settled)
        flying = len(line.flying) - len(settled)
        window = 1 if self._one_by_one else self._settings.window
        may_begin = max(0, window - flying) if going else 0
        room = max(0, self._settings.look_ahead - line.prepared)
        # The count matters only near the limit: until then the bound since the last count is enough.
        exact = (
            self._unreceipted is None
            or self._unreceipted + len(settled) + flying + may_begin > self._settings.max_unreceipted
        )
        return Turn(
            at=self._clock(),
            settled=[Settled(letter.id, letter.signal) for letter in settled if letter.signal is not None],
            known_id=line.known_id,
            room=max(1, room) if going else 0,
            built=[letter.new for letter in line.built if letter.new is not None] if going else (),
            waiting=[letter.id for letter in line.waiting],
            may_begin=may_begin,
            max_unreceipted=max(0, self._settings.max_unreceipted - flying) if exact else None,
            built_through=line.built_through,
            notifications=room * self._settings.max_notifications if going and self._may_build() else 0,
        )

    def _going(self, line: Line) -> bool:
        return line.failed is None and not self._stop.is_set()

    def _may_build(self) -> bool:
        return self._invalid_until is None or self._clock() >= self._invalid_until

    def _after_booking(self, line: Line, settled: list[Letter], taken: Taken) -> None:
        conditions = {letter.id: letter for letter in settled}
        for letter in settled:
            line.flying.popleft()
            if letter.signal is Signal.ACCEPTED:
                self._failures = 0
                self._one_by_one = max(0, self._one_by_one - 1)
                self._log.info("message_sent", **names(letter.envelope))
            elif line.failed is None:
                line.failed = letter.signal
                if letter.signal is Signal.UNKNOWN:
                    self._one_by_one = self._settings.window
                self._log.info(
                    "message_not_sent", **names(letter.envelope), signal=letter.signal, condition=letter.condition
                )
        for envelope, signal, alarm in taken.alarms:
            letter = conditions[envelope.id]
            self._log.alarm(
                alarm.value,
                **names(envelope),
                signal=signal,
                condition=letter.condition,
                queue=self._envelopes.queue,
                to_her_id=self._envelopes.to_her_id,
                error=letter.error,
            )
        if taken.unreceipted is not None:
            self._unreceipted = taken.unreceipted
        elif self._unreceipted is not None:
            self._unreceipted += sum(letter.signal is Signal.ACCEPTED for letter in settled)

    def _after_reading(self, line: Line, taken: Taken) -> None:
        for fresh in taken.fresh:
            line.waiting.append(self._preparation.letter(fresh.content, envelope=fresh.envelope))
            line.known_id = max(line.known_id, fresh.envelope.id)
        if taken.stored is None:
            line.forget_built()
            return
        for envelope in taken.stored:
            letter = line.built.popleft()
            letter.envelope = envelope
            line.waiting.append(letter)
            line.known_id = max(line.known_id, envelope.id)
        size = self._settings.max_notifications
        for start in range(0, len(taken.to_build), size):
            self._preparation.build(line, taken.to_build[start : start + size])

    def _after_beginning(self, line: Line, wire: Wire, taken: Taken) -> None:
        begun, dropped = set(taken.begun), set(taken.dropped)
        while line.waiting and line.waiting[0].id in begun | dropped:
            letter = line.waiting.popleft()
            if letter.id in begun:
                line.flying.append(letter)
                wire.put(letter)
            else:
                letter.body.cancel()

    def _tell_state(self, line: Line, taken: Taken) -> None:
        halted = taken.halted_by
        if (halted.id if halted else None) != self._halted_id:
            self._halted_id = halted.id if halted else None
            if halted is None:
                self._log.info("sending_goes_on")
            else:
                self._log.alarm("sending_halted", **names(halted), state=halted.state)
        counted = taken.unreceipted is not None
        paused = counted and bool(line.waiting) and not taken.begun and not line.flying and halted is None
        if paused and not self._paused:
            self._log.info("sending_waits_for_receipts", limit=self._settings.max_unreceipted)
        self._paused = paused

    async def _gather_built(self, line: Line) -> None:
        while line.building and line.building[0][1].done():
            first_number, building = line.building.popleft()
            try:
                made = building.result()
            except MessageInvalid as error:
                line.built_through = first_number - 1
                line.forget_building()
                await self._halt_for(error)
                return
            self._invalid_until = None
            line.built.append(self._preparation.letter(made.content, new=made))

    async def _halt_for(self, error: MessageInvalid) -> None:
        """A fault of the program or its configuration: no envelope is made; looked at again at minutes' pace."""
        self._invalid_until = self._clock() + timedelta(seconds=self._settings.retry.slow_s)
        self._log.alarm("message_invalid", error=error, number=error.first_number, codes=error.problems)
        text = f"{error.code}: the message that begins with notification {error.first_number} is not valid"
        await self._ledger.run(lambda tx: tx.set_note(INVALID_NOTE, text))
