"""Run the demo in this process with everything recorded that passes the bus, and how the process calls itself.

Usage: python -m tests.e2e.recorded_demo RECORDINGS SECONDS SEED KEEP
"""

import sys
from contextlib import suppress
from pathlib import Path

from agent.demo import bus
from agent.demo.run import run_demo

MESSAGES, TITLES = "messages", "titles"


def main(recordings: Path, seconds: int, seed: int, keep: Path) -> int:
    """`RECORDINGS/messages/000001` and on: each message as its sender encoded it; `titles`: arguments and threads."""
    (recordings / MESSAGES).mkdir(parents=True)
    titles: set[bytes] = set()
    stored = 0
    store = bus.Bus.store

    def recording(self: bus.Bus, queue: str, raw: bytes) -> None:
        nonlocal stored
        stored += 1
        (recordings / MESSAGES / f"{stored:06d}").write_bytes(raw)
        titles.add(Path("/proc/self/cmdline").read_bytes())
        for thread in Path("/proc/self/task").glob("*/comm"):
            with suppress(OSError):  # a thread that has ended meanwhile
                titles.add(thread.read_bytes())
        store(self, queue, raw)

    bus.Bus.store = recording  # type: ignore[method-assign]  # the one way to see what the bus sees
    code = run_demo(seconds=seconds, seed=seed, keep=keep, as_json=False)
    (recordings / TITLES).write_bytes(b"\n".join(sorted(titles)))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
