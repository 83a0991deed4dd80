"""Throw-away certificates: an authority, certificates that sign and encrypt, one for a TLS server on localhost.

For the demo, the benchmark and tests only. The key usages are those of virksomhetssertifikater: nonRepudiation for
signing, keyEncipherment for encryption.
"""

import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.protection import DecryptionKey, SigningIdentity


class Usage(Enum):
    """What a certificate is for."""

    SIGNING = "signing"
    ENCRYPTION = "encryption"
    SERVER = "server"
    AUTHORITY = "authority"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its key, and the certificate of who issued it (its own for an authority)."""

    certificate: x509.Certificate
    private_key: rsa.RSAPrivateKey = field(repr=False)
    issuer: x509.Certificate

    def signing_identity(self) -> SigningIdentity:
        return SigningIdentity(self.certificate, self.private_key)

    def decryption_key(self) -> DecryptionKey:
        return DecryptionKey(self.certificate, self.private_key)


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """Where a key and its certificate were written, as PEM."""

    key: Path
    certificate: Path


def make_authority(common_name: str, *, at: datetime, days: int = 30, key_bits: int = 3072) -> Issued:
    """A self-signed authority, valid from a day before `at` to `days` after it."""
    key = make_key(key_bits)
    certificate = _certificate(common_name, key, Usage.AUTHORITY, None, (at - timedelta(days=1), at + timedelta(days)))
    return Issued(certificate, key, certificate)


def issue(
    authority: Issued,
    common_name: str,
    usage: Usage,
    *,
    at: datetime,
    days: int = 30,
    key_bits: int = 3072,
    key: rsa.RSAPrivateKey | None = None,
) -> Issued:
    """A certificate by `authority`, valid from a day before `at` to `days` after it; makes a key unless one is given.

    A SERVER certificate holds for localhost and 127.0.0.1, whatever its name.
    """
    key = key or make_key(key_bits)
    ends_at = at + timedelta(days=days)
    dates = (min(at, ends_at) - timedelta(days=1), ends_at)
    certificate = _certificate(common_name, key, usage, authority, dates)
    return Issued(certificate, key, authority.certificate)


def make_key(key_bits: int = 3072) -> rsa.RSAPrivateKey:
    """A new RSA key: about a tenth of a second for 2048 bits, three or four times that for 3072."""
    return rsa.generate_private_key(public_exponent=65537, key_size=key_bits)


def write(issued: Issued, folder: Path, name: str) -> WrittenFiles:
    """Write NAME.key.pem (mode 0600) and NAME.cert.pem into `folder`, which exists; files of that name are replaced."""
    files = WrittenFiles(folder / f"{name}.key.pem", folder / f"{name}.cert.pem")
    files.key.unlink(missing_ok=True)
    files.key.touch(mode=0o600)
    files.key.write_bytes(key_pem(issued.private_key))
    files.certificate.write_bytes(issued.certificate.public_bytes(serialization.Encoding.PEM))
    return files


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """The key as PKCS#8 in PEM, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def server_tls(files: WrittenFiles) -> ssl.SSLContext:
    """The TLS side of a listener with the SERVER certificate in `files`; TLS 1.2 and newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    return context


def _certificate(
    common_name: str,
    key: rsa.RSAPrivateKey,
    usage: Usage,
    authority: Issued | None,
    dates: tuple[datetime, datetime],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NO"), _common_name(common_name)])
    is_authority = usage is Usage.AUTHORITY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dates[0])
        .not_valid_after(dates[1])
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(_key_usage(usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority is not None:
        issuer_key = authority.private_key.public_key()
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    if usage is Usage.SERVER:
        local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(local), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(authority.private_key if authority else key, hashes.SHA256())


def _common_name(text: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, text)


def _key_usage(usage: Usage) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=usage is Usage.SERVER,
        content_commitment=usage is Usage.SIGNING,  # nonRepudiation
        key_encipherment=usage in (Usage.ENCRYPTION, Usage.SERVER),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=usage is Usage.AUTHORITY,
        crl_sign=usage is Usage.AUTHORITY,
        encipher_only=False,
        decipher_only=False,
    )
