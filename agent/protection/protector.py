"""Protection with the files of one municipality: read again when one of them has changed, so that a rotation of
certificates needs no restart. Its methods compute for milliseconds and are called in worker threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock

from cryptography import x509

from agent.protection import (
    DecryptionKey,
    ProtectionFiles,
    SigningIdentity,
    load_decryption_key,
    load_encryption_certificate,
    load_signing_certificates,
    load_signing_identity,
    protect,
    unprotect,
)


@dataclass(frozen=True, slots=True)
class _Loaded:
    signer: SigningIdentity = field(repr=False)
    recipient: x509.Certificate
    keys: Sequence[DecryptionKey] = field(repr=False)
    signers: Sequence[x509.Certificate]


_Stamp = tuple[tuple[int, int, int] | None, ...]


class Protector:
    """Protects what goes out and opens what comes in. Errors are those of agent.protection."""

    def __init__(self, files: ProtectionFiles, *, legacy_3des: bool = False) -> None:
        self._files = files
        self._legacy_3des = legacy_3des
        self._lock = Lock()
        self._stamp: _Stamp | None = None
        self._loaded: _Loaded | None = None

    def protect(self, content: bytes, at: datetime) -> bytes:
        """Signed and encrypted, DER. Raises ProtectionError when a file or certificate does not serve."""
        loaded = self._current()
        return protect(content, loaded.signer, loaded.recipient, at=at)

    def unprotect(self, data: bytes, at: datetime) -> bytes:
        """Decrypted and verified. Raises NotForUs, MessageRefused, CertificateUnusable, KeyFileUnusable."""
        loaded = self._current()
        return unprotect(data, loaded.keys, loaded.signers, at=at, legacy_3des=self._legacy_3des)

    def _current(self) -> _Loaded:
        with self._lock:
            stamp = self._stamps()
            if self._loaded is None or stamp != self._stamp:
                self._loaded = self._load()
                self._stamp = stamp
            return self._loaded

    def _load(self) -> _Loaded:
        files = self._files
        return _Loaded(
            load_signing_identity(files.signing_key, files.signing_certificate),
            load_encryption_certificate(files.register_encryption_certificate),
            [load_decryption_key(key, certificate) for key, certificate in files.decryption_keys],
            load_signing_certificates(files.register_signing_certificates),
        )

    def _stamps(self) -> _Stamp:
        files = self._files
        paths = [
            files.signing_key,
            files.signing_certificate,
            files.register_encryption_certificate,
            *files.register_signing_certificates,
            *(path for pair in files.decryption_keys for path in pair),
        ]
        return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # loading says what is wrong with it
    return found.st_ino, found.st_mtime_ns, found.st_size
