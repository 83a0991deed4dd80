"""How long the properties search. KPR_SEARCH: default (a few seconds), ci (the same ones each time), thorough."""

import os

from hypothesis import HealthCheck, settings

# No deadline: two loaded cores say nothing about the code. Worlds are large, and that is meant.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("default", max_examples=50, **_ALWAYS)
settings.register_profile("ci", max_examples=50, derandomize=True, **_ALWAYS)
settings.register_profile("long", max_examples=400, **_ALWAYS)
settings.register_profile("thorough", max_examples=3_000, **_ALWAYS)
settings.load_profile(os.environ.get("KPR_SEARCH", "ci" if "CI" in os.environ else "default"))
