"""Keys and certificates of protection: loading them from files, and saying what is wrong with them.

Signing and encryption use separate virksomhetssertifikater. A rotation overlaps: the old decryption key is kept beside
the new one, and the register's new signing certificate is accepted beside its old one.
"""

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.protection.errors import CertificateUnusable, KeyFileUnusable, ProtectionError


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """Who signs: the certificate, its key, and the certificates between it and the root, without the root."""

    certificate: x509.Certificate
    private_key: rsa.RSAPrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """A key we can be written to with. Its certificate tells which recipient of a message it is."""

    certificate: x509.Certificate
    private_key: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProtectionFiles:
    """The files of one municipality. A decryption key is (key file, certificate file); the two may be one file."""

    signing_key: Path
    signing_certificate: Path
    decryption_keys: Sequence[tuple[Path, Path]]
    register_encryption_certificate: Path
    register_signing_certificates: Sequence[Path]


def load_signing_identity(key_file: Path, certificate_file: Path) -> SigningIdentity:
    """The key and the certificate that belongs to it; the file's other certificates are the chain.

    Self-signed ones (the root) are left out. PEM or DER. Raises KeyFileUnusable, also when key and certificate differ.
    """
    key = _private_key(key_file)
    certificate, others = _certificate_of(key, key_file, certificate_file)
    return SigningIdentity(certificate, key, tuple(other for other in others if other.subject != other.issuer))


def load_decryption_key(key_file: Path, certificate_file: Path) -> DecryptionKey:
    """One decryption key with its certificate; `certificate_file` may be the key file. Raises KeyFileUnusable."""
    key = _private_key(key_file)
    return DecryptionKey(_certificate_of(key, key_file, certificate_file)[0], key)


def load_certificates(certificate_file: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file, PEM or DER, at least one. Raises KeyFileUnusable."""
    data = _read(certificate_file)
    try:
        if b"-----BEGIN" in data:
            return tuple(x509.load_pem_x509_certificates(data))
        return (x509.load_der_x509_certificate(data),)
    except ValueError:
        raise KeyFileUnusable(
            "not_a_certificate",
            f"{certificate_file} holds no certificate in PEM or DER; split a .p12 file with openssl pkcs12 -nodes",
        ) from None


def load_encryption_certificate(certificate_file: Path) -> x509.Certificate:
    """The certificate we encrypt to: the first of the file. Raises KeyFileUnusable."""
    return load_certificates(certificate_file)[0]


def load_signing_certificates(certificate_files: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """The certificates that receipts may be signed with: the first of each file. Raises KeyFileUnusable."""
    return tuple(load_certificates(file)[0] for file in certificate_files)


def demand_valid(certificate: x509.Certificate, whose: str, at: datetime) -> None:
    """Raise CertificateUnusable unless `at` lies within the certificate's dates."""
    if at < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        raise CertificateUnusable("not_yet_valid", f"{whose} is not valid before {begins:%Y-%m-%dT%H:%M:%SZ}")
    if at > certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc
        raise CertificateUnusable("expired", f"{whose} expired {ended:%Y-%m-%dT%H:%M:%SZ}")


def demand_signing(certificate: x509.Certificate, whose: str) -> None:
    """Raise CertificateUnusable unless the key usage has nonRepudiation, which signatures on this bus need."""
    _demand_rsa(certificate, whose)
    if not _key_usage(certificate, lambda usage: usage.content_commitment):
        raise CertificateUnusable("wrong_key_usage", f"{whose} lacks the key usage nonRepudiation")


def demand_encryption(certificate: x509.Certificate, whose: str) -> None:
    """Raise CertificateUnusable unless the key usage has keyEncipherment."""
    _demand_rsa(certificate, whose)
    if not _key_usage(certificate, lambda usage: usage.key_encipherment):
        raise CertificateUnusable("wrong_key_usage", f"{whose} lacks the key usage keyEncipherment")


def check_certificates(files: ProtectionFiles, *, at: datetime, warn_days: int = 30) -> list[str]:
    """One sentence for each problem, with the file it lies in; an empty list when all is well.

    Looks for files that cannot be used, keys that do not match, wrong key usages, certificates that are expired, not
    valid yet, or expire within `warn_days`. Where several serve one purpose, dates count only if none is lasting.
    """
    signing = [(files.signing_certificate, partial(_our_signing_certificate, files))]
    decryption = [(file, partial(_decryption_certificate, key, file)) for key, file in files.decryption_keys]
    encryption_file = files.register_encryption_certificate
    encryption = [(encryption_file, partial(load_encryption_certificate, encryption_file))]
    signers = [(file, partial(_their_signing_certificate, file)) for file in files.register_signing_certificates]
    problems = _problems("the signing certificate", signing, demand_signing, at, warn_days)
    problems += _problems("the decryption certificate", decryption, demand_encryption, at, warn_days)
    problems += _problems("the register's encryption certificate", encryption, demand_encryption, at, warn_days)
    problems += _problems("the register's signing certificate", signers, demand_signing, at, warn_days)
    return problems


def _our_signing_certificate(files: ProtectionFiles) -> x509.Certificate:
    return load_signing_identity(files.signing_key, files.signing_certificate).certificate


def _their_signing_certificate(file: Path) -> x509.Certificate:
    return load_signing_certificates([file])[0]


def _decryption_certificate(key_file: Path, certificate_file: Path) -> x509.Certificate:
    return load_decryption_key(key_file, certificate_file).certificate


def _problems(
    whose: str,
    certificates: Sequence[tuple[Path, Callable[[], x509.Certificate]]],
    demand_usage: Callable[[x509.Certificate, str], None],
    at: datetime,
    warn_days: int,
) -> list[str]:
    problems = [] if certificates else [f"{whose} is missing: none is configured"]
    dates: list[list[str]] = []
    for file, load in certificates:
        try:
            certificate = load()
            demand_usage(certificate, f"{whose} {file}")
        except ProtectionError as error:
            problems.append(str(error))
        else:
            dates.append(_date_problems(certificate, f"{whose} {file}", at, warn_days))
    if all(dates):  # one without a problem serves; the others are the overlap of a rotation
        problems += [problem for found in dates for problem in found]
    return problems


def _date_problems(certificate: x509.Certificate, whose: str, at: datetime, warn_days: int) -> list[str]:
    try:
        demand_valid(certificate, whose, at)
    except CertificateUnusable as error:
        return [str(error)]
    ends_at = certificate.not_valid_after_utc
    if ends_at < at + timedelta(days=warn_days):
        return [f"{whose} expires {ends_at:%Y-%m-%d}, within {warn_days} days"]
    return []


def _demand_rsa(certificate: x509.Certificate, whose: str) -> None:
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise CertificateUnusable("not_rsa", f"{whose} has a key that is not RSA")


def _key_usage(certificate: x509.Certificate, wanted: Callable[[x509.KeyUsage], bool]) -> bool:
    try:
        return wanted(certificate.extensions.get_extension_for_class(x509.KeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):  # ValueError: extensions that cannot be parsed
        return False


def _private_key(key_file: Path) -> rsa.RSAPrivateKey:
    data = _read(key_file)
    if key_file.stat().st_mode & stat.S_IRWXO:
        raise KeyFileUnusable("key_file_open", f"{key_file} can be used by everyone on this machine: chmod 600")
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = load(data, None)
    except TypeError:
        raise KeyFileUnusable("key_encrypted", f"{key_file} is protected by a password; store it without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileUnusable("not_a_key", f"{key_file} holds no private key in PEM or DER") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileUnusable("not_rsa", f"{key_file} holds a key that is not RSA")
    return key


def _certificate_of(
    key: rsa.RSAPrivateKey, key_file: Path, certificate_file: Path
) -> tuple[x509.Certificate, list[x509.Certificate]]:
    found = load_certificates(certificate_file)
    for certificate in found:
        if certificate.public_key() == key.public_key():
            return certificate, [other for other in found if other is not certificate]
    raise KeyFileUnusable("key_does_not_match", f"no certificate in {certificate_file} belongs to the key {key_file}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise KeyFileUnusable("file_unreadable", f"{file} cannot be read: {error.strerror}") from None
