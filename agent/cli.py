"""The command line. Each verb says what it does, what it needs and how it ends."""

# ruff: noqa: PLC0415 - each verb imports what it needs: a check must not wait for the bus's libraries

import asyncio
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer

EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70
EXIT_CONFIGURATION: Final = 78

app = typer.Typer(
    name="kpr-agent",
    help="Reports care services from a municipality's record system to the register KPR, as they change.\n\n"
    "Exit codes: 0 done, 1 something differs or was refused, 2 or 64 the call is wrong, 69 something is not available, "
    "70 a fault of the program, 78 the configuration is wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

source_app = typer.Typer(help="What a person decides about a source.", no_args_is_help=True)
app.add_typer(source_app, name="source")

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Municipality files (YAML).")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A municipality's file (YAML).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(
    files: Files,
    secrets: Annotated[
        bool,
        typer.Option("--files", help="Also look at keys, certificates and passwords: there, closed to others, valid."),
    ] = False,
) -> None:
    """Check municipality files and their mappings: every fault, with file, line, key and what to write instead.

    Also runs the mappings' own tests. Exit 0 when all are good, 78 otherwise. Touches nothing else.
    """
    from agent.verbs.check import check_all

    raise typer.Exit(check_all(files, look_at_files=secrets))


@app.command()
def doctor(files: Files, as_json: Json = False) -> None:
    """Look at each municipality as it stands: files, certificates, ledger, daemon, and the live source.

    Every line is an observation: good, WARN (it works, at a price) or FAULT (it cannot work, or soon will not), and
    what to do. Changes nothing; the daemon may run or not. Before the first start it shows what the source still
    lacks: see `source prepare`. Exit 0 without a FAULT, 1 with one, 69 when a ledger cannot be read, 78 when a file,
    or a file that it names, is wrong.
    """
    from agent.verbs.doctor import doctor as look
    from agent.verbs.doctor import exit_code, lines

    found = look(files)
    if as_json:
        _print_json([one.as_json() for one in found])
    else:
        for line in lines(found):
            typer.echo(line)
    raise typer.Exit(exit_code(found))


@app.command()
def run(
    files: Files,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to start when any file has a fault.")] = False,
) -> None:
    """Run the daemon for these municipalities, until SIGTERM. Logs are JSON lines on standard error.

    A file with faults is told and left out (see --strict). On a new ledger nothing goes out before `apply`.
    """
    from agent.app import run as run_app
    from agent.observe.logs import configure
    from agent.settings import load

    configure(sys.stderr)
    loaded = load(files, look_at_files=True)
    for fault in loaded.faults:
        typer.echo(str(fault), err=True)
    raise typer.Exit(asyncio.run(run_app(loaded, strict=strict)))


@app.command("dry-run")
def dry_run(
    config: Annotated[Path, typer.Option("--config", help="Any municipality's file; its source and bus are not used.")],
    changes: Annotated[Path, typer.Option("--changes", help="Change events, one a line (JSONL): docs/operations.md.")],
    out: Annotated[Path, typer.Option("--out", help="A new or empty folder for messages/ and summary.json.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE|TIME", help="What counts as now. A date means 00:00 in Norway."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run change events through every step, with no network, keys or ledger: plain messages and a summary out.

    Needs a municipality's file for its mapping and rules. Parked and unreadable input still exits 0: the summary
    names it. Exit 64 when DIR is not empty or the file of changes cannot be read.
    """
    from agent.dispatch.envelope import MessageInvalid
    from agent.dispatch.official_schemas import OfficialSchemasUnusable
    from agent.verbs.dry_run import OutputRefused
    from agent.verbs.dry_run import dry_run as run_dry
    from agent.verbs.live_view import progress
    from connectors.source import SourceError

    moment = _moment(as_of)
    municipality = _one(config)
    try:
        with progress() as told:
            summary = run_dry(municipality, changes, out, moment, told)
    except (OutputRefused, SourceError) as error:
        _fail(f"{error} ({error.code})", EXIT_USAGE)
    except OfficialSchemasUnusable as error:
        _fail(f"{error} ({error.code})", EXIT_CONFIGURATION)
    except MessageInvalid as error:
        _fail(f"{error} ({error.code}): a fault of the program or its configuration", EXIT_SOFTWARE)
    if as_json:
        _print_json(summary)
        return
    for name, value in summary.items():
        if isinstance(value, int):
            typer.echo(f"{name:20} {value}")
    typer.echo(f"{out}/summary.json has the findings and the gate; {out}/messages has the messages")


@app.command()
def status(files: Files, as_json: Json = False) -> None:
    """Show each municipality: position and lag, due, gated, waiting, sent, receipted, rejected, overdue, parked, held.

    Reads the ledgers; the daemon may run or not. Exit 69 when a ledger cannot be read.
    """
    from agent.verbs.status import status_of

    loaded = _load(files)
    found = [status_of(municipality) for municipality in loaded]
    if as_json:
        _print_json(found)
    else:
        from agent.verbs.live_view import status_lines

        for line in status_lines(found):
            typer.echo(line)
    if any("error" in one for one in found):
        raise typer.Exit(EXIT_UNAVAILABLE)


@app.command()
def plan(file: File, as_json: Json = False) -> None:
    """Show what is owed and waits at the gate: counts by cause, with the keys of a few services. Changes nothing."""
    from agent.ledger.errors import LedgerError
    from agent.verbs.calls import read_plan

    try:
        found = read_plan(_one(file))
    except LedgerError as error:
        _fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)
    if as_json:
        _print_json(found)
        return
    typer.echo(f"gate: {found['gate']}" + (f" ({found['detail']})" if found["detail"] else ""))
    typer.echo(f"{found['due']} services are due; {found['notifications']} notifications are owed")
    for line in found["owed"]:
        services = ", ".join(line["samples"])
        typer.echo(f"{line['count']:7} {line['event']} {line['status']}: {line['cause']} (services {services}, ...)")
    if found["gate"] != "open":
        typer.echo(f"To let them go: kpr-agent apply {file}")


@app.command()
def apply(file: File, as_json: Json = False) -> None:
    """Let what `plan` shows go out. What enters the chain cannot be called back: look at the plan first.

    Goes to the daemon, or takes the ledger's lock when no daemon runs. Exit 1 when the gate stays closed.
    """
    answer = _tell(file, {"verb": "apply"})
    if as_json:
        _print_json(answer)
    elif answer.get("applied"):
        typer.echo(f"applied: {answer['services']} services looked at, {answer['notifications']} notifications made")
    else:
        typer.echo(f"not applied: {answer.get('text') or answer.get('error')}", err=True)
    if not answer.get("applied"):
        raise typer.Exit(1)


@app.command()
def resend(
    file: File,
    message: Annotated[
        str | None, typer.Option("--message", metavar="ID", help="The MsgId to begin with; default: where it halted.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send again from a refused message on, in new envelopes with the same notifications, in order.

    Use it after the cause of a negative receipt is mended. Exit 1 when there is nothing that may be sent again.
    """
    answer = _tell(file, {"verb": "resend", "message": message})
    if as_json:
        _print_json(answer)
    elif "error" in answer:
        typer.echo(str(answer["error"]), err=True)
    else:
        for one in answer["reissued"]:
            numbers = f"notifications {one['first_number']} to {one['last_number']}"
            typer.echo(f"{one['old_msg_id']} goes again as {one['new_msg_id']} ({numbers})")
        for msg_id in answer["unanswered_before"]:
            typer.echo(f"{msg_id} stands before them and still waits for its receipt")
    if "error" in answer:
        raise typer.Exit(1)


@app.command()
def messages(
    file: File,
    service: Annotated[
        str | None, typer.Option("--service", metavar="KEY", help="All that was told of the service with this key.")
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many messages, where no service is named.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what was sent and what came back: the last messages, or the whole story of one service.

    Reads the ledger; the daemon may run or not. Exit 1 when nothing was ever told of that service.
    """
    from agent.verbs.listing import message_lines, reported_for
    from agent.verbs.listing import messages as list_messages

    if service is None:
        found = _look(file, lambda tx: list_messages(tx, last=last))
    else:
        found = _look(file, lambda tx: reported_for(tx, service))
    _print_lines(found, list(message_lines(found)), as_json=as_json)
    if service is not None and not found:
        _fail("nothing was ever told of that service", 1)


@app.command()
def parked(file: File, as_json: Json = False) -> None:
    """Show what waits for a person (block) or by itself (hold): which service, which field, what to do.

    People mend the EPJ, not the message: an item leaves by itself when a later change mends it.
    """
    from agent.verbs.listing import waiting_for_people

    found = _look(file, waiting_for_people)
    lines = [f"{one['severity']:5} {one['rule']} since {one['since']}: {one['text']}" for one in found]
    _print_lines(found, lines, as_json=as_json)


@app.command()
def receive(file: File) -> None:
    """Receive again after a message that was not ours stopped it: first move that message out of the queue."""
    answer = _tell(file, {"verb": "receive"})
    if not answer.get("receiving"):
        _fail(str(answer.get("error") or "nothing comes back from this bus"), 1)
    typer.echo("receiving again")


@source_app.command("prepare")
def source_prepare(
    file: File,
    do_apply: Annotated[bool, typer.Option("--apply", help="Run what is missing, instead of printing it.")] = False,
    role: Annotated[
        str, typer.Option("--role", metavar="NAME", help="The database's role for the agent.")
    ] = "kpr_agent",
    admin: Annotated[
        Path | None,
        typer.Option(
            "--connection-file",
            metavar="ADMIN",
            help="A file with the administrator's connection; else the agent's own.",
        ),
    ] = None,
    column_lists: Annotated[
        bool, typer.Option("--column-lists", help="Publish the mapped columns only; the statements say at what price.")
    ] = False,
    failover: Annotated[bool, typer.Option("--failover", help="A slot that standbys keep (PostgreSQL 17).")] = False,
    as_json: Json = False,
) -> None:
    """Show what the source's database lacks before the first start, as statements with what each is for.

    Give them to the database's administrator (the output goes into psql as it is), or run them with --apply. What is
    there already is left out. A role gets no password: the administrator sets it. Nothing is proposed that could break
    the EPJ's own writes: tables where it would are refused by name. Exit 1 when something is refused, 64 when --apply
    is not possible for this source, 69 when the database does not answer.
    """
    from agent.verbs import source_setup
    from connectors.preparation import Wishes
    from connectors.source import SourceError, SourceUnavailable

    municipality = _one(file)
    try:
        wishes = Wishes(role, column_lists, failover, source_setup.read_admin(admin))
        prepared = asyncio.run(source_setup.prepare(municipality, wishes, apply=do_apply))
    except source_setup.CannotPrepare as error:
        _fail(f"{error} ({error.code})", EXIT_USAGE)
    except SourceError as error:
        repair = f"\nto do: {error.repair}" if error.repair else ""
        _fail(f"{error} ({error.code}){repair}", EXIT_UNAVAILABLE if isinstance(error, SourceUnavailable) else 1)
    if as_json:
        _print_json(source_setup.as_json(prepared, applied=do_apply))
        return
    for line in source_setup.lines(prepared):
        typer.echo(line)
    if do_apply:
        typer.echo(f"-- applied: {prepared.count} statements")


@source_app.command("new-incarnation")
def new_incarnation(
    file: File,
    restored_to: Annotated[
        str | None,
        typer.Option("--restored-to", metavar="TIME", help="The moment of the backup, where the EPJ was restored."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accept that the source is another one now (restored, promoted, moved), and read it again from its beginning.

    Stop the daemon first. Reading goes on behind a closed gate: look at `plan` when it has caught up, then `apply`.
    Rows that do not come again stay as they are: `source vanished` lists them. With --restored-to, a key that was first
    told after that moment and comes again is another service's: what stands for it is annulled and the other one told
    anew. Exit 69 while a daemon runs.
    """
    from agent.ledger.errors import LedgerError
    from agent.verbs.calls import new_incarnation as accept

    moment = _moment(restored_to, option="--restored-to") if restored_to is not None else None
    try:
        accepted = accept(_one(file), restored_to=moment)
    except LedgerError as error:
        _fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)
    if as_json:
        _print_json({"kept": accepted.kept, "first_told_since": accepted.first_told_since})
        return
    for table, count in accepted.kept.items():
        typer.echo(f"{count:7} rows of {table} are kept until they are told again")
    for key in accepted.first_told_since:
        typer.echo(f"service {key} was first told after that moment: if its key comes again, it is another service's")
    if moment is None:
        typer.echo("if the EPJ was restored from a backup, say so before the start: --restored-to TIME")
    typer.echo(f"accepted: start the daemon, and look at `kpr-agent plan {file}` when it has caught up")


@source_app.command("confirm")
def source_confirm(file: File, as_json: Json = False) -> None:
    """Let a deletion through that stopped the source: a table emptied, or more rows at once than a normal day takes.

    `status` shows what waits. Confirm it only when the EPJ meant it; what it owes still meets the gate (`plan`).
    Exit 1 when nothing waits.
    """
    answer = _tell(file, {"verb": "confirm"})
    if as_json:
        _print_json(answer)
    elif answer.get("confirmed"):
        typer.echo(f"confirmed: {answer['text']}")
    else:
        typer.echo(str(answer.get("text") or answer.get("error")), err=True)
    if not answer.get("confirmed"):
        raise typer.Exit(1)


@source_app.command("vanished")
def source_vanished(
    file: File,
    delete: Annotated[bool, typer.Option("--delete", help="Treat them as deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Show the rows that the source's last whole reading did not tell, though they were told once.

    Wait until the source has caught up. With --delete they count as deleted: what is owed for it meets the gate.
    """
    from agent.ledger.errors import LedgerError
    from agent.verbs.calls import look_at_unit
    from agent.verbs.source_decisions import vanished

    try:
        found = look_at_unit(_one(file), vanished)
    except LedgerError as error:
        _fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)
    if delete:
        found |= _tell(file, {"verb": "vanished"})
    if as_json:
        _print_json(found)
        return
    if "error" in found:
        _fail(str(found["error"]), 1)
    for table, count in found["rows"].items():
        typer.echo(f"{count:7} rows of {table}{' are deleted now' if delete else ''}")
    for key in found["services"]:
        typer.echo(f"        service {key}")
    if not found["rows"]:
        typer.echo("every kept row was told again")


@app.command()
def demo(
    seconds: Annotated[int, typer.Option("--seconds", min=5, max=3600, help="How long to run.")] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other histories.")] = 1,
    keep: Annotated[Path | None, typer.Option("--keep", help="A new folder to keep everything in.")] = None,
    source: Annotated[
        str,
        typer.Option("--source", metavar="KIND", help="embedded, or a real one: postgres, kafka, query (a checkout)."),
    ] = "embedded",
    as_json: Json = False,
) -> None:
    """Run the whole thing here, with nothing but Python: an EPJ, a bus and a register are embedded.

    With --source the EPJ lives in a real PostgreSQL and is read from its log (postgres), through Debezium, Kafka
    Connect and Kafka (kafka), or by SELECT alone (query). The project's scripts install and start the servers on
    127.0.0.1, and stop those that did not run before. Ends with what the EPJ says beside what the register holds.
    Exit 1 when they differ, 69 when a server is not to be had.
    """
    from agent.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, seed=seed, keep=keep, as_json=as_json, source=source))


def main() -> None:
    """The entry point."""
    try:
        app()
    except SystemExit as end:
        # Typer's own code for a wrong call is 2; no verb of ours ends with it.
        raise SystemExit(EXIT_USAGE if end.code == 2 else end.code) from None


def _load(files: list[Path]) -> Any:
    from agent.settings import load

    loaded = load(files)
    for fault in loaded.faults:
        typer.echo(str(fault), err=True)
    if not loaded.municipalities:
        raise typer.Exit(EXIT_CONFIGURATION)
    return loaded.municipalities


def _one(file: Path) -> Any:
    return _load([file])[0]


def _look(file: Path, ask_for: Any) -> Any:
    """What the ledger answers to a function over one of its transactions."""
    from agent.ledger.errors import LedgerError
    from agent.verbs.calls import look

    try:
        return look(_one(file), ask_for)
    except LedgerError as error:
        _fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)


def _print_lines(found: Any, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        _print_json(found)
    for line in () if as_json else lines:
        typer.echo(line)


def _tell(file: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the daemon; without one, do it here under the ledger's lock."""
    from agent.ledger.errors import LedgerError
    from agent.verbs.calls import tell

    try:
        return tell(_one(file), request)
    except LedgerError as error:
        _fail(f"{error} ({error.code})", EXIT_UNAVAILABLE)


def _moment(text: str | None, *, option: str = "--as-of") -> datetime:
    """A moment that a person wrote: a date is its beginning in Norway, a time without a zone is Norway's; else now."""
    from agent.unit import NORWAY, midnight

    if text is None:
        return datetime.now(NORWAY)
    try:
        if len(text) == len("YYYY-MM-DD"):
            return midnight(date.fromisoformat(text))
        moment = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"{option} takes a date (2026-11-22) or a time (2026-11-22T12:00:00+01:00), not {text!r}", EXIT_USAGE)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=NORWAY)


def _print_json(value: Any) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(code)
