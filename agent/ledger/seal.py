"""Payloads under lock: AES-256-GCM with a random nonce, and keys found again by HMAC.

The additional data names the table, the row, the reporting unit and the data key, so that a payload that was moved to
another row, table or ledger is refused. One data key may seal 2**32 payloads (NIST SP 800-38D section 8.3).
"""

import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from agent.ledger.errors import corrupt_row

HMAC_SIZE_BYTES = 16
_NONCE_SIZE_BYTES = 12
_FORMAT = 1
_DATA_KEY_ID = 1
_HEADER = bytes((_FORMAT, _DATA_KEY_ID))
_BODY = len(_HEADER) + _NONCE_SIZE_BYTES


class Seal:
    """Seals and opens the payloads of one ledger, and makes its index keys. Holds the data key for its life."""

    __slots__ = ("_cipher", "_index_key", "_prefixes", "_unit")

    def __init__(self, data_key: bytes, unit: str) -> None:
        self._cipher = AESGCM(data_key)
        self._index_key = HKDFExpand(algorithm=SHA256(), length=32, info=b"kpr-agent ledger index").derive(data_key)
        self._unit = unit
        self._prefixes: dict[str, bytes] = {}

    def seal(self, table: str, row_id: int | bytes, payload: bytes) -> bytes:
        """`payload` for one row of one table: format, key id, nonce, ciphertext and tag in one."""
        nonce = os.urandom(_NONCE_SIZE_BYTES)
        return _HEADER + nonce + self._cipher.encrypt(nonce, payload, self._place(table, row_id))

    def open(self, table: str, row_id: int | bytes, sealed: bytes) -> bytes:
        """What was sealed for that row; LedgerCorrupt when it is not what was written there."""
        if sealed[: len(_HEADER)] != _HEADER:
            raise corrupt_row(table, _shown(row_id))
        try:
            return self._cipher.decrypt(sealed[len(_HEADER) : _BODY], sealed[_BODY:], self._place(table, row_id))
        except (InvalidTag, ValueError):
            raise corrupt_row(table, _shown(row_id)) from None

    def index(self, prefix: bytes, value: str) -> bytes:
        """The index key of a text: 16 bytes of HMAC-SHA256. `prefix` says what the text is (see `index_prefix`)."""
        return hmac.digest(self._index_key, prefix + value.encode(), "sha256")[:HMAC_SIZE_BYTES]

    def index_bytes(self, prefix: bytes, value: bytes) -> bytes:
        """The index key of bytes, made as that of a text."""
        return hmac.digest(self._index_key, prefix + value, "sha256")[:HMAC_SIZE_BYTES]

    def _place(self, table: str, row_id: int | bytes) -> bytes:
        prefix = self._prefixes.get(table)
        if prefix is None:
            prefix = self._prefixes[table] = b"\0".join((self._unit.encode(), table.encode(), _HEADER)) + b"\0"
        return prefix + (row_id if isinstance(row_id, bytes) else struct.pack(">q", row_id))


def index_prefix(*names: str) -> bytes:
    """What an indexed text is (its table, its columns), apart from the text itself, without ambiguity."""
    return b"".join(struct.pack(">H", len(name.encode())) + name.encode() for name in names) + b"\xff\xff"


def _shown(row_id: int | bytes) -> str:
    return row_id.hex() if isinstance(row_id, bytes) else str(row_id)
