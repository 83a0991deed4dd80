"""The domain's values to bytes and back, exactly: JSON arrays in a fixed order, one pair of functions for each value.

Moments keep their offset, GUIDs are hex, integers beyond 64 bits (log positions) become text. The order of an array
never changes: another order is another format (seal.py) and a migration.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson

from agent.domain.finding import Finding, Severity
from agent.domain.notification import Content, Event, Notification, ReportedPerson, Status
from agent.domain.reported import Reported, Standing
from agent.domain.rows import KeptRow, RowVersion
from connectors.source import Position

_LARGEST_JSON_INTEGER = 2**63 - 1


def row_to_bytes(row: KeptRow) -> bytes:
    """A kept row without its table, which the ledger keeps beside it."""
    version = row.version
    return orjson.dumps(
        [
            row.key,
            dict(row.values),
            {column: _moment_text(since) for column, since in row.since.items()},
            None if version is None else [version.epoch, [_integer(part) for part in version.order]],
            row.deleted,
            row.defect,
        ]
    )


def row_from_bytes(table: str, payload: bytes) -> KeptRow:
    """The kept row of `table`."""
    key, values, since, version, deleted, defect = orjson.loads(payload)
    return KeptRow(
        table,
        key,
        values,
        {column: datetime.fromisoformat(text) for column, text in since.items()},
        None if version is None else RowVersion(version[0], tuple(int(part) for part in version[1])),
        deleted,
        defect,
    )


def reported_to_bytes(reported: Reported) -> bytes:
    """What stands reported for a service."""
    return orjson.dumps(
        [
            reported.service_id,
            [_standing(standing) for standing in reported.standing],
            [[event.value, subject, count] for (event, subject), count in reported.versions.items()],
            sorted(reported.followed_pauses),
            reported.changes_told,
            reported.superseded,
        ]
    )


def reported_from_bytes(payload: bytes) -> Reported:
    """The same, back."""
    service_id, standing, versions, followed, told, *superseded = orjson.loads(payload)
    return Reported(
        service_id,
        tuple(_standing_back(fields) for fields in standing),
        {(Event(event), subject): count for event, subject, count in versions},
        frozenset(followed),
        told,
        superseded == [True],  # absent in the first ledgers
    )


def notification_to_bytes(notification: Notification, trace: Mapping[str, str]) -> bytes:
    """A notification, its number included, and the trace that leads back to its rows."""
    original = notification.original_guid
    return orjson.dumps(
        [
            notification.number,
            notification.guid.hex,
            notification.previous_guid.hex,
            None if original is None else original.hex,
            notification.status.value,
            notification.event.value,
            notification.event_guid.hex,
            notification.service_id,
            notification.pause_id,
            _moment_text(notification.arisen_at),
            _content(notification.content),
            dict(trace),
        ]
    )


def notification_from_bytes(payload: bytes) -> tuple[Notification, dict[str, str]]:
    """The same, back."""
    number, guid, previous, original, status, event, event_guid, service_id, pause_id, arisen, content, trace = (
        orjson.loads(payload)
    )
    notification = Notification(
        number,
        UUID(guid),
        UUID(previous),
        None if original is None else UUID(original),
        Status(status),
        Event(event),
        UUID(event_guid),
        service_id,
        pause_id,
        datetime.fromisoformat(arisen),
        _content_back(content),
    )
    return notification, trace


def finding_to_bytes(finding: Finding) -> bytes:
    """A finding."""
    return orjson.dumps([finding.rule, finding.severity.value, finding.service, finding.text])


def finding_from_bytes(payload: bytes) -> Finding:
    """The same, back."""
    rule, severity, service, text = orjson.loads(payload)
    return Finding(rule, Severity(severity), service, text)


def position_to_bytes(position: Position) -> bytes:
    """A source's position."""
    place = {stream: [_integer(part) for part in parts] for stream, parts in position.place.items()}
    return orjson.dumps([position.incarnation, place, position.detail])


def position_from_bytes(payload: bytes) -> Position:
    """The same, back."""
    incarnation, place, detail = orjson.loads(payload)
    return Position(
        incarnation, {stream: tuple(int(part) for part in parts) for stream, parts in place.items()}, detail
    )


def person_to_bytes(key: str, patient_guid: UUID | None, number_was_right: bool) -> bytes:
    """What is remembered of a person."""
    return orjson.dumps([key, None if patient_guid is None else patient_guid.hex, number_was_right])


def person_from_bytes(payload: bytes) -> tuple[str, UUID | None, bool]:
    """The same, back."""
    key, guid, right = orjson.loads(payload)
    return key, None if guid is None else UUID(guid), right


def unreadable_to_bytes(place: str, why: str, raw: bytes) -> bytes:
    """A record that could not be understood: a line of JSON, then the raw bytes as they came."""
    return orjson.dumps([place, why]) + b"\n" + raw


def unreadable_from_bytes(payload: bytes) -> tuple[str, str, bytes]:
    """The same, back."""
    head, _, raw = payload.partition(b"\n")
    place, why = orjson.loads(head)
    return place, why, raw


def _standing(standing: Standing) -> list[Any]:
    return [
        standing.event.value,
        standing.subject,
        standing.original_guid.hex,
        standing.original_number,
        standing.event_guid.hex,
        _content(standing.content),
    ]


def _standing_back(fields: list[Any]) -> Standing:
    event, subject, original_guid, original_number, event_guid, content = fields
    return Standing(
        Event(event),
        subject,
        UUID(original_guid),
        original_number,
        UUID(event_guid),
        _content_back(content),
    )


def _content(content: Content) -> list[Any]:
    person = content.person
    return [
        content.service_type,
        content.on.isoformat(),
        _moment_text(content.registered_at),
        content.organisation_number,
        [person.patient_guid.hex, person.user_number, person.identity, person.identity_type, person.district],
    ]


def _content_back(fields: list[Any]) -> Content:
    service_type, on, registered, organisation_number, (guid, user_number, identity, identity_type, district) = fields
    return Content(
        service_type,
        date.fromisoformat(on),
        datetime.fromisoformat(registered),
        organisation_number,
        ReportedPerson(UUID(guid), user_number, identity, identity_type, district),
    )


def _moment_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.isoformat()


def _integer(number: int) -> int | str:
    return number if -_LARGEST_JSON_INTEGER <= number <= _LARGEST_JSON_INTEGER else str(number)
