"""Protection with files that change under it."""

from pathlib import Path

import pytest

from agent.demo.certificates import Usage, write
from agent.protection import CertificateUnusable, KeyFileUnusable, ProtectionFiles
from agent.protection.protector import Protector
from tests.certificates import NOW, make_identity, make_variant


@pytest.fixture
def files(tmp_path: Path) -> ProtectionFiles:
    """We are the register too: what is protected comes back."""
    signing = write(make_identity("Kinn signing", Usage.SIGNING), tmp_path, "signing")
    encryption = write(make_identity("Kinn encryption", Usage.ENCRYPTION), tmp_path, "encryption")
    return ProtectionFiles(
        signing.key,
        signing.certificate,
        [(encryption.key, encryption.certificate)],
        encryption.certificate,
        [signing.certificate],
    )


def test_what_it_protects_it_opens(files: ProtectionFiles) -> None:
    protector = Protector(files)
    assert protector.unprotect(protector.protect(b"content", NOW), NOW) == b"content"


def test_a_rotated_certificate_is_used_without_a_restart(files: ProtectionFiles, tmp_path: Path) -> None:
    protector = Protector(files)
    protector.protect(b"content", NOW)
    signing = make_identity("Kinn signing", Usage.SIGNING)
    write(make_variant(signing, "Kinn signing", Usage.SIGNING, days=-1), tmp_path, "signing")
    with pytest.raises(CertificateUnusable):
        protector.protect(b"content", NOW)
    write(signing, tmp_path, "signing")
    assert protector.unprotect(protector.protect(b"content", NOW), NOW) == b"content"


def test_a_file_that_is_gone_is_named_and_found_again(files: ProtectionFiles, tmp_path: Path) -> None:
    protector = Protector(files)
    files.signing_key.unlink()
    with pytest.raises(KeyFileUnusable, match="signing"):
        protector.protect(b"content", NOW)
    write(make_identity("Kinn signing", Usage.SIGNING), tmp_path, "signing")
    assert protector.protect(b"content", NOW)
