"""A Sender that writes each message to a file: for dry runs, and for looking at what would go out."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field

from connectors.section import ConnectorSection, FilePath
from connectors.sender import Outcome, Outgoing, SenderRefused, SenderUnavailable, Verdict


class FolderSettings(ConnectorSection):
    """Where the files go."""

    path: FilePath = Field(
        description="The directory to write to, one file a message. It is made when missing, and closed to everybody "
        "but its owner."
    )


class FolderSender:
    """Writes `Outgoing.body` to `Outgoing.file_name`, or to the message id where there is none.

    A file is there whole or not at all, readable by its owner only. The same name again replaces the file. Writing
    blocks the event loop for as long as the disk takes, which for a dry run's own disk is less than a thread's start.
    """

    def __init__(self, settings: FolderSettings) -> None:
        self._path = settings.path
        self._open = False

    async def __aenter__(self) -> Self:
        try:
            _make_private(self._path)
        except PermissionError as error:
            raise SenderRefused(f"cannot make {self._path} private: {error.strerror}") from None
        except OSError as error:
            raise SenderUnavailable(f"cannot use {self._path}: {error.strerror}") from None
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False

    async def send(self, outgoing: Outgoing) -> Outcome:
        if not self._open:
            return Outcome(Verdict.UNAVAILABLE, text="the sender is not open")
        name = outgoing.file_name or outgoing.message_id
        if not _is_plain_name(name):
            return Outcome(Verdict.IMPOSSIBLE, "folder:name-refused", "a file name must be one plain name")
        try:
            _write_whole(self._path, name, outgoing.body)
        except OSError as error:
            return Outcome(Verdict.UNAVAILABLE, "folder:not-written", error.strerror or type(error).__name__)
        return Outcome(Verdict.ACCEPTED)


def _is_plain_name(name: str) -> bool:
    """No path, nothing hidden (a file half written is), nothing that a file system cuts short."""
    return bool(name) and not name.startswith(".") and not any(mark in name for mark in "/\\\0")


def _make_private(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


def _write_whole(directory: Path, name: str, body: bytes) -> None:
    part = directory / f".{name}.part"
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body)
        part.replace(directory / name)
    except OSError:
        part.unlink(missing_ok=True)
        raise
