"""Messages as bytes: what others write is read, whatever its types, and no bytes at all break the reader."""

import contextlib
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proton import Message, symbol, timestamp, ulong

from connectors.wire.amqp_message import Sections, Undecodable, decode_message, encode_message
from tests.contract.sender_behaviour import message

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ONE = uuid.UUID("6f1f7c1e-6a0e-4b8f-9d7b-1c2d3e4f5a6b")


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (ONE, str(ONE)), (ulong(7), "7"), (b"\x01\xff", "01ff"), (None, None)]
)
def test_an_id_of_any_type_is_text(value: object, text: str | None) -> None:
    sections = decode_message(bytes(Message(id=value, correlation_id=value, body=b"x").encode()))
    assert (sections.message_id, sections.correlation_id) == (text, text)


def test_application_properties_of_any_type_are_text() -> None:
    properties = {
        "text": "93238",
        "symbol": symbol("s"),
        "int": 93238,
        "yes": True,
        "no": False,
        "nothing": None,
        "moment": timestamp(1_795_262_400_000),
        "uuid": ONE,
        "bytes": b"\x01\xff",
        "long ago": timestamp(-(2**62)),
    }
    sections = decode_message(bytes(Message(properties=properties, body=b"x").encode()))
    assert dict(sections.properties) == {
        "text": "93238",
        "symbol": "s",
        "int": "93238",
        "yes": "true",
        "no": "false",
        "nothing": "",
        "moment": "2026-11-21T12:00:00Z",
        "uuid": str(ONE),
        "bytes": "01ff",
        "long ago": str(-(2**62)),
    }
    assert {type(text) for text in sections.properties.values()} == {str}


def test_our_own_message_is_read_back() -> None:
    outgoing = message()
    sections = decode_message(encode_message(outgoing, NOW))
    assert (sections.message_id, sections.correlation_id) == (outgoing.message_id, outgoing.message_id)
    assert (sections.subject, sections.content_type) == (outgoing.subject, outgoing.content_type)
    assert dict(sections.properties) == {**outgoing.properties, "enqueuedTimeUtc": "2026-11-21T12:00:00"}
    assert sections.body == outgoing.body


def test_every_message_is_durable_and_has_no_time_to_live_of_its_own() -> None:
    wire = Message()
    wire.decode(encode_message(message(), NOW))
    assert (wire.durable, wire.ttl) == (True, 0.0)


def test_a_body_is_exactly_one_data_section_even_when_it_is_empty() -> None:
    """4.0 ends the session of a message without one."""
    assert encode_message(message(body=b""), NOW).endswith(b"\x00\x53\x75\xa0\x00")


def test_a_time_to_live_longer_than_the_field_is_as_long_as_the_field() -> None:
    wire = Message()
    wire.decode(encode_message(message(time_to_live_s=10_000_000), NOW))
    assert wire.ttl == 4_294_967.0


def test_sections_may_be_named_by_symbol() -> None:
    """AMQP 1.0 section 1.2: a descriptor is a number or a name."""
    named = b"\x00\xa3\x10amqp:data:binary\xa0\x02hi"
    assert decode_message(named) == Sections(body=b"hi")


@pytest.mark.parametrize("encoded", [b"\x00", b"\x40", b"\x00\x53", b"\x00\x53\x75\xa0\xff", b"<xml/>", b"\xa1\x01a"])
def test_what_is_no_message_is_undecodable(encoded: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decode_message(encoded)
    assert "xml" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(encoded: bytes) -> None:
    with contextlib.suppress(Undecodable):
        decode_message(encoded)


@given(st.data())
def test_no_message_with_a_flipped_byte_breaks_the_reader(data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message(), NOW))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Undecodable):
        decode_message(bytes(encoded))
