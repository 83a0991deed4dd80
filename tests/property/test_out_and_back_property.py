"""Whatever the bus does, whenever the program dies, whatever comes back: the register gets one chain without a gap."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.demo.register import Register, Script
from agent.dispatch.loop import Dispatch, DispatchSettings
from agent.dispatch.resend import resend
from agent.domain.delivery import HALTING, State
from agent.domain.receipt import Receipt, read_receipt
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.receive.booking import Parties, ReceiptRead, book
from agent.retry import RetrySettings
from connectors.sender import Outgoing, Verdict
from tests.outbound import (
    ENVELOPES,
    NOW,
    OURS,
    OURS_SERVICE,
    REGISTER,
    REGISTER_SERVICE,
    Hours,
    RecordingLog,
    ScriptedBus,
    all_envelopes,
    apprec,
    chain,
    count_ids,
    incoming,
)

PARTIES = Parties(frozenset({str(OURS), str(OURS_SERVICE)}), frozenset({str(REGISTER), str(REGISTER_SERVICE)}))
COUNT = 8
VERDICTS = st.sampled_from([Verdict.ACCEPTED] * 6 + list(Verdict))


@dataclass
class World:
    """A register behind a bus, a ledger that survives, and answers that come when a plan says."""

    path: Path
    window: int
    verdicts: list[Verdict]
    crash_at: set[int]
    late: list[bool]
    refused: frozenset[int]
    lost: list[bool]
    key: LedgerKey = field(default_factory=lambda: LedgerKey(bytes(range(32))))
    ids: object = field(default_factory=count_ids)
    answers: list[bytes] = field(default_factory=list)
    failures: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        self.register = Register(Script(refused=self.refused))
        self.bus = ScriptedBus(self._verdict)
        self.bus.on_delivery = self._deliver
        self.ledger = self._open()

    def _open(self) -> Ledger:
        return Ledger.open(self.path, unit="kinn", key=self.key)

    def _verdict(self, number: int, _: Outgoing) -> Verdict:
        found = self.verdicts[number - 1] if number <= len(self.verdicts) else Verdict.ACCEPTED
        self.failures += found is not Verdict.ACCEPTED
        self.bus.lose_unknown = self.lost[number % len(self.lost)]
        return found

    def _deliver(self, outgoing: Outgoing) -> None:
        judged = self.register.receive(outgoing.body)
        status = "2" if judged.faults else "1"
        number = len(self.bus.delivered)
        self.answers.append(apprec(judged.message.msg_id, status, receipt_id=f"r{number}"))
        if not self.late[number % len(self.late)]:
            self.book_answers()

    def book_answers(self) -> None:
        for content in self.answers:
            receipt = read_receipt(content)
            assert isinstance(receipt, Receipt)
            read = ReceiptRead(receipt, content)
            for _ in range(2):  # everything comes twice
                self.ledger.run_now(lambda tx, read=read: book(tx, incoming(1), read, PARTIES, NOW))
        self.answers.clear()

    async def live(self, *, until_crash: bool) -> None:
        """Run until the next planned crash, or until nothing moves any more."""
        hours = Hours(real_s=0.001)
        dispatch = Dispatch(
            self.ledger,
            self.bus.sender,
            None,
            ENVELOPES,
            DispatchSettings(window=self.window, look_ahead=self.window + 3, retry=RetrySettings(0.1, 1, 2)),
            RecordingLog(),
            new_id=self.ids,
            clock=hours.clock,
            wait=hours.wait,
        )
        task = asyncio.create_task(dispatch.run())
        crash = min((at for at in self.crash_at if at > len(self.bus.transfers)), default=None)
        if until_crash and crash is not None:
            await self.bus.until(lambda: len(self.bus.transfers) >= crash or self._still())
            self.crashes += 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.ledger.close()
            self.ledger = self._open()
            return
        await self.bus.until(self._still)
        dispatch.stop()
        await task

    def _still(self) -> bool:
        """Everything went, or the chain is halted and nothing flies."""
        found = all_envelopes(self.ledger)
        open_ones = [each for each in found if each.state in ("ready", "in_flight")]
        halting = [each.id for each in found if State(each.state) in HALTING]
        if halting:
            return not [each for each in open_ones if each.id < halting[0]] and self.bus.flying == 0
        return not open_ones and self.ledger.run_now(lambda tx: tx.last_enveloped_number()) == COUNT


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    window=st.integers(1, 4),
    verdicts=st.lists(VERDICTS, max_size=14),
    crash_at=st.sets(st.integers(1, 14), max_size=3),
    late=st.lists(st.booleans(), min_size=1, max_size=5),
    refused=st.sets(st.integers(1, COUNT), max_size=2),
    lost=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_invariants_4_5_6_9_one_chain_without_a_gap(window, verdicts, crash_at, late, refused, lost) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "kinn.db", window, verdicts, crash_at, late, frozenset(refused), lost)
        try:
            chain(world.ledger, COUNT)
            asyncio.run(until_all_is_receipted(world))
            judge(world)
        finally:
            world.ledger.close()


async def until_all_is_receipted(world: World) -> None:
    async with asyncio.timeout(60):
        while True:
            await world.live(until_crash=True)
            world.book_answers()
            found = [State(each.state) for each in all_envelopes(world.ledger)]
            if any(state in HALTING for state in found):
                world.ledger.run_now(lambda tx: resend(tx, None, ENVELOPES, at=NOW, new_id=world.ids))
            elif found and set(found) <= {State.RECEIPTED, State.SUPERSEDED} and world._still():
                return


def judge(world: World) -> None:
    # The register checks the order of every notification itself: its chain's end is the proof that there is no gap.
    assert world.register.notifications == COUNT
    receipted = [each for each in all_envelopes(world.ledger) if each.state == "receipted"]
    carried = Counter(number for each in receipted for number in range(each.first_number, each.last_number + 1))
    assert carried == dict.fromkeys(range(1, COUNT + 1), 1)
    times = Counter(outgoing.message_id for outgoing in world.bus.delivered)
    again = sum(count - 1 for count in times.values())
    assert again <= world.window * (world.crashes + world.failures)
    for message_id in times:
        assert len({each.body for each in world.bus.delivered if each.message_id == message_id}) == 1
