"""One recorded demo for all tests that look at what a demo leaves behind."""

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEMO_LIMIT_S = 115
"""A demo ends well under two minutes, on a slow machine too."""


@dataclass(frozen=True)
class KeptDemo:
    """A demo that was run with --keep: its folder, what it wrote, what passed its bus (tests/e2e/recorded_demo.py)."""

    folder: Path
    recordings: Path
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    code: int


@cache
def run_kept_demo(session_folder: Path) -> KeptDemo:
    """The demo of the session with that folder; the first caller waits for it."""
    folder, recordings = session_folder / "kept-demo", session_folder / "kept-demo-recordings"
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.recorded_demo", recordings, "8", "3", folder],
        cwd=ROOT, capture_output=True, timeout=DEMO_LIMIT_S, check=False,
    )  # fmt: skip
    return KeptDemo(folder, recordings, done.stdout, done.stderr, done.returncode)
