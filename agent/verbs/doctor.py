"""`kpr-agent doctor`: how a municipality stands, looked at from outside: files, certificates, ledger, daemon, source.

Changes nothing and needs no daemon. No row's value, key or password stands in what it tells.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from agent.composition import protection_files, wanted
from agent.control import NobodyAnswers, ask
from agent.ledger.errors import LedgerError, LedgerMissing
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.sqlite import connect_writer
from agent.protection import check_certificates
from agent.settings import EXIT_CONFIGURATION, Fault, Municipality, load
from connectors.catalog import inspect_source
from connectors.inspection import Observation, Verdict
from connectors.source import Position

EXIT_GOOD: Final = 0
EXIT_FAULT: Final = 1
EXIT_UNAVAILABLE: Final = 69

_SYNCHRONOUS: Final = {"0": "OFF", "1": "NORMAL", "2": "FULL", "3": "EXTRA"}
_LATE_AFTER: Final = timedelta(hours=1)
_DAEMON_ANSWERS_S: Final = 10.0
_LONGEST_LOOK_S: Final = 180.0
"""Every look bounds its own questions; this is for one that does not."""
_AT_ONCE: Final = 4
_WIDEST_SUBJECT: Final = 32
_MARKS: Final = {Verdict.GOOD: "good ", Verdict.WARNING: "WARN ", Verdict.FAULT: "FAULT"}


@dataclass(frozen=True, slots=True)
class Examined:
    """What was seen of one file. `unit` is empty where the file has faults; `exit_code` is this file's own."""

    file: Path
    unit: str
    observations: tuple[Observation, ...]
    exit_code: int

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        observations = [
            {"verdict": one.verdict.value, "subject": one.subject, "text": one.text, "repair": one.repair}
            for one in self.observations
        ]
        return {"file": str(self.file), "municipality": self.unit, "observations": observations}


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the ledger says. `position` None: nothing booked yet, or nothing can be read."""

    observations: tuple[Observation, ...]
    position: Position | None = None
    can_be_read: bool = True


def doctor(files: Sequence[Path]) -> list[Examined]:
    """What is seen of each file, in their order. A bad file, ledger or source never hides the others."""
    return asyncio.run(_examine_all(files))


def exit_code(found: Sequence[Examined]) -> int:
    """78 where a configuration is at fault, else 69 where a ledger cannot be read, else 1 with any fault, else 0."""
    codes = {one.exit_code for one in found}
    return next((code for code in (EXIT_CONFIGURATION, EXIT_UNAVAILABLE, EXIT_FAULT) if code in codes), EXIT_GOOD)


def lines(found: Sequence[Examined]) -> Iterator[str]:
    """A heading for each file, a line an observation, and its repair below."""
    for one in found:
        yield f"{one.file}: {one.unit}" if one.unit else str(one.file)
        width = min(_WIDEST_SUBJECT, max((len(observation.subject) for observation in one.observations), default=0))
        for observation in one.observations:
            yield f"  {_MARKS[observation.verdict]}  {observation.subject:{width}}  {observation.text}"
            if observation.repair:
                yield f"         {'':{width}}  to do: {observation.repair}"
    counts = dict.fromkeys(Verdict, 0)
    for observation in (observation for one in found for observation in one.observations):
        counts[observation.verdict] += 1
    yield ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())


async def _examine_all(files: Sequence[Path]) -> list[Examined]:
    loaded, with_files = load(files), load(files, look_at_files=True)
    good = {municipality.file: municipality for municipality in loaded.municipalities}
    places = asyncio.Semaphore(_AT_ONCE)

    async def examine(file: Path) -> Examined:
        municipality = good.get(file)
        if municipality is None:
            return Examined(file, "", _faults(loaded.refused.get(file, ())), EXIT_CONFIGURATION)
        told = [
            Observation(Verdict.WARNING, "configuration", str(warning))
            for warning in loaded.warnings
            if warning.file == str(file)
        ]
        async with places:
            return await _examine(municipality, told, with_files.refused.get(file, ()))

    return list(await asyncio.gather(*(examine(file) for file in dict.fromkeys(files))))


async def _examine(municipality: Municipality, told: list[Observation], unusable: Sequence[Fault]) -> Examined:
    settings = municipality.settings
    seen = [Observation(Verdict.GOOD, "configuration", f"profile {settings.profile}, mode {settings.mode}"), *told]
    seen += _faults(unusable, "file")
    seen += _certificates(municipality)
    memory = await asyncio.to_thread(_ledger, municipality, datetime.now(UTC))
    seen += memory.observations
    seen.append(await _daemon(municipality))
    seen += await _source(municipality, memory.position)
    if unusable:
        code = EXIT_CONFIGURATION
    elif not memory.can_be_read:
        code = EXIT_UNAVAILABLE
    else:
        code = EXIT_FAULT if any(one.verdict is Verdict.FAULT for one in seen) else EXIT_GOOD
    return Examined(municipality.file, municipality.unit, tuple(seen), code)


def _faults(faults: Sequence[Fault], subject: str = "configuration") -> tuple[Observation, ...]:
    """A fault's text says what to write instead: it is its own repair."""
    return tuple(Observation(Verdict.FAULT, subject, str(fault)) for fault in faults)


def _certificates(municipality: Municipality) -> Iterator[Observation]:
    files, now = protection_files(municipality.settings), datetime.now(UTC)
    fatal = set(check_certificates(files, at=now, warn_days=0))
    problems = [*fatal, *(one for one in check_certificates(files, at=now) if one not in fatal)]
    for problem in problems:
        verdict = Verdict.FAULT if problem in fatal else Verdict.WARNING
        yield Observation(verdict, "certificates", problem, "see 'Certificates' in docs/operations.md")
    if not problems:
        yield Observation(Verdict.GOOD, "certificates", "keys and certificates fit together and are valid for 30 days")


def _ledger(municipality: Municipality, now: datetime) -> _Memory:
    ledger = municipality.settings.ledger
    try:
        key = LedgerKey.from_file(ledger.key_file)
        with Ledger.open(ledger.path, unit=municipality.unit, key=key, read_only=True) as opened:
            settings = opened.settings()
            position, seen_through = opened.read(lambda tx: (tx.position(), tx.seen_through()))
    except LedgerMissing:
        repair = "before the first start that is right; otherwise the file was moved: do not start, mend ledger.path"
        return _Memory((Observation(Verdict.WARNING, "ledger", f"there is none yet at {ledger.path}", repair),))
    except LedgerError as error:
        repair = "see 'The ledger and its key' in docs/operations.md"
        text = f"{error} ({error.code})"
        return _Memory((Observation(Verdict.FAULT, "ledger", text, repair),), can_be_read=False)
    seen = (*_durability(settings), *_progress(position, seen_through, now))
    return _Memory(seen, position)


def _durability(settings: dict[str, str]) -> Iterator[Observation]:
    """What SQLite says itself: of the file, and of a writer's connection as this program makes it."""
    yield Observation(Verdict.GOOD, "ledger", f"version {settings['user_version']}, SQLite {settings['sqlite']}")
    synchronous = _SYNCHRONOUS.get(_synchronous_of_writers(), "unknown")
    text = f"journal_mode {settings['journal_mode']}, a writer's synchronous {synchronous}"
    if (settings["journal_mode"], synchronous) == ("wal", "FULL"):
        yield Observation(Verdict.GOOD, "ledger", text)
        return
    repair = "a power cut could lose what was acknowledged: let nothing else open the ledger, and restart the daemon"
    yield Observation(Verdict.FAULT, "ledger", text, repair)


def _synchronous_of_writers() -> str:
    """The setting is a connection's, not the file's: asked of one to another file (the ledger has its writer)."""
    with TemporaryDirectory(prefix="kpr-doctor-") as folder:
        connection = connect_writer(Path(folder) / "empty.db")
        try:
            return str(connection.execute("PRAGMA synchronous").fetchone()[0])
        finally:
            connection.close()


def _progress(position: Position | None, seen_through: datetime | None, now: datetime) -> Iterator[Observation]:
    if position is None:
        yield Observation(Verdict.GOOD, "position", "nothing was booked yet: the source is read from its beginning")
        return
    place = ", ".join(f"{stream} {'.'.join(map(str, at))}" for stream, at in sorted(position.place.items()))
    if seen_through is None:
        repair = "the first load is under way, or the source never caught up: see kpr-agent status"
        yield Observation(Verdict.WARNING, "position", f"{place}; the source has not said how far it is", repair)
        return
    age = max(timedelta(0), now - seen_through)
    text = f"{place}; everything until {seen_through:%Y-%m-%d %H:%M:%S} UTC is booked, {_spoken(age)} ago"
    if age > _LATE_AFTER:
        yield Observation(Verdict.WARNING, "position", text, "see what the daemon logs, and the source below")
    else:
        yield Observation(Verdict.GOOD, "position", text)


async def _daemon(municipality: Municipality) -> Observation:
    """Whether a daemon answers; asked with a verb that none knows, which does nothing."""
    socket = municipality.settings.control_socket
    try:
        async with asyncio.timeout(_DAEMON_ANSWERS_S):
            await ask(socket, {"verb": "doctor"})
    except (NobodyAnswers, TimeoutError):
        pass
    else:
        return Observation(Verdict.GOOD, "daemon", f"one runs and answers at {socket}")
    holder = _holder(municipality.settings.ledger.path)
    if holder:
        text = f"{holder} holds the ledger, and none answers at {socket}"
        return Observation(Verdict.FAULT, "daemon", text, "a verb at work ends soon; a daemon that hangs: restart it")
    text = "none runs for this municipality"
    return Observation(Verdict.WARNING, "daemon", text, f"kpr-agent run {municipality.file}")


def _holder(ledger_path: Path) -> str:
    """Who holds the ledger's lock (agent/ledger/lock.py); empty where nobody does, or where it cannot be asked."""
    try:
        descriptor = os.open(ledger_path.with_name(ledger_path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        number = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return f"process {number}" if number.isdigit() else "another process"
    finally:
        os.close(descriptor)
    return ""


async def _source(municipality: Municipality, position: Position | None) -> Sequence[Observation]:
    try:
        async with asyncio.timeout(_LONGEST_LOOK_S):
            return await inspect_source(municipality.settings.source.chosen, wanted(municipality), position)
    except TimeoutError:
        text = f"the look at the source did not end within {_LONGEST_LOOK_S:.0f} s"
        return [Observation(Verdict.FAULT, "source", text, "look whether its server answers, and what lies between")]
    except Exception as error:  # noqa: BLE001 - one source's fault must not hide what was seen of the others
        text = f"the look at the source failed ({type(error).__name__})"
        return [
            Observation(Verdict.FAULT, "source", text, "a fault of the program: send this line to who maintains it")
        ]


def _spoken(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
