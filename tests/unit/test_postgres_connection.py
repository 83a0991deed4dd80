"""The connection file of a PostgreSQL: what it may hold, and when the server's certificate is verified."""

from pathlib import Path

import pytest

from connectors.postgres_logical.connection import connection_string, read_parameters
from connectors.postgres_logical.troubles import (
    ConnectionFileUnreadable,
    NotLetIn,
    ServerGone,
    TlsRefused,
    of_connecting,
)


@pytest.mark.parametrize(
    ("text", "sslmode"),
    [
        ("host=db.example dbname=epj user=kpr", "verify-full"),
        ("postgresql://kpr:hemmelig@db.example/epj?sslmode=require\n", "require"),
        ("postgresql://kpr:hemmelig@127.0.0.1/epj", None),
        ("host=localhost dbname=epj", None),
        ("host=/run/postgresql dbname=epj", None),
        ("host=127.0.0.1,db.example dbname=epj", "verify-full"),
        ("host=localhost hostaddr=192.0.2.7 dbname=epj", "verify-full"),
        ("dbname=epj", "verify-full"),
        ("service=epj", "verify-full"),
    ],
)
def test_a_server_elsewhere_is_verified_unless_the_file_says_otherwise(
    tmp_path: Path, text: str, sslmode: str | None
) -> None:
    file = tmp_path / "connection"
    file.write_text(text)
    assert read_parameters(file).get("sslmode") == sslmode


@pytest.mark.parametrize("text", ["", "  \n", "host", "postgresql://[::1", "host=a password='hemmelig", "x" * 20_000])
def test_what_is_no_connection_string_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "connection"
    file.write_text(text)
    with pytest.raises(ConnectionFileUnreadable) as refusal:
        read_parameters(file)
    assert "hemmelig" not in str(refusal.value)
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_parameters_make_a_connection_string_again(tmp_path: Path) -> None:
    file = tmp_path / "connection"
    file.write_text("host=db.example user=kpr password='a b\\'c'")
    parameters = read_parameters(file)
    file.write_text(connection_string(parameters, application_name="annen"))
    assert read_parameters(file) == {**parameters, "application_name": "annen"}


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ('FATAL:  database "epj" does not exist', NotLetIn),
        ('FATAL:  no pg_hba.conf entry for host "192.0.2.7", user "kpr", database "epj", SSL encryption', NotLetIn),
        ('server certificate for "a" does not match host name "b"', TlsRefused),
        ("FATAL:  the database system is starting up", ServerGone),
        ("FATAL:  ord som ingen har sett", ServerGone),
    ],
)
def test_why_a_connection_did_not_come_to_be(text: str, trouble: type[Exception]) -> None:
    assert type(of_connecting(text, {"user": "kpr", "dbname": "epj"})) is trouble
