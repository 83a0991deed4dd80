"""The Kafka source's settings, and records of a shared topic."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.source import Capture, Table
from connectors.wire.shared_topic import heartbeat_at

LEAST: dict[str, Any] = {"bootstrap_servers": ["kafka.example:9093"], "topic_prefix": "epj"}


def test_the_least_that_must_be_said() -> None:
    settings = KafkaDebeziumSettings.model_validate(LEAST)
    assert settings.tls
    assert settings.heartbeats == "__debezium-heartbeat.epj"


def test_topics_are_those_of_the_tables_as_debezium_names_them() -> None:
    capture = Capture(
        (
            Table("public.tjeneste", (), ()),
            Table("tjeneste", (), (), found_as="skole.År$1"),
            Table("t", (), (), "skole.År$1"),
        )
    )
    settings = KafkaDebeziumSettings.model_validate(LEAST)
    assert settings.wanted_topics(capture) == ["epj.public.tjeneste", "epj.skole._r_1"]
    named = KafkaDebeziumSettings.model_validate({"bootstrap_servers": ["a:1"], "topics": ["b", "a", "b"]})
    assert named.wanted_topics(capture) == ["a", "b"]
    assert named.heartbeats is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"bootstrap_servers": []},
        {"bootstrap_servers": ["kafka.example"]},
        {"bootstrap_servers": ["https://kafka.example:9093"]},
        {"bootstrap_servers": ["a:1,b:1"]},
        {"topics": ["a"]},
        {"topic_prefix": None},
        {"topic_prefix": None, "topics": ["a b"]},
        {"sasl_mechanism": "PLAIN"},
        {"sasl_mechanism": "GSSAPI", "user_file": "u", "password_file": "p"},
        {"user_file": "u", "password_file": "p"},
        {"certificate_file": "c"},
        {"tls": False, "ca_file": "c"},
        {"only": {}},
        {"only": {"key_prefix": "0301", "header": "h", "header_value": "v"}},
        {"only": {"header": "h"}},
        {"only": {"key_prefix": ""}},
    ],
)
def test_what_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaDebeziumSettings.model_validate(LEAST | wrong)


def test_no_kafka_library_is_loaded_before_a_source_is_opened() -> None:
    code = "import connectors.kafka_debezium.source, connectors.catalog, sys; sys.exit('aiokafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("value", "millis"),
    [
        (b'{"ts_ms": 1500}', 1500),
        (b'{"schema": {"type": "struct"}, "payload": {"ts_ms": 1500}}', 1500),
        (b'{"ts_ms": "1500"}', None),
        (b'{"ts_ms": 999999999999999999999}', None),
        (b"{", None),
        (b"[]", None),
        (None, None),
    ],
)
def test_heartbeats(value: bytes | None, millis: int | None) -> None:
    at = heartbeat_at(value)
    assert (None if at is None else at.timestamp() * 1000) == millis
