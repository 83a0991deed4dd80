"""Key and certificate files: what is loaded, what is refused, and what the configuration check says."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.demo.certificates import Usage, write
from agent.protection import (
    KeyFileUnusable,
    ProtectionFiles,
    check_certificates,
    load_certificates,
    load_decryption_key,
    load_encryption_certificate,
    load_signing_certificates,
    load_signing_identity,
)
from tests.certificates import NOW, authority, make_identity, make_variant

OURS = make_identity("municipality signing", Usage.SIGNING)
RECIPIENT = make_identity("municipality encryption", Usage.ENCRYPTION)
REGISTER = make_identity("register signing", Usage.SIGNING)
THEIRS = make_identity("register encryption", Usage.ENCRYPTION)


@pytest.fixture
def files(tmp_path: Path) -> ProtectionFiles:
    ours, recipient = write(OURS, tmp_path, "ours"), write(RECIPIENT, tmp_path, "recipient")
    return ProtectionFiles(
        signing_key=ours.key,
        signing_certificate=ours.certificate,
        decryption_keys=[(recipient.key, recipient.certificate)],
        register_encryption_certificate=write(THEIRS, tmp_path, "theirs").certificate,
        register_signing_certificates=[write(REGISTER, tmp_path, "register").certificate],
    )


def refused(load, *arguments: Path) -> str:
    with pytest.raises(KeyFileUnusable) as raised:
        load(*arguments)
    assert raised.value.code == "KPR-404"
    assert "PRIVATE" not in str(raised.value)
    return raised.value.reason


def test_the_certificate_of_the_key_is_found_and_the_root_is_left_out(tmp_path: Path) -> None:
    files = write(OURS, tmp_path, "ours")
    pem = serialization.Encoding.PEM
    middle = make_variant(RECIPIENT, "intermediate", Usage.AUTHORITY).certificate
    files.certificate.write_bytes(
        b"".join(each.public_bytes(pem) for each in (authority().certificate, middle, OURS.certificate))
    )
    identity = load_signing_identity(files.key, files.certificate)
    assert identity.certificate == OURS.certificate
    assert identity.chain == (middle,)
    assert len(load_certificates(files.certificate)) == 3


def test_der_is_read_too(tmp_path: Path) -> None:
    der = serialization.Encoding.DER
    key, certificate = tmp_path / "key.der", tmp_path / "certificate.der"
    key.touch(mode=0o600)
    key.write_bytes(
        RECIPIENT.private_key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate.write_bytes(RECIPIENT.certificate.public_bytes(der))
    assert load_decryption_key(key, certificate).certificate == RECIPIENT.certificate
    assert load_encryption_certificate(certificate) == RECIPIENT.certificate
    assert load_signing_certificates([certificate]) == (RECIPIENT.certificate,)


def test_key_and_certificate_may_be_one_file(tmp_path: Path) -> None:
    files = write(RECIPIENT, tmp_path, "one")
    with files.key.open("ab") as file:
        file.write(files.certificate.read_bytes())
    assert load_decryption_key(files.key, files.key).certificate == RECIPIENT.certificate


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    files, other = write(OURS, tmp_path, "ours"), write(RECIPIENT, tmp_path, "other")
    assert refused(load_signing_identity, files.key, other.certificate) == "key_does_not_match"
    assert refused(load_signing_identity, files.certificate, files.certificate) == "key_file_open"
    assert refused(load_encryption_certificate, files.key) == "not_a_certificate"
    assert refused(load_encryption_certificate, tmp_path / "absent") == "file_unreadable"
    files.certificate.chmod(0o600)
    assert refused(load_signing_identity, files.certificate, files.certificate) == "not_a_key"


def test_a_key_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    files = write(OURS, tmp_path, "ours")
    files.key.chmod(0o604)
    assert refused(load_signing_identity, files.key, files.certificate) == "key_file_open"
    files.key.chmod(0o640)  # a mounted Secret is readable by its group
    assert load_signing_identity(files.key, files.certificate).certificate == OURS.certificate


def test_keys_with_a_password_or_not_rsa_are_refused(tmp_path: Path) -> None:
    files = write(OURS, tmp_path, "ours")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(OURS.private_key.private_bytes(pem, pkcs8, locked))
    assert refused(load_signing_identity, files.key, files.certificate) == "key_encrypted"
    curve = ec.generate_private_key(ec.SECP256R1())
    files.key.write_bytes(curve.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    assert refused(load_signing_identity, files.key, files.certificate) == "not_rsa"


def test_good_files_have_no_problems(files: ProtectionFiles) -> None:
    assert check_certificates(files, at=NOW) == []


def test_what_expires_soon_or_has_expired_or_is_not_valid_yet_is_named(files: ProtectionFiles) -> None:
    soon = check_certificates(files, at=NOW + timedelta(days=350))
    assert len(soon) == 4
    assert all("within 30 days" in problem for problem in soon)
    assert check_certificates(files, at=NOW + timedelta(days=350), warn_days=10) == []
    late = check_certificates(files, at=NOW + timedelta(days=366))
    assert len(late) == 4
    assert all("expired" in problem for problem in late)
    assert str(files.signing_certificate) in late[0]
    assert all("not valid before" in problem for problem in check_certificates(files, at=NOW - timedelta(days=2)))


def test_wrong_usages_wrong_keys_and_missing_files_are_all_named(files: ProtectionFiles, tmp_path: Path) -> None:
    wrong = write(make_variant(OURS, "encrypts", Usage.ENCRYPTION), tmp_path, "wrong")
    bad = ProtectionFiles(
        signing_key=wrong.key,
        signing_certificate=wrong.certificate,
        decryption_keys=[(wrong.key, files.register_encryption_certificate)],
        register_encryption_certificate=tmp_path / "absent",
        register_signing_certificates=[],
    )
    problems = check_certificates(bad, at=NOW)
    expected = ("lacks the key usage nonRepudiation", "belongs to the key", "cannot be read", "none is configured")
    assert len(problems) == len(expected)
    assert all(text in problem for text, problem in zip(expected, problems, strict=True))


def test_an_expired_decryption_key_kept_for_an_overlap_is_no_problem(files: ProtectionFiles, tmp_path: Path) -> None:
    old = write(make_variant(RECIPIENT, "old", Usage.ENCRYPTION, days=-1), tmp_path, "old")
    both = ProtectionFiles(
        signing_key=files.signing_key,
        signing_certificate=files.signing_certificate,
        decryption_keys=[(old.key, old.certificate), *files.decryption_keys],
        register_encryption_certificate=files.register_encryption_certificate,
        register_signing_certificates=files.register_signing_certificates,
    )
    assert check_certificates(both, at=NOW) == []
