"""The fixtures of whole runs; what their stage asserts is explained as in a test."""

import pytest

pytest.register_assert_rewrite("tests.e2e.daemon", "tests.e2e.stage", "tests.e2e.sources_stage")

from tests.e2e.report import report, whole_runs  # noqa: E402 - after the registration, or it comes too late

__all__ = ["report", "whole_runs"]
