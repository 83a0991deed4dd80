"""A finding: what a rule has to say of one fact of one service, in words a caseworker understands."""

from dataclasses import dataclass, field
from enum import Enum


class Severity(Enum):
    BLOCK = "block"  # parked: a person must mend it
    HOLD = "hold"  # held: it waits by itself
    WARN = "warn"  # sent, or left out


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is a stable code (docs/rules.md); `service` the row's key as text, None for what belongs to no service.

    `text` says which service, which row and field, and what to do; it quotes no name and no identity number.
    """

    rule: str
    severity: Severity
    service: str | None
    text: str = field(compare=True)
