"""A fault in a configuration file: where it is and what to write instead. Quotes nothing that may be a person's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Part = str | int
Place = tuple[Part, ...]
"""A path of keys and list indexes from the root of a file."""

_ECHO_LIMIT: Final = 24
_MANY_DIGITS: Final = re.compile(r"\d{5,}")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """`file` as it was named on the command line; `line` counts from 1; `key` is a dotted path, "" for the file."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.key}: {self.text}" if self.key else f"{where}{self.text}"


def fault(file: Path | str, line: int, place: Sequence[Part], text: str) -> Fault:
    """A fault at a place, its key path written out."""
    return Fault(str(file), line, dotted(place), text)


def dotted(place: Sequence[Part]) -> str:
    """`contacts[0].email`; a key that holds a long number or an address is not shown."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            hidden = "@" in part or _MANY_DIGITS.search(part)
            text += ("." if text else "") + ("(not shown)" if hidden else part)
    return text


def may_be_shown(text: str) -> bool:
    """Whether a value may stand in a fault: short, and without five digits in a row, which may be of a person."""
    return len(text) <= _ECHO_LIMIT and not _MANY_DIGITS.search(text) and "@" not in text and "\n" not in text


def quoted_form(text: str) -> str:
    """How to write `text` as text: in double quotes, or the words for that where it may not be shown."""
    return f'write "{text}", in double quotes' if may_be_shown(text) else "put the value in double quotes"
