"""python -m bench [WHAT...] [--quick] [--out DIR | --stdout]: measure, and write a report. bench/README.md says how."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import report
from bench.report import Section, progress

WHAT = {
    "throughput": "messages a second at windows 1 and 50, against the harmonic sum of the stations",
    "latency": "commit to `accepted` at 50 events/s, taken apart",
    "resources": "memory, processor time, process start to first message",
    "faults": "kill -9 in mid-drain; the queue absent, deleted, unbound",
    "dry-run": "changes a second, with a profile",
    "postgres": "postgres_logical against pg_recvlogical; commit to ledger committed at 50 changes/s",
    "kafka": "kafka_debezium against aiokafka doing nothing",
    "intake": "intake as a whole, for each source, with profiles",
}
OVER_THE_BUS = {"throughput", "latency", "resources", "faults"}
OVER_SOURCES = {"postgres", "kafka", "intake"}
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """How much is measured. Full: minutes on a quiet machine; quick: to see that everything works."""

    services: int
    rounds: int
    latency_s: int
    load_services: int
    starts: int
    fault_messages: int
    kills: int
    dry_services: int
    log_changes: int
    log_latency_s: int
    topic_records: int
    intake_services: int


FULL = Size(1000, 3, 30, 3000, 7, 1500, 5, 3000, 200_000, 30, 100_000, 1000)
QUICK = Size(200, 1, 10, 400, 5, 300, 3, 600, 20_000, 5, 20_000, 150)


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for; 0, whatever the figures are."""
    parsed = _parser().parse_args(arguments)
    chosen = parsed.what or list(WHAT)
    size = QUICK if parsed.quick else FULL
    where = report.surroundings(" ".join(["python -m bench", *arguments]))
    if parsed.shared:
        where["shared machine"] = "yes: other work ran at the same time"
    with TemporaryDirectory(prefix="kpr-bench-") as folder:
        sections = asyncio.run(_measure(Path(folder), chosen, size, where))
    if parsed.stdout:
        print(report.as_markdown(where, sections))
    else:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}{'-quick' if parsed.quick else ''}"
        page = report.write(parsed.out, name, where, sections)
        print(page.read_text(encoding="utf-8"))
        progress(f"written: {page}")
    return 0


async def _measure(folder: Path, chosen: Sequence[str], size: Size, where: dict[str, Any]) -> list[Section]:
    sections: list[Section] = []
    if OVER_THE_BUS & set(chosen):
        sections += await _over_the_bus(folder, chosen, size, where)
    if "dry-run" in chosen:
        from bench import drying

        sections.append(await asyncio.to_thread(drying.measure, folder, services=size.dry_services, rounds=size.rounds))
    if OVER_SOURCES & set(chosen):
        sections += await _over_sources(folder, chosen, size, where)
    return sections


async def _over_sources(folder: Path, chosen: Sequence[str], size: Size, where: dict[str, Any]) -> list[Section]:
    from bench import kafka_topics, postgres_log, whole_intake
    from tests.services import kafka, postgres

    database, platform = postgres(), kafka()
    sections: list[Section] = []
    with ExitStack() as servers:
        if {"postgres", "intake"} & set(chosen):
            servers.enter_context(_running(database))
            where["database"] = f"PostgreSQL {database.version}, on this machine"
        if {"kafka", "intake"} & set(chosen):
            servers.enter_context(_running(platform))
            where["platform"] = f"Apache Kafka {platform.version}, one node, on this machine"
        if "postgres" in chosen:
            sections += await postgres_log.measure(
                folder, database, changes=size.log_changes, rounds=size.rounds, latency_s=size.log_latency_s
            )
        if "kafka" in chosen:
            sections += await kafka_topics.measure(folder, platform, records=size.topic_records, rounds=size.rounds)
        if "intake" in chosen:
            sections += await whole_intake.measure(
                folder, database, platform, services=size.intake_services, rounds=size.rounds
            )
    return sections


@contextmanager
def _running(server: Any) -> Iterator[None]:
    """While a test server runs; it is stopped at the end unless it was running before."""
    from tests.services import ServerMissing

    was_running = server.running()
    try:
        server.start()
    except ServerMissing as error:
        sys.exit(str(error))
    try:
        yield
    finally:
        if not was_running:
            server.stop()


async def _over_the_bus(folder: Path, chosen: Sequence[str], size: Size, where: dict[str, Any]) -> list[Section]:
    from agent.demo.world import make_keys
    from bench import faults, latency, resources, throughput
    from tests.services import ServerMissing, broker

    rabbitmq = broker("rabbitmq40")
    was_running = rabbitmq.running()
    try:
        rabbitmq.start()
    except ServerMissing as error:
        sys.exit(str(error))
    sections: list[Section] = []
    try:
        where["bus"] = f"RabbitMQ {rabbitmq.version} over TLS, quorum queue, on this machine"
        keys = make_keys(datetime.now(UTC))
        if "throughput" in chosen:
            progress(f"throughput: {size.services} histories")
            sections += await throughput.measure(folder, rabbitmq, keys, services=size.services, rounds=size.rounds)
        gc.collect()
        if "latency" in chosen:
            progress(f"latency: {size.latency_s} s")
            sections.append(await latency.measure(folder, rabbitmq, keys, seconds=size.latency_s))
        if "resources" in chosen:
            progress(f"resources: {size.load_services} histories, {size.starts} starts")
            sections.append(
                await resources.measure(folder, rabbitmq, keys, services=size.load_services, starts=size.starts)
            )
        if "faults" in chosen:
            progress(f"faults: {size.fault_messages} messages, {size.kills} kills")
            sections.append(
                await faults.measure(folder, rabbitmq, keys, messages=size.fault_messages, kills=size.kills)
            )
    finally:
        if not was_running:
            rabbitmq.stop()
    return sections


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:12}{text}" for name, text in WHAT.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure kpr-agent on this machine. Aims are told in brackets; none is a gate.",
        epilog=f"what there is to measure (all of it when none is named):\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], metavar="WHAT", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="small counts, one round: to see that it works")
    parser.add_argument("--shared", action="store_true", help="mark the report: other work ran at the same time")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the report (bench/results)")
    parser.add_argument("--stdout", action="store_true", help="print the report and write no file")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
