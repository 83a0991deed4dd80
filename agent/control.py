"""How a verb reaches the daemon: one JSON line each way over a Unix socket beside the ledger, mode 0600.

One writer, many verbs: a verb that writes asks the daemon, and takes the ledger's lock itself only when nobody answers.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

MAX_LINE_BYTES: Final = 1024 * 1024
ANSWER_TIMEOUT_S: Final = 600.0
_LINE_TIMEOUT_S: Final = 10.0
_LONGEST_PATH: Final = 107  # sockaddr_un on Linux

Request = dict[str, Any]
Answer = dict[str, Any]


class ControlUnusable(Exception):
    """The control socket cannot be opened. The text says what to do."""

    code = "KPR-702"


class NobodyAnswers(Exception):
    """No daemon listens there."""

    code = "KPR-703"


@asynccontextmanager
async def listening(path: Path, handle: Callable[[Request], Awaitable[Answer]]) -> AsyncIterator[None]:
    """Answer requests at `path` while inside. A socket that a killed daemon left behind is replaced.

    The caller holds the ledger's lock, so nobody else can be listening here.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ControlUnusable(f"the path of the control socket is too long for a socket: set control.socket ({path})")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LINE_TIMEOUT_S):
                line = await reader.readline()
            answer = await handle(orjson.loads(line))
        except (TimeoutError, ValueError, ConnectionError) as error:
            answer = {"error": f"the request could not be read ({type(error).__name__})"}
        with suppress(ConnectionError, TimeoutError):
            writer.write(orjson.dumps(answer) + b"\n")
            async with asyncio.timeout(_LINE_TIMEOUT_S):
                await writer.drain()
        writer.close()

    _remove_socket(path)
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, path, limit=MAX_LINE_BYTES)
    except OSError as error:
        raise ControlUnusable(f"{path} cannot be opened: {error.strerror}; set control.socket") from None
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        _remove_socket(path)


def _remove_socket(path: Path) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()


async def ask(path: Path, request: Request) -> Answer:
    """The daemon's answer. Raises NobodyAnswers when none listens at `path`."""
    try:
        async with asyncio.timeout(_LINE_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
    except (OSError, TimeoutError):
        raise NobodyAnswers(f"no daemon answers at {path}") from None
    try:
        writer.write(orjson.dumps(request) + b"\n")
        async with asyncio.timeout(_LINE_TIMEOUT_S):
            await writer.drain()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await reader.readline()
    except (OSError, TimeoutError):
        raise NobodyAnswers(f"the daemon at {path} took the request and did not answer: look at its log") from None
    finally:
        writer.close()
    if not line:
        raise NobodyAnswers(f"the daemon at {path} closed the connection without an answer: look at its log")
    answer: Answer = orjson.loads(line)
    return answer
