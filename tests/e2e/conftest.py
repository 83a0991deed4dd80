"""The fixtures of whole runs."""

from tests.e2e.report import report, whole_runs

__all__ = ["report", "whole_runs"]
