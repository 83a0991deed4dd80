"""Kafka's Metadata request in version 12, which tells the topics' ids. aiokafka's own stops at version 5.

KIP-516; the fields are those of Kafka's MetadataRequest.json and MetadataResponse.json.
"""

import base64
import uuid
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_TEXT: Final = CompactString("utf-8")


class _Uuid:
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))

    @classmethod
    def repr(cls, value: uuid.UUID) -> str:
        return str(value)


class MetadataResponseV12(Response):  # type: ignore[misc]  # aiokafka publishes no types
    """Brokers, the cluster's id, and each topic's error, id and leaders."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields)),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequestV12(RequestStruct):  # type: ignore[misc]  # aiokafka publishes no types
    """Names of topics; an id of zeros beside each says that it is asked for by name."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class AskMetadata(Request[MetadataRequestV12]):  # type: ignore[misc]  # aiokafka publishes no types
    """Asks for these topics, and never has one made by asking."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics: Final = topics

    def build(self, request: type[MetadataRequestV12]) -> Any:
        return request([(uuid.UUID(int=0), topic, {}) for topic in self._topics], False, False, {})


def id_text(topic_id: uuid.UUID) -> str:
    """The id as Kafka's own tools print it."""
    return base64.urlsafe_b64encode(topic_id.bytes).decode().rstrip("=")
