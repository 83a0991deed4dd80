"""An envelope opened: EnvelopedData (RFC 5652 section 6) and AuthEnvelopedData (RFC 5083)."""

from collections.abc import Sequence
from typing import Any, Final

from asn1crypto import cms
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.protection.ber import definite, elements, joined
from agent.protection.cms import ENVELOPES, MGF1_HASHES, as_set, content_info, names, refused_algorithm, well_formed
from agent.protection.errors import MessageRefused, NotForUs
from agent.protection.keys import DecryptionKey

_AES_KEY_BYTES: Final = {
    "aes128_cbc": 16,
    "aes192_cbc": 24,
    "aes256_cbc": 32,
    "aes128_gcm": 16,
    "aes192_gcm": 24,
    "aes256_gcm": 32,
}


def opened(data: bytes, keys: Sequence[DecryptionKey], *, legacy_3des: bool) -> bytes:
    """What an envelope holds, decrypted and NOT yet verified. Raises NotForUs or MessageRefused."""
    kind, envelope = content_info(definite(data))
    if kind not in ENVELOPES:
        raise _no_envelope(kind, envelope)
    with well_formed():
        key, recipient = _ours(envelope["recipient_infos"], keys)
        content_key = _content_key(key, recipient)
        if kind == "enveloped_data":
            algorithm, encrypted = _encrypted_content(envelope["encrypted_content_info"].dump())
            return _open_cbc(algorithm, content_key, encrypted, legacy_3des)
        algorithm, encrypted = _encrypted_content(envelope["auth_encrypted_content_info"].dump())
        return _open_gcm(algorithm, content_key, encrypted, envelope)


def _no_envelope(kind: str, content: Any) -> MessageRefused:
    with well_formed():
        if kind == "signed_data" and _holds_envelope(content["encap_content_info"]):
            return MessageRefused("signed_after_encrypting", "an envelope inside a signature: the order is wrong")
    return MessageRefused("not_encrypted", "the message is not encrypted")


def _holds_envelope(encapsulated: Any) -> bool:
    if encapsulated["content_type"].native in ENVELOPES:
        return True
    try:
        return content_info(definite(encapsulated["content"].native or b""))[0] in ENVELOPES
    except MessageRefused:
        return False


def _ours(recipients: Any, keys: Sequence[DecryptionKey]) -> tuple[DecryptionKey, Any]:
    for recipient in recipients:
        if recipient.name != "ktri":  # only RSA key transport is in use on this bus
            continue
        for key in keys:
            if names(recipient.chosen["rid"], key.certificate):
                return key, recipient.chosen
    raise NotForUs


def _content_key(key: DecryptionKey, recipient: Any) -> bytes:
    algorithm = recipient["key_encryption_algorithm"]
    pad: rsa_padding.AsymmetricPadding
    match algorithm["algorithm"].native:
        case "rsaes_pkcs1v15":
            pad = rsa_padding.PKCS1v15()
        case "rsaes_oaep":
            pad = _oaep(algorithm["parameters"])
        case _:
            raise refused_algorithm("key transport")
    try:
        return key.private_key.decrypt(recipient["encrypted_key"].native, pad)
    except ValueError:
        raise _undecryptable() from None


def _oaep(parameters: Any) -> rsa_padding.OAEP:
    mask = parameters["mask_gen_algorithm"]
    label = parameters["p_source_algorithm"]["parameters"].native
    hash_name, mask_name = parameters["hash_algorithm"]["algorithm"].native, mask["parameters"]["algorithm"].native
    if mask["algorithm"].native != "mgf1" or not {hash_name, mask_name} <= MGF1_HASHES.keys():
        raise refused_algorithm("key transport")
    return rsa_padding.OAEP(rsa_padding.MGF1(MGF1_HASHES[mask_name]()), MGF1_HASHES[hash_name](), label or None)


def _encrypted_content(der: bytes) -> tuple[Any, bytes]:
    """The algorithm and the bytes of an EncryptedContentInfo, whose [0] is whole or (BER) in pieces."""
    [(_, fields, _)] = elements(der)
    _, (_, _, algorithm), *rest = elements(fields)
    if not rest:
        raise MessageRefused("detached", "the encrypted content is not in the message")
    tag, contents, _ = rest[0]
    return cms.EncryptionAlgorithm.load(algorithm), joined(contents) if tag == 0xA0 else contents


def _open_cbc(algorithm: Any, key: bytes, encrypted: bytes, legacy_3des: bool) -> bytes:
    name = algorithm["algorithm"].native
    cipher: algorithms.AES | TripleDES
    if name.endswith("_cbc") and name in _AES_KEY_BYTES:
        _demand_length(key, _AES_KEY_BYTES[name])
        cipher = algorithms.AES(key)
    elif name == "tripledes_3key" and legacy_3des:
        _demand_length(key, 24)
        cipher = TripleDES(key)
    else:
        raise refused_algorithm("content encryption")
    decryptor = Cipher(cipher, modes.CBC(algorithm["parameters"].native)).decryptor()
    unpadder = padding.PKCS7(cipher.block_size).unpadder()
    try:
        padded = decryptor.update(encrypted) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise _undecryptable() from None


def _open_gcm(algorithm: Any, key: bytes, encrypted: bytes, envelope: Any) -> bytes:
    """RFC 5084 section 3.2: parameters are a nonce and a tag length. RFC 5083 section 2.2: attributes are bound."""
    name = algorithm["algorithm"].native
    if not name.endswith("_gcm") or name not in _AES_KEY_BYTES:
        raise refused_algorithm("content encryption")
    _demand_length(key, _AES_KEY_BYTES[name])
    [(_, parameters, _)] = elements(algorithm["parameters"].dump())
    nonce = elements(parameters)[0][1]
    tag = envelope["mac"].native
    if len(tag) != 16:  # shorter ones are allowed by the standard, and easier to forge
        raise refused_algorithm("content encryption")
    attributes = envelope["auth_attrs"]
    bound = as_set(attributes) if isinstance(attributes, cms.CMSAttributes) else None
    try:
        return AESGCM(key).decrypt(nonce, encrypted + tag, bound)
    except (InvalidTag, ValueError):
        raise _undecryptable() from None


def _demand_length(key: bytes, size_bytes: int) -> None:
    if len(key) != size_bytes:
        raise _undecryptable()


def _undecryptable() -> MessageRefused:
    # One text for key and content: which of the two failed would help who probes (PKCS#1 v1.5, CBC padding).
    return MessageRefused("not_decryptable", "written to our key, and cannot be decrypted with it")
