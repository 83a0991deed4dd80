"""One record of a topic that several municipalities may share -> a Record; and what a heartbeat says.

A record that is another municipality's is Ignored before it is read. One that does not tell whose it is, is Unreadable,
and nothing of it is kept.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from connectors.source import Change, Ignored, Mark, Operation, Record, Unreadable
from connectors.wire.debezium import DebeziumReader
from connectors.wire.debezium_version import scan_mark
from connectors.wire.strict_json import NotStrictJson, read_strict_json

Headers = Sequence[tuple[str, bytes | None]]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OF_ANOTHER: Final = Ignored("a record of another municipality")


class Choice(Protocol):
    """How our records are told from others': by what the key begins with, or by what a header says."""

    @property
    def key_prefix(self) -> str | None: ...
    @property
    def header(self) -> str | None: ...
    @property
    def header_value(self) -> str | None: ...


class SharedTopicReader:
    """Reads the records of one topic that are ours by `choice`; all of them where it is None."""

    def __init__(self, reader: DebeziumReader, choice: Choice | None) -> None:
        self._reader: Final = reader
        self._choice: Final = choice

    def read(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, place: str) -> Record:
        """As DebeziumReader.read; `headers` are Kafka's, in order."""
        choice = self._choice
        if choice is None or value is None:
            return self._whole(topic, key, value, place)
        if choice.header is not None:
            told = [said for name, said in headers if name == choice.header]
            if not told:
                return Unreadable(place, "a shared topic's record without the header that tells whose it is", b"")
            return self._whole(topic, key, value, place) if _matches(told[-1], choice) else _OF_ANOTHER
        if key is None:
            return self._emptied(self._reader.read(topic, None, value, place=place, raw=b""), place)
        begins = _beginning(key)
        if begins is None:
            return Unreadable(place, "a shared topic's record whose key does not tell whose it is", b"")
        return self._whole(topic, key, value, place) if begins.startswith(choice.key_prefix or "") else _OF_ANOTHER

    def _whole(self, topic: str, key: bytes | None, value: bytes | None, place: str) -> Record:
        return self._reader.read(topic, key, value, place=place, raw=value or b"")

    @staticmethod
    def _emptied(record: Record, place: str) -> Record:
        """A record without a key: that a table was emptied is everybody's, and what is no row nobody's."""
        if isinstance(record, Change) and record.operation is not Operation.TRUNCATE:
            return Unreadable(place, "a shared topic's record without a key to tell whose it is", b"")
        return record


def _matches(said: bytes | None, choice: Choice) -> bool:
    """Debezium writes headers as text, JsonConverter as JSON text."""
    wanted = choice.header_value or ""
    return said is not None and said in {wanted.encode(), f'"{wanted}"'.encode()}


def _beginning(key: bytes) -> str | None:
    """The key as text; of a JSON object (in its schema or not) the first field's value; None where it has neither."""
    try:
        document = read_strict_json(key)
    except NotStrictJson:
        try:
            return key.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(document, dict) and document.keys() == {"schema", "payload"}:
        document = document["payload"]
    if isinstance(document, dict):
        document = next(iter(document.values()), None)
    return str(document) if isinstance(document, str | int) else None


def mark_of(value: bytes | None) -> Mark | None:
    """Where a snapshot's row stands in its table's snapshot, by the envelope's word; None where it has none."""
    document = read_strict_json(value or b"null")
    if isinstance(document, dict) and document.keys() == {"schema", "payload"}:
        document = document["payload"]
    return scan_mark(document.get("source")) if isinstance(document, dict) else None


def heartbeat_at(value: bytes | None) -> datetime | None:
    """When Debezium sent this heartbeat, UTC; None for a record that is none."""
    try:
        document = read_strict_json(value or b"null")
    except NotStrictJson:
        return None
    if isinstance(document, dict) and document.keys() == {"schema", "payload"}:
        document = document["payload"]
    millis = document.get("ts_ms") if isinstance(document, dict) else None
    try:
        return _EPOCH + timedelta(milliseconds=millis) if type(millis) is int else None
    except OverflowError:
        return None
