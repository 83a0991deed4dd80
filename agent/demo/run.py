"""`kpr-agent demo`: the whole way, from a changed row in an EPJ to a booked receipt, on this machine alone.

Ends by itself: the EPJ stops some seconds before the end, what is in flight is waited for (bounded), and then what the
EPJ says is held against what the register holds. On a slow machine there are fewer changes, and never a difference.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from agent.demo.outcome import Outcome, told
from agent.demo.servers import ScriptsMissing, ServerUnavailable, require_scripts
from agent.demo.sources import EMBEDDED, SOURCES, OpenEpj
from agent.demo.story import tell_story
from agent.demo.view import View, open_view
from agent.demo.world import MAPPING, Places
from agent.observe.logs import configure

EXIT_OK: Final = 0
EXIT_DIFFERS: Final = 1
EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_INTERRUPTED: Final = 130


class FolderRefused(Exception):
    """The folder cannot be used. The text says what to do."""

    code = "KPR-704"


def run_demo(*, seconds: int, seed: int, keep: Path | None, as_json: bool, source: str = "embedded") -> int:
    """Run the demo for about `seconds`, in a folder that is removed at the end unless `keep` names one; the exit code.

    `source`: a name of agent/demo/sources.py. 0: EPJ and register agree; 1: they differ, or the demo did not come to
    its end in time; 64: the folder or the source cannot be used; 69: a real server could not be had; 130: interrupted.
    `as_json`: one JSON object on standard output at the end, everything else on standard error.
    """
    if not MAPPING.is_file():
        sys.stderr.write(f"the demo reads {MAPPING}: run it from a checkout of the project\n")
        return EXIT_USAGE
    if source not in SOURCES:
        sys.stderr.write(f"--source takes one of {', '.join(SOURCES)}\n")
        return EXIT_USAGE
    try:
        if source != EMBEDDED:
            require_scripts()
        with _folder(keep) as folder:
            outcome = _run(Places(folder), SOURCES[source], seconds, seed, on_stderr=as_json)
    except (FolderRefused, ScriptsMissing) as error:
        sys.stderr.write(f"{error} ({error.code})\n")
        return EXIT_USAGE
    except ServerUnavailable as error:
        sys.stderr.write(f"{error} ({error.code})\n")
        return EXIT_UNAVAILABLE
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    stream = sys.stderr if as_json else sys.stdout
    for line in told(outcome, keep):
        stream.write(line + "\n")
    if as_json:
        sys.stdout.write(orjson.dumps(outcome.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
    return EXIT_OK if outcome.agrees else EXIT_DIFFERS


def _run(places: Places, open_epj: OpenEpj, seconds: int, seed: int, *, on_stderr: bool) -> Outcome:
    with places.log.open("w", encoding="utf-8", buffering=1) as log, open_view(on_stderr=on_stderr) as view:
        configure(log)
        try:
            return asyncio.run(_until_signalled(places, open_epj, seconds, seed, view))
        finally:
            configure(sys.stderr)


async def _until_signalled(places: Places, open_epj: OpenEpj, seconds: int, seed: int, view: View) -> Outcome:
    """SIGTERM ends the demo as Ctrl-C does: everything is stopped and the folder removed."""
    story = asyncio.create_task(tell_story(places, open_epj, seconds=seconds, seed=seed, view=view))
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError):  # not in the main thread: whoever runs us has the signals
        loop.add_signal_handler(signal.SIGTERM, story.cancel)
    return await story


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="kpr-demo-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(keep.iterdir()):
            raise FolderRefused(f"{keep} is not empty: name a new folder, or empty this one")
    except OSError as error:
        raise FolderRefused(f"{keep} cannot be used: {error.strerror}") from None
    yield keep.absolute()
