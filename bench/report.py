"""Figures, and how they are written down: Markdown for people, JSON beside it. An aim is told, never enforced."""

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of a report. `value` in `unit`; `aim`: what we want, as text; `meets` None: there is no aim."""

    name: str
    value: float
    unit: str
    aim: str = ""
    meets: bool | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        number = f"{self.value:.0f}" if abs(self.value) >= 100 or self.value == int(self.value) else f"{self.value:.3g}"
        return f"{number} {self.unit}".strip()


@dataclass
class Section:
    """What one program measured. `lines`: plain text below the table (a profile)."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def at_most(self, name: str, value: float, unit: str, aim: float, note: str = "") -> None:
        self.figures.append(Figure(name, value, unit, f"<= {aim:g}", value <= aim, note))

    def at_least(self, name: str, value: float, unit: str, aim: float, note: str = "") -> None:
        self.figures.append(Figure(name, value, unit, f">= {aim:g}", value >= aim, note))

    def tell(self, name: str, value: float, unit: str, note: str = "") -> None:
        self.figures.append(Figure(name, value, unit, note=note))


def progress(text: str) -> None:
    """One line on standard error, at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def surroundings(command: str) -> dict[str, Any]:
    """What the figures depend on beside the program."""
    return {
        "command": command,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "load_before": [round(load, 1) for load in os.getloadavg()],
    }


def as_markdown(where: dict[str, Any], sections: Iterable[Section]) -> str:
    parts = [", ".join(f"{name}: {value}" for name, value in where.items()), ""]
    for section in sections:
        parts += [f"### {section.title}", "", "| figure | measured | aim | met | |", "|---|---|---|---|---|"]
        parts += [_row(figure) for figure in section.figures]
        parts.append("")
        if section.lines:
            parts += ["```", *section.lines, "```", ""]
    return "\n".join(parts)


def write(folder: Path, name: str, where: dict[str, Any], sections: Sequence[Section]) -> Path:
    """NAME.md and NAME.json in `folder`; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.md"
    page.write_text(as_markdown(where, sections) + "\n", encoding="utf-8")
    data = {"surroundings": where, "sections": [asdict(section) for section in sections]}
    page.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return page


def _row(figure: Figure) -> str:
    met = {True: "yes", False: "no", None: ""}[figure.meets]
    return f"| {figure.name} | {figure.shown} | {figure.aim} | {met} | {figure.note} |"
