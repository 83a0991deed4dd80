"""connectors/kafka_debezium/connect.py against answers that a healthy Connect does not give."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connectors.inspection import Observation, Verdict
from connectors.kafka_debezium.connect import inspect_connect

POSTGRESQL = "io.debezium.connector.postgresql.PostgresConnector"
SQLSERVER = "io.debezium.connector.sqlserver.SqlServerConnector"
SECRET = "Kari Test"
CONFIG = {
    "connector.class": POSTGRESQL,
    "topic.prefix": "epj",
    "database.password": SECRET,
    "skipped.operations": "none",
    "event.converting.failure.handling.mode": "fail",
    "heartbeat.interval.ms": "5000",
    "poll.interval.ms": "5",
}
TRACE = f"""org.apache.kafka.connect.errors.ConnectException: An exception for ({SECRET})
\tat io.debezium.pipeline.ErrorHandler.setProducerThrowable(ErrorHandler.java:67)
Caused by: io.debezium.DebeziumException: {SECRET}
\tat io.debezium.Something.run(Something.java:1)
Caused by: java.lang.IllegalArgumentException
\t... 5 more
{SECRET}: {SECRET}
"""


def connector(config: dict[str, str] = CONFIG, state: str = "RUNNING", *tasks: dict[str, Any]) -> dict[str, Any]:
    status = {"connector": {"state": state}, "tasks": list(tasks or ({"id": 0, "state": "RUNNING"},))}
    return {"status": status, "info": {"config": config}}


def answers(version: str = "3.7.0.Final", **connectors: Any) -> dict[str, Any]:
    return {
        "/": {"version": "4.3.1", "kafka_cluster_id": "one"},
        "/connector-plugins": [{"class": POSTGRESQL, "type": "source", "version": version}],
        "/connectors?expand=status&expand=info": connectors or {"epj": connector()},
    }


@contextmanager
def serving(answers_by_path: dict[str, Any], status: int = 200, root: str = "") -> Iterator[str]:
    """An HTTP server that gives these answers; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers_by_path.get(self.path.removeprefix(root))
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{root}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def seen_in(answers_by_path: dict[str, Any], topics: tuple[str, ...] = ("epj.t",)) -> tuple[Observation, ...]:
    with serving(answers_by_path) as url:
        seen = await inspect_connect(url, topics)
    assert SECRET not in repr(seen)
    return seen


def not_good(seen: tuple[Observation, ...]) -> list[tuple[Verdict, str]]:
    return [(one.verdict, one.text) for one in seen if one.verdict is not Verdict.GOOD]


async def test_a_healthy_connector_is_good() -> None:
    assert not_good(await seen_in(answers())) == []


async def test_a_failed_task_is_told_by_the_classes_of_its_exceptions_and_no_message() -> None:
    failed = {"id": 3, "state": "FAILED", "trace": TRACE}
    [fault] = not_good(await seen_in(answers(epj=connector(CONFIG, "RUNNING", {"id": 0, "state": "RUNNING"}, failed))))
    chain = "ConnectException, caused by DebeziumException, caused by IllegalArgumentException"
    assert fault == (Verdict.FAULT, f"its state is FAILED: {chain}")


@pytest.mark.parametrize("state", ["FAILED", "PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING", "A_LATER_ONE"])
async def test_every_state_but_running_is_a_fault_of_connector_and_of_task(state: str) -> None:
    assert not_good(await seen_in(answers(epj=connector(CONFIG, state)))) == [
        (Verdict.FAULT, f"its state is {state}"),
    ]
    assert not_good(await seen_in(answers(epj=connector(CONFIG, "RUNNING", {"id": 0, "state": state})))) == [
        (Verdict.FAULT, f"its state is {state}"),
    ]


async def test_a_connector_without_a_task_is_a_fault() -> None:
    nothing = connector()
    nothing["status"]["tasks"] = []
    [(verdict, _)] = not_good(await seen_in(answers(epj=nothing)))
    assert verdict is Verdict.FAULT


async def test_the_connectors_of_others_are_not_looked_at() -> None:
    broken = connector(CONFIG | {"topic.prefix": "epj2"}, "FAILED")
    sink = connector({"connector.class": "com.example.Sink", "topics": "epj.t"}, "FAILED")
    shorter = connector(CONFIG | {"topic.prefix": "ep"}, "FAILED")
    assert not_good(await seen_in(answers(a=broken, b=sink, c=connector(), d=shorter))) == []
    all_of_debezium = await seen_in(answers(a=broken, b=sink, c=connector()), ())
    assert not_good(all_of_debezium) == [(Verdict.FAULT, "its state is FAILED")]
    [(verdict, text)] = not_good(await seen_in(answers(a=broken)))
    assert verdict is Verdict.FAULT
    assert text.startswith("no connector")


@pytest.mark.parametrize("version", ["3.6.9.Final", "2.7.4.Final", "3", "", "unknown"])
async def test_an_older_connector_for_postgresql_is_warned_of(version: str) -> None:
    [(verdict, text)] = not_good(await seen_in(answers(version)))
    assert verdict is Verdict.WARNING
    assert version in text
    assert "share an LSN" in text


@pytest.mark.parametrize("version", ["3.7.0.Final", "3.10.1.Final", "4.0.0.Alpha1"])
async def test_a_later_connector_is_good(version: str) -> None:
    assert not_good(await seen_in(answers(version))) == []


async def test_each_poll_is_a_query_in_sql_server_so_a_slow_one_is_no_fault() -> None:
    slow = CONFIG | {"poll.interval.ms": "500"}
    assert [text.partition(":")[0] for _, text in not_good(await seen_in(answers(epj=connector(slow))))] == [
        "poll.interval.ms"
    ]
    assert not_good(await seen_in(answers(epj=connector(slow | {"connector.class": SQLSERVER})))) == []


async def test_connect_may_be_behind_a_path() -> None:
    with serving(answers(), root="/connect") as url:
        assert not_good(await inspect_connect(f"{url}/", ("epj.t",))) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>login</html>",
        b"",
        b"\xff\xfe",
        [],
        {"version": "4"},
        None,
        {"/": 1},
        [{"class": POSTGRESQL}],
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/connector-plugins", "/connectors?expand=status&expand=info"])
async def test_something_else_at_the_address_is_a_warning_and_no_error(path: str, answer: Any) -> None:
    seen = await seen_in(answers() | {path: answer})
    assert all(one.verdict is not Verdict.FAULT or one.subject == "connector" for one in seen)
    if answer not in ([{"class": POSTGRESQL}], [], {"version": "4"}):
        assert [one.subject for one in seen] == ["Connect"]
        assert seen[0].verdict is Verdict.WARNING


@pytest.mark.parametrize("status", [301, 401, 404, 500])
async def test_a_refusal_is_a_warning(status: int) -> None:
    with serving(answers(), status) as url:
        [(verdict, text)] = not_good(await inspect_connect(url))
    assert verdict is Verdict.WARNING
    assert str(status) in text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://", "127.0.0.1", "http://[", "http://a:b"]
)
async def test_no_answer_is_a_warning(url: str) -> None:
    [(verdict, _)] = not_good(await inspect_connect(url))
    assert verdict is Verdict.WARNING
