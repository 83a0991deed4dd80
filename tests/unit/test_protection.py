"""Protection: our bytes are the profile's, and what others write beyond it is read."""

from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.demo.certificates import Usage, write
from agent.protection import (
    CertificateUnusable,
    MessageRefused,
    NotForUs,
    SigningIdentity,
    load_signing_identity,
    protect,
    unprotect,
)
from tests.certificates import NOW, authority, make_identity, make_variant
from tests.openssl import encrypt, openssl, sign

CONTENT = "<MsgHead>\nblåbær\r\n</MsgHead>".encode()
OURS = make_identity("municipality signing", Usage.SIGNING)
THEIRS = make_identity("register encryption", Usage.ENCRYPTION)
REGISTER = make_identity("register signing", Usage.SIGNING)
RECIPIENT = make_identity("municipality encryption", Usage.ENCRYPTION)
OTHER = make_identity("somebody else", Usage.ENCRYPTION)


def read(data: bytes, *, legacy_3des: bool = False) -> bytes:
    keys = [RECIPIENT.decryption_key()]
    return unprotect(data, keys, [REGISTER.certificate], at=NOW, legacy_3des=legacy_3des)


def signed_and_encrypted(
    folder: Path,
    *recipients: object,
    sign_options: tuple[str, ...] = ("-noattr",),
    encrypt_options: tuple[str, ...] = ("-aes256",),
) -> bytes:
    signed = sign(CONTENT, folder, REGISTER, options=sign_options)
    return encrypt(signed, folder, *(recipients or (RECIPIENT,)), options=encrypt_options)


# What we write


def test_openssl_decrypts_and_verifies_what_we_protect(tmp_path: Path) -> None:
    protected = protect(CONTENT, OURS.signing_identity(), THEIRS.certificate, at=NOW)
    theirs, trusted = write(THEIRS, tmp_path, "theirs"), write(authority(), tmp_path, "authority")
    decrypt = ("cms", "-decrypt", "-inform", "DER", "-binary", "-recip", theirs.certificate, "-inkey", theirs.key)
    signed = openssl(*decrypt, data=protected)
    trust = ("-CAfile", trusted.certificate, "-purpose", "any", "-attime", str(int(NOW.timestamp())))
    verify = ("cms", "-verify", "-inform", "DER", "-binary", *trust)
    assert openssl(*verify, data=signed) == CONTENT


def test_the_envelope_has_the_shape_of_the_profile() -> None:
    envelope = cms.ContentInfo.load(protect(CONTENT, OURS.signing_identity(), THEIRS.certificate, at=NOW))
    assert envelope["content_type"].native == "enveloped_data"
    [recipient] = envelope["content"]["recipient_infos"]
    assert recipient.name == "ktri"
    assert recipient.chosen["rid"].name == "issuer_and_serial_number"
    assert recipient.chosen["key_encryption_algorithm"]["algorithm"].native == "rsaes_pkcs1v15"
    encrypted = envelope["content"]["encrypted_content_info"]
    assert encrypted["content_type"].native == "data"
    assert encrypted["content_encryption_algorithm"]["algorithm"].native == "aes256_cbc"


def test_the_signature_has_the_shape_of_the_profile_and_brings_the_chain_without_the_root(tmp_path: Path) -> None:
    files = write(OURS, tmp_path, "ours")
    middle = make_variant(make_identity("middle", Usage.SIGNING), "intermediate", Usage.AUTHORITY)
    pem = serialization.Encoding.PEM
    with files.certificate.open("ab") as file:
        file.write(middle.certificate.public_bytes(pem) + authority().certificate.public_bytes(pem))
    signer = load_signing_identity(files.key, files.certificate)
    protected = protect(CONTENT, signer, THEIRS.certificate, at=NOW)
    inner = pkcs7.pkcs7_decrypt_der(protected, THEIRS.certificate, THEIRS.private_key, [])
    signed = cms.ContentInfo.load(inner, strict=True)["content"]
    [signer_info] = signed["signer_infos"]
    assert signer_info["sid"].name == "issuer_and_serial_number"
    assert signer_info["digest_algorithm"]["algorithm"].native == "sha256"
    assert signer_info["signature_algorithm"]["algorithm"].native == "rsassa_pkcs1v15"
    assert not signer_info["signed_attrs"]
    assert signed["encap_content_info"]["content_type"].native == "data"
    assert signed["encap_content_info"]["content"].native == CONTENT
    brought = {certificate.chosen.serial_number for certificate in signed["certificates"]}
    assert brought == {OURS.certificate.serial_number, middle.certificate.serial_number}


def test_we_read_what_we_write() -> None:
    protected = protect(CONTENT, REGISTER.signing_identity(), RECIPIENT.certificate, at=NOW)
    assert read(protected) == CONTENT


def test_protecting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no content"):
        protect(b"", OURS.signing_identity(), THEIRS.certificate, at=NOW)


@pytest.mark.parametrize(
    ("signer", "recipient", "at", "reason"),
    [
        (OURS, THEIRS, NOW + timedelta(days=400), "expired"),
        (OURS, THEIRS, NOW - timedelta(days=2), "not_yet_valid"),
        (make_variant(OURS, "expired", Usage.SIGNING, days=-1), THEIRS, NOW, "expired"),
        (OURS, make_variant(THEIRS, "expired", Usage.ENCRYPTION, days=-1), NOW, "expired"),
        (make_variant(OURS, "encrypts", Usage.ENCRYPTION), THEIRS, NOW, "wrong_key_usage"),
        (OURS, make_variant(THEIRS, "signs", Usage.SIGNING), NOW, "wrong_key_usage"),
    ],
)
def test_dates_and_key_usages_are_checked_before_protecting(signer, recipient, at, reason) -> None:
    with pytest.raises(CertificateUnusable) as raised:
        protect(CONTENT, signer.signing_identity(), recipient.certificate, at=at)
    assert (raised.value.reason, raised.value.code) == (reason, "KPR-403")


# What we read beyond the profile


@pytest.mark.parametrize(
    ("sign_options", "encrypt_options"),
    [
        pytest.param(("-noattr",), ("-aes256",), id="the profile"),
        pytest.param((), ("-aes256",), id="signed attributes"),
        pytest.param(("-stream",), ("-aes256",), id="BER indefinite lengths inside"),
        pytest.param(("-noattr",), ("-aes256", "-stream"), id="BER indefinite lengths outside"),
        pytest.param(("-stream",), ("-aes256", "-stream"), id="BER indefinite lengths in both"),
        pytest.param(("-noattr", "-md", "sha512"), ("-aes256",), id="SHA-512"),
        pytest.param(("-md", "sha384"), ("-aes256",), id="SHA-384 with attributes"),
        pytest.param(("-noattr",), ("-aes128",), id="AES-128"),
        pytest.param(("-noattr",), ("-aes192",), id="AES-192"),
        pytest.param(("-noattr",), ("-aes256", "-keyid"), id="recipient by key identifier"),
        pytest.param(("-noattr", "-keyid"), ("-aes256",), id="signer by key identifier"),
        pytest.param(("-noattr", "-nocerts"), ("-aes256",), id="no certificate inside"),
        pytest.param(("-noattr",), ("-aes256", "rsa_padding_mode:oaep"), id="RSA-OAEP with SHA-1"),
        pytest.param(
            ("-noattr",), ("-aes256", "rsa_padding_mode:oaep", "rsa_oaep_md:sha256"), id="RSA-OAEP with SHA-256"
        ),
        pytest.param(("-noattr",), ("-aes-256-gcm",), id="AES-256-GCM"),
        pytest.param(("-noattr",), ("-aes-128-gcm", "-stream"), id="AES-128-GCM in BER"),
        pytest.param(("-noattr", "-keyopt", "rsa_padding_mode:pss"), ("-aes256",), id="RSA-PSS"),
        pytest.param(("-keyopt", "rsa_padding_mode:pss", "-md", "sha512"), ("-aes256",), id="RSA-PSS with attributes"),
    ],
)
def test_we_read_what_openssl_makes(tmp_path: Path, sign_options, encrypt_options) -> None:
    # -keyopt belongs to the signer named before it
    if "-keyopt" in sign_options:
        files = write(REGISTER, tmp_path, "pss")
        named = ("-signer", files.certificate, "-inkey", files.key)
        make = ("cms", "-sign", "-binary", "-outform", "DER", "-nodetach", *named, *sign_options)
        data = encrypt(openssl(*make, data=CONTENT), tmp_path, RECIPIENT, options=encrypt_options)
    else:
        data = signed_and_encrypted(tmp_path, sign_options=sign_options, encrypt_options=encrypt_options)
    if "-stream" in encrypt_options:
        assert data[:2] == b"\x30\x80"
    assert read(data) == CONTENT


def test_a_large_streamed_message_comes_in_many_pieces_and_is_read(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    signed = sign(content, tmp_path, REGISTER, options=("-stream",))
    assert read(encrypt(signed, tmp_path, RECIPIENT, options=("-aes256", "-stream"))) == content


def test_the_root_may_be_bundled(tmp_path: Path) -> None:
    root = write(authority(), tmp_path, "root")
    assert read(signed_and_encrypted(tmp_path, sign_options=("-certfile", str(root.certificate)))) == CONTENT


def test_of_two_recipients_ours_may_be_the_second(tmp_path: Path) -> None:
    data = signed_and_encrypted(tmp_path, OTHER, RECIPIENT)
    first, second = (recipient.dump() for recipient in cms.ContentInfo.load(data)["content"]["recipient_infos"])
    swapped = data.replace(first + second, second + first)
    assert swapped != data
    assert read(data) == CONTENT
    assert read(swapped) == CONTENT


def test_both_keys_of_a_rotation_read(tmp_path: Path) -> None:
    newer = make_identity("municipality encryption 2", Usage.ENCRYPTION)
    keys = [newer.decryption_key(), RECIPIENT.decryption_key()]
    for recipient in (newer, RECIPIENT):
        data = signed_and_encrypted(tmp_path, recipient)
        assert unprotect(data, keys, [REGISTER.certificate], at=NOW) == CONTENT


def test_both_signers_of_a_rotation_are_accepted(tmp_path: Path) -> None:
    newer = make_identity("register signing 2", Usage.SIGNING)
    accepted = [newer.certificate, REGISTER.certificate]
    for signer in (newer, REGISTER):
        data = encrypt(sign(CONTENT, tmp_path, signer), tmp_path, RECIPIENT)
        assert unprotect(data, [RECIPIENT.decryption_key()], accepted, at=NOW) == CONTENT


@pytest.mark.parametrize(
    ("sign_options", "encrypt_options"),
    [(("-md", "sha1"), ("-des3",)), (("-md", "sha1", "-noattr"), ("-aes256",)), (("-noattr",), ("-des3",))],
)
def test_3des_and_sha1_are_read_only_with_the_named_setting(tmp_path: Path, sign_options, encrypt_options) -> None:
    data = signed_and_encrypted(tmp_path, sign_options=sign_options, encrypt_options=encrypt_options)
    assert read(data, legacy_3des=True) == CONTENT
    with pytest.raises(MessageRefused) as raised:
        read(data)
    assert raised.value.reason == "refused_algorithm"


def test_signed_data_in_one_octet_string_is_unwrapped_once(tmp_path: Path) -> None:
    signed = sign(CONTENT, tmp_path, REGISTER)
    wrapped = cms.OctetString(signed).dump()
    assert read(encrypt(wrapped, tmp_path, RECIPIENT)) == CONTENT
    with pytest.raises(MessageRefused) as raised:
        read(encrypt(cms.OctetString(wrapped).dump(), tmp_path, RECIPIENT))
    assert raised.value.reason == "not_signed"


def test_a_signature_by_cryptography_with_attributes_is_read() -> None:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT)
    builder = builder.add_signer(
        REGISTER.certificate,
        REGISTER.private_key,
        hashes.SHA512(),
        rsa_padding=padding.PSS(padding.MGF1(hashes.SHA512()), padding.PSS.DIGEST_LENGTH),
    )
    signed = builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    envelope = pkcs7.PKCS7EnvelopeBuilder().set_data(signed).add_recipient(RECIPIENT.certificate)
    assert read(envelope.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])) == CONTENT


def test_what_is_not_encrypted_for_us_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NotForUs) as raised:
        read(signed_and_encrypted(tmp_path, OTHER))
    assert (raised.value.code, raised.value.reason) == ("KPR-401", "not_for_us")


def test_a_signer_whose_certificate_has_expired_is_kept_for_a_person(tmp_path: Path) -> None:
    data = signed_and_encrypted(tmp_path)
    with pytest.raises(CertificateUnusable) as raised:
        unprotect(data, [RECIPIENT.decryption_key()], [REGISTER.certificate], at=NOW + timedelta(days=400))
    assert raised.value.reason == "expired"


def test_identities_do_not_show_their_keys() -> None:
    shown = repr(SigningIdentity(OURS.certificate, OURS.private_key)) + repr(RECIPIENT.decryption_key()) + repr(OURS)
    assert "PrivateKey" not in shown
