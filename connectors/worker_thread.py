"""One daemon thread that does blocking work for the event loop, one piece after the other.

A database connection belongs to one thread, and a thread that hangs in a driver must not keep the process alive:
`asyncio.to_thread` gives neither.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

Result = TypeVar("Result")


class WorkerThread:
    """Runs what it is given in order. `stop` lets what is queued finish, then ends the thread."""

    def __init__(self, name: str) -> None:
        self._work: Final[queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]] = queue.SimpleQueue()
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Result], timeout_s: float) -> Result:
        """What `work` returns or raises; TimeoutError after `timeout_s` (the thread goes on with it)."""
        future: Future[Result] = Future()
        self._work.put((work, future))
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(future)

    async def end(self, close: Callable[[], None], timeout_s: float, *, of_no_matter: type[Exception]) -> None:
        """Do the last piece of work, whatever comes of it, and end the thread.

        One that hangs in a driver goes on until the database's own time-out; `of_no_matter` says that there is nothing
        left to close.
        """
        try:
            await self.run(close, timeout_s)
        except (TimeoutError, of_no_matter):
            pass
        finally:
            self.stop()

    def stop(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to the one who waits
                future.set_exception(error)
