"""The `openssl` command, as another party that writes and reads our messages."""

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.demo.certificates import Issued, write


def openssl(*arguments: str | Path, data: bytes) -> bytes:
    """What `openssl ARGUMENTS` writes when it is given `data`; fails the test when it refuses or is missing."""
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("the command openssl is missing: install the package openssl")
    ran = subprocess.run([program, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60)
    if ran.returncode:
        pytest.fail(f"openssl {arguments[0]} failed: {ran.stderr.decode(errors='replace')}")
    return ran.stdout


def sign(content: bytes, folder: Path, *signers: Issued, options: tuple[str, ...] = ("-noattr",)) -> bytes:
    """SignedData in DER by `signers`, content attached, SHA-256 unless `options` say otherwise."""
    named: list[str | Path] = []
    for number, signer in enumerate(signers):
        files = write(signer, folder, f"signer{number}")
        named += ["-signer", files.certificate, "-inkey", files.key]
    attached = () if "-detached" in options else ("-nodetach",)
    rest = tuple(option for option in options if option != "-detached")
    return openssl("cms", "-sign", "-binary", "-outform", "DER", *attached, *rest, *named, data=content)


def encrypt(content: bytes, folder: Path, *recipients: Issued, options: tuple[str, ...] = ("-aes256",)) -> bytes:
    """EnvelopedData in DER to `recipients`, in that order. Options for each recipient follow `-keyopt`."""
    named: list[str | Path] = []
    key_options = [option for option in options if "rsa_padding_mode" in option or "rsa_oaep_md" in option]
    for number, recipient in enumerate(recipients):
        named += ["-recip", write(recipient, folder, f"recipient{number}").certificate]
        for option in key_options:
            named += ["-keyopt", option]
    rest = tuple(option for option in options if option not in key_options)
    return openssl("cms", "-encrypt", "-binary", "-outform", "DER", *rest, *named, data=content)
