"""How connections to Kafka are secured: read from the files at each opening of the source. Loads no Kafka library."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.kafka_debezium.troubles import FilesUnreadable


@dataclass(frozen=True, slots=True)
class Login:
    """How a connection is secured, in aiokafka's words; read from the files at each opening of the source."""

    security_protocol: str
    ssl_context: ssl.SSLContext | None
    sasl: Mapping[str, str] = field(repr=False)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"security_protocol": self.security_protocol, "ssl_context": self.ssl_context, **self.sasl}


def read_login(settings: KafkaDebeziumSettings) -> Login:
    """Raises FilesUnreadable."""
    protocol = ("SASL_" if settings.sasl_mechanism else "") + ("SSL" if settings.tls else "PLAINTEXT")
    if not settings.sasl_mechanism:
        return Login(protocol, _context(settings), {})
    sasl = {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": _text(settings.user_file),
        "sasl_plain_password": _text(settings.password_file),
    }
    return Login(protocol, _context(settings), sasl)


def _context(settings: KafkaDebeziumSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise FilesUnreadable(f"ca_file, certificate_file or key_file cannot be read ({_kind(error)})") from None
    return context


def _text(file: Path | None) -> str:
    try:
        text = "" if file is None else file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FilesUnreadable(f"the file {file} cannot be read ({_kind(error)})") from None
    if not text:
        raise FilesUnreadable(f"the file {file} is empty")
    return text


def _kind(error: Exception) -> str:
    return type(error).__name__
