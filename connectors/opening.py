"""How a source stands, seen by opening it as the agent would and reading once: for those that say no more.

Only for sources that reading does not change: nothing is acknowledged, and no other reader is disturbed.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final, cast

from connectors.inspection import Observation, Verdict
from connectors.source import Position, Source, SourceError, Transaction, Unreadable

LONGEST_LOOK_S: Final = 60.0

_ANOTHER: Final = (
    "find out whether the database was restored, promoted or exchanged before anything else: "
    "then follow 'A position is lost' in docs/operations.md"
)


async def inspect_by_opening(
    open_it: Callable[[], Source], position: Position | None, *, longest_s: float = LONGEST_LOOK_S
) -> tuple[Observation, ...]:
    """What opening, identity and the first transaction tell, against the stored position; errors as faults.

    Takes `longest_s` seconds at most, and as long again to leave a source that hangs. Never raises a SourceError.
    """
    seen: list[Observation] = []
    try:
        async with asyncio.timeout(longest_s):
            async with open_it() as source:
                seen.append(_identity(await source.identity(), position))
                seen.append(_first(await _read_once(source)))
    except SourceError as error:
        seen.append(fault_of(error))
    except TimeoutError:
        seen.append(
            Observation(
                Verdict.FAULT,
                "source",
                f"the source did not answer within {longest_s:.0f} s",
                "look whether its server answers at all, and what lies between",
            )
        )
    return tuple(seen)


def fault_of(error: SourceError, subject: str = "source") -> Observation:
    """The fault that an error is, with its code and its repair."""
    return Observation(Verdict.FAULT, subject, f"{error} ({error.code})", error.repair)


async def _read_once(source: Source) -> Transaction | None:
    """The first transaction; None where the source has an end and is at it."""
    transactions = cast("Any", source.transactions())  # every source's is a generator, which leaving closes
    async with aclosing(transactions):
        first: Transaction | None = await anext(transactions, None)
        return first


def _identity(incarnation: str, position: Position | None) -> Observation:
    if position is None:
        return Observation(Verdict.GOOD, "identity", f"{incarnation}; no stored position to hold against it")
    if position.incarnation != incarnation:
        text = f"{incarnation} answers, and the stored position is of {position.incarnation}"
        return Observation(Verdict.FAULT, "identity", text, _ANOTHER)
    return Observation(Verdict.GOOD, "identity", f"{incarnation}, the one that the stored position is of")


def _first(transaction: Transaction | None) -> Observation:
    if transaction is None:
        return Observation(Verdict.GOOD, "reading", "it can be read and is at its end")
    unreadable = sum(isinstance(record, Unreadable) for record in transaction.records)
    if unreadable:
        text = f"{unreadable} of the next {len(transaction.records)} records cannot be understood"
        return Observation(Verdict.WARNING, "reading", text, "look at them with the EPJ's vendor: they are kept aside")
    if transaction.scan is not None:
        return Observation(Verdict.GOOD, "reading", "it can be read: whole tables are next, row by row")
    what = f"{len(transaction.records)} records are next" if transaction.records else "nothing new waits"
    return Observation(Verdict.GOOD, "reading", f"it can be read from the stored position: {what}")
