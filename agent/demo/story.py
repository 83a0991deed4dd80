"""The demo from its first key to its reconciliation: who does what, and when."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine

from agent.demo.epj import apply_step, apply_steps, picture
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.histories import Histories
from agent.demo.outcome import Outcome
from agent.demo.reconciliation import Reconciliation, reconcile
from agent.demo.sources import LiveEpj, OpenEpj
from agent.demo.stage import Stage, on_stage
from agent.demo.step import Step, paced, registered_now
from agent.demo.view import Snapshot, View
from agent.demo.watch import Status, Watch
from agent.demo.world import CUT_OFF, FICTITIOUS_NAMES, Places, make_keys
from agent.domain.finding import Finding
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.unit import NORWAY
from agent.verbs.calls import read_plan, tell

_LEAST_SERVICES: Final = 150
_MOST_SERVICES: Final = 3000
_STEPS_A_SERVICE: Final = 5.4  # what Histories gives on average
_LIVE_STEPS_A_SECOND: Final = 8
_LIVE_SHARE: Final = 0.35
_BAD_SHARE: Final = 0.08
_STOPS_EARLY_SHARE: Final = 0.2
_FIRST_LOAD_TIMEOUT_S: Final = 40.0
_DRAIN_TIMEOUT_S: Final = 45.0
_LAST_NOTES: Final = 6


@dataclass(slots=True)
class _Told:
    """What has happened so far, for the view."""

    began_at: float
    changes: int = 0
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_NOTES))

    def elapsed_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began_at


async def tell_story(places: Places, open_epj: OpenEpj, *, seconds: int, seed: int, view: View) -> Outcome:
    """Play the demo in a folder; what came of it. Everything that was started has stopped when it returns.

    The seconds count from when all of it is there: starting real servers takes as long as it takes.
    """
    view.say("Making keys and certificates (RSA 3072) ...")
    keys = await asyncio.to_thread(make_keys, datetime.now(UTC))
    async with open_epj(places, view.say) as epj, on_stage(places, keys, epj) as stage:
        so_far = _Told(asyncio.get_running_loop().time())
        view.say(f"A bus with TLS listens on 127.0.0.1:{stage.bus.port}; the register and the agent are on it.")
        return await _on_stage(stage, epj, so_far, seconds=seconds, seed=seed, view=view)


async def _on_stage(stage: Stage, epj: LiveEpj, so_far: _Told, *, seconds: int, seed: int, view: View) -> Outcome:
    def looked(status: Status) -> None:
        view.show(_snapshot(stage, so_far, status, seconds))

    backlog, live, gap_s = _steps(seed, seconds)
    async with _watching(Watch(stage.municipality, view.say, looked)) as watch:
        unfinished = await _first_load(stage, epj, watch, so_far, backlog, view)
        if not unfinished:
            until = so_far.began_at + seconds * (1 - _STOPS_EARLY_SHARE)
            await _live(epj.engine, so_far, live, gap_s, until)
            unfinished = await _drain(epj, watch, view)
        looked(watch.status)
    result = await asyncio.to_thread(_reconciled, stage, epj.engine)
    return Outcome(
        seed=seed,
        seconds=so_far.elapsed_s(),
        transactions=so_far.changes,
        taken=stage.register.accepted,
        refused=stage.register.refused,
        resent=watch.resent,
        status=watch.status,
        result=result,
        unfinished=unfinished,
    )


def _steps(seed: int, seconds: int) -> tuple[list[Step], list[Step], float]:
    """What the EPJ held already, what happens while we look, and the seconds between two of these."""
    live_s = seconds * (1 - _STOPS_EARLY_SHARE)
    wanted = live_s * _LIVE_STEPS_A_SECOND / _LIVE_SHARE / _STEPS_A_SERVICE
    services = round(min(_MOST_SERVICES, max(_LEAST_SERVICES, wanted)))
    today = datetime.now(NORWAY).date()
    every = list(
        paced(Histories(seed, services, today, bad_share=_BAD_SHARE).steps(), live_s, backlog_share=1 - _LIVE_SHARE)
    )
    backlog = [one.step for one in every if not one.delay_s]
    live = [one.step for one in every if one.delay_s]
    return backlog, live, live_s / max(1, len(live))


async def _first_load(
    stage: Stage, epj: LiveEpj, watch: Watch, so_far: _Told, backlog: Sequence[Step], view: View
) -> str:
    """The EPJ as it stood, behind a closed gate; the plan; apply. Why it came to nothing, else empty."""
    so_far.changes = await asyncio.to_thread(apply_steps, epj.engine, backlog)
    has_read = await asyncio.to_thread(epj.written)
    view.say(f"The EPJ holds {so_far.changes} transactions of care histories. The agent reads them: a first load.")
    if not await watch.until(has_read, timeout_s=_FIRST_LOAD_TIMEOUT_S):
        return "the first load was not read in time: look at agent.log with --keep"
    file = stage.municipality.file
    view.say(f"Nothing goes out before a person has seen what would: kpr-agent plan {file}")
    plan = await asyncio.to_thread(read_plan, stage.municipality)
    view.say(f"  gate: {plan['gate']}; {plan['due']} services are due, {plan['notifications']} notifications are owed")
    for line in plan["owed"]:
        view.say(f"  {line['count']:7} {line['event']} {line['status']}: {line['cause']}")
    view.say(f"It looks right, so the person types: kpr-agent apply {file}")
    answer = await asyncio.to_thread(tell, stage.municipality, {"verb": "apply"})
    if not answer.get("applied"):
        return f"apply was refused: {answer.get('text') or answer.get('error')}"
    view.say(f"  applied: {answer['services']} services looked at, {answer['notifications']} notifications made")
    return ""


async def _live(engine: Engine, so_far: _Told, live: Sequence[Step], gap_s: float, until: float) -> None:
    """People work in the EPJ until the moment `until` of the loop's clock. Who is late writes at once."""
    loop = asyncio.get_running_loop()
    gap_s = min(gap_s, max(0.0, until - loop.time()) / max(1, len(live)))
    next_at = loop.time()
    for step in live:
        next_at += gap_s
        await asyncio.sleep(max(0.0, next_at - loop.time()))
        if loop.time() >= until:
            return
        now = datetime.now(NORWAY).replace(tzinfo=None, microsecond=0)
        await asyncio.to_thread(apply_step, engine, registered_now(step, now))
        so_far.changes += 1
        so_far.notes.append(step.note)


async def _drain(epj: LiveEpj, watch: Watch, view: View) -> str:
    """Wait until everything written is read, sent and receipted. Why it was not in time, else empty."""
    has_read = await asyncio.to_thread(epj.written)
    view.say("The EPJ rests now. What is on its way is waited for.")
    if await watch.until(lambda status: has_read(status) and _is_quiet(status), timeout_s=_DRAIN_TIMEOUT_S):
        return ""
    return f"something was still on its way after {_DRAIN_TIMEOUT_S:.0f} s"


def _is_quiet(status: Status) -> bool:
    return not any(status[name] for name in ("due", "waiting", "sent", "rejected"))


def _reconciled(stage: Stage, engine: Engine) -> Reconciliation:
    rules = Rules(DEMO_SERVICE_TYPES, cut_off=CUT_OFF, fictitious_names=FICTITIOUS_NAMES)
    today = datetime.now(NORWAY).date()
    return reconcile(picture(engine), stage.register.picture(), _findings(stage), rules=rules, today=today)


def _findings(stage: Stage) -> list[Finding]:
    ledger = stage.municipality.settings.ledger
    key = LedgerKey.from_file(ledger.key_file)
    with Ledger.open(ledger.path, unit=stage.municipality.unit, key=key, read_only=True) as opened:
        return opened.read(lambda tx: [finding for finding, _ in tx.findings()])


@asynccontextmanager
async def _watching(watch: Watch) -> AsyncIterator[Watch]:
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _snapshot(stage: Stage, so_far: _Told, status: Status, seconds: int) -> Snapshot:
    return Snapshot(
        elapsed_s=so_far.elapsed_s(),
        seconds=seconds,
        changes=so_far.changes,
        notes=tuple(so_far.notes),
        status=status,
        on_the_way=len(stage.bus.messages(_register_queue(stage))),
        accepted=stage.register.accepted,
        refused=stage.register.refused,
    )


def _register_queue(stage: Stage) -> str:
    return stage.municipality.settings.parties.register_.queue
