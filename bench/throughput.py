"""Messages a second from committed changes to `accepted`, against the harmonic sum of the stations."""

from pathlib import Path
from statistics import median

from agent.demo.world import Keys
from bench import stations
from bench.daemon import Daemon
from bench.report import Section, progress
from bench.stage import Stage
from bench.workload import histories
from tests.services import Broker

WINDOWS = (1, 50)


async def measure(folder: Path, broker: Broker, keys: Keys, *, services: int, rounds: int) -> list[Section]:
    """One section for each window. In each round the stations alone, then the whole, over the same histories."""
    steps = histories(services)
    rows = sum(len(step.changes) for step in steps)
    sections = []
    for window in WINDOWS:
        found = []
        for number in range(rounds):
            stage = Stage(folder / f"throughput-{window}-{number}", broker, keys, window=window)
            stage.write(steps)
            found.append(await _round(stage, rows))
            progress(f"window {window}, round {number + 1} of {rounds}: {found[-1]['whole']:.0f} messages/s")
        sections.append(_section(window, services, rows, found))
    return sections


async def _round(stage: Stage, rows: int) -> dict[str, float]:
    window = stage.window
    examined, chain = await stations.take_in(stage, rows)
    built, envelopes = stations.build(stage, chain)
    protected, bodies = stations.protect(stage, envelopes)
    kept = await stations.keep(stage, chain, envelopes, window)
    await stage.empty_queue()
    sent, _ = await stations.send(stage, bodies, window)
    await stage.empty_queue()
    with Daemon(stage.file, stage.folder / "daemon.log") as daemon:
        await daemon.until("message_sent", len(chain))
        whole = stations.Rate(len(chain), daemon.times["message_sent"][-1] - daemon.times["source_open"][0])
        await daemon.stop()
    await stage.empty_queue()
    four = stations.harmonic(examined.per_s, kept.per_s, protected.per_s, sent.per_s)
    return {
        "messages": len(chain),
        "intake and examine": examined.per_s,
        "ledger": kept.per_s,
        "protection on two threads": protected.per_s,
        "bare AMQP client": sent.per_s,
        "building and validating": built.per_s,
        "harmonic sum": four,
        "harmonic sum with building": stations.harmonic(four, built.per_s),
        "whole": whole.per_s,
    }


def _section(window: int, services: int, rows: int, found: list[dict[str, float]]) -> Section:
    """The medians over the rounds; each ratio is of one round."""
    middle = {name: median(one[name] for one in found) for name in found[0]}
    ratios = sorted(one["whole"] / one["harmonic sum"] for one in found)
    with_building = median(one["whole"] / one["harmonic sum with building"] for one in found)
    section = Section(f"Messages a second, window {window}")
    noun = "round" if len(found) == 1 else "rounds"
    source = f"{services} histories, {rows} changes, {middle['messages']:.0f} messages, {len(found)} {noun}"
    section.tell("whole: committed change to `accepted`", middle["whole"], "messages/s", source)
    for name in ("intake and examine", "ledger", "protection on two threads", "bare AMQP client"):
        section.tell(f"alone: {name}", middle[name], "messages/s")
    section.tell("harmonic sum of these four", middle["harmonic sum"], "messages/s")
    spread = f"rounds from {100 * ratios[0]:.0f} to {100 * ratios[-1]:.0f} %" if len(found) > 1 else ""
    section.at_least("whole / harmonic sum", 100 * median(ratios), "%", 80, spread)
    section.tell("alone: building and validating, two threads", middle["building and validating"], "messages/s")
    section.tell("whole / harmonic sum of these five", 100 * with_building, "%")
    return section
