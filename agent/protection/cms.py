"""What opening an envelope and verifying a signature share of Cryptographic Message Syntax (RFC 5652).

asn1crypto parses, `cryptography` computes. Texts of foreign exceptions are dropped: they may quote what they choked on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from agent.protection.ber import SET
from agent.protection.errors import MessageRefused

ENVELOPES: Final = ("enveloped_data", "authenticated_enveloped_data")
HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
LEGACY_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {"sha1": hashes.SHA1}
MGF1_HASHES: Final = HASHES | LEGACY_HASHES  # in a mask or in OAEP, SHA-1 signs nothing, and is the default


@contextmanager
def well_formed() -> Iterator[None]:
    """What asn1crypto raises on structures that are not what they should be, as a refusal without its text."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        raise MessageRefused("malformed", "not a message in Cryptographic Message Syntax") from None


def content_info(der: bytes) -> tuple[str, Any]:  # Any, here and elsewhere: asn1crypto has no types
    """The content type and the content of a ContentInfo. Raises MessageRefused: malformed."""
    with well_formed():
        info = cms.ContentInfo.load(der, strict=True)
        return str(info["content_type"].native), info["content"]


def names(identifier: Any, certificate: x509.Certificate) -> bool:
    """Whether a signer or recipient identifier (issuer and serial number, or key identifier) means `certificate`."""
    if identifier.name == "subject_key_identifier":
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except (x509.ExtensionNotFound, ValueError):  # ValueError: extensions that cannot be parsed
            return False
        return bool(extension.value.digest == identifier.chosen.native)
    if identifier.chosen["serial_number"].native != certificate.serial_number:
        return False
    return bool(identifier.chosen["issuer"] == asn1_x509.Name.load(certificate.issuer.public_bytes()))


def as_set(attributes: Any) -> bytes:
    """Attributes are tagged [0] or [1] in the message, and signed or bound with the tag of a SET."""
    return bytes((SET,)) + bytes(attributes.dump()[1:])


def refused_algorithm(what: str) -> MessageRefused:
    """The refusal of an algorithm that is unknown, weak, or allowed only by a setting."""
    return MessageRefused("refused_algorithm", f"the {what} algorithm is not one that is accepted here")
