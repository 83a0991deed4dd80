"""A real Kafka Connect on 127.0.0.1 with Debezium's PostgreSQL connector, writing to the test broker."""

import contextlib
import http.client
import json
import shutil
import signal
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.services import jvm, places
from tests.services.kafka import Kafka, kafka
from tests.services.places import ServerMissing
from tests.services.postgres import Postgres

_TOPICS = {"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1"}
"""The broker lets no client create a topic by asking; Connect creates them outright when a connector has these."""


@dataclass(frozen=True)
class Connect:
    """One standalone worker. Connectors that were put come back at each start, until `delete_connector` or `stop`.

    One whose database does not answer at that moment is left out until the next start, or until it is put again.
    """

    port: int
    kafka: Kafka
    name: str = "connect"
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @cached_property
    def version(self) -> str:
        """Connect's version and the connector's: "4.3.1, Debezium 3.7.0.Final"."""
        return f"{jvm.version('connect-runtime')}, Debezium {jvm.version('debezium-connector-postgres')}"

    @property
    def log_file(self) -> Path:
        """What the worker printed since its start."""
        return self._directory / "console.log"

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fetch when missing, start the broker and the worker when not running, wait until REST answers."""
        self.kafka.start()
        with self._locked():
            booted = self._process.pid() is None
            if booted:
                self._boot()
            if not places.wait_until(self._answers_or_dead, 120) or self._process.pid() is None:
                raise self._process.did_not_start()
            if booted:
                self._bring_back_connectors()

    def stop(self) -> None:
        """A clean stop (SIGTERM), after which neither connectors nor offsets are known."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self._connectors, ignore_errors=True)
        self._offsets.unlink(missing_ok=True)

    def kill(self) -> None:
        """A crash (SIGKILL): events since the last kept offset come again after the next start."""
        self._end(signal.SIGKILL)

    def restart(self, *, fresh_offsets: bool = False) -> None:
        """A clean stop and a start with the same connectors; without their offsets each takes a new snapshot."""
        self._end(signal.SIGTERM)
        if fresh_offsets:
            self._offsets.unlink(missing_ok=True)
        self.start()

    def running(self) -> bool:
        return self._process.pid() is not None

    # -- its connectors ----------------------------------------------------------------------------------------------

    def put_connector(self, name: str, config: dict[str, str], *, wait: bool = True) -> None:
        """Make or change a connector; waits until it and its task run. A failed task is an error, with its trace."""
        config = _TOPICS | config
        self.ask("PUT", f"/connectors/{name}/config", config)
        self._connectors.mkdir(exist_ok=True)
        (self._connectors / f"{name}.json").write_text(json.dumps(config))
        if wait:
            self.wait_until_running(name)

    def wait_until_running(self, name: str) -> None:
        """Bounded by a minute."""

        def settled() -> bool:
            states = self.states(name)
            return "FAILED" in states or (len(states) > 1 and set(states) == {"RUNNING"})

        if not places.wait_until(settled, 60) or "FAILED" in self.states(name):
            raise ServerMissing(f"the connector {name} does not run: {json.dumps(self.status(name), indent=1)}")

    def states(self, name: str) -> tuple[str, ...]:
        """The connector's state and then each task's, such as ("RUNNING", "FAILED"); empty when there is none."""
        status = self.status(name)
        if not status:
            return ()
        return status["connector"]["state"], *(task["state"] for task in status["tasks"])

    def status(self, name: str) -> dict[str, Any]:
        """What Connect says of a connector; empty when it knows none of that name."""
        return dict(self.ask("GET", f"/connectors/{name}/status", missing_is_fine=True) or {})

    def delete_connector(self, name: str) -> None:
        """Its replication slot stays in the database, and is in use until its task has ended: `drop_slot`."""
        (self._connectors / f"{name}.json").unlink(missing_ok=True)
        self.ask("DELETE", f"/connectors/{name}", missing_is_fine=True)
        if not places.wait_until(lambda: not self.status(name), 30):
            raise ServerMissing(f"the connector {name} did not go")

    def drop_slot(self, postgres: Postgres, slot: str) -> None:
        """Drop the slot of a connector that was deleted, as soon as its task has let it go."""
        where = f"from pg_replication_slots where slot_name = '{slot}'"
        if not places.wait_until(lambda: postgres.sql(f"select count(*) {where} and active") == "0", 30):
            raise ServerMissing(f"the replication slot {slot} is still in use")
        postgres.sql(f"select pg_drop_replication_slot(slot_name) {where}")

    def ask(self, method: str, path: str, body: object = None, *, missing_is_fine: bool = False) -> Any:
        """One question to the worker's REST interface; the answer's JSON, None when it is empty."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except OSError as error:
            raise ServerMissing(f"Connect does not answer {method} {path}: {error}") from None
        finally:
            connection.close()
        if response.status == 404 and missing_is_fine:
            return None
        if response.status >= 300:
            raise ServerMissing(f"Connect answers {response.status} to {method} {path}: {answer.decode()[:2000]}")
        return json.loads(answer) if answer else None

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _directory(self) -> Path:
        return places.data_directory(self.name)

    @property
    def _connectors(self) -> Path:
        return self._directory / "connectors"

    @property
    def _offsets(self) -> Path:
        return self._directory / "offsets"

    @property
    def _properties(self) -> Path:
        return self._directory / "worker.properties"

    @property
    def _process(self) -> jvm.JavaProcess:
        return jvm.JavaProcess(self.name, self._directory, str(self._properties))

    def _locked(self) -> AbstractContextManager[None]:
        return places.locked(self._directory.with_suffix(".lock"))

    def _boot(self) -> None:
        places.require_free(self.port)
        self._connectors.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            f"""bootstrap.servers={self.kafka.bootstrap}
listeners=http://{self.host}:{self.port}
rest.advertised.host.name={self.host}
plugin.path={jvm.programs()}/plugins
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
offset.storage.file.filename={self._offsets}
offset.flush.interval.ms=1000
offset.flush.timeout.ms=5000
producer.linger.ms=0
topic.creation.enable=true
config.providers=file
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
"""
        )
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        self._process.boot(jvm.command(main, str(self._properties), heap_mb=256))

    def _bring_back_connectors(self) -> None:
        """Not as the worker's arguments: it ends when one of those cannot be made."""
        for file in sorted(self._connectors.glob("*.json")):
            with contextlib.suppress(ServerMissing):  # its database is gone, or not up yet
                self.ask("PUT", f"/connectors/{file.stem}/config", json.loads(file.read_text()))

    def _answers_or_dead(self) -> bool:
        if self._process.pid() is None:
            return True
        try:
            self.ask("GET", "/connectors")
        except ServerMissing:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        with self._locked():
            self._process.end(number, self.port)


def connect() -> Connect:
    """The worker of the tests, not started."""
    return Connect(18083 + places.port_offset(), kafka())
