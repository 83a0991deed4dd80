"""Real servers for a demo, started by the project's own scripts: `python -m tests.services NAME start`, in a checkout.

Each runs as a program of its own. One that was not running before is stopped at the end.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
_SCRIPTS: Final = CHECKOUT / "tests" / "services"
_START_TIMEOUT_S: Final = 1200.0
"""The first start installs: a database from the distribution, or a broker of a hundred megabytes."""
_OTHER_TIMEOUT_S: Final = 120.0
_TELL_EVERY_S: Final = 10.0

Say = Callable[[str], None]


class ScriptsMissing(Exception):
    """Real servers are started from a checkout, and this is none. The text says what to do."""

    code = "KPR-705"


class ServerUnavailable(Exception):
    """A real server could not be had. The text ends with what the script said."""

    code = "KPR-706"


def require_scripts() -> None:
    """Raise ScriptsMissing where the scripts are not."""
    if not (_SCRIPTS / "__main__.py").is_file():
        raise ScriptsMissing(
            f"real servers are started by {_SCRIPTS}, which is not there: run this from a checkout of the project, "
            "or leave out --source"
        )


@asynccontextmanager
async def server(name: str, product: str, say: Say) -> AsyncIterator[str]:
    """Its address as the script tells it, while it runs. `product`: its name for people. Raises ServerUnavailable."""
    was_running = " on " in await _script(name, "status", _OTHER_TIMEOUT_S)
    try:
        if not was_running:
            say(f"Starting {product}. The first time it is installed, which takes minutes ...")
        told = await _started(name, product, say)
        say(f"  {told}")
        yield told.rpartition(" on ")[2]
    finally:
        if not was_running:
            # Also when the demo is interrupted: what was begun here is ended here.
            await asyncio.shield(_stopped(name, product, say))


async def _started(name: str, product: str, say: Say) -> str:
    starting = asyncio.create_task(_script(name, "start", _START_TIMEOUT_S))
    waited_s = 0.0
    try:
        while not (await asyncio.wait({starting}, timeout=_TELL_EVERY_S))[0]:
            waited_s += _TELL_EVERY_S
            say(f"  {product}: {waited_s:.0f} s ...")
        return starting.result()
    finally:
        starting.cancel()
        await asyncio.wait({starting})


async def _stopped(name: str, product: str, say: Say) -> None:
    try:
        await _script(name, "stop", _OTHER_TIMEOUT_S)
        say(f"{product} is stopped.")
    except ServerUnavailable as error:
        say(f"{product} could not be stopped: {error} ({error.code})")


async def _script(name: str, verb: str, timeout_s: float) -> str:
    """The last line that the script printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.services", name, verb),
        cwd=CHECKOUT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours to answer: it must not kill a server behind our back
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        raise ServerUnavailable(f"tests.services {name} {verb} had not ended after {timeout_s:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
    lines = output.decode(errors="replace").strip().splitlines()
    if process.returncode:
        hint = " (make setup-dev installs what the scripts need)" if "ModuleNotFoundError" in "".join(lines) else ""
        told = "\n".join(lines[-8:])
        raise ServerUnavailable(f"tests.services {name} {verb} failed{hint}:\n{told}")
    return lines[-1] if lines else ""
