"""A file of change events in Debezium's envelope, one a line: a source that has an end.

A line is `{"topic"?, "key", "value"}`, with objects or JSON text, or as `kcat -J` writes it (`payload` for the value);
other fields are allowed. Blank lines are skipped. The file may grow; it must not change where it has been read.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeVar

from pydantic import Field

from connectors.section import ConnectorSection, FilePath
from connectors.source import (
    Capture,
    Position,
    PositionLost,
    Record,
    SourceRefused,
    SourceUnavailable,
    Transaction,
    Unreadable,
)
from connectors.wire.debezium import DebeziumReader
from connectors.wire.strict_json import LARGEST_DOCUMENT_BYTES, NotStrictJson, read_strict_json

Result = TypeVar("Result")

_STREAM: Final = "line"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_IDENTITY_BYTES: Final = 64 * 1024
_ANCHOR_BYTES: Final = 4 * 1024
_KEPT_OF_TOO_LONG_BYTES: Final = 64 * 1024
_LINES_A_READ: Final = 200
_BYTES_A_READ: Final = 1024 * 1024
_REPAIR: Final = (
    "put the file back as it was, or give this municipality's ledger the new file as a new source (docs/operations.md)"
)


class ReplaySettings(ConnectorSection):
    """Change events from a file."""

    path: FilePath = Field(description="The file: one change event in Debezium's envelope a line (JSONL).")
    largest_line_bytes: int = Field(
        default=LARGEST_DOCUMENT_BYTES, ge=1024, description="A longer line is kept as unreadable, cut off; in bytes."
    )
    read_timeout_s: float = Field(default=30.0, gt=0, le=60, description="How long one read of the file may take.")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is not blank: its number, the byte behind it, its bytes (cut off where it was too long)."""

    number: int
    end: int
    raw: bytes = field(repr=False)
    anchor: str
    is_too_long: bool = False


class _Lines:
    """Reads a file's lines from a byte on, never holding more than one line and one block."""

    def __init__(self, file: BinaryIO, *, start: int, number: int, largest_bytes: int) -> None:
        self._file: Final = file
        self._end = start
        self._number = number
        self._largest: Final = largest_bytes
        file.seek(start)

    def next(self) -> _Line | None:
        """The next line that is not blank; None at the end of the file as it is now."""
        while True:
            raw = self._file.readline(self._largest + 1)
            if not raw:
                return None
            is_too_long = len(raw) > self._largest
            self._end += len(raw)
            anchor = "" if is_too_long else _anchor(raw[-_ANCHOR_BYTES:])
            if is_too_long:
                self._skip_rest(raw)
                raw = raw[:_KEPT_OF_TOO_LONG_BYTES]
            self._number += 1
            if self._number == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if raw.strip():
                return _Line(self._number, self._end, raw, anchor, is_too_long)

    def _skip_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(_BYTES_A_READ)
            self._end += len(raw)

    def block(self) -> list[_Line]:
        """The next lines, at most 200 of them or about a mebibyte; none at the end of the file."""
        lines: list[_Line] = []
        size_bytes = 0
        while len(lines) < _LINES_A_READ and size_bytes < _BYTES_A_READ:
            line = self.next()
            if line is None:
                break
            lines.append(line)
            size_bytes += len(line.raw)
        return lines


def _read_line(reader: DebeziumReader, line: _Line, largest_bytes: int) -> Record:
    place = f"line {line.number}"
    if line.is_too_long:
        return Unreadable(place, f"the line is longer than {largest_bytes} bytes", line.raw)
    try:
        document = read_strict_json(line.raw, largest_bytes=largest_bytes)
    except NotStrictJson as error:
        return Unreadable(place, str(error), line.raw)
    if not isinstance(document, dict):
        return Unreadable(place, "the line is not an object", line.raw)
    topic = document.get("topic")
    if "value" not in document and "payload" not in document:
        return Unreadable(place, "the line has neither value nor payload", line.raw)
    value = document["value"] if "value" in document else document["payload"]
    return reader.read(topic if isinstance(topic, str) else None, document.get("key"), value, place=place, raw=line.raw)


def read_records(
    path: Path, capture: Capture, *, largest_line_bytes: int = LARGEST_DOCUMENT_BYTES
) -> Iterator[tuple[int, Record]]:
    """(bytes read so far, record) for each line of the file that is not blank, in order.

    Raises SourceUnavailable where there is no such file, SourceRefused where it may not be read.
    """
    reader = DebeziumReader(capture, largest_record_bytes=largest_line_bytes)
    with _opened(path) as file:
        lines = _Lines(file, start=0, number=0, largest_bytes=largest_line_bytes)
        while (line := lines.next()) is not None:
            yield line.end, _read_line(reader, line, largest_line_bytes)


def _opened(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():
            raise SourceRefused(f"{path} is not a file", repair="check source.replay.path")
        return path.open("rb")
    except FileNotFoundError:
        raise SourceUnavailable(f"there is no file {path}", repair="check source.replay.path") from None
    except OSError as error:
        raise SourceRefused(
            f"the file {path} cannot be read ({error.strerror})", repair="check the path and its permissions"
        ) from None


def _identity(path: Path) -> str:
    with _opened(path) as file:
        for _ in range(_LINES_A_READ):
            first = file.readline(_IDENTITY_BYTES)
            if first.strip() or not first:
                break
        return f"replay:{hashlib.blake2b(first.strip(), digest_size=16).hexdigest()}"


def _anchor(last: bytes) -> str:
    """The size and a digest of the last bytes that were read: what must still stand before a position."""
    return f"{len(last)}:{hashlib.blake2b(last, digest_size=8).hexdigest()}"


def _check(path: Path, position: Position) -> int:
    """The number of the line before the position's byte, where the file still holds what was read before it."""
    if position.incarnation != _identity(path):
        raise PositionLost("another file stands under the name that was read before", repair=_REPAIR)
    end, number = _place(position)
    size_text = position.detail.partition(":")[0]
    size_bytes = int(size_text) if size_text.isdecimal() else 0
    with _opened(path) as file:
        file.seek(0, 2)
        if file.tell() < end:
            raise PositionLost("the file is shorter than what was read of it", repair=_REPAIR)
        file.seek(max(end - size_bytes, 0))
        last = file.read(min(size_bytes, _ANCHOR_BYTES))
        if size_bytes and _anchor(last) != position.detail:
            raise PositionLost("the file has changed where it was read before", repair=_REPAIR)
        following = file.read(1)
    if end == 0 or size_bytes == 0 or last.endswith(b"\n") or not following:
        return number
    if following not in {b"\n", b"\r"}:
        raise PositionLost("the line that ended the file when it was read has become longer", repair=_REPAIR)
    return number - 1  # the line's end has come since: it is read as a blank line and counted again


def _place(position: Position) -> tuple[int, int]:
    try:
        end, number = position.place[_STREAM]
    except (KeyError, ValueError):
        raise PositionLost("the stored position is not one of a replay", repair=_REPAIR) from None
    return end, number


class ReplaySource:
    """The file as a Source: each line is its own transaction; it ends where the file ends.

    The incarnation is made of the first line that is not blank, a position's detail of what stands just before it: so
    another file under the same name, or one rewritten where it was read, is PositionLost; one that has grown goes on.
    """

    def __init__(self, settings: ReplaySettings, capture: Capture, position: Position | None) -> None:
        self._settings: Final = settings
        self._reader: Final = DebeziumReader(capture, largest_record_bytes=settings.largest_line_bytes)
        self._position: Final = position
        self._lines: _Lines | None = None
        self._file: BinaryIO | None = None
        self._is_used = False

    async def __aenter__(self) -> Self:
        if self._is_used:
            raise RuntimeError("a source is single-use: open a new one from the stored position")
        self._is_used = True
        path, position = self._settings.path, self._position
        end = number = 0
        if position is not None:
            end = _place(position)[0]
            number = await self._in_thread(lambda: _check(path, position))
        self._file = await self._in_thread(lambda: _opened(path))
        self._lines = _Lines(self._file, start=end, number=number, largest_bytes=self._settings.largest_line_bytes)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._lines = None
        if self._file is not None:
            self._file.close()
            self._file = None

    async def identity(self) -> str:
        """`replay:` and a digest of the first line that is not blank (of its first 64 KiB)."""
        return await self._in_thread(lambda: _identity(self._settings.path))

    async def transactions(self) -> AsyncIterator[Transaction]:
        """One transaction for each line, then an empty one: all that the file held has been read."""
        lines, self._lines = self._lines, None
        if lines is None:
            raise RuntimeError("transactions() is read once, inside the source's context")
        incarnation = await self.identity()
        position = self._position or Position(incarnation, {_STREAM: (0, 0)})
        read_at = datetime.now(UTC)
        while block := await self._in_thread(lines.block):
            for line in block:
                record = _read_line(self._reader, line, self._settings.largest_line_bytes)
                position = Position(incarnation, {_STREAM: (line.end, line.number)}, line.anchor)
                yield Transaction((record,), position)
            read_at = datetime.now(UTC)
        yield Transaction((), position, seen_through=read_at)

    async def acknowledge(self, position: Position) -> None:
        """Nothing: a file keeps what it holds."""

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            async with asyncio.timeout(self._settings.read_timeout_s):
                return await asyncio.to_thread(work)
        except TimeoutError:
            raise SourceUnavailable(
                f"the file did not answer in {self._settings.read_timeout_s} s", repair="check the disk it stands on"
            ) from None
