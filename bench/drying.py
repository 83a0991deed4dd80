"""Dry run: changes a second from a file of change events to messages and a summary, and where the time goes."""

import cProfile
import io
import json
import pstats
import subprocess
import time
from datetime import datetime
from pathlib import Path
from statistics import median

import yaml

from agent.demo.debezium_lines import as_lines
from agent.demo.world import Places, write_municipality
from agent.settings import load
from agent.unit import NORWAY
from agent.verbs.dry_run import dry_run
from bench.daemon import PROGRAM
from bench.report import Section, progress
from bench.workload import histories, today

_TOP = 30


def measure(folder: Path, *, services: int, rounds: int) -> Section:
    """The command as a user calls it, from its start to its end; then its function once more under a profile."""
    folder = folder / "dry-run"
    folder.mkdir()
    config = _config(folder)
    changes = folder / "changes.jsonl"
    changes.write_text("\n".join(as_lines(histories(services))) + "\n", encoding="utf-8")
    taken, summary = [], {}
    for number in range(rounds):
        out = folder / f"out-{number}"
        command = [PROGRAM, "dry-run", "--config", config, "--changes", changes, "--out", out, "--as-of", str(today())]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
        summary = json.loads((out / "summary.json").read_text())
    seconds = median(taken)
    progress(f"dry run: {summary['changes']} changes in {seconds:.1f} s")
    section = Section("Dry run")
    what = f"{summary['changes']} changes of {services} histories, {summary['messages']} messages written and checked"
    section.tell("changes/s", summary["changes"] / seconds, "changes/s", f"the whole command; {what}")
    section.tell("10,000 changes", 10_000 * seconds / summary["changes"], "s", "seconds, says the issue")
    section.lines = _profile(folder, config, changes)
    return section


def _config(folder: Path) -> Path:
    """The demo's municipality, told how numbers stand for dates in change events."""
    file = write_municipality(Places(folder), 5671)
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["source"]["encodings"] = {"date": "days", "timestamp": "microseconds"}
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def _profile(folder: Path, config: Path, changes: Path) -> list[str]:
    """The functions in which the most time is spent, their callees' left out."""
    municipality = load([config]).municipalities[0]
    as_of = datetime.combine(today(), datetime.min.time(), NORWAY)
    profile = cProfile.Profile()
    profile.runcall(dry_run, municipality, changes, folder / "out-profile", as_of)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(_TOP)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()][: _TOP + 4]
