"""Every message that protection must refuse, with the reason it gives; nothing of such a message is read."""

import base64
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.demo.certificates import Usage
from agent.protection import MessageRefused, ProtectionError, protect, unprotect
from tests.certificates import NOW, make_identity, make_variant
from tests.openssl import encrypt, openssl, sign

CONTENT = b"<MsgHead>content</MsgHead>"
REGISTER = make_identity("register signing", Usage.SIGNING)
RECIPIENT = make_identity("municipality encryption", Usage.ENCRYPTION)
STRANGER = make_identity("a stranger", Usage.SIGNING)


def envelope(inner: bytes) -> bytes:
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(inner).add_recipient(RECIPIENT.certificate)
    builder = builder.set_content_encryption_algorithm(algorithms.AES256)
    return builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def signed(content: bytes = CONTENT, *, attributes: bool = False) -> cms.ContentInfo:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(REGISTER.certificate, REGISTER.private_key, hashes.SHA256())
    options = [pkcs7.PKCS7Options.Binary] + ([] if attributes else [pkcs7.PKCS7Options.NoAttributes])
    return cms.ContentInfo.load(builder.sign(serialization.Encoding.DER, options))


def read(data: bytes) -> bytes:
    return unprotect(data, [RECIPIENT.decryption_key()], [REGISTER.certificate], at=NOW)


def refusal(data: bytes) -> str:
    with pytest.raises(MessageRefused) as raised:
        read(data)
    assert raised.value.code == "KPR-402"
    return raised.value.reason


def good() -> bytes:
    return protect(CONTENT, REGISTER.signing_identity(), RECIPIENT.certificate, at=NOW)


def test_another_signer() -> None:
    assert refusal(protect(CONTENT, STRANGER.signing_identity(), RECIPIENT.certificate, at=NOW)) == "another_signer"


def test_another_signer_who_brings_the_expected_certificate() -> None:
    info = signed()
    signer = info["content"]["signer_infos"][0]
    signer["signature"] = STRANGER.private_key.sign(CONTENT, padding.PKCS1v15(), hashes.SHA256())
    assert refusal(envelope(info.dump(force=True))) == "tampered"


def test_another_certificate_of_the_same_key_is_another_signer() -> None:
    other = make_variant(REGISTER, "register signing", Usage.SIGNING)
    assert refusal(protect(CONTENT, other.signing_identity(), RECIPIENT.certificate, at=NOW)) == "another_signer"


@pytest.mark.parametrize("inner", [CONTENT, cms.ContentInfo({"content_type": "data", "content": CONTENT}).dump()])
def test_no_signature_inside(inner: bytes) -> None:
    assert refusal(envelope(inner)) == "not_signed"


def test_a_detached_signature(tmp_path: Path) -> None:
    inner = sign(CONTENT, tmp_path, REGISTER, options=("-noattr", "-detached"))
    assert refusal(envelope(inner)) == "detached"


def test_encrypted_content_that_is_elsewhere() -> None:
    info = cms.ContentInfo.load(good())
    del info["content"]["encrypted_content_info"]["encrypted_content"]
    assert refusal(info.dump(force=True)) == "detached"


def test_zero_signers() -> None:
    info = signed()
    info["content"]["signer_infos"] = cms.SignerInfos([])
    assert refusal(envelope(info.dump(force=True))) == "no_signer"


def test_two_signers(tmp_path: Path) -> None:
    assert refusal(envelope(sign(CONTENT, tmp_path, REGISTER, STRANGER))) == "several_signers"
    info = signed()
    [signer] = info["content"]["signer_infos"]
    info["content"]["signer_infos"] = cms.SignerInfos([signer, signer])
    assert refusal(envelope(info.dump(force=True))) == "several_signers"


def test_tampered_content() -> None:
    inner = signed().dump().replace(b"content<", b"Content<")
    assert refusal(envelope(inner)) == "tampered"


def test_tampered_signed_attributes() -> None:
    info = signed(attributes=True)
    [time] = [a for a in info["content"]["signer_infos"][0]["signed_attrs"] if a["type"].native == "signing_time"]
    inner = info.dump().replace(time.dump(), time.dump()[:-3] + b"00Z")
    assert inner != info.dump()
    assert refusal(envelope(inner)) == "tampered"


def test_digest_mismatch() -> None:
    inner = signed(attributes=True).dump().replace(b"content<", b"Content<")
    assert refusal(envelope(inner)) == "digest_mismatch"


@pytest.mark.parametrize("change", ["another type", "no digest", "two digests"])
def test_signed_attributes_that_do_not_describe_the_content(change: str) -> None:
    info = signed(attributes=True)
    signer = info["content"]["signer_infos"][0]
    attributes = list(signer["signed_attrs"])
    if change == "another type":
        [kind] = [a for a in attributes if a["type"].native == "content_type"]
        kind["values"] = ["signed_data"]
    else:
        [digest] = [a for a in attributes if a["type"].native == "message_digest"]
        attributes = [a for a in attributes if a is not digest] + ([digest, digest] if change == "two digests" else [])
    signer["signed_attrs"] = cms.CMSAttributes(attributes)
    over = b"\x31" + signer["signed_attrs"].dump(force=True)[1:]
    signer["signature"] = REGISTER.private_key.sign(over, padding.PKCS1v15(), hashes.SHA256())
    assert refusal(envelope(info.dump(force=True))) == "attribute_mismatch"


def test_signed_attributes_replayed_as_content() -> None:
    # The signature over a SET of attributes fits a message without attributes whose content is that SET.
    info = signed(attributes=True)
    signer = info["content"]["signer_infos"][0]
    content = b"\x31" + signer["signed_attrs"].dump()[1:]
    del signer["signed_attrs"]
    info["content"]["encap_content_info"]["content"] = content
    assert refusal(envelope(info.dump(force=True))) == "tampered"


def test_a_digest_other_than_the_signature_algorithms() -> None:
    info = signed()
    info["content"]["signer_infos"][0]["signature_algorithm"] = {"algorithm": "sha512_rsa"}
    assert refusal(envelope(info.dump(force=True))) == "refused_algorithm"


def test_md5_is_refused_with_or_without_the_legacy_setting() -> None:
    info = signed()
    info["content"]["signer_infos"][0]["digest_algorithm"] = {"algorithm": "md5"}
    data = envelope(info.dump(force=True))
    assert refusal(data) == "refused_algorithm"
    with pytest.raises(MessageRefused):
        unprotect(data, [RECIPIENT.decryption_key()], [REGISTER.certificate], at=NOW, legacy_3des=True)


def test_rc2_is_refused(tmp_path: Path) -> None:
    info = cms.ContentInfo.load(good())
    info["content"]["encrypted_content_info"]["content_encryption_algorithm"] = {
        "algorithm": "rc2",
        "parameters": {"iv": bytes(8)},
    }
    assert refusal(info.dump(force=True)) == "refused_algorithm"


def test_signed_after_encrypting(tmp_path: Path) -> None:
    encrypted = encrypt(CONTENT, tmp_path, RECIPIENT)
    assert refusal(sign(encrypted, tmp_path, REGISTER)) == "signed_after_encrypting"
    typed = sign(encrypted, tmp_path, REGISTER, options=("-econtent_type", "1.2.840.113549.1.7.3"))
    assert refusal(typed) == "signed_after_encrypting"


def test_signed_and_not_encrypted(tmp_path: Path) -> None:
    assert refusal(sign(CONTENT, tmp_path, REGISTER)) == "not_encrypted"
    assert refusal(openssl("cms", "-data_create", "-outform", "DER", data=CONTENT)) == "not_encrypted"


def test_an_envelope_in_an_envelope() -> None:
    assert refusal(envelope(good())) == "envelope_in_envelope"


def test_an_envelope_in_a_signature_in_an_envelope(tmp_path: Path) -> None:
    inner = encrypt(CONTENT, tmp_path, RECIPIENT)
    typed = sign(inner, tmp_path, REGISTER, options=("-econtent_type", "1.2.840.113549.1.7.3"))
    assert refusal(envelope(typed)) == "envelope_in_envelope"


def test_truncated() -> None:
    data = good()
    assert {refusal(data[:size]) for size in range(1, len(data))} == {"truncated"}


def test_truncated_inside() -> None:
    assert refusal(envelope(signed().dump()[:-1])) == "truncated"


def test_truncated_stream(tmp_path: Path) -> None:
    data = encrypt(signed().dump(), tmp_path, RECIPIENT, options=("-aes256", "-stream"))
    assert {refusal(data[:size]) for size in range(1, len(data), 7)} == {"truncated"}


def test_trailing_bytes() -> None:
    assert refusal(good() + b"\n") == "trailing_bytes"
    assert refusal(envelope(signed().dump() + b"\x00")) == "trailing_bytes"


@pytest.mark.parametrize(
    "encode", [base64.b64encode, base64.encodebytes, lambda data: b"\r\n" + base64.b64encode(data)]
)
def test_base64(encode) -> None:
    assert refusal(encode(good())) == "base64"


def test_pem() -> None:
    assert refusal(b"-----BEGIN CMS-----\n" + base64.encodebytes(good()) + b"-----END CMS-----\n") == "base64"


def test_empty_content(tmp_path: Path) -> None:
    assert refusal(b"") == "empty_content"
    assert refusal(envelope(signed(b"").dump())) == "empty_content"
    assert refusal(encrypt(b"", tmp_path, RECIPIENT)) == "empty_content"


def test_another_key_behind_the_same_certificate_name(tmp_path: Path) -> None:
    data = good()
    stranger = make_identity("a stranger's encryption", Usage.ENCRYPTION)
    wrong = type(stranger.decryption_key())(RECIPIENT.certificate, stranger.private_key)
    with pytest.raises(MessageRefused) as raised:
        unprotect(data, [wrong], [REGISTER.certificate], at=NOW)
    # PKCS#1 v1.5 may answer a wrong key with random bytes: still the same refusal
    assert raised.value.reason == "not_decryptable"


def test_tampered_gcm(tmp_path: Path) -> None:
    data = encrypt(signed().dump(), tmp_path, RECIPIENT, options=("-aes-256-gcm",))
    assert read(data) == CONTENT
    assert refusal(data[:-1] + bytes((data[-1] ^ 1,))) == "not_decryptable"


@pytest.mark.parametrize(
    "data", [b"<xml/>", b"\x00", b"\x30\x00", b"\x30\x80\x00\x00", b"\x05\x00", b"\x30\x84", b"\xff" * 40]
)
def test_rubbish(data: bytes) -> None:
    assert refusal(data) in {"malformed", "truncated", "trailing_bytes"}


def test_asn1_nested_without_end() -> None:
    assert refusal(b"\x30\x80" * 100_000) == "malformed"


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(where: str) -> None:
    """What is not covered by the signature (versions, bundled certificates) may change; the content never."""
    data = good() if where == "outside" else signed(attributes=True).dump()
    texts = []
    for at in range(0, len(data), 5):
        flipped = data[:at] + bytes((data[at] ^ 0x01,)) + data[at + 1 :]
        try:
            assert read(flipped if where == "outside" else envelope(flipped)) == CONTENT
        except ProtectionError as error:
            texts.append(str(error))
    assert len(texts) > len(data) / 5 / 3
    assert not any("content</" in text for text in texts)
