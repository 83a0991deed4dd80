"""What Kafka Connect says of the connectors behind our topics: do they run, do their tasks, are they set to tell all.

Only `doctor` asks. The agent itself needs no Connect: a stream that stands still shows by its heartbeats.
Kafka's documentation, "Connect REST API"; what a setting does: Debezium 3.7's documentation, deploy/debezium/README.md.
"""

import asyncio
import http.client
import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.inspection import Observation, Verdict

LARGEST_ANSWER_BYTES: Final = 16_000_000
FIRST_WHOLE_VERSION: Final = (3, 7)
"""Debezium's PostgreSQL connector with debezium/dbz#1554 (June 2026) for certain: it was seen in 3.7.0."""

_POSTGRESQL: Final = "io.debezium.connector.postgresql.PostgresConnector"
_SQLSERVER: Final = "io.debezium.connector.sqlserver.SqlServerConnector"
_EXCEPTION: Final = re.compile(r"^(?:Caused by: )?((?:[a-z_][\w$]*\.)+[A-Z][\w$]*)(?::|$)", re.MULTILINE)
_WHERE_IT_STANDS: Final = "in docs/operations/kafka.md"


class _NoAnswer(Exception):
    """Connect did not answer, or not as Connect does. The text quotes nothing of the answer."""


@dataclass(frozen=True, slots=True)
class _Advice:
    """A setting of a connector: whether its value is fine (None: not set), what it costs otherwise, what to set."""

    name: str
    is_fine: Callable[[str | None], bool]
    cost: str
    better: str


_ADVICE: Final = (
    _Advice("skipped.operations", lambda value: value == "none", "a TRUNCATE is not told", "none"),
    _Advice(
        "event.converting.failure.handling.mode",
        lambda value: value == "fail",
        "a value that cannot be converted, such as 9999-12-31 in DATETIME2(7), is told as NULL",
        "fail",
    ),
    _Advice(
        "event.processing.failure.handling.mode",
        lambda value: value in {None, "fail"},
        "a row that cannot be processed is dropped",
        "fail",
    ),
    _Advice(
        "errors.tolerance", lambda value: value in {None, "none"}, "a row that cannot be written is dropped", "none"
    ),
    _Advice(
        "snapshot.mode",
        lambda value: value in {None, "initial", "no_data", "never"},
        "a lost place is bridged by a new snapshot, which tells nothing of rows deleted in between",
        "initial",
    ),
    _Advice(
        "heartbeat.interval.ms",
        lambda value: _number(value) > 0,
        "a stream that stands still looks like a quiet one",
        "5000",
    ),
    _Advice(
        "poll.interval.ms",
        lambda value: 0 < _number(value) <= 100,
        "each change waits up to that long: 500 ms where nothing is set",
        "5",
    ),
)


async def inspect_connect(
    url: str,
    topics: Sequence[str] = (),
    *,
    cluster_id: str | None = None,
    ca_file: Path | None = None,
    timeout_s: float = 10.0,
) -> tuple[Observation, ...]:
    """Connect's version, then each connector, its tasks, its version and its settings; never raises for trouble.

    Only the connectors whose `topic.prefix` begins one of `topics` are looked at (no topics: all of Debezium's); none
    at all is a fault.
    `cluster_id`: the Kafka that the agent reads; another one behind Connect is a fault. Takes three requests, each of
    `timeout_s` at most. Texts quote names, states, versions and classes of exceptions; never a message, which may
    hold a row, and never a setting that may hold a password.
    """
    try:
        worker, plugins, connectors = [
            await _ask(url, path, ca_file, timeout_s)
            for path in ("/", "/connector-plugins", "/connectors?expand=status&expand=info")
        ]
        return tuple(_observations(worker, plugins, connectors, topics, cluster_id))
    except _NoAnswer as error:
        repair = "look whether Connect runs, and whether this machine may reach its REST address (connect_url)"
        return (Observation(Verdict.WARNING, "Connect", str(error), repair),)
    except (AttributeError, KeyError, TypeError, ValueError):
        text = "something answers at Connect's address that does not speak as Connect does"
        return (Observation(Verdict.WARNING, "Connect", text, "look at connect_url"),)


# -- what is made of the answers -------------------------------------------------------------------------------------


def _observations(
    worker: Any, plugins: Any, connectors: Any, topics: Sequence[str], cluster_id: str | None
) -> Iterator[Observation]:
    yield _worker(worker, cluster_id)
    versions = {str(plugin["class"]): str(plugin.get("version", "")) for plugin in plugins}
    ours = {name: about for name, about in sorted(connectors.items()) if _is_ours(about["info"]["config"], topics)}
    if not ours:
        text = "no connector of Debezium's is here whose topic.prefix begins our topics"
        repair = "ask the platform team where it went: its topics tell nothing new until it is back"
        yield Observation(Verdict.FAULT, "connector", text, repair)
    for name, about in ours.items():
        config: Mapping[str, str] = about["info"]["config"]
        yield _connector(name, about["status"]["connector"]["state"])
        yield from _tasks(name, about["status"]["tasks"])
        yield _version(name, config["connector.class"], versions.get(config["connector.class"], ""))
        yield from _settings(name, config)


def _worker(worker: Any, cluster_id: str | None) -> Observation:
    behind = worker.get("kafka_cluster_id")
    text = f"Kafka Connect {worker['version']} answers"
    if cluster_id is not None and behind != cluster_id:
        repair = "connect_url or bootstrap_servers is another platform's: find out which of the two"
        return Observation(Verdict.FAULT, "Connect", f"{text}, and writes to another Kafka cluster than ours", repair)
    return Observation(Verdict.GOOD, "Connect", text)


def _is_ours(config: Mapping[str, str], topics: Sequence[str]) -> bool:
    if not config.get("connector.class", "").startswith("io.debezium."):
        return False
    prefix = config.get("topic.prefix", "")
    return not topics or any(topic.startswith(f"{prefix}.") for topic in topics)


def _connector(name: str, state: str) -> Observation:
    subject = f"connector {name}"
    if state == "RUNNING":
        return Observation(Verdict.GOOD, subject, "it runs")
    repair = {
        "PAUSED": "somebody paused it: resume it when they are done; the database keeps its log until then",
        "STOPPED": "somebody stopped it: resume it when they are done; the database keeps its log until then",
    }.get(state, f"see 'The connector or its task is down' {_WHERE_IT_STANDS}")
    return Observation(Verdict.FAULT, subject, f"its state is {state}", repair)


def _tasks(name: str, tasks: Any) -> Iterator[Observation]:
    repair = f"see 'The connector or its task is down' {_WHERE_IT_STANDS}"
    if not tasks:
        yield Observation(Verdict.FAULT, f"connector {name}", "it has no task, so nothing is read", repair)
    for task in tasks:
        subject = f"task {name}/{task['id']}"
        if task["state"] == "RUNNING":
            yield Observation(Verdict.GOOD, subject, "it runs")
        else:
            causes = _causes(str(task.get("trace", "")))
            yield Observation(Verdict.FAULT, subject, f"its state is {task['state']}{causes}", repair)


def _causes(trace: str) -> str:
    """The classes of the exceptions in a trace, outermost first; their messages may quote a row."""
    names = [name.rpartition(".")[2] for name in _EXCEPTION.findall(trace[:100_000])]
    return ": " + ", caused by ".join(dict.fromkeys(names)) if names else ""


def _version(name: str, class_name: str, version: str) -> Observation:
    subject = f"connector {name}"
    text = f"{class_name.rpartition('.')[2]} {version or 'of a version that Connect does not name'}"
    if class_name != _POSTGRESQL:
        return Observation(Verdict.GOOD, subject, text)
    numbers = tuple(int(number) for number in re.findall(r"\d{1,6}", version)[:2])
    if len(numbers) == 2 and numbers >= FIRST_WHOLE_VERSION:
        return Observation(Verdict.GOOD, subject, text)
    return Observation(
        Verdict.WARNING,
        subject,
        f"{text}: one from before June 2026 can lose rows that share an LSN when it restarts (debezium/dbz#1554)",
        "have the platform team go to 3.7.0 or later",
    )


def _settings(name: str, config: Mapping[str, str]) -> Iterator[Observation]:
    for advice in _ADVICE:
        if advice.name == "poll.interval.ms" and config["connector.class"] == _SQLSERVER:
            continue  # each poll is a query there, and SQL Server's own capture is slower
        if not advice.is_fine(config.get(advice.name)):
            text = f"{advice.name}: {advice.cost}"
            repair = f'"{advice.name}": "{advice.better}" in its configuration (deploy/debezium/README.md)'
            yield Observation(Verdict.WARNING, f"connector {name}", text, repair)


def _number(value: str | None) -> int:
    return int(value) if value is not None and value.isascii() and value.isdigit() else 0


# -- asking ----------------------------------------------------------------------------------------------------------


async def _ask(url: str, path: str, ca_file: Path | None, timeout_s: float) -> Any:
    """The answer's JSON, through a thread: the connection ends by its own time limit, the wait for it by ours."""
    try:
        async with asyncio.timeout(timeout_s + 1):
            return await asyncio.to_thread(_get, url, path, ca_file, timeout_s)
    except TimeoutError:
        raise _NoAnswer(f"Connect did not answer within {timeout_s:.0f} s") from None


def _get(url: str, path: str, ca_file: Path | None, timeout_s: float) -> Any:
    """One GET, without redirects."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            answer = response.read(LARGEST_ANSWER_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise _NoAnswer(f"Connect does not answer ({type(error).__name__})") from None
    if response.status != http.HTTPStatus.OK:
        raise _NoAnswer(f"Connect answers {response.status} to GET {path}")
    return json.loads(answer)
