"""Every identity number, name and birth date of a demo's histories, and where bytes hold one of them.

A hit says where and of which kind, never the value: a failing test must not disclose what it found.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from agent.demo.epj import EpjPicture

_UUID = re.compile(rb"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHORT_DIGITS = re.compile(rb"(?<![0-9A-Za-z+/=])\d{6}(?![0-9A-Za-z+/=])")
_ENCODINGS = ("utf-8", "iso-8859-1", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Canaries:
    """`texts`: kind and the bytes to look for; `ddmmyy`: birth dates as six digits, looked for as whole words only."""

    texts: tuple[tuple[str, bytes], ...] = field(repr=False)
    ddmmyy: frozenset[bytes] = field(repr=False)

    @classmethod
    def of(cls, epj: EpjPicture, *, left_out: Sequence[str] = ()) -> "Canaries":
        """Those of every version of every person's row; `left_out`: names that are no secret of this demo."""
        rows = [row for versions in epj.earlier["bruker"].values() for row in versions]
        found: set[tuple[str, str]] = set()
        for row in rows:
            found |= {("an identity number", str(row["fnr"]))} if row["fnr"] else set()
            found |= {("a name", str(row[column])) for column in ("fornavn", "etternavn")}
        births = {row["fodselsdato"] for row in rows if isinstance(row["fodselsdato"], date)}
        for born in births:
            found |= {("a birth date", born.strftime(form)) for form in ("%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%d%m%Y")}
        found = {(kind, text) for kind, text in found if text not in left_out}
        encoded = {(kind, form) for kind, text in found for form in _forms(text)}
        return cls(tuple(sorted(encoded)), frozenset(born.strftime("%d%m%y").encode() for born in births))

    def hits(self, content: bytes, where: str) -> Iterator[str]:
        """One line for each kind that `content` holds."""
        kinds = {kind for kind, text in self.texts if text in content}
        words = _SHORT_DIGITS.findall(_UUID.sub(b"|", content))
        if any(word in self.ddmmyy for word in words):
            kinds.add("a birth date as ddmmyy")
        yield from (f"{where}: {kind}" for kind in sorted(kinds))

    def hits_in_folder(self, folder: Path, *, without: Sequence[str] = ()) -> Iterator[str]:
        """In every file below a folder and in the names of files and folders; `without`: files left out by name."""
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            yield from self.hits(name.encode(), "the name of a file")
            if path.is_file() and path.name not in without:
                yield from self.hits(path.read_bytes(), name)


def _forms(text: str) -> Iterator[bytes]:
    """As text is written in files, in logs and in JSON; identity numbers with a blank in the middle too."""
    written = {text, json.dumps(text)[1:-1], text.lower(), text.upper()}
    if len(text) == 11 and text.isdecimal():
        written |= {f"{text[:6]} {text[6:]}", f"{text[:6]}-{text[6:]}"}
    for one in written:
        for encoding in _ENCODINGS:
            yield one.encode(encoding)
