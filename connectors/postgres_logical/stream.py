"""The replication stream: frames in, feedback out. What is confirmed is what the ledger holds, and nothing beyond.

PostgreSQL's documentation, "Streaming Replication Protocol". Feedback goes out on a timer of its own, so that the
server hears from us while whoever reads is busy; a reader that has gone away for good is not spoken for.
"""

import asyncio
import contextlib
import struct
import time
from dataclasses import dataclass, field
from typing import Final, Self

from connectors.postgres_logical.catalog import identifier, literal, lsn_text
from connectors.postgres_logical.session import Refused, Session
from connectors.postgres_logical.troubles import ServerGone, StreamUnreadable
from connectors.wire.pgoutput import POSTGRES_EPOCH

PROTOCOL: Final = 1  # whole transactions, when they are committed: PostgreSQL 10 and later

_DATA: Final = struct.Struct(">cQQq")
_KEEP_ALIVE: Final = struct.Struct(">cQqB")
_STATUS: Final = struct.Struct(">cQQQqB")
_DOING: Final = "streaming"
_ABANDONED_AFTER_S: Final = 300.0
"""A server that stops waits for us to confirm all that it has sent: one whose reader hangs must not wait for ever."""
_TELL_EVERY_S: Final = 5.0
_ABSENCE_S: Final = 1.0
_SHORTEST_ANSWER_S: Final = 0.1
"""A server that stops asks again at once for as long as not all is confirmed."""


@dataclass(frozen=True, slots=True)
class Data:
    """One message of the output plugin."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Everything before `end_lsn` has been sent. `is_urgent`: the server wants to hear from us now."""

    end_lsn: int
    is_urgent: bool


Frame = Data | KeepAlive


class ReplicationStream:
    """A slot's stream from one place on. Enter it, `take` and `wait` in turn, `confirm` what is durable."""

    def __init__(self, session: Session, watch: Session, *, quiet_timeout_s: float) -> None:
        """`watch`: an ordinary connection to the same server, which ends it at once when it is told to stop."""
        self._session: Final = session
        self._watch: Final = watch
        self._quiet_timeout_s: Final = quiet_timeout_s
        self._confirmed = self._reached = 0
        self._heard_at_s = self._used_at_s = self._told_at_s = time.monotonic()
        self._is_waited_on = False
        self._timer: asyncio.Task[None] | None = None

    async def start(self, slot: str, publication: str, lsn: int, *, timeout_s: float) -> None:
        """Begin with the first transaction whose commit record is at `lsn` or behind it. Raises Refused."""
        publications = literal(identifier(publication))
        await self._session.start_stream(
            f"START_REPLICATION SLOT {identifier(slot)} LOGICAL {lsn_text(lsn)} "
            f"(proto_version '{PROTOCOL}', publication_names {publications})",
            doing="starting the stream",
            timeout_s=timeout_s,
        )
        self._confirmed = self._reached = lsn
        self._heard_at_s = self._used_at_s = time.monotonic()
        self._timer = asyncio.create_task(self._tell_now_and_then())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({timer})
        self._session.close()

    async def take(self) -> Frame | None:
        """The next frame that has arrived; None: none has. Raises what ended the stream."""
        now_s = time.monotonic()
        if now_s - self._used_at_s > _ABSENCE_S:
            self._heard_at_s = now_s  # nobody listened for a while: silence counts from here
        self._used_at_s = now_s
        frame = self._session.take()
        if frame is None:
            return None
        self._heard_at_s = now_s
        if not frame:
            raise await self._ended()
        return self._read(frame)

    async def wait(self, longest_s: float) -> None:
        """Until something arrives, or `longest_s` have passed. Raises ServerGone when the server is silent too long."""
        left_s = self._heard_at_s + self._quiet_timeout_s - time.monotonic()
        if left_s <= 0:
            raise ServerGone(f"PostgreSQL has been silent for {self._quiet_timeout_s:g} s while streaming")
        self._is_waited_on = True
        try:
            async with asyncio.timeout(max(min(longest_s, left_s), 0)):
                await self._session.wait()
        except TimeoutError:
            pass
        finally:
            self._is_waited_on = False
            self._used_at_s = time.monotonic()

    def ask(self) -> None:
        """Have the server say how far it is."""
        self._tell(wants_answer=True)

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is in the ledger: the server may forget it (invariant 1)."""
        if lsn > self._confirmed:
            self._confirmed = lsn
            self._tell(wants_answer=False)

    async def answer(self) -> None:
        """What the server wants to hear now; never at a pace that only keeps both of us busy."""
        since_s = time.monotonic() - self._told_at_s
        if since_s < _SHORTEST_ANSWER_S:
            await asyncio.sleep(_SHORTEST_ANSWER_S - since_s)
        self._tell(wants_answer=False)

    def _tell(self, *, wants_answer: bool) -> None:
        self._told_at_s = time.monotonic()
        clock_us = int((time.time() - POSTGRES_EPOCH.timestamp()) * 1_000_000)
        written = max(self._reached, self._confirmed)
        self._session.tell(
            _STATUS.pack(b"r", written, self._confirmed, self._confirmed, clock_us, 1 if wants_answer else 0)
        )

    async def _tell_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(min(self._quiet_timeout_s / 4, _TELL_EVERY_S))
            is_abandoned = not self._is_waited_on and time.monotonic() - self._used_at_s > _ABANDONED_AFTER_S
            if is_abandoned or (not self._is_waited_on and self._watch.has_ended()):
                self._session.close()
                return
            try:
                self._tell(wants_answer=True)
            except ServerGone:
                return  # whoever reads finds it out, too

    def _read(self, frame: bytes) -> Frame:
        try:
            if frame[:1] == b"w":
                _DATA.unpack_from(frame)
                return Data(frame[_DATA.size :])
            if frame[:1] == b"k":
                _, end_lsn, _, wants_answer = _KEEP_ALIVE.unpack(frame)
                self._reached = max(self._reached, end_lsn)
                return KeepAlive(end_lsn, bool(wants_answer))
        except struct.error:
            raise StreamUnreadable("a frame that ends too early") from None
        raise StreamUnreadable(f"a frame of type 0x{frame[0]:02x}")

    async def _ended(self) -> Exception:
        try:
            await self._session.end_of_stream(_DOING)
        except (Refused, ServerGone) as reason:
            return reason
        except TimeoutError:
            pass
        return ServerGone("PostgreSQL ended the stream: it stops, or restarts")
