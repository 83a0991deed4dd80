"""What dispatch holds in memory: letters in a line, built and protected ahead of the wire in worker threads."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from agent.dispatch.envelope import EnvelopeSettings, NewEnvelope, build_envelope
from agent.domain.delivery import Signal
from agent.domain.notification import Notification
from agent.ledger.envelopes import Envelope

T = TypeVar("T")


class Protects(Protocol):
    """Protection of one message, called in worker threads. Raises ProtectionError."""

    def protect(self, content: bytes, at: datetime) -> bytes: ...


@dataclass(slots=True)
class Letter:
    """An envelope in memory. `body` is its protected form, on its way; `signal` what became of its transfer."""

    new: NewEnvelope | None
    envelope: Envelope | None
    content: bytes = field(repr=False)
    body: asyncio.Future[bytes] = field(repr=False)
    protected_at: datetime
    signal: Signal | None = None
    condition: str = ""
    error: BaseException | None = None

    @property
    def id(self) -> int:
        return 0 if self.envelope is None else self.envelope.id


@dataclass(slots=True)
class Line:
    """What one connection works on, in chain order from the back: being built, built, stored and waiting, flying.

    failed: the first outcome, booked, that was not accepted; broken: there is one, booked or not.
    """

    building: deque[tuple[int, asyncio.Future[NewEnvelope]]] = field(default_factory=deque)
    built: deque[Letter] = field(default_factory=deque)
    waiting: deque[Letter] = field(default_factory=deque)
    flying: deque[Letter] = field(default_factory=deque)
    known_id: int = 0
    built_through: int = 0
    broken: bool = False
    failed: Signal | None = None
    fault: BaseException | None = None

    @property
    def prepared(self) -> int:
        return len(self.building) + len(self.built) + len(self.waiting)

    @property
    def is_busy(self) -> bool:
        """Whether the next turn is sure to come, with something to send."""
        return bool(self.flying and self.waiting)

    def forget_building(self) -> None:
        for _, building in self.building:
            building.cancel()
        self.building.clear()

    def forget_built(self) -> None:
        self.forget_building()
        for letter in self.built:
            letter.body.cancel()
        self.built.clear()
        self.built_through = 0

    def forget(self) -> None:
        self.forget_built()
        for letter in self.waiting:
            letter.body.cancel()


def settled_prefix(line: Line) -> list[Letter]:
    """What is settled, up to the first that is not: after any outcome but accepted, everything goes again in order."""
    settled: list[Letter] = []
    failed = line.failed is not None
    for letter in line.flying:
        if letter.signal is None:
            break
        if failed and letter.signal is not Signal.IMPOSSIBLE:
            letter.signal = Signal.OVERTAKEN
        failed = failed or letter.signal is not Signal.ACCEPTED
        settled.append(letter)
    return settled


def names(envelope: Envelope | None) -> dict[str, object]:
    if envelope is None:
        return {}
    return {
        "msg_id": envelope.msg_id,
        "message_id": envelope.message_id,
        "envelope": envelope.id,
        "first_number": envelope.first_number,
        "last_number": envelope.last_number,
        "attempt": envelope.attempts,
    }


class Preparation:
    """Builds and protects letters in worker threads. `protector` None: the plain message goes out, for a folder.

    `wake` is called when something was built. `fresh_s`: a message protected longer ago is protected again.
    """

    def __init__(
        self,
        protector: Protects | None,
        envelopes: EnvelopeSettings,
        *,
        new_id: Callable[[], UUID],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
        executor: Executor | None,
        fresh_s: float,
    ) -> None:
        self.protects = protector is not None
        self._protector = protector
        self._envelopes = envelopes
        self._new_id = new_id
        self._clock = clock
        self._wake = wake
        self._executor = executor
        self._fresh = timedelta(seconds=fresh_s)

    def build(self, line: Line, notifications: Sequence[Notification]) -> None:
        """Begin to build an envelope at the end of the line. Its ids are drawn now, in the order of the chain."""
        msg_id, message_id = self._new_id(), self._new_id()
        building = self._in_thread(
            partial(
                build_envelope,
                notifications,
                self._envelopes,
                msg_id=msg_id,
                message_id=message_id,
                at=self._clock(),
            )
        )
        building.add_done_callback(self._built)
        line.building.append((notifications[0].number, building))
        line.built_through = notifications[-1].number

    def letter(self, content: bytes, *, new: NewEnvelope | None = None, envelope: Envelope | None = None) -> Letter:
        """A letter whose protection has begun."""
        at = self._clock()
        return Letter(new, envelope, content, self._protected(content, at), at)

    async def body(self, letter: Letter) -> bytes:
        """The protected message, protected anew where that was long ago: certificates may have been rotated since."""
        if self._clock() - letter.protected_at > self._fresh:
            letter.body.cancel()
            letter.protected_at = self._clock()
            letter.body = self._protected(letter.content, letter.protected_at)
        return await letter.body

    def _protected(self, content: bytes, at: datetime) -> asyncio.Future[bytes]:
        if self._protector is None:
            body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            body.set_result(content)
            return body
        protecting = self._in_thread(partial(self._protector.protect, content, at))
        protecting.add_done_callback(_looked_at)
        return protecting

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _built(self, building: asyncio.Future[Any]) -> None:
        _looked_at(building)
        self._wake()


def _looked_at(future: asyncio.Future[Any]) -> None:
    """An error is raised where the result is used; when the line was given up meanwhile, nobody asks for it."""
    if not future.cancelled():
        future.exception()
