"""The master key of a ledger: 32 secret bytes in a file of their own, never in the ledger's folder by default.

It wraps the ledger's own data key and, once, seeds the unit's secret. Losing it loses the ledger.
"""

import base64
import binascii
import os
import secrets
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.ledger.errors import LedgerKeyUnusable

KEY_SIZE_BYTES = 32
_LARGEST_FILE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class LedgerKey:
    """A master key; the secret stays out of repr."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_SIZE_BYTES:
            raise LedgerKeyUnusable(f"a ledger key has {KEY_SIZE_BYTES} bytes, this one {len(self.secret)}")

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """The key in a file: 32 raw bytes, or their base64 or hex text.

        Refused with LedgerKeyUnusable when anyone but the owner may read the file, with the command that mends it.
        """
        try:
            with open(path, "rb") as file:  # noqa: PTH123 (the open file is what is judged: no gap between look and read)
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read(_LARGEST_FILE_BYTES)
        except OSError as error:
            raise LedgerKeyUnusable(f"the ledger key {path} cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise LedgerKeyUnusable(f"the ledger key {path} is open to others (mode {mode:o}): chmod 600 {path}")
        secret = _read_secret(content)
        if secret is None:
            raise LedgerKeyUnusable(
                f"{path} holds no ledger key: write {KEY_SIZE_BYTES} random bytes as base64, such as"
                f" `openssl rand -base64 {KEY_SIZE_BYTES}` gives"
            )
        return cls(secret)

    @classmethod
    def generate_file(cls, path: Path | str) -> Self:
        """A new random key, written to `path` as base64, mode 0600. An existing file is refused, never replaced."""
        secret = secrets.token_bytes(KEY_SIZE_BYTES)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise LedgerKeyUnusable(f"{path} exists: a ledger key is never replaced, choose another path") from None
        except OSError as error:
            raise LedgerKeyUnusable(f"the ledger key {path} cannot be written: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secret) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return cls(secret)

    @classmethod
    def throw_away(cls, unit: str) -> Self:
        """The key of a dry run's ledger in memory: the same for the same unit, so that two runs give the same files."""
        return cls(sha256(b"kpr-agent throw-away ledger\0" + unit.encode()).digest())

    def derive(self, purpose: bytes) -> bytes:
        """32 bytes for one purpose, by HKDF-SHA256 (RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=KEY_SIZE_BYTES, salt=None, info=purpose).derive(self.secret)

    def identifier(self) -> str:
        """A public name of the key, which gives nothing of it away: 16 hex digits."""
        return self.derive(b"kpr-agent ledger key id").hex()[:16]


def _read_secret(content: bytes) -> bytes | None:
    """The 32 bytes that a file's content stands for, or None."""
    if len(content) == KEY_SIZE_BYTES:
        # 32 printable characters are a shorter key or a password that somebody wrote, not 32 random bytes.
        return None if content.isascii() and content.decode("ascii").isprintable() else content
    text = content.strip()
    try:
        if len(text) == 2 * KEY_SIZE_BYTES:
            return bytes.fromhex(text.decode("ascii"))
        secret = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return secret if len(secret) == KEY_SIZE_BYTES else None
