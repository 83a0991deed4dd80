"""The command line. Each verb says what it does, what it needs and how it ends."""

# ruff: noqa: PLC0415 - each verb imports what it needs: a check must not wait for the bus's libraries

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.calling import (
    EXIT_CONFIGURATION,
    EXIT_SOFTWARE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    File,
    Files,
    Json,
    ask_ledger,
    fail,
    load_all,
    load_one,
    moment_of,
    needing_ledger,
    print_json,
    print_lines,
    tell_daemon,
)
from agent.cli_source import source_app

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

app.add_typer(source_app, name="source")


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
        print_json([one.as_json() for one in found])
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

    moment = moment_of(as_of)
    municipality = load_one(config)
    try:
        with progress() as told:
            summary = run_dry(municipality, changes, out, moment, told)
    except (OutputRefused, SourceError) as error:
        fail(f"{error} ({error.code})", EXIT_USAGE)
    except OfficialSchemasUnusable as error:
        fail(f"{error} ({error.code})", EXIT_CONFIGURATION)
    except MessageInvalid as error:
        fail(f"{error} ({error.code}): a fault of the program or its configuration", EXIT_SOFTWARE)
    if as_json:
        print_json(summary)
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

    loaded = load_all(files)
    found = [status_of(municipality) for municipality in loaded]
    if as_json:
        print_json(found)
    else:
        from agent.verbs.live_view import status_lines

        for line in status_lines(found):
            typer.echo(line)
    if any("error" in one for one in found):
        raise typer.Exit(EXIT_UNAVAILABLE)


@app.command()
def plan(file: File, as_json: Json = False) -> None:
    """Show what is owed and waits at the gate: counts by cause, with the keys of a few services. Changes nothing."""
    from agent.verbs.calls import read_plan

    with needing_ledger():
        found = read_plan(load_one(file))
    if as_json:
        print_json(found)
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
    answer = tell_daemon(file, {"verb": "apply"})
    if as_json:
        print_json(answer)
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
    answer = tell_daemon(file, {"verb": "resend", "message": message})
    if as_json:
        print_json(answer)
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
        found = ask_ledger(file, lambda tx: list_messages(tx, last=last))
    else:
        found = ask_ledger(file, lambda tx: reported_for(tx, service))
    print_lines(found, list(message_lines(found)), as_json=as_json)
    if service is not None and not found:
        fail("nothing was ever told of that service", 1)


@app.command()
def parked(file: File, as_json: Json = False) -> None:
    """Show what waits for a person (block) or by itself (hold): which service, which field, what to do.

    People mend the EPJ, not the message: an item leaves by itself when a later change mends it.
    """
    from agent.verbs.listing import waiting_for_people

    found = ask_ledger(file, waiting_for_people)
    lines = [f"{one['severity']:5} {one['rule']} since {one['since']}: {one['text']}" for one in found]
    print_lines(found, lines, as_json=as_json)


@app.command()
def receive(file: File) -> None:
    """Receive again after a message that was not ours stopped it: first move that message out of the queue."""
    answer = tell_daemon(file, {"verb": "receive"})
    if not answer.get("receiving"):
        fail(str(answer.get("error") or "nothing comes back from this bus"), 1)
    typer.echo("receiving again")


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
