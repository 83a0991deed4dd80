"""Counts of whole runs, shown at the end of pytest's output: a result without its size is worth little."""

from time import monotonic
from typing import Any

import pytest

from tests.e2e.stage import Stage


class Report:
    """One line of counts for each run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._began_at = monotonic()

    def begin(self) -> None:
        self._began_at = monotonic()

    def add(self, stage: Stage, status: dict[str, Any], broker: str, more: str = "") -> None:
        """Remember a run that has ended as it should."""
        setting, counts = stage.setting, status["counts"]
        at = f"addresses {setting.addresses}, window {setting.window}, max_notifications {setting.max_notifications}"
        ends = ", ".join(f"{counts.get(end, 0)} {end}" for end in ("reported", "parked", "held", "nothing_to_report"))
        sent = f"{status['notifications']} notifications in {status['messages']['receipted']} messages, all receipted"
        parts = [
            f"{broker}, {at}",
            f"{setting.services} histories, {counts['lines']} lines: {ends}",
            f"{sent}, {stage.register.again} sent again",
            f"{status['standing']} services stand, {status['parked']} with something parked, {status['held']} held",
            f"{monotonic() - self._began_at:.0f} s",
        ]
        self.lines.append("; ".join([*parts, more] if more else parts))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("whole runs")
            for line in self.lines:
                terminalreporter.line(line)


@pytest.fixture(scope="session")
def whole_runs(pytestconfig: pytest.Config) -> Report:
    made = Report()
    pytestconfig.pluginmanager.register(made, "whole-runs")
    return made


@pytest.fixture
def report(whole_runs: Report) -> Report:
    """Give it each run that has ended as it should; the time counts from the test's beginning."""
    whole_runs.begin()
    return whole_runs
