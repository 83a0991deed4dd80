"""How a PostgreSQL is reached: one connection string in a file, read at each connection."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from connectors.postgres_logical.troubles import ConnectionFileUnreadable

APPLICATION_NAME: Final = "kpr-agent"
_LARGEST_FILE_BYTES: Final = 10_000


def read_parameters(connection_file: Path) -> dict[str, str]:
    """libpq's parameters (`host`, `user`, `password` ...) from a file with one connection string: keywords or a URL.

    Where it says nothing of it, the server's certificate and name are verified (`sslmode=verify-full`), but for a
    loopback address; libpq never uses TLS on a Unix socket. Raises ConnectionFileUnreadable.
    """
    from psycopg import Error  # noqa: PLC0415  loaded when a connection is opened
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        text = connection_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionFileUnreadable(connection_file, f"it cannot be read ({type(error).__name__})") from None
    if not text or len(text) > _LARGEST_FILE_BYTES or "\0" in text:
        raise ConnectionFileUnreadable(connection_file, "it does not hold one connection string")
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except Error:  # its text may quote the password
        raise ConnectionFileUnreadable(connection_file, "libpq does not understand its connection string") from None
    parameters.setdefault("application_name", APPLICATION_NAME)
    if "sslmode" not in parameters and not _is_on_this_machine(parameters):
        parameters["sslmode"] = "verify-full"
    return parameters


def connection_string(parameters: Mapping[str, str], **more: str) -> str:
    """The parameters as one connection string for psycopg or libpq; `more` wins. It holds the password."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415  loaded when a connection is opened

    return make_conninfo(**{**parameters, **more})


def _is_on_this_machine(parameters: Mapping[str, str]) -> bool:
    places = parameters.get("hostaddr") or parameters.get("host") or ""
    return all(_is_local(place.strip()) for place in places.split(","))


def _is_local(place: str) -> bool:
    if place.startswith(("/", "@")) or place == "localhost":
        return True  # no name at all is not here: PGHOST could name any place
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return False
