"""What a person sees of a demo: a live table on a terminal, plain lines without one. Only counts, never a row."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_PLAIN_EVERY_S: Final = 2.0
_LAST_NOTES: Final = 6


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The demo at a moment. `status`: as `kpr-agent status --json` gives it; empty before the agent has a ledger.

    elapsed_s of seconds; changes: transactions that the EPJ has had; notes: what the last ones were;
    on_the_way: messages in the register's queue; accepted, refused: the register's answers.
    """

    elapsed_s: float
    seconds: int
    changes: int
    notes: tuple[str, ...]
    status: Mapping[str, Any]
    on_the_way: int
    accepted: int
    refused: int

    def rows(self) -> Iterator[tuple[str, str]]:
        """Who and what, as two columns."""
        status = self.status
        yield "EPJ", f"{self.changes} transactions"
        if "due" in status:
            lag = status["lag_s"]
            yield (
                "agent",
                (
                    f"gate {status['gate'].partition(':')[0]}, lag {'-' if lag is None else f'{lag:.1f} s'}, "
                    f"due {status['due']}, parked {status['parked']}, held {status['held']}"
                ),
            )
            yield "chain", f"{status['notifications']} notifications"
            yield (
                "messages",
                (
                    f"waiting {status['waiting']}, sent {status['sent']}, receipted {status['receipted']}, "
                    f"rejected {status['rejected']}"
                ),
            )
        yield "bus", f"{self.on_the_way} on the way"
        yield "register", f"{self.accepted} taken, {self.refused} refused"


class View(Protocol):
    """Where a demo shows itself."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """The demo as it is now."""
        ...


@contextmanager
def open_view(*, on_stderr: bool) -> Iterator[View]:
    """A live view on a terminal, else plain lines; on standard error where standard output is for JSON."""
    console = Console(stderr=on_stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield PlainView(console)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield LiveView(live)


class PlainView:
    """Lines, for a file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at = float("-inf")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """A line every few seconds."""
        now = time.monotonic()
        if now - self._shown_at < _PLAIN_EVERY_S:
            return
        self._shown_at = now
        parts = "; ".join(f"{who}: {what}" for who, what in snapshot.rows())
        self.say(f"{snapshot.elapsed_s:5.1f} s  {parts}")


class LiveView:
    """A table that is drawn again and again, below the lines that were said."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._notes: deque[str] = deque(maxlen=_LAST_NOTES)

    def say(self, text: str) -> None:
        """A line that stays, above the table."""
        self._live.console.print(text, markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw the table anew."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for who, what in snapshot.rows():
            table.add_row(Text(who, style="bold"), what)
        title = Text(f"{snapshot.elapsed_s:.0f} of {snapshot.seconds} s", style="dim")
        notes = [Text(f"EPJ: {note}", style="dim") for note in snapshot.notes[-_LAST_NOTES:]]
        self._live.update(Group(title, table, *notes))
