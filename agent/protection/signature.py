"""A signature verified: SignedData (RFC 5652 section 5) against the signers that the configuration expects."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.protection.ber import CONSTRUCTED, OCTET_STRING, SEQUENCE, SET, definite, elements
from agent.protection.cms import (
    ENVELOPES,
    HASHES,
    LEGACY_HASHES,
    MGF1_HASHES,
    as_set,
    content_info,
    names,
    refused_algorithm,
    well_formed,
)
from agent.protection.errors import CertificateUnusable, MessageRefused
from agent.protection.keys import demand_valid


def verified(data: bytes, accepted: Sequence[x509.Certificate], *, at: datetime, legacy_sha1: bool) -> bytes:
    """The content that one of the `accepted` signers has signed. Raises MessageRefused or CertificateUnusable.

    The signer is looked for among `accepted` only; certificates that the message brings are not looked at.
    """
    signed = _signed_data(data)
    with well_formed():
        signer, content = _signer_and_content(signed)
        certificates = [certificate for certificate in accepted if names(signer["sid"], certificate)]
        if not certificates:
            raise MessageRefused("another_signer", "signed by someone who is not an accepted signer")
        digest = _hash(signer["digest_algorithm"]["algorithm"].native, legacy_sha1)
        signed_bytes = _signed_bytes(signer, content, digest)
        pad = _signature_padding(signer["signature_algorithm"], digest)
        signature = signer["signature"].native
    if not any(_is_signature(certificate, signature, signed_bytes, pad, digest) for certificate in certificates):
        raise MessageRefused("tampered", "the signature does not belong to these bytes and the accepted signer's key")
    demand_valid(certificates[0], "the signer's certificate", at)
    if not content:
        raise MessageRefused("empty_content", "a signature over nothing")
    return content


def _signed_data(data: bytes) -> Any:
    if not data:
        raise MessageRefused("empty_content", "an envelope around nothing")
    if data[0] & ~CONSTRUCTED == OCTET_STRING:  # .NET Core 2 on Linux wraps the signed message once more
        [(_, data, _)] = elements(definite(data))
    if data[:1] != bytes((SEQUENCE,)):
        raise MessageRefused("not_signed", "no signature inside the envelope")
    kind, content = content_info(definite(data))
    if kind in ENVELOPES:
        raise MessageRefused("envelope_in_envelope", "an envelope inside the envelope")
    if kind != "signed_data":
        raise MessageRefused("not_signed", "no signature inside the envelope")
    return content


def _signer_and_content(signed: Any) -> tuple[Any, bytes]:
    encapsulated = signed["encap_content_info"]
    kind = encapsulated["content_type"].native
    if kind in ENVELOPES:
        raise MessageRefused("envelope_in_envelope", "an envelope inside the signature inside the envelope")
    if kind != "data":
        raise MessageRefused("unexpected_content", "the signed content is not plain data")
    signers = signed["signer_infos"]
    if len(signers) == 0:
        raise MessageRefused("no_signer", "signed data without a signer")
    if len(signers) > 1:
        raise MessageRefused("several_signers", "more than one signer")
    content = encapsulated["content"].native
    if content is None:
        raise MessageRefused("detached", "the signed content is not in the message")
    return signers[0], content


def _signed_bytes(signer: Any, content: bytes, digest: hashes.HashAlgorithm) -> bytes:
    """What the signature is over: the content, or the attributes that carry its digest (RFC 5652 section 5.4)."""
    attributes = signer["signed_attrs"]
    if not isinstance(attributes, cms.CMSAttributes):
        if _are_attributes(content):
            # A message with attributes, replayed as one without: its signature would fit these bytes.
            raise MessageRefused("tampered", "the content is another message's signed attributes")
        return content
    values: dict[str, list[Any]] = {}
    for attribute in attributes:
        values.setdefault(attribute["type"].native, []).extend(attribute["values"])
    kinds, digests = values.get("content_type", []), values.get("message_digest", [])
    if len(kinds) != 1 or kinds[0].native != "data" or len(digests) != 1:
        raise MessageRefused("attribute_mismatch", "the signed attributes do not describe this content")
    if digests[0].native != hashlib.new(digest.name, content).digest():
        raise MessageRefused("digest_mismatch", "the signed digest is not the content's")
    return as_set(attributes)


def _are_attributes(content: bytes) -> bool:
    if content[:1] != bytes((SET,)):
        return False
    try:
        parsed = cms.CMSAttributes.load(content, strict=True)
        return any(attribute["type"].native == "message_digest" for attribute in parsed)
    except (ValueError, TypeError):  # text that happens to begin with the same byte
        return False


def _hash(name: str, legacy_sha1: bool) -> hashes.HashAlgorithm:
    known = HASHES | LEGACY_HASHES if legacy_sha1 else HASHES
    if name not in known:
        raise refused_algorithm("digest")
    return known[name]()


def _signature_padding(algorithm: Any, digest: hashes.HashAlgorithm) -> rsa_padding.AsymmetricPadding:
    name = algorithm["algorithm"].native
    if name in ("rsassa_pkcs1v15", f"{digest.name}_rsa"):
        return rsa_padding.PKCS1v15()
    if name == "rsassa_pss":
        parameters = algorithm["parameters"]
        mask = parameters["mask_gen_algorithm"]
        mask_hash = mask["parameters"]["algorithm"].native
        hash_name = parameters["hash_algorithm"]["algorithm"].native
        if hash_name == digest.name and mask["algorithm"].native == "mgf1" and mask_hash in MGF1_HASHES:
            return rsa_padding.PSS(rsa_padding.MGF1(MGF1_HASHES[mask_hash]()), int(parameters["salt_length"].native))
    raise refused_algorithm("signature")


def _is_signature(
    certificate: x509.Certificate,
    signature: bytes,
    over: bytes,
    pad: rsa_padding.AsymmetricPadding,
    digest: hashes.HashAlgorithm,
) -> bool:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateUnusable("not_rsa", "an accepted signer's certificate has a key that is not RSA")
    try:
        key.verify(signature, over, pad, digest)
    except (InvalidSignature, ValueError):  # ValueError: a salt or signature of an impossible length
        return False
    return True
