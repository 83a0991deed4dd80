"""The real daemon as a process on the embedded bus: EPJ, bus and register live in the test, the agent outside it."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from agent.demo.bus import Answer, Bus, Transfer, Verdict
from agent.demo.certificates import server_tls
from agent.demo.epj import apply_steps, create_tables, last_logged, open_sqlite, picture
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.histories import Histories
from agent.demo.reconciliation import Reconciliation, reconcile
from agent.demo.register import Register, Script
from agent.demo.register_service import KnownSender, RegisterKeys, RegisterService
from agent.demo.step import Step
from agent.demo.world import (
    CUT_OFF,
    ERROR_QUEUE,
    EXCHANGE,
    FICTITIOUS_NAMES,
    HER_ID,
    QUEUE,
    REGISTER_ERROR_QUEUE,
    REGISTER_QUEUE,
    SERVICE_HER_ID,
    USER,
    Keys,
    Places,
    make_keys,
    write_keys,
    write_municipality,
)
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.settings import Municipality, load
from agent.unit import NORWAY
from agent.verbs.calls import tell
from agent.verbs.status import status_of
from connectors.nhn_amqp.bus import NhnAmqpInbox, NhnAmqpSender

ROOT: Final = Path(__file__).parents[2]
LONG_S: Final = 90.0
"""A bound for what takes a second or two on a quiet machine."""

_LOOK_EVERY_S: Final = 0.05
SECOND_HER_ID: Final = 8_000_011


@cache
def keys() -> Keys:
    """Everybody's keys, made once in a session."""
    return make_keys(datetime.now(UTC))


def histories(services: int, seed: int = 1, *, bad_share: float = 0.05) -> list[Step]:
    """The steps of so many services' lives."""
    return Histories(seed, services, datetime.now(NORWAY).date(), bad_share=bad_share).steps()


class Place:
    """One municipality's folder: its EPJ, its file, its ledger. Its name is its unit's."""

    def __init__(self, folder: Path, port: int, *, her_id: int = HER_ID, unit: str = "demo") -> None:
        folder.mkdir()
        self.places = Places(folder)
        self.her_ids = frozenset({str(her_id), str(her_id + 1)})
        self.server = write_keys(self.places, keys())
        self.file = write_municipality(self.places, port)
        self.exchange(
            (f"{SERVICE_HER_ID}", f"{her_id + 1}"), (f"{HER_ID}", f"{her_id}"), ("unit: demo", f"unit: {unit}")
        )
        self.queue, self.error_queue = (
            QUEUE.replace(str(HER_ID), str(her_id)),
            ERROR_QUEUE.replace(str(HER_ID), str(her_id)),
        )
        self.engine = open_sqlite(self.places.epj)
        create_tables(self.engine)

    def exchange(self, *texts: tuple[str, str]) -> None:
        """Exchange texts in the municipality's file."""
        content = self.file.read_text()
        for old, new in texts:
            assert old in content, old
            content = content.replace(old, new)
        self.file.write_text(content)

    @property
    def municipality(self) -> Municipality:
        loaded = load([self.file])
        assert not loaded.faults, loaded.faults
        return loaded.municipalities[0]

    def write(self, steps: Sequence[Step]) -> None:
        apply_steps(self.engine, steps)

    def status(self) -> dict[str, Any]:
        return status_of(self.municipality)

    def has_read(self) -> bool:
        """Whether everything that the EPJ holds is booked in the ledger."""
        return self._has_read(last_logged(self.engine), self.status())

    def is_done(self) -> bool:
        """Whether everything that the EPJ holds is read, sent and receipted: all seen in one look at the ledger."""
        last, status = last_logged(self.engine), self.status()
        return self._has_read(last, status) and not any(status[name] for name in ("due", "waiting", "sent", "rejected"))

    @staticmethod
    def _has_read(last: int, status: dict[str, Any]) -> bool:
        position = status.get("position")
        return position is not None and position["high"][0] >= last

    async def applied(self) -> None:
        """`kpr-agent apply`, through the daemon's socket."""
        answer = await asyncio.to_thread(tell, self.municipality, {"verb": "apply"})
        assert answer.get("applied"), answer

    def reconciled(self, register: Register) -> Reconciliation:
        settings = self.municipality.settings.ledger
        with Ledger.open(
            settings.path, unit=self.municipality.unit, key=LedgerKey.from_file(settings.key_file), read_only=True
        ) as ledger:
            findings = ledger.read(lambda tx: [finding for finding, _ in tx.findings()])
        rules = Rules(DEMO_SERVICE_TYPES, cut_off=CUT_OFF, fictitious_names=FICTITIOUS_NAMES)
        held = register.picture(min(self.her_ids))
        return reconcile(picture(self.engine), held, findings, rules=rules, today=datetime.now(NORWAY).date())


class Daemon:
    """`kpr-agent run` with these arguments. `lines` are its log's, in order; `texts` what else it wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.is_killed = False
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            async with self._changed:
                text = raw.decode()
                if text.startswith("{"):
                    self.lines.append(json.loads(text))
                else:
                    self.texts.append(text)
                self._changed.notify_all()

    async def logged(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first line of that event with these fields, now or when it comes."""

        def found() -> dict[str, Any] | None:
            return next((one for one in self.lines if one["event"] == event and fields.items() <= one.items()), None)

        async with asyncio.timeout(LONG_S), self._changed:
            await self._changed.wait_for(lambda: found() is not None)
        line = found()
        assert line is not None
        return line

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    async def ended(self) -> int:
        """The exit code, once it has ended and its last line is read."""
        async with asyncio.timeout(LONG_S):
            code = await self.process.wait()
            await self._reading
        return code

    async def terminated(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_killed = True
        self.process.kill()

    async def killed(self) -> None:
        """SIGKILL, if that has not been sent yet, and wait; it must not have ended by itself before."""
        if not self.is_killed:
            assert self.process.returncode is None, self.lines[-5:]
            self.kill()
        assert await self.ended() == -signal.SIGKILL


class Town:
    """A bus with a register on it, and municipalities around."""

    def __init__(self, folder: Path, bus: Bus, register: Register) -> None:
        self.folder = folder
        self.bus = bus
        self.register = register
        self.places: list[Place] = []
        self.daemons: list[Daemon] = []
        self.kills_at_transfers = 0

    def kill_at(self, transfer: int, daemon: Daemon, *, lost: bool) -> None:
        """Kill the daemon at that transfer (they are counted, receipts too), before it is answered.

        lost: the bus never had the message, nor what came behind it; else it has it, and only the answer is lost.
        """

        def kill(arrived: Transfer) -> Answer | None:
            if arrived.number >= transfer and not daemon.is_killed and arrived.queue == REGISTER_QUEUE:
                self.kills_at_transfers += 1
                daemon.kill()
            of_the_dead = daemon.is_killed and arrived.queue == REGISTER_QUEUE
            return Answer(Verdict.NONE) if lost and of_the_dead else None

        self.bus.on_transfer = kill

    def fall_silent_at(self, transfer: int) -> None:
        """From that transfer on the bus neither reads nor writes, and its connections stay open."""

        def fall_silent(arrived: Transfer) -> Answer | None:
            if arrived.number >= transfer:
                self.bus.silent = True
                self.bus.on_transfer = None
            return None

        self.bus.on_transfer = fall_silent

    def add(self, name: str = "demo", *, her_id: int = HER_ID) -> Place:
        place = Place(self.folder / name, self.bus.port, her_id=her_id, unit=name)
        self.places.append(place)
        for queue in (place.queue, place.error_queue):
            self.bus.add_queue(queue)
        return place

    async def daemon(self, *arguments: object) -> Daemon:
        """`kpr-agent run` with these arguments."""
        self.bus.on_transfer = None
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", "run", *map(str, arguments), cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, limit=2**20,
        )  # fmt: skip
        self.daemons.append(Daemon(process))
        return self.daemons[-1]

    async def verb(self, *arguments: object, code: int = 0) -> str:
        """What another verb prints on standard output; it must end with that code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent", *map(str, arguments), cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(LONG_S):
            out, errors = await process.communicate()
        assert process.returncode == code, (process.returncode, errors.decode())
        return out.decode()

    async def done(self, *places: Place) -> None:
        """Wait until everything that these EPJs hold now is read, sent and receipted."""
        await until(lambda: all(place.is_done() for place in places), "everything is read and receipted")

    async def stop(self) -> None:
        for daemon in self.daemons:
            if daemon.process.returncode is None:
                daemon.process.kill()
            await daemon.ended()
        for place in self.places:
            place.engine.dispose()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that is asked in a thread, bounded; `what` is told when it does not come."""
    try:
        async with asyncio.timeout(LONG_S):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process's ledger has no events
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"in {LONG_S:.0f} s it did not come to pass that {what}") from None


@asynccontextmanager
async def a_town(folder: Path, script: Script | None = None) -> AsyncIterator[Town]:
    """A bus and a register that answers, for municipalities that `Town.add` makes."""
    own = Places(folder / "bus")
    own.folder.mkdir()
    tls = server_tls(write_keys(own, keys()))
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(
            Bus((REGISTER_QUEUE, REGISTER_ERROR_QUEUE), {USER: keys().password}, exchange=EXCHANGE, tls=tls)
        )
        town = Town(folder, bus, Register(script))
        stack.push_async_callback(town.stop)
        account = load([write_municipality(own, bus.port)]).municipalities[0].settings.bus.nhn_amqp
        assert account is not None
        senders = [
            KnownSender(
                frozenset({str(her_id), str(her_id + 1)}),
                f"{her_id}_async",
                (keys().signing.certificate,),
                keys().decryption.certificate,
            )
            for her_id in (HER_ID, SECOND_HER_ID)
        ]
        service = RegisterService(
            town.register,
            keys=RegisterKeys(
                keys().register_signing.signing_identity(), (keys().register_decryption.decryption_key(),)
            ),
            senders=senders,
            open_inbox=lambda: NhnAmqpInbox(account, async_queue=REGISTER_QUEUE, error_queue=REGISTER_ERROR_QUEUE),
            open_sender=lambda queue: NhnAmqpSender(account, send_to_queue=queue),
        )
        serving = asyncio.create_task(service.run())
        try:
            yield town
        finally:
            serving.cancel()
            await asyncio.wait({serving}, timeout=LONG_S)
