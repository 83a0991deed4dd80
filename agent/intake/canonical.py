"""Values as a source gives them -> canonical text as rows are kept (agent/domain/rows.py)."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

from agent.domain.mapping import Meaning
from connectors.source import Infinity, Missing, Undecodable, Value

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Canonical = str | None | Missing | Undecodable


def canonical(value: Value, meaning: Meaning) -> Canonical:
    """The one text for a value of that meaning; Missing and Undecodable pass through; empty text is None."""
    if value is None or isinstance(value, Missing | Undecodable):
        return value
    if isinstance(value, Infinity):
        return value.value
    match meaning:
        case Meaning.TEXT:
            return _text(value)
        case Meaning.INTEGER:
            return _integer(value)
        case Meaning.DATE:
            return _date(value)
        case Meaning.TIMESTAMP | Meaning.INSTANT:
            return _moment(value, meaning)


def _text(value: str | Decimal | bool | date | float) -> Canonical:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = str(value).rstrip(" ")
    if _NOT_IN_XML.search(text):
        return Undecodable("it holds a character that no message can")
    return text or None


def _integer(value: object) -> Canonical:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return Undecodable("it is no whole number")


def _date(value: object) -> Canonical:
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return Undecodable("it is no date")


def _moment(value: object, meaning: Meaning) -> Canonical:
    if not isinstance(value, datetime):
        return Undecodable("it is no moment")
    if meaning is Meaning.INSTANT:
        if value.tzinfo is None:
            return Undecodable("it has no zone")
        return value.astimezone(UTC).isoformat()
    return value.replace(tzinfo=None).isoformat()
