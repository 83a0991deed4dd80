"""`kpr-agent source`: what is prepared for a source, and what a person decides about it."""

# ruff: noqa: PLC0415 - each verb imports what it needs

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.calling import (
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    File,
    Json,
    fail,
    load_one,
    moment_of,
    needing_ledger,
    print_json,
    tell_daemon,
)

source_app = typer.Typer(help="Prepare a source, and decide about it.", no_args_is_help=True)


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

    municipality = load_one(file)
    try:
        wishes = Wishes(role, column_lists, failover, source_setup.read_admin(admin))
        prepared = asyncio.run(source_setup.prepare(municipality, wishes, apply=do_apply))
    except source_setup.CannotPrepare as error:
        fail(f"{error} ({error.code})", EXIT_USAGE)
    except SourceError as error:
        repair = f"\nto do: {error.repair}" if error.repair else ""
        fail(f"{error} ({error.code}){repair}", EXIT_UNAVAILABLE if isinstance(error, SourceUnavailable) else 1)
    if as_json:
        print_json(source_setup.as_json(prepared, applied=do_apply))
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
    from agent.verbs.calls import new_incarnation as accept

    moment = moment_of(restored_to, option="--restored-to") if restored_to is not None else None
    with needing_ledger():
        accepted = accept(load_one(file), restored_to=moment)
    if as_json:
        print_json({"kept": accepted.kept, "first_told_since": accepted.first_told_since})
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
    answer = tell_daemon(file, {"verb": "confirm"})
    if as_json:
        print_json(answer)
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
    from agent.verbs.calls import look_at_unit
    from agent.verbs.source_decisions import vanished

    with needing_ledger():
        found = look_at_unit(load_one(file), vanished)
    if delete:
        found |= tell_daemon(file, {"verb": "vanished"})
    if as_json:
        print_json(found)
        return
    if "error" in found:
        fail(str(found["error"]), 1)
    for table, count in found["rows"].items():
        typer.echo(f"{count:7} rows of {table}{' are deleted now' if delete else ''}")
    for key in found["services"]:
        typer.echo(f"        service {key}")
    if not found["rows"]:
        typer.echo("every kept row was told again")
