"""pytest's part of the servers: fixtures for a whole run, and a line in the report that says which versions ran.

A server is started once and shared. The last run that uses it stops it, unless it ran before the first one came.
"""

import fcntl
from collections.abc import Iterator
from typing import IO, TypeVar

import pytest

from tests import services
from tests.services import Broker, Connect, Kafka, MariaDb, Postgres, places
from tests.services.far_end import Bus

Server = TypeVar("Server", Broker, Connect, Kafka, MariaDb, Postgres)
_SEEN: list[str] = []


@pytest.fixture(scope="session")
def rabbitmq40() -> Iterator[Broker]:
    """RabbitMQ 4.0.5: both address dialects."""
    yield from _shared(services.broker("rabbitmq40"), "RabbitMQ")


@pytest.fixture(scope="session")
def rabbitmq310() -> Iterator[Broker]:
    """RabbitMQ 3.10.8 with its AMQP 1.0 plugin: dialect v1."""
    yield from _shared(services.broker("rabbitmq310"), "RabbitMQ")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL with wal_level=logical; `create_database` gives a test its own."""
    yield from _shared(services.postgres(), "PostgreSQL")


@pytest.fixture(scope="session")
def postgres17() -> Iterator[Postgres]:
    """PostgreSQL 17, as Debian 13 ships it."""
    yield from _shared(services.postgres17(), "PostgreSQL")


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Apache Kafka; `tests.services.topics` makes and deletes topics."""
    yield from _shared(services.kafka(), "Kafka")


@pytest.fixture(scope="session")
def connect(kafka: Kafka, postgres: Postgres) -> Iterator[Connect]:
    """Kafka Connect with Debezium, between `postgres` and `kafka`."""
    yield from _shared(services.connect(), "Kafka Connect")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """MariaDB; `create_database` gives a test its own, as an SQLAlchemy URL."""
    yield from _shared(services.mariadb(), "MariaDB")


@pytest.fixture(params=[("rabbitmq40", "v2"), ("rabbitmq40", "v1"), ("rabbitmq310", "v1")], ids="-".join)
def bus(request: pytest.FixtureRequest) -> Bus:
    """Each real broker, in each dialect it speaks."""
    name, addresses = request.param
    return Bus(request.getfixturevalue(name), addresses)


def _shared(server: Server, product: str) -> Iterator[Server]:
    directory = places.data_directory(server.name)
    directory.parent.mkdir(parents=True, exist_ok=True)
    ours = directory.with_suffix(".started-by-tests")
    with directory.with_suffix(".users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        if not server.running():
            ours.touch()
        server.start()
        _SEEN.append(f"{product} {server.version} on {server.host}:{server.port}")
        try:
            yield server
        finally:
            if _last(users) and ours.exists():
                server.stop()
                ours.unlink(missing_ok=True)


def _last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what real servers the run had: a result without the version is worth little."""
    if _SEEN:
        terminalreporter.section("real servers in this run")
        for line in sorted(set(_SEEN)):
            terminalreporter.line(line)
