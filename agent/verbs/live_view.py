"""What a person sees while they wait: progress on a terminal, plain lines without one; the status as lines."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

_PERCENT_A_LINE: Final = 25
_COLUMNS: Final = ("due", "waiting", "sent", "receipted", "rejected", "overdue", "parked", "held")


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function to call with what is being done, how much is done and how much there is; shown on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    bar = Progress(TextColumn("{task.description:18}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
                   console=console)  # fmt: skip
    tasks: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    with bar:
        yield tell


def _plain_lines() -> Callable[[str, int, int], None]:
    told: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        percent = 100 if done >= total else done * 100 // total
        step = percent - percent % _PERCENT_A_LINE
        if step > told.get(what, -1):
            told[what] = step
            sys.stderr.write(f"{what}: {percent} %\n")

    return tell


def status_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """The status as aligned lines: a heading, a line for each municipality, and below them what stands in its way."""
    rows: list[tuple[str, ...]] = [("municipality", "lag", *_COLUMNS)]
    below: list[str] = []
    for one in found:
        name = str(one["municipality"])
        if "error" in one:
            rows.append((name, *("-" for _ in range(len(_COLUMNS) + 1))))
            below.append(f"{name}: {one['error']} ({one['code']})")
            continue
        lag = "-" if one["lag_s"] is None else f"{one['lag_s']:.0f} s"
        rows.append((name, lag, *(str(one[column]) for column in _COLUMNS)))
        if one["gate"] != "open":
            below.append(f"{name}: the gate is closed: {one['gate']} (kpr-agent plan, then apply)")
        if one["held_deletion"]:
            below.append(f"{name}: reading waits: {one['held_deletion']} (kpr-agent source confirm, or mend the EPJ)")
        elif one["source_trouble"]:
            below.append(f"{name}: reading stands still: {one['source_trouble']}")
        if one["halted"]:
            below.append(f"{name}: sending has halted at a refused message (mend the cause, then kpr-agent resend)")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines + below
