"""COPY's text form: one line of `COPY ... TO STDOUT` -> the columns' values in PostgreSQL's text form.

PostgreSQL's documentation, COPY, "Text Format": tabs between columns, a backslash before what would be read wrongly,
backslash N for NULL.
"""

import re
from collections.abc import Mapping
from typing import Final

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANINGS: Final[Mapping[bytes, bytes]] = {
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


def split_line(line: bytes) -> tuple[bytes | None, ...]:
    """One value for each column; None is NULL. `line` ends in a newline."""
    return tuple(_value(field) for field in line.removesuffix(b"\n").split(b"\t"))


def _value(field: bytes) -> bytes | None:
    if field == rb"\N":
        return None
    if b"\\" not in field:
        return field
    return _ESCAPED.sub(lambda found: _MEANINGS.get(found[1], found[1]), field)
