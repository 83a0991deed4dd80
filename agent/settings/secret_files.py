"""The files that settings name: are they there, can they be read, and are the secret ones kept from others?"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from agent.settings.faults import Place

_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""What a secret's mode must not have. A group may read: so mounted Kubernetes secrets come."""

_NOT_SECRET: Final = ("certificate", "ca_file", "user_file", "sqlite_file")


def unusable(settings: BaseModel) -> Iterator[tuple[Place, str]]:
    """Every file named by a key that ends in `_file` or `_files` that cannot be used, with what to do."""
    for place, path in _files(settings, ()):
        problem = _problem(path, secret=not any(word in str(_key(place)) for word in _NOT_SECRET))
        if problem is not None:
            yield place, problem


def _files(value: Any, place: Place) -> Iterator[tuple[Place, Path]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _files(getattr(value, name), (*place, field.alias or name))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _files(item, (*place, index))
    elif isinstance(value, Path) and str(_key(place)).endswith(("_file", "_files")):
        yield place, value


def _key(place: Place) -> object:
    return next((part for part in reversed(place) if isinstance(part, str)), "")


def _problem(path: Path, *, secret: bool) -> str | None:
    # Never opened: closing any handle of a SQLite file drops the locks that this process holds on it.
    try:
        found = path.stat()
    except OSError as error:
        return _unreadable(error.errno)
    if not stat.S_ISREG(found.st_mode):
        return "this is not a file"
    if not os.access(path, os.R_OK):
        return _unreadable(errno.EACCES)
    if found.st_size == 0:
        return "the file is empty"
    if secret and found.st_mode & _OTHERS:
        return f"others may read or change this secret (mode {stat.S_IMODE(found.st_mode):04o}): chmod 0400 it"
    return None


def _unreadable(number: int | None) -> str:
    why = os.strerror(number or errno.EIO)
    return f"the file cannot be read ({why}): put it there, readable by the user that runs kpr-agent"
