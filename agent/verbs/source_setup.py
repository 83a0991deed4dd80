"""`kpr-agent source prepare`: what the source's database needs before the first start, printed or run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.composition import wanted
from agent.settings import Municipality
from connectors.catalog import plan_source
from connectors.preparation import Prepared, Wishes


class CannotPrepare(Exception):
    """The call asks for what cannot be done. The text says what can."""

    code = "KPR-707"


async def prepare(municipality: Municipality, wishes: Wishes, *, apply: bool = False) -> Prepared:
    """What is missing; with `apply` it has been run. Raises SourceError; CannotPrepare where only others can run it."""
    prepared = await plan_source(municipality.settings.source.chosen, wanted(municipality), wishes)
    if not apply:
        return prepared
    if prepared.run is None:
        raise CannotPrepare(
            "this source's database is prepared by its administrator: leave out --apply to see what it needs"
        )
    if prepared.statements:
        await prepared.run()
    return prepared


def read_admin(file: Path | None) -> str | None:
    """The administrator's connection string in a file. Raises CannotPrepare, which quotes nothing of it."""
    if file is None:
        return None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotPrepare(f"--connection-file {file} cannot be read ({type(error).__name__})") from None
    if not text:
        raise CannotPrepare(f"--connection-file {file} is empty: write one connection string into it")
    return text


def lines(prepared: Prepared) -> Iterator[str]:
    """The statements as a database's own shell reads them, what each is for in comments above it."""
    for sentence in prepared.advice.splitlines():
        yield f"-- {sentence}".rstrip()
    for statement in prepared.statements:
        yield ""
        for line in statement.why.splitlines():
            yield f"-- {line}"
        yield statement.text
    if not prepared.statements and not prepared.advice:
        yield "-- nothing is missing"


def as_json(prepared: Prepared, *, applied: bool) -> dict[str, Any]:
    """Plain data."""
    return {
        "applied": applied,
        "advice": prepared.advice,
        "statements": [{"text": statement.text, "why": statement.why} for statement in prepared.statements],
    }
