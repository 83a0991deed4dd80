"""Certificates for tests: RSA 2048, made once for each name and use in a test session."""

from datetime import UTC, datetime
from functools import cache

from agent.demo.certificates import Issued, Usage, issue, make_authority

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
"""When tests of protection take place. Certificates are valid from the day before and for a year."""


@cache
def authority() -> Issued:
    return make_authority("Test authority", at=NOW, days=365, key_bits=2048)


@cache
def make_identity(common_name: str, usage: Usage) -> Issued:
    """The certificate of that name and use, with a key of its own; the same one at every call."""
    return issue(authority(), common_name, usage, at=NOW, days=365, key_bits=2048)


def make_variant(original: Issued, common_name: str, usage: Usage, *, days: int = 365) -> Issued:
    """Another certificate for the key of `original`: quick to make. A negative `days` makes it expired."""
    return issue(authority(), common_name, usage, at=NOW, days=days, key=original.private_key)
