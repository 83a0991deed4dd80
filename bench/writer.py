"""python -m bench.writer EPJ EVENTS EVENTS_PER_S: an EPJ at work. Prints when each commit returned, as JSON."""

import json
import sys
import time
from pathlib import Path

from agent.demo.epj import apply_step, open_sqlite
from bench.workload import one_event_steps


def main() -> None:
    """Commit at an even pace. A commit that was late does not put off those behind it."""
    path, events, per_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _, starts = one_event_steps(events)
    engine = open_sqlite(path)
    committed = []
    began = time.monotonic() + 0.2
    for number, step in enumerate(starts):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        apply_step(engine, step)
        committed.append(time.monotonic())
    print(json.dumps(committed))


if __name__ == "__main__":
    main()
