"""A PostgreSQL that a fault test may stop, crash, restore and set up wrongly: nobody shares it. And a line to it that
can be cut.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.services import Postgres, places

PORT = 15437


def own_cluster() -> Iterator[Postgres]:
    """What a module's fixture yields: started, and taken away behind it."""
    server = Postgres(PORT + places.port_offset(), name="postgres15-faults")
    server.stop()
    shutil.rmtree(data_of(server).parent, ignore_errors=True)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(data_of(server).parent, ignore_errors=True)


def data_of(server: Postgres) -> Path:
    return server._directory / "data"


@contextlib.contextmanager
def configured(server: Postgres, *, restart: bool = False, **settings: str) -> Iterator[None]:
    """The server with other settings for a while."""
    for name, value in settings.items():
        server.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    _take_up(server, restart=restart)
    try:
        yield
    finally:
        for name in settings:
            server.sql(f"ALTER SYSTEM RESET {name}")
        _take_up(server, restart=restart)


def _take_up(server: Postgres, *, restart: bool) -> None:
    if restart:
        server.restart()
    else:
        server.sql("SELECT pg_reload_conf()")


@contextlib.contextmanager
def entries(server: Postgres, text: str) -> Iterator[None]:
    """Other lines in pg_hba.conf for a while."""
    file = data_of(server) / "pg_hba.conf"
    before = file.read_text()
    file.write_text(text)
    server.sql("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        file.write_text(before)
        server.sql("SELECT pg_reload_conf()")


def restored(server: Postgres, copy: Path) -> None:
    """Put a copy of the stopped cluster in its place, as an administrator with a backup would."""
    server.stop()
    shutil.rmtree(data_of(server))
    places.run(["cp", "-a", str(copy), str(data_of(server))], limit_s=120, why="cp")
    server.start()


def copied(server: Postgres, copy: Path) -> None:
    """A copy of the stopped cluster's files."""
    server.stop()
    places.run(["cp", "-a", str(data_of(server)), str(copy)], limit_s=120, why="cp")
    server.start()


def promote(server: Postgres) -> None:
    """End a recovery on a new timeline, as after a promotion or a restore to a moment."""
    server.stop()
    (data_of(server) / "recovery.signal").touch()
    with (data_of(server) / "postgresql.auto.conf").open("a") as file:
        file.write("restore_command = '/bin/false'\n")
    server.start()
    assert places.wait_until(lambda: server.sql("SELECT pg_is_in_recovery()") == "f", 30)
    server.sql("ALTER SYSTEM RESET restore_command")
    server.sql("SELECT pg_reload_conf()")


class Line:
    """A TCP line to a server, which can be cut, or fall silent without a word to either end."""

    def __init__(self, port: int) -> None:
        self._to_port = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator["Line"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    def fall_silent(self) -> None:
        self._flows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._ends += [writer, far_writer]
        self._tasks += [
            asyncio.create_task(self._carry(reader, far_writer)),
            asyncio.create_task(self._carry(far_reader, writer)),
        ]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        if self._flows.is_set():
            writer.transport.abort()
