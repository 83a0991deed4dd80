"""What can be wrong with protection, named by the reaction it calls for. No text quotes a message or a key.

`reason` is a stable slug for logs, counters and findings; `code` is stable and has one page that explains it.
"""


class ProtectionError(Exception):
    """The base of all. `reason` says what is wrong in one word; the text says it in a sentence."""

    code: str = "KPR-400"

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class NotForUs(ProtectionError):
    """Encrypted, but with none of our keys: the message is kept where it is, and a person is told."""

    code = "KPR-401"

    def __init__(self) -> None:
        super().__init__("not_for_us", "no recipient of the message is one of our decryption certificates")


class MessageRefused(ProtectionError):
    """The message can never be read, or must not be believed: out of the way, with an alarm. Nothing of it was read."""

    code = "KPR-402"


class CertificateUnusable(ProtectionError):
    """A configured certificate does not serve (date, key usage, kind of key): wait, and alarm, until it is replaced."""

    code = "KPR-403"


class KeyFileUnusable(ProtectionError):
    """A key or certificate file cannot be used: the municipality does not start. The text names the file."""

    code = "KPR-404"
