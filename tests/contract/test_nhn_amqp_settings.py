"""The bus account in a configuration file, its addresses, and what an outcome means."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.nhn_amqp.bus import _outcome
from connectors.sender import Verdict
from connectors.wire.amqp_links import AmqpError, Answer, Lost, RemoteState

PLAIN = {"url": "amqps://sb.test.nhn.no:5671", "exchange": "NHNTestServiceBus", "addresses": "v2"}
FILES = {"user_file": Path("user"), "password_file": Path("password")}


def settings(**other: Any) -> NhnAmqpSettings:
    return NhnAmqpSettings(**(PLAIN | FILES | other))


def test_defaults_are_those_of_the_reference_client() -> None:
    plain = settings()
    assert (plain.window, plain.credit, plain.operation_timeout_s, plain.close_timeout_s) == (1, 25, 60, 3)
    assert plain.heartbeat_s <= 60


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("amqps://sb.nhn.no", "sb.nhn.no", 5671),
        ("amqps://sb.nhn.no:5999", "sb.nhn.no", 5999),
        ("amqp://127.0.0.1:5681", "127.0.0.1", 5681),
        ("amqp://localhost", "localhost", 5672),
    ],
)
def test_a_url_is_a_place(url: str, host: str, port: int) -> None:
    plain = settings(url=url)
    assert (plain.host, plain.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://sb.nhn.no",
        "amqp://127.0.0.1.example.org",
        "https://sb.nhn.no",
        "sb.nhn.no:5671",
        "amqps://user:canary@sb.nhn.no",
        "amqps://sb.nhn.no/NHNTestServiceBus",
        "amqps://sb.nhn.no?x=1",
        "amqps://sb.nhn.no:0",
        "amqps://sb.nhn.no:70000",
        "amqps://",
    ],
)
def test_a_url_that_is_no_place_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(url=url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"addresses": "v3"},
        {"window": 0},
        {"heartbeat_s": 61},
        {"operation_timeout_s": 61},
        {"credit": 0},
        {"pasword": 1},
    ],
)
def test_what_is_out_of_bounds_or_unknown_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_every_setting_has_a_sentence() -> None:
    for name, field in NhnAmqpSettings.model_fields.items():
        assert (field.description or "").rstrip().endswith("."), name


def test_addresses_of_both_dialects() -> None:
    v1, v2 = settings(addresses="v1"), settings(addresses="v2")
    assert v1.send_address("8139520_async") == "/exchange/NHNTestServiceBus/8139520_async"
    assert v1.receive_address("1234_async") == "/amq/queue/1234_async"
    assert v2.send_address("8139520_async") == "/exchanges/NHNTestServiceBus/8139520_async"
    assert v2.receive_address("1234_async") == "/queues/1234_async"
    assert settings(exchange="a/b").send_address("c d/e") == "/exchanges/a%2Fb/c%20d%2Fe"


@pytest.mark.parametrize(
    ("state", "condition", "verdict"),
    [
        (RemoteState.ACCEPTED, "", Verdict.ACCEPTED),
        (RemoteState.RELEASED, "", Verdict.RELEASED),
        (RemoteState.MODIFIED, "", Verdict.MODIFIED),
        (RemoteState.REJECTED, "", Verdict.REJECTED),
        (RemoteState.REJECTED, "amqp:resource-limit-exceeded", Verdict.REJECTED),
        (RemoteState.REJECTED, "amqp:not-found", Verdict.NO_ROUTE),
        (RemoteState.REJECTED, "amqp:link:message-size-exceeded", Verdict.IMPOSSIBLE),
        (RemoteState.NONE, "", Verdict.UNKNOWN),
    ],
)
def test_what_the_broker_says_of_a_transfer(state: RemoteState, condition: str, verdict: Verdict) -> None:
    outcome = _outcome(Answer(state, condition, "because"))
    assert (outcome.verdict, outcome.condition) == (verdict, condition)


@pytest.mark.parametrize(
    ("condition", "companions", "verdict"),
    [
        ("", 1, Verdict.UNKNOWN),
        ("amqp:connection:forced", 1, Verdict.UNKNOWN),
        ("amqp:internal-error", 1, Verdict.UNKNOWN),
        ("amqp:link:detach-forced", 1, Verdict.UNKNOWN),
        ("amqp:not-found", 1, Verdict.NO_ROUTE),
        ("amqp:unauthorized-access", 3, Verdict.NO_ROUTE),
        ("amqp:link:message-size-exceeded", 1, Verdict.IMPOSSIBLE),
        ("amqp:invalid-field", 1, Verdict.IMPOSSIBLE),
        ("amqp:decode-error", 1, Verdict.IMPOSSIBLE),
        ("amqp:precondition-failed", 1, Verdict.IMPOSSIBLE),
        ("amqp:decode-error", 2, Verdict.UNKNOWN),  # nobody knows which of the two
    ],
)
def test_what_the_end_of_a_link_says_of_a_transfer(condition: str, companions: int, verdict: Verdict) -> None:
    outcome = _outcome(Lost(AmqpError("ended", condition=condition), companions))
    assert (outcome.verdict, outcome.condition) == (verdict, condition)
