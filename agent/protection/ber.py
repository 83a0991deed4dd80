"""ASN.1 in BER, made definite: what streaming writers send becomes what a DER reader can take.

X.690 section 8: lengths may be indefinite (8.1.3.6) and OCTET STRINGs may come in pieces (8.7.3). CMS allows both
(RFC 5652 section 5.1 and 6.1). Names, numbers and certificates are left as they are.
"""

from typing import Final

from agent.protection.errors import MessageRefused

OCTET_STRING: Final = 0x04
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONSTRUCTED: Final = 0x20
_DEEPEST: Final = 48  # a certificate inside a SignedData is about 15 deep


def definite(data: bytes) -> bytes:
    """The one element that `data` holds, with definite lengths and whole octet strings.

    Raises MessageRefused with the reason truncated, trailing_bytes or malformed.
    """
    encoded, end = _definite_element(data, 0, len(data), 0)
    if end != len(data):
        raise MessageRefused("trailing_bytes", "bytes follow the end of the message")
    return encoded


def elements(contents: bytes) -> list[tuple[int, bytes, bytes]]:
    """The elements that follow each other in `contents`, each as (tag, its contents, all of it). Definite lengths."""
    found = []
    at = 0
    while at < len(contents):
        start = at
        tag, at = _tag(contents, at, len(contents))
        length, at = _length(contents, at, len(contents))
        if length is None:
            raise MessageRefused("malformed", "an indefinite length where there is none any more")
        found.append((tag[0], contents[at : at + length], contents[start : at + length]))
        at += length
    return found


def joined(contents: bytes) -> bytes:
    """The octet string whose pieces are the elements of `contents`."""
    pieces = elements(contents)
    if any(tag != OCTET_STRING for tag, _, _ in pieces):
        raise MessageRefused("malformed", "an octet string in pieces has a piece that is none")
    return b"".join(piece for _, piece, _ in pieces)


def _definite_element(data: bytes, at: int, end: int, depth: int) -> tuple[bytes, int]:
    if depth > _DEEPEST:
        raise MessageRefused("malformed", "ASN.1 nested too deep")
    tag, at = _tag(data, at, end)
    length, at = _length(data, at, end)
    if not tag[0] & CONSTRUCTED:
        if length is None:
            raise MessageRefused("malformed", "an indefinite length on a primitive element")
        return _encoded(tag, data[at : at + length]), at + length
    inner, at = _definite_children(data, at, end if length is None else at + length, length is None, depth)
    if tag[0] == OCTET_STRING | CONSTRUCTED:
        return _encoded(bytes((OCTET_STRING,)), joined(inner)), at
    return _encoded(tag, inner), at


def _definite_children(data: bytes, at: int, end: int, indefinite: bool, depth: int) -> tuple[bytes, int]:
    children: list[bytes] = []
    while True:
        if indefinite:
            if data[at : at + 2] == b"\x00\x00" and at + 2 <= end:
                return b"".join(children), at + 2
        elif at == end:
            return b"".join(children), at
        child, at = _definite_element(data, at, end, depth + 1)
        children.append(child)


def _tag(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    start = at
    at += 1
    if start < end and data[start] & 0x1F == 0x1F:  # X.690 8.1.2.4: the number goes on while the high bit is set
        while at < end and data[at] & 0x80:
            at += 1
        at += 1
    if at > end:
        raise _truncated()
    return data[start:at], at


def _length(data: bytes, at: int, end: int) -> tuple[int | None, int]:
    """The length, None for an indefinite one, and where the contents start."""
    if at >= end:
        raise _truncated()
    first = data[at]
    at += 1
    if first == 0x80:
        return None, at
    length = first
    if first & 0x80:
        size = first & 0x7F
        if size > 8:
            raise MessageRefused("malformed", "an ASN.1 length of more than eight bytes")
        length = int.from_bytes(data[at : at + size])
        at += size
    if at + length > end:
        raise _truncated()
    return length, at


def _encoded(tag: bytes, contents: bytes) -> bytes:
    size = len(contents)
    if size < 0x80:
        return tag + bytes((size,)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return tag + bytes((0x80 | len(length),)) + length + contents


def _truncated() -> MessageRefused:
    return MessageRefused("truncated", "the message ends before its ASN.1 does")
