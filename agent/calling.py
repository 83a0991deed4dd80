"""How verbs are called: their arguments and exit codes, the files they load, what they print and how they fail."""

# ruff: noqa: PLC0415 - a verb that needs no ledger or settings must not wait for them

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer

EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70
EXIT_CONFIGURATION: Final = 78

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Municipality files (YAML).")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A municipality's file (YAML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_all(files: list[Path]) -> Any:
    """The municipalities of these files; faults go to standard error. Exits with 78 when none is left."""
    from agent.settings import load as load_files

    loaded = load_files(files)
    for fault in loaded.faults:
        typer.echo(str(fault), err=True)
    if not loaded.municipalities:
        raise typer.Exit(EXIT_CONFIGURATION)
    return loaded.municipalities


def load_one(file: Path) -> Any:
    """The municipality of one file, or exit 78."""
    return load_all([file])[0]


@contextmanager
def needing_ledger() -> Iterator[None]:
    """A ledger that cannot be read or written inside ends the verb: exit 69."""
    from agent.ledger.errors import LedgerError

    try:
        yield
    except LedgerError as error:
        fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)


def ask_ledger(file: Path, ask_for: Any) -> Any:
    """What the ledger answers to a function over one of its transactions, or exit 69."""
    from agent.verbs.calls import look as look_at

    with needing_ledger():
        return look_at(load_one(file), ask_for)


def print_lines(found: Any, lines: list[str], *, as_json: bool) -> None:
    """What was found as JSON, or as lines for people."""
    if as_json:
        print_json(found)
    for line in () if as_json else lines:
        typer.echo(line)


def tell_daemon(file: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What the daemon answers; without one, what is done here under the ledger's lock. Exit 69 without a ledger."""
    from agent.verbs.calls import tell as ask

    with needing_ledger():
        return ask(load_one(file), request)


def moment_of(text: str | None, *, option: str = "--as-of") -> datetime:
    """A moment that a person wrote: a date is its beginning in Norway, a time without a zone is Norway's; else now."""
    from agent.unit import NORWAY, midnight

    if text is None:
        return datetime.now(NORWAY)
    try:
        if len(text) == len("YYYY-MM-DD"):
            return midnight(date.fromisoformat(text))
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} takes a date (2026-11-22) or a time (2026-11-22T12:00:00+01:00), not {text!r}", EXIT_USAGE)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=NORWAY)


def print_json(value: Any) -> None:
    """On standard output, indented."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def fail(text: str, code: int) -> NoReturn:
    """Say why on standard error, and end with that exit code."""
    typer.echo(text, err=True)
    raise typer.Exit(code)
