"""deploy/debezium: names that Debezium documents, every setting explained, nothing left to chance or given away.

`tests/contract/test_debezium_connect.py` starts the PostgreSQL file. The other two were never started by this project.
"""

import json
import re
from pathlib import Path

import pytest

from connectors.kafka_debezium.connect import _ADVICE

DEPLOYED = Path(__file__).parents[2] / "deploy/debezium"
README = (DEPLOYED / "README.md").read_text(encoding="utf-8")
NAMES = ("postgresql", "sqlserver", "oracle")
PLACEHOLDER = re.compile(r"<[A-Z_]+>")

WORKER = {  # Kafka's documentation, "Source Connector Configs" and "Connect REST API"
    "connector.class",
    "errors.tolerance",
    "key.converter",
    "key.converter.schemas.enable",
    "producer.override.compression.type",
    "producer.override.linger.ms",
    "tasks.max",
    "topic.creation.default.cleanup.policy",
    "topic.creation.default.partitions",
    "topic.creation.default.replication.factor",
    "topic.creation.default.retention.ms",
    "value.converter",
    "value.converter.schemas.enable",
}
EVERY_DATABASE = {  # Debezium 3.7's documentation, "Connector properties" of each connector
    "column.include.list",
    "database.hostname",
    "database.password",
    "database.port",
    "database.user",
    "decimal.handling.mode",
    "event.converting.failure.handling.mode",
    "event.processing.failure.handling.mode",
    "heartbeat.interval.ms",
    "poll.interval.ms",
    "provide.transaction.metadata",
    "signal.data.collection",
    "signal.enabled.channels",
    "skipped.operations",
    "snapshot.mode",
    "table.include.list",
    "time.precision.mode",
    "tombstones.on.delete",
    "topic.prefix",
}
SCHEMA_HISTORY = {
    "include.schema.changes",
    "schema.history.internal.kafka.bootstrap.servers",
    "schema.history.internal.kafka.topic",
    "schema.history.internal.store.only.captured.tables.ddl",
}
DOCUMENTED = {
    "postgresql": {
        "database.dbname",
        "database.sslmode",
        "database.sslrootcert",
        "heartbeat.action.query",
        "message.prefix.exclude.list",
        "plugin.name",
        "publication.autocreate.mode",
        "publication.name",
        "slot.drop.on.stop",
        "slot.name",
    },
    "sqlserver": {"database.encrypt", "database.names", "snapshot.isolation.mode"} | SCHEMA_HISTORY,
    "oracle": {"database.dbname", "database.pdb.name", "lob.enabled", "log.mining.strategy"} | SCHEMA_HISTORY,
}

every_file = pytest.mark.parametrize("name", NAMES)


def config_of(name: str) -> dict[str, str]:
    file = json.loads((DEPLOYED / f"{name}.json").read_text(encoding="utf-8"))
    assert set(file) == {"name", "config"}
    assert all(isinstance(value, str) for value in file["config"].values())
    return dict(file["config"])


@every_file
def test_every_name_is_documented(name: str) -> None:
    assert set(config_of(name)) == WORKER | EVERY_DATABASE | DOCUMENTED[name]


@every_file
def test_every_setting_and_placeholder_is_explained(name: str) -> None:
    config = config_of(name)
    told = set(re.findall(r"`([^`]+)`", README))
    assert set(config) <= told, set(config) - told
    placeholders = set(PLACEHOLDER.findall(json.dumps(config)))
    assert placeholders <= told, placeholders - told


@every_file
def test_no_change_is_dropped_hidden_or_told_by_halves(name: str) -> None:
    config = config_of(name)
    for advice in _ADVICE:  # what doctor finds fault with
        if (name, advice.name) != ("sqlserver", "poll.interval.ms"):
            assert advice.is_fine(config.get(advice.name)), advice.name
    assert config["decimal.handling.mode"] == "string"
    assert config["key.converter.schemas.enable"] == config["value.converter.schemas.enable"] == "true"
    assert "unavailable.value.placeholder" not in config  # the reader knows the default
    assert not {setting for setting in config if setting.startswith(("transforms", "column.mask", "column.truncate"))}


@every_file
def test_9999_12_31_has_a_form(name: str) -> None:
    """In nanoseconds it has none; PostgreSQL has none of those, and needs `adaptive` for its infinity."""
    assert config_of(name)["time.precision.mode"] == ("adaptive" if name == "postgresql" else "connect")


@every_file
def test_no_password_is_in_the_file(name: str) -> None:
    """Connect shows a connector's configuration to whoever may ask it."""
    assert config_of(name)["database.password"].startswith("${file:")


def test_the_database_is_prepared_by_a_person_and_only_for_what_is_read() -> None:
    config = config_of("postgresql")
    assert config["publication.autocreate.mode"] == "disabled"
    assert config["slot.drop.on.stop"] == "false"
    assert config["database.sslmode"] == "verify-full"
    statements = (DEPLOYED / "postgresql.sql").read_text(encoding="utf-8")
    assert "FOR ALL TABLES" not in statements
    assert "SUPERUSER" not in statements
    assert "REPLICA IDENTITY" not in statements
    assert set(PLACEHOLDER.findall(statements)) <= set(re.findall(r"`([^`]+)`", README))
