"""python -m bench.writer EPJ EVENTS EVENTS_PER_S: an EPJ at work. Prints when each commit returned, as JSON.

EPJ: a SQLite database, or a file with an SQLAlchemy URL.
"""

import json
import sys
import time
from pathlib import Path

from sqlalchemy import Engine, create_engine

from agent.demo.epj import apply_step, open_sqlite
from bench.workload import one_event_steps


def main() -> None:
    """Commit at an even pace. A commit that was late does not put off those behind it."""
    path, events, per_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _, starts = one_event_steps(events)
    engine = _open(path)
    committed = []
    began = time.monotonic() + 0.2
    for number, step in enumerate(starts):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        apply_step(engine, step)
        committed.append(time.monotonic())
    print(json.dumps(committed))


def _open(path: Path) -> Engine:
    with path.open("rb") as file:
        is_sqlite = file.read(6) == b"SQLite"
    return open_sqlite(path) if is_sqlite else create_engine(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
