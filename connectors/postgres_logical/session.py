"""One connection to PostgreSQL under asyncio, on libpq: questions, COPY out, and the replication stream.

psycopg's own connection is not used: it has no replication, and when a wait is cancelled it waits on for the server,
which a dead network never ends. Here every wait ends when it is told to.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from psycopg import Error, pq
from psycopg.conninfo import conninfo_attempts_async

from connectors.postgres_logical.connection import connection_string
from connectors.postgres_logical.troubles import ServerGone, of_connecting, of_sqlstate
from connectors.source import SourceError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

Row = tuple[str | None, ...]

# Dates in ISO and moments in UTC, floats to their last digit; row security would hide rows in silence, so that reading
# such a table is an error instead; a load may take hours. A user may set all of these.
_SESSION_OPTIONS: Final[Mapping[str, str]] = {
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_CANCEL_TIMEOUT_S: Final = 3.0
_DONE: Final = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY})


class Refused(Exception):
    """PostgreSQL answered with an error. Its text may quote rows, so only the code is kept; whoever asked names it."""

    def __init__(self, sqlstate: str, doing: str) -> None:
        super().__init__(f"SQLSTATE {sqlstate} while {doing}")
        self.sqlstate: Final = sqlstate
        self.doing: Final = doing

    def trouble(self) -> SourceError:
        """The trouble that the code means by itself."""
        return of_sqlstate(self.sqlstate, self.doing)


class Session:
    """An open connection, for one task at a time; `close` may be called at any moment, and more than once."""

    def __init__(self, connection: "PGconn") -> None:
        self._connection: Final = connection
        self._is_closed = False

    @property
    def server_version(self) -> int:
        """As PostgreSQL counts: 150018 is 15.18."""
        return self._connection.server_version

    async def ask(self, statement: str, *, doing: str, timeout_s: float) -> list[Row]:
        """The rows that one statement gives, as text.

        Raises Refused with PostgreSQL's code, and ServerGone after `timeout_s` or on a broken connection.
        """
        try:
            async with asyncio.timeout(timeout_s):
                result = await self._result_of(statement, doing)
                await self._to_the_end(doing)
        except TimeoutError:
            self.close()
            raise ServerGone(f"PostgreSQL did not answer in {timeout_s:g} s ({doing})") from None
        if result.status not in _DONE:
            raise StatusUnexpected(doing)
        return [
            tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]

    async def copy_out(self, statement: str, *, doing: str, quiet_timeout_s: float) -> AsyncIterator[bytes]:
        """The lines of `COPY ... TO STDOUT` as they come; memory stays bounded however long the table is."""
        try:
            async with asyncio.timeout(quiet_timeout_s):
                result = await self._result_of(statement, doing)
            if result.status != pq.ExecStatus.COPY_OUT:
                raise StatusUnexpected(doing)
            while True:
                line = self.take()
                if line is None:
                    async with asyncio.timeout(quiet_timeout_s):
                        await self.wait()
                elif line:
                    yield line
                else:
                    break
            async with asyncio.timeout(quiet_timeout_s):
                await self._to_the_end(doing)
        except TimeoutError:
            self.close()
            raise ServerGone(f"PostgreSQL fell silent for {quiet_timeout_s:g} s ({doing})") from None

    async def start_stream(self, statement: str, *, doing: str, timeout_s: float) -> None:
        """Send START_REPLICATION; from then on `take`, `wait` and `tell`."""
        try:
            async with asyncio.timeout(timeout_s):
                result = await self._result_of(statement, doing)
        except TimeoutError:
            self.close()
            raise ServerGone(f"PostgreSQL did not answer in {timeout_s:g} s ({doing})") from None
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise StatusUnexpected(doing)

    def take(self) -> bytes | None:
        """The next piece of copied data that has arrived; None: wait for more; empty: it is at its end."""
        try:
            size, data = self._open().get_copy_data(1)
        except Error:
            raise self._gone() from None
        if size > 0:
            return bytes(data)
        return None if size == 0 else b""

    async def wait(self) -> None:
        """Until something has arrived and was taken in from the network."""
        connection = self._open()
        await _ready(connection.socket, reading=True)
        self._take_in()

    def tell(self, message: bytes) -> None:
        """Send a message into the stream. What the network does not take at once goes with the next one."""
        connection = self._open()
        try:
            connection.put_copy_data(message)
            connection.flush()
        except Error:
            raise self._gone() from None

    def has_ended(self) -> bool:
        """Whether the server has closed the connection, as far as can be seen without waiting."""
        if not self._is_closed:
            with contextlib.suppress(Error):
                self._connection.consume_input()  # takes in the server's word of farewell, if there is one
                self._connection.consume_input()  # finds out that nothing more comes
        return self._is_closed or self._connection.status == pq.ConnStatus.BAD

    async def end_of_stream(self, doing: str) -> None:
        """What the server gave as its reason to end the stream: raises Refused or ServerGone, or returns."""
        async with asyncio.timeout(5):
            await self._to_the_end(doing)

    async def cancel(self) -> None:
        """Ask the server to stop what it does for us, for a moment only, and close the connection."""
        with contextlib.suppress(Error, TimeoutError, SourceError):
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                await _cancel(self._open())
        self.close()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._connection.finish()

    async def _result_of(self, statement: str, doing: str) -> "PGresult":
        connection = self._open()
        try:
            connection.send_query(statement.encode())
            while connection.flush():
                await _ready(connection.socket, reading=False)
        except Error:
            raise self._gone() from None
        result = await self._next_result()
        if result is None:
            raise self._gone()
        if result.status == pq.ExecStatus.FATAL_ERROR:
            await self._to_the_end(doing)
        self._refuse(result, doing)
        return result

    async def _to_the_end(self, doing: str) -> None:
        """Take what is left of an answer, so that the next question can be asked; the first error in it counts."""
        results = []
        while (result := await self._next_result()) is not None:
            results.append(result)
        for result in results:
            self._refuse(result, doing)

    async def _next_result(self) -> "PGresult | None":
        connection = self._open()
        while True:
            try:
                if not connection.is_busy():
                    return connection.get_result()
            except Error:
                raise self._gone() from None
            await _ready(connection.socket, reading=True)
            self._take_in()

    def _take_in(self) -> None:
        try:
            self._open().consume_input()
        except Error:
            raise self._gone() from None

    def _refuse(self, result: "PGresult", doing: str) -> None:
        if result.status != pq.ExecStatus.FATAL_ERROR:
            return
        sqlstate = _text(result.error_field(pq.DiagnosticField.SQLSTATE)) or ""
        if not sqlstate:
            raise self._gone()
        raise Refused(sqlstate, doing)

    def _open(self) -> "PGconn":
        if self._is_closed:
            raise ServerGone("the connection to PostgreSQL is closed")
        return self._connection

    def _gone(self) -> SourceError:
        return ServerGone("the connection to PostgreSQL broke")


class StatusUnexpected(ServerGone):
    """PostgreSQL answered in a way that does not belong to the question: such a connection is of no more use."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"PostgreSQL's answer did not fit the question ({doing})")


async def open_session(
    parameters: Mapping[str, str], *, timeout_s: float, replication: bool = False, **options: str
) -> Session:
    """A connection whose dates and numbers come in one form, to the first of the named hosts that lets us in.

    `replication`: it takes replication commands and simple statements. `options` are settings of the session. Raises
    the trouble that the last host gave.
    """
    wanted = {**_SESSION_OPTIONS, **options}
    settings = " ".join(f"-c {name}={value}" for name, value in wanted.items())
    more = {
        "client_encoding": "UTF8",
        "options": f"{parameters.get('options', '')} {settings}".strip(),
        "fallback_application_name": "kpr-agent",
    }
    if replication:
        more["replication"] = "database"
    trouble: SourceError = ServerGone("no connection to PostgreSQL was tried")
    try:
        async with asyncio.timeout(timeout_s):
            for attempt in await conninfo_attempts_async({**parameters, **more}):
                try:
                    return Session(await _connect(connection_string({k: str(v) for k, v in attempt.items()})))
                except _NotConnected as refusal:
                    trouble = of_connecting(str(refusal), parameters)
    except TimeoutError:
        raise ServerGone(f"no connection to PostgreSQL was made in {timeout_s:g} s") from None
    except Error:
        raise ServerGone("the host of PostgreSQL has no address") from None
    raise trouble


class _NotConnected(Exception):
    """libpq's text; it may name the role and the host, never the password."""


async def _connect(conninfo: str) -> "PGconn":
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        await _negotiate(connection)
    except BaseException:
        connection.finish()
        raise
    connection.nonblocking = 1
    return connection


async def _negotiate(connection: "PGconn") -> None:
    while connection.status != pq.ConnStatus.BAD:
        match connection.connect_poll():
            case pq.PollingStatus.OK:
                return
            case pq.PollingStatus.READING:
                await _ready(connection.socket, reading=True)
            case pq.PollingStatus.WRITING:
                await _ready(connection.socket, reading=False)
            case _:
                break
    raise _NotConnected(connection.get_error_message())


async def _cancel(connection: "PGconn") -> None:
    request = connection.cancel_conn()
    try:
        request.start()
        while (state := request.poll()) in {pq.PollingStatus.READING, pq.PollingStatus.WRITING}:
            await _ready(request.socket, reading=state == pq.PollingStatus.READING)
    finally:
        request.finish()


async def _ready(descriptor: int, *, reading: bool) -> None:
    """Until the socket can be read, or written. The loop forgets it again, however the wait ends."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    if reading:
        loop.add_reader(descriptor, wake)
    else:
        loop.add_writer(descriptor, wake)
    try:
        await ready
    finally:
        if reading:
            loop.remove_reader(descriptor)
        else:
            loop.remove_writer(descriptor)


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode(errors="replace")
