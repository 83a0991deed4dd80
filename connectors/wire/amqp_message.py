"""A message of AMQP 1.0 as bytes: what we send, and whatever others send, read section by section."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from proton import Data, Described, Message, ProtonException, symbol, timestamp

from connectors.sender import Outgoing

_HEADER: Final = 0x70
_PROPERTIES: Final = 0x73
_APPLICATION_PROPERTIES: Final = 0x74
_DATA: Final = 0x75
_SEQUENCE: Final = 0x76
_VALUE: Final = 0x77
_LONGEST_TTL_S: Final = (2**32 - 1) // 1000  # header.ttl is a uint of milliseconds


class Undecodable(Exception):
    """The bytes are no AMQP message. The text quotes nothing of them."""


@dataclass(frozen=True, slots=True)
class Sections:
    """What a message says, as text. `body` is the data sections joined, or the bytes or text of an amqp-value."""

    message_id: str | None = None
    correlation_id: str | None = None
    subject: str | None = None
    content_type: str | None = None
    delivery_count: int = 0
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


def encode_message(outgoing: Outgoing, enqueued_at: datetime) -> bytes:
    """The message with exactly one data section, every application property a string (nhn-bus table of properties).

    `enqueued_at` (UTC) becomes `enqueuedTimeUtc`, the moment of this attempt.
    """
    message = Message(
        body=outgoing.body,
        durable=True,
        id=outgoing.message_id,
        correlation_id=outgoing.message_id,
        address=outgoing.to,
        reply_to=outgoing.reply_to,
        subject=outgoing.subject,
        content_type=symbol(outgoing.content_type),
        properties={**outgoing.properties, "enqueuedTimeUtc": f"{enqueued_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"},
    )
    message.inferred = True  # bytes become a data section, not an amqp-value
    if outgoing.time_to_live_s is not None:
        message.ttl = float(min(outgoing.time_to_live_s, _LONGEST_TTL_S))
    return bytes(message.encode())


def decode_message(encoded: bytes) -> Sections:
    """Read a message, whatever types its sender chose. Raises Undecodable."""
    sections: dict[int, Any] = {}
    data: list[bytes] = []
    owners = []  # proton gives binary values as views of memory that its Data objects own: these live to the end
    for code, value, owner in _sections(encoded):
        owners.append(owner)
        if code == _DATA and isinstance(value, bytes | memoryview):
            data.append(bytes(value))
        else:
            sections[code] = value
    header = _listed(sections.get(_HEADER), 5)
    properties = _listed(sections.get(_PROPERTIES), 7)
    application = sections.get(_APPLICATION_PROPERTIES)
    return Sections(
        message_id=_text_or_none(properties[0]),
        correlation_id=_text_or_none(properties[5]),
        subject=_text_or_none(properties[3]),
        content_type=_text_or_none(properties[6]),
        delivery_count=int(header[4] or 0) if isinstance(header[4], int) else 0,
        properties={_text(key): _text(value) for key, value in application.items()}
        if isinstance(application, dict)
        else {},
        body=b"".join(data) if data else _value_bytes(sections.get(_VALUE)),
    )


def _sections(encoded: bytes) -> Iterator[tuple[int, Any, Data]]:
    """Each section's number and value, with what owns the value's memory."""
    rest = encoded
    try:
        while rest:
            data = Data()
            consumed = data.decode(rest)
            data.rewind()
            if consumed <= 0 or data.next() is None:
                raise Undecodable("the message has an empty section")
            section = data.get_object()
            if not isinstance(section, Described):
                raise Undecodable("the message has something that is no section")
            yield _code(section.descriptor), section.value, data
            rest = rest[consumed:]
    except (ProtonException, ValueError, TypeError, KeyError, OverflowError) as error:
        # proton's codec is C with a thin Python layer, which answers odd types with the errors of Python
        raise Undecodable(f"the message cannot be decoded ({type(error).__name__})") from None


_NAMES: Final = {
    "amqp:header:list": _HEADER,
    "amqp:properties:list": _PROPERTIES,
    "amqp:application-properties:map": _APPLICATION_PROPERTIES,
    "amqp:data:binary": _DATA,
    "amqp:amqp-sequence:list": _SEQUENCE,
    "amqp:amqp-value:*": _VALUE,
}


def _code(descriptor: object) -> int:
    """A section's number; its symbolic name is allowed as well (AMQP 1.0 section 1.2)."""
    return int(descriptor) if isinstance(descriptor, int) else _NAMES.get(str(descriptor), 0)


def _listed(value: object, length: int) -> list[Any]:
    """A list section's fields, with None for those left out at its end."""
    fields = list(value) if isinstance(value, list) else []
    return fields + [None] * (length - len(fields))


def _value_bytes(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    return value.encode(errors="replace") if isinstance(value, str) else b""


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    """Any AMQP value as text: true and false as JSON has them, a timestamp as ISO 8601 in UTC, bytes in hexadecimal."""
    match value:
        case None:
            return ""
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case timestamp():
            return _moment(int(value))
        case uuid.UUID():
            return str(value)
        case bytes() | memoryview():
            return bytes(value).hex()
        case int():
            return str(int(value))
        case _:
            return str(value)


def _moment(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
