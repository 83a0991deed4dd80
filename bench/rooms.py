"""Where the time of intake goes: a profile of all threads, by room, and the functions that took the most."""

import asyncio
import cProfile
import os
import pstats
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Function = tuple[str, int, str]
"""A profile's name of a function: file, line, name."""

ROOMS = (
    ("connectors/", "decode (source and connector)"),
    ("site-packages/aiokafka/", "decode (source and connector)"),
    ("site-packages/psycopg", "decode (source and connector)"),
    ("site-packages/sqlalchemy/", "decode (source and connector)"),
    ("agent/intake/", "apply (intake)"),
    ("agent/domain/assemble.py", "assemble"),
    ("agent/domain/mapping.py", "assemble"),
    ("agent/domain/rows.py", "assemble"),
    ("agent/domain/care.py", "assemble"),
    ("agent/domain/providers.py", "assemble"),
    ("agent/domain/identifiers.py", "assemble"),
    ("agent/domain/", "compare, judge and chain"),
    ("agent/examine.py", "examine (what calls these)"),
    ("agent/ledger/seal.py", "seal"),
    ("agent/ledger/payload.py", "seal (payloads to bytes)"),
    ("agent/ledger/", "ledger SQL"),
    ("asyncio/", "asyncio and threads"),
    ("bench/", "the benchmark"),
)
"""The first that is in a function's path. Others (the standard library, built-ins) belong to their callers' rooms."""

COMMIT = "ledger commit (the disk)"
REST = "the rest"
_WAITING = frozenset(
    {
        "<method 'poll' of 'select.epoll' objects>",
        "<method 'poll' of 'select.poll' objects>",
        "<method 'acquire' of '_thread.lock' objects>",
        "<method 'get' of '_queue.SimpleQueue' objects>",
    }
)
_COMMITTING = ("agent/ledger/ledger.py", "_write")
_LIBRARY = str(Path(os.__file__).parent) + "/"
_ROOT = str(Path(__file__).parents[1]) + "/"


@contextmanager
def profiled() -> Iterator[list[cProfile.Profile]]:
    """Profiles of this thread and of each thread that begins meanwhile; whole when those have ended."""
    profiles = [cProfile.Profile()]

    def begin(*_: object) -> None:
        sys.setprofile(None)
        profiles.append(cProfile.Profile())
        profiles[-1].enable()

    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(4)
    loop.set_default_executor(threads)  # those that are there already would not be seen
    threading.setprofile(begin)
    profiles[0].enable()
    try:
        yield profiles
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown()


def by_room(profiles: list[cProfile.Profile]) -> list[str]:
    """The rooms' shares of the time that was not waited, then the functions that took the most."""
    found = _added(profiles)
    own = _working(found)
    rooms: dict[str, float] = {}
    share = _Shares(found)
    for function, seconds in own.items():
        for room, part in share.of(function).items():
            rooms[room] = rooms.get(room, 0.0) + seconds * part
    total = sum(own.values())
    shares = [f"{100 * seconds / total:5.1f} %  {room}" for room, seconds in _largest(rooms)]
    return [*shares, "", *by_function(profiles)]


def by_function(profiles: list[cProfile.Profile], top: int = 15) -> list[str]:
    """The functions of the most time, their callees' left out, as shares of the time that was not waited."""
    found = _added(profiles)
    own = _working(found)
    total = sum(own.values())
    return [
        f"{100 * seconds / total:5.1f} %  {found[function][1]:>8} calls  {_name(function)}"
        for function, seconds in _largest(own)[:top]
    ]


def _added(profiles: list[cProfile.Profile]) -> dict[Function, Any]:
    """Of each function: calls without and with recursion, its own seconds, those with callees, and its callers."""
    stats = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        stats.add(profile)
    found: dict[Function, Any] = stats.stats  # type: ignore[attr-defined]  # not in typeshed
    return found


def _working(found: dict[Function, Any]) -> dict[Function, float]:
    return {function: entry[2] for function, entry in found.items() if function[2] not in _WAITING}


class _Shares:
    """Whose room a function's time is, as shares: its own, else its callers', by the time they spent in it."""

    def __init__(self, found: dict[Function, Any]) -> None:
        self._found = found
        self._known: dict[Function, dict[str, float]] = {}

    def of(self, function: Function) -> dict[str, float]:
        if function not in self._known:
            self._known[function] = {REST: 1.0}  # what a circle of callers finds
            self._known[function] = self._find(function)
        return self._known[function]

    def _find(self, function: Function) -> dict[str, float]:
        path, _, name = function
        if path.endswith(_COMMITTING[0]) and name == _COMMITTING[1]:
            return {COMMIT: 1.0}
        for part, room in ROOMS:
            if part in path.removeprefix(_ROOT):
                return {room: 1.0}
        callers = {caller: entry[2] for caller, entry in self._found[function][4].items() if caller != function}
        total = sum(callers.values())
        if not total:
            return {REST: 1.0}
        shares: dict[str, float] = {}
        for caller, seconds in callers.items():
            for its_room, share in self.of(caller).items():
                shares[its_room] = shares.get(its_room, 0.0) + share * seconds / total
        return shares


def _largest(found: dict[Any, float]) -> list[tuple[Any, float]]:
    return sorted(found.items(), key=lambda one: -one[1])


def _name(function: Function) -> str:
    path, line, name = function
    if path == "~":
        return name
    short = path.removeprefix(_ROOT).rpartition("site-packages/")[2].removeprefix(_LIBRARY)
    return f"{short}:{line} {name}"
