"""The wire of dispatch: letters that the ledger has marked as in flight, handed to one sender in order."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from agent.dispatch.envelope import EnvelopeSettings, outgoing
from agent.dispatch.line import Letter, Line, Preparation
from agent.domain.delivery import Signal
from agent.protection import ProtectionError
from connectors.sender import Outcome, Sender, Verdict

SIGNALS: Final = {
    Verdict.ACCEPTED: Signal.ACCEPTED,
    Verdict.RELEASED: Signal.RELEASED,
    Verdict.MODIFIED: Signal.MODIFIED,
    Verdict.REJECTED: Signal.REJECTED_BY_BROKER,
    Verdict.UNKNOWN: Signal.UNKNOWN,
    Verdict.UNAVAILABLE: Signal.UNAVAILABLE,
    Verdict.NO_ROUTE: Signal.NO_ROUTE,
    Verdict.IMPOSSIBLE: Signal.IMPOSSIBLE,
}


class Wire:
    """Transfers while entered. A letter that has landed has its `signal`; `wake` is called for each.

    Leaving cancels what has not landed. `line.fault` is set to what no wire should raise.
    """

    def __init__(
        self,
        sender: Sender,
        line: Line,
        preparation: Preparation,
        envelopes: EnvelopeSettings,
        wake: Callable[[], None],
    ) -> None:
        self._sender = sender
        self._line = line
        self._preparation = preparation
        self._envelopes = envelopes
        self._wake = wake
        self._letters: asyncio.Queue[Letter] = asyncio.Queue()
        self._sends: set[asyncio.Task[Outcome]] = set()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Wire":
        self._pump = asyncio.create_task(self._run())
        self._pump.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks = [*self._sends, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def put(self, letter: Letter) -> None:
        """The next to be transferred."""
        self._letters.put_nowait(letter)

    async def abandon(self) -> None:
        """Wait no longer: what has no outcome yet is unknown."""
        await self.__aexit__()
        for letter in self._line.flying:
            letter.signal = letter.signal or Signal.UNKNOWN

    async def _run(self) -> None:
        """Each letter as soon as it is protected, in order. Nothing follows a failure."""
        while True:
            letter = await self._letters.get()
            try:
                body = await self._preparation.body(letter)
            except ProtectionError as error:
                letter.error = error
                self._land(letter, Signal.UNPROTECTED, error.reason)
                continue
            if self._line.broken or letter.envelope is None:
                self._land(letter, Signal.OVERTAKEN, "")
                continue
            message = outgoing(letter.envelope, body, self._envelopes, protected=self._preparation.protects)
            sending = asyncio.create_task(self._sender.send(message))
            self._sends.add(sending)
            sending.add_done_callback(partial(self._sent, letter))

    def _sent(self, letter: Letter, sending: asyncio.Task[Outcome]) -> None:
        self._sends.discard(sending)
        if sending.cancelled():
            return
        error = sending.exception()
        if error is not None:
            self._fail(error)  # a sender never raises: a fault of the program
            return
        outcome = sending.result()
        self._land(letter, SIGNALS[outcome.verdict], outcome.condition)

    def _land(self, letter: Letter, signal: Signal, condition: str) -> None:
        letter.signal = signal
        letter.condition = condition
        self._line.broken = self._line.broken or signal is not Signal.ACCEPTED
        self._wake()

    def _ended(self, pump: asyncio.Task[None]) -> None:
        if not pump.cancelled() and (error := pump.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._line.fault = error
        self._wake()
