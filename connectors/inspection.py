"""What an operator is told of a live source: statements that prepare it, and observations of how it stands.

A connector that can be prepared or looked at gives these; `kpr-agent source prepare` and `kpr-agent doctor` show them.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement for the database, and what it is for, in a sentence. It holds no secret."""

    text: str
    why: str


class Verdict(Enum):
    """How one thing stands. FAULT: the source cannot work, or soon will not. WARNING: it works, at a price."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was looked at: `subject` in a word or two, what was found, and what a person does about it."""

    verdict: Verdict
    subject: str
    text: str
    repair: str = ""
