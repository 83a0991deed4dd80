"""What the EPJ does in a benchmark: the demo's histories, or steps that owe exactly one event each."""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import islice

from agent.demo.expected import DEMO_SERVICE_TYPES
from agent.demo.histories import Histories
from agent.demo.step import Row, Step
from agent.unit import NORWAY

SEED = 9
CUT_OFF = date(2021, 1, 1)


def today() -> date:
    return datetime.now(NORWAY).date()


def histories(services: int, *, bad_share: float = 0.05) -> list[Step]:
    """Lifelike histories with corrections and some bad data, in order of time."""
    return Histories(SEED, services, today(), bad_share=bad_share).steps()


def one_event_steps(count: int) -> tuple[Sequence[Step], Sequence[Step]]:
    """The people and units that are referred to, which owe nothing, and `count` services that each owe one start."""
    steps = histories(count * 3, bad_share=0.0)
    referred = [step for step in steps if step.changes[0].table in ("bruker", "enhet")]
    starts = (step for step in steps if step.note == "a service is registered" and _owes_one(step.changes[0].row))
    found = list(islice(starts, count))
    if len(found) < count:
        raise ValueError(f"only {len(found)} of {count} histories begin with a start that is owed today")
    return referred, found


def _owes_one(row: Row | None) -> bool:
    if row is None or row["slutt_dato"] is not None or row["enhet_id"] is None:
        return False
    start = row["start_dato"]
    reported = DEMO_SERVICE_TYPES.get(str(row["lokal_type"])) is not None
    return reported and isinstance(start, date) and CUT_OFF <= start < today()
