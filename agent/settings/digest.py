"""The digest of everything that decides what is owed: when it changes, the gate closes until a person has seen why."""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final

from agent.domain.mapping import EpjMapping
from agent.settings.municipality import MunicipalitySettings

_ONLY_TIMING: Final = {"settle", "missing_row_alarm"}
"""Rules that say when something is looked at, never what is owed."""


def digest(settings: MunicipalitySettings, mapping: EpjMapping) -> str:
    """A SHA-256 in hex over mapping, rules, service types and the unit's share of the database.

    The same whatever the order in the files, and whether a default is written out or left out.
    """
    decides = {
        "mapping": mapping,
        "rules": settings.rules.model_dump(exclude=_ONLY_TIMING),
        "service_types": settings.epj.service_types,
        "only": settings.epj.only.model_dump() if settings.epj.only is not None else None,
    }
    return hashlib.sha256(json.dumps(_plain(decides), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value as JSON: sets and lists of codes in order, mappings by key."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Set):
        return sorted(json.dumps(_plain(inner)) for inner in value)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):
        return value.isoformat()
    return value
