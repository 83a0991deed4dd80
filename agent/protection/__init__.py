"""Protection of a message on the bus: signed, then encrypted; and back, decrypted, then verified.

The profile is Norsk Helsenett's: CMS SignedData inside CMS EnvelopedData, both DER. What others write is wider than
the profile, and is read; what is not signed by whom the configuration expects is refused. All functions are pure
computations of milliseconds; callers run them in worker threads (the RSA work releases the interpreter lock).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.protection.envelope import opened
from agent.protection.errors import CertificateUnusable, KeyFileUnusable, MessageRefused, NotForUs, ProtectionError
from agent.protection.keys import (
    DecryptionKey,
    ProtectionFiles,
    SigningIdentity,
    check_certificates,
    demand_encryption,
    demand_signing,
    demand_valid,
    load_certificates,
    load_decryption_key,
    load_encryption_certificate,
    load_signing_certificates,
    load_signing_identity,
)
from agent.protection.signature import verified

__all__ = [
    "CONTENT_TYPE",
    "CertificateUnusable",
    "DecryptionKey",
    "KeyFileUnusable",
    "MessageRefused",
    "NotForUs",
    "ProtectionError",
    "ProtectionFiles",
    "SigningIdentity",
    "check_certificates",
    "load_certificates",
    "load_decryption_key",
    "load_encryption_certificate",
    "load_signing_certificates",
    "load_signing_identity",
    "protect",
    "unprotect",
]

CONTENT_TYPE: Final = "application/pkcs7-mime; smime-type=signed-and-enveloped-data"
"""The AMQP content-type of a protected message."""

_BASE64: Final = re.compile(rb"\s*(-----BEGIN |[A-Za-z0-9+/]{16})")  # DER starts with 0x30 and a byte that is no letter
_OPTIONS: Final = (pkcs7.PKCS7Options.NoAttributes, pkcs7.PKCS7Options.Binary)


def protect(content: bytes, signer: SigningIdentity, recipient: x509.Certificate, *, at: datetime) -> bytes:
    """`content` signed by `signer` and encrypted to `recipient`, as DER.

    SignedData: content attached, SHA-256, RSA PKCS#1 v1.5, no signed attributes, the signer's certificate and chain
    without the root. EnvelopedData: AES-256-CBC, one recipient by issuer and serial number, RSA PKCS#1 v1.5 key
    transport. Raises CertificateUnusable when a certificate is not valid `at` that moment or lacks its key usage.
    """
    if not content:
        raise ValueError("there is no content to protect")
    demand_signing(signer.certificate, "our signing certificate")
    demand_valid(signer.certificate, "our signing certificate", at)
    demand_encryption(recipient, "the recipient's encryption certificate")
    demand_valid(recipient, "the recipient's encryption certificate", at)
    signature = pkcs7.PKCS7SignatureBuilder(content)
    signature = signature.add_signer(signer.certificate, signer.private_key, hashes.SHA256())
    for certificate in signer.chain:  # after add_signer, which forgets what was added before it
        signature = signature.add_certificate(certificate)
    signed = signature.sign(serialization.Encoding.DER, _OPTIONS)
    envelope = pkcs7.PKCS7EnvelopeBuilder().set_data(signed).add_recipient(recipient)
    envelope = envelope.set_content_encryption_algorithm(algorithms.AES256)
    return envelope.encrypt(serialization.Encoding.DER, (pkcs7.PKCS7Options.Binary,))


def unprotect(
    data: bytes,
    decryption_keys: Sequence[DecryptionKey],
    accepted_signers: Sequence[x509.Certificate],
    *,
    at: datetime,
    legacy_3des: bool = False,
) -> bytes:
    """The content of `data`, decrypted with one of our keys and verified with one of the `accepted_signers`.

    Read beyond the profile: BER with indefinite lengths, signed attributes, any certificates bundled, SHA-384 and
    SHA-512, RSA-PSS, AES-128 and AES-192, AES-GCM (RFC 5083), RSA-OAEP, other recipients beside us, identifiers by
    subject key identifier, and one extra OCTET STRING around the SignedData. `legacy_3des` adds 3DES and SHA-1.

    Raises NotForUs (keep the message), MessageRefused (out of the way; `reason` says which refusal) or
    CertificateUnusable (the accepted signer's certificate is not valid `at` that moment: keep the message).
    """
    if not data:
        raise MessageRefused("empty_content", "the message has no bytes")
    if _BASE64.match(data):
        raise MessageRefused("base64", "the message is text in base64, not DER")
    signed = opened(data, decryption_keys, legacy_3des=legacy_3des)
    return verified(signed, accepted_signers, at=at, legacy_sha1=legacy_3des)
