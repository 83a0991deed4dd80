"""The kinds of single values in configuration files, each read from text and refused with what to write instead."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from agent.domain.identifiers import kommunenummer_problem, organisation_number_problem
from agent.settings.faults import quoted_form

_DURATION_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),  # for keeping things; nothing here counts calendar years
}
_DURATION: Final = re.compile(r"(\d{1,6})(ms|s|m|h|d|w|y)")
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_MOBILE: Final = re.compile(r"(\+47|0047)?\d{8}")


class Section(BaseModel):
    """A section of a configuration file: frozen, no unknown keys, nothing converted, no values in errors or repr."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_default=True,
        populate_by_name=True,
    )


def duration(value: Any) -> timedelta:
    """A timedelta from a number with its unit: `0s`, `24h`, `90d`, `3y` (365 days each)."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a duration with its unit: ms, s, m, h, d, w or y, such as 30s, 24h, 90d or 3y")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def duration_text(value: timedelta) -> str:
    """A duration as it is written in a file, in the largest unit that fits."""
    for unit in ("y", "d", "h", "m", "s"):
        if value and value % _DURATION_UNITS[unit] == timedelta(0):
            return f"{value // _DURATION_UNITS[unit]}{unit}"
    return f"{value // _DURATION_UNITS['ms']}ms" if value else "0s"


def _share(value: Any) -> float:
    if isinstance(value, float):
        return value
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError("write a share in per cent from 0% to 100%, such as 5%")
    return float(match[1]) / 100


def _day(value: Any) -> Any:
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("write a date as YYYY-MM-DD, such as 2021-01-01")


def _municipality_number(text: str) -> str:
    problem = kommunenummer_problem(text)
    if problem is not None:
        raise ValueError('write the kommunenummer as four digits in double quotes, such as "0301"')
    return text


def _organisation_number(text: str) -> str:
    problem = organisation_number_problem(text)
    if problem is not None:
        raise ValueError(f"{problem}: write the nine digits of Enhetsregisteret, in double quotes")
    return text


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError("write one e-mail address, such as name@municipality.no")
    return text


def _mobile(text: str) -> str:
    if not _MOBILE.fullmatch(text):
        raise ValueError('write eight digits in double quotes, with or without +47 before them, such as "40000000"')
    return text


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError("write the name of a time zone, such as Europe/Oslo")
    return str(ZoneInfo(text))


def _queue(text: str) -> str:
    if "/" in text or text != text.strip():
        raise ValueError("write the queue's name only: what follows the last / of the address in Adresseregisteret")
    return text


def needs_quotes(source: str) -> str:
    """What to write where text is meant and an unquoted number, truth value or nothing stands."""
    return f"text is meant here: {quoted_form(source)}"


Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""At most 100 characters: the register's limit for names."""

Duration = Annotated[
    timedelta,
    BeforeValidator(duration, json_schema_input_type=Annotated[str, Field(pattern=f"^{_DURATION.pattern}$")]),
]
Share = Annotated[
    float, BeforeValidator(_share, json_schema_input_type=Annotated[str, Field(pattern=f"^{_SHARE.pattern}$")])
]
Day = Annotated[
    date,
    BeforeValidator(
        _day,
        json_schema_input_type=Annotated[str, Field(pattern=f"^{_DAY.pattern}$", json_schema_extra={"format": "date"})],
    ),
]
MunicipalityNumber = Annotated[
    str, AfterValidator(_municipality_number), Field(json_schema_extra={"pattern": r"^\d{4}$"})
]
OrganisationNumber = Annotated[
    str, AfterValidator(_organisation_number), Field(json_schema_extra={"pattern": r"^\d{9}$"})
]
Email = Annotated[str, AfterValidator(_email)]
Mobile = Annotated[str, AfterValidator(_mobile)]
Zone = Annotated[str, AfterValidator(_zone)]
QueueName = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_queue)]
File = Annotated[Path, Field(strict=False, json_schema_extra={"format": "path"})]
HerId = Annotated[int, Field(ge=0, le=999_999_999)]
