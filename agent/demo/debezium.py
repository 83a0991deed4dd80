"""Debezium in front of the demo's EPJ: the connector of deploy/debezium, its placeholders filled, on a real Connect."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agent.demo.database import EpjDatabase
from agent.demo.servers import CHECKOUT, ServerUnavailable
from connectors.source import Capture

CONNECTOR: Final = CHECKOUT / "deploy" / "debezium" / "postgresql.json"
DATABASE: Final = CONNECTOR.with_suffix(".sql")
_OF_THE_SERVER: Final = ("ALTER SYSTEM", "SELECT pg_reload_conf")
_PLACEHOLDER: Final = re.compile(r"<[A-Z_]+>")
_RUNS_WITHIN_S: Final = 90.0
_LOOK_AGAIN_S: Final = 0.3
_ANSWERS_WITHIN_S: Final = 30.0

_ON_THIS_MACHINE: Final[Mapping[str, str | None]] = {
    "database.sslmode": "disable",  # nothing leaves the machine, and the demo's server has no certificate
    "database.sslrootcert": None,
    "heartbeat.interval.ms": "500",  # so that the end of the demo is noticed at once
}
"""What differs from what is shipped, because all of it runs on one machine. None: left out."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A Kafka and a Connect that run."""

    bootstrap: str
    connect_url: str


def prepare_database(database: EpjDatabase, capture: Capture) -> None:
    """Run what is shipped for the database's administrator, but for what concerns the whole server."""
    text = _filled(DATABASE, database, capture)
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = [statement.strip() for statement in code.split(";") if statement.strip()]
    database.run(*(statement for statement in statements if not statement.startswith(_OF_THE_SERVER)))


def connector_settings(database: EpjDatabase, capture: Capture) -> dict[str, str]:
    """The settings for Connect. Raises ServerUnavailable where the shipped file asks for more than is known here."""
    settings: dict[str, str] = json.loads(_filled(CONNECTOR, database, capture))["config"]
    changed = {
        "database.port": str(database.address.port),
        "database.password": database.password,
        **_ON_THIS_MACHINE,
    }
    return {name: value for name, value in {**settings, **changed}.items() if value is not None}


def _filled(shipped: Path, database: EpjDatabase, capture: Capture) -> str:
    """A shipped file with what stands in <> filled in."""
    columns = [f"{table.name_in_source}.{column.name}" for table in capture.tables for column in table.columns]
    values = {
        "<TOPIC_PREFIX>": database.name,
        "<DATABASE_HOST>": str(database.address.host),
        "<DATABASE_USER>": database.role,
        "<PASSWORD>": database.password,
        "<DATABASE>": database.name,
        "<PUBLICATION>": database.name,
        "<SLOT>": database.name,
        "<SCHEMA>": "public",
        "<TABLES>": ",".join(table.name_in_source for table in capture.tables),
        "<COLUMNS>": ",".join(columns),
        "<SIGNAL_SCHEMA>": "kpr_debezium",
        "<SIGNAL_TABLE>": "kpr_debezium.signal",
    }
    text = shipped.read_text(encoding="utf-8")
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    if unknown := sorted(set(_PLACEHOLDER.findall(text))):
        raise ServerUnavailable(f"{shipped} has placeholders that the demo does not fill: {', '.join(unknown)}")
    return text


@asynccontextmanager
async def topics(platform: Platform, database: EpjDatabase, capture: Capture) -> AsyncIterator[None]:
    """The topics of the tables, made as a platform's owner makes them; deleted at the end, Debezium's own too."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: PLC0415 - 20 MiB that only this demo needs

    administrator = AIOKafkaAdminClient(bootstrap_servers=platform.bootstrap, request_timeout_ms=30_000)
    async with asyncio.timeout(_ANSWERS_WITHIN_S):
        await administrator.start()
    try:
        wanted = [f"{database.name}.{table.name_in_source}" for table in capture.tables]
        await administrator.create_topics([NewTopic(name, 1, 1) for name in wanted])
        yield
    finally:
        await asyncio.shield(_deleted(administrator, database.name))


@asynccontextmanager
async def connector(platform: Platform, database: EpjDatabase, settings: Mapping[str, str]) -> AsyncIterator[None]:
    """A connector that has read the tables and streams; gone at the end, but for its slot. Or ServerUnavailable."""
    name = database.name
    await _ask(platform, "PUT", f"/connectors/{name}/config", dict(settings))
    try:
        await _streaming(platform, database)
        yield
    finally:
        await asyncio.shield(_ask(platform, "DELETE", f"/connectors/{name}"))


async def _deleted(administrator: Any, prefix: str) -> None:
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            there = await administrator.list_topics()
            await administrator.delete_topics([name for name in there if prefix in name])
    finally:
        await administrator.close()


async def _streaming(platform: Platform, database: EpjDatabase) -> None:
    """Wait until it streams: it reads the tables first, and tells what is written meanwhile as it is, not as it was."""
    try:
        async with asyncio.timeout(_RUNS_WITHIN_S):
            while True:
                if await _is_running(platform, database.name) and await asyncio.to_thread(database.is_streamed):
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        raise ServerUnavailable(f"the connector did not stream within {_RUNS_WITHIN_S:.0f} s") from None


async def _is_running(platform: Platform, name: str) -> bool:
    """A task can have failed under a connector that says RUNNING: both are asked."""
    status = await _ask(platform, "GET", f"/connectors/{name}/status", missing_is_fine=True)
    states = [status["connector"]["state"], *(task["state"] for task in status["tasks"])] if status else []
    if "FAILED" in states:
        raise ServerUnavailable(f"the connector {name} has failed: see Kafka Connect's log")
    return len(states) > 1 and set(states) == {"RUNNING"}


async def _ask(
    platform: Platform, method: str, path: str, body: object = None, *, missing_is_fine: bool = False
) -> Any:
    return await asyncio.to_thread(_ask_now, platform, method, path, body, missing_is_fine)


def _ask_now(platform: Platform, method: str, path: str, body: object, missing_is_fine: bool) -> Any:
    """The answer's JSON; its text is never quoted, for it may hold the connector's settings."""
    connection = HTTPConnection(urlsplit(platform.connect_url).netloc, timeout=_ANSWERS_WITHIN_S)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        raise ServerUnavailable(f"Kafka Connect does not answer {method} ({type(error).__name__})") from None
    finally:
        connection.close()
    if response.status == 404 and missing_is_fine:
        return None
    if response.status >= 300:
        raise ServerUnavailable(f"Kafka Connect answers {response.status} to {method}")
    return json.loads(answer) if answer else None
