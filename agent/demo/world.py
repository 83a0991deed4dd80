"""The demo's world in one folder: keys and certificates, the EPJ's database, a municipality's file, the agent's ledger.

Everything that a real municipality has stands there as files, so that the kept folder can be looked at with the
ordinary verbs (`kpr-agent status FOLDER/demo.yaml`).
"""

import shutil
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from agent.demo.certificates import Issued, Usage, WrittenFiles, issue, make_authority, write
from agent.demo.epj_schema import LOG_COLUMNS, LOG_TABLE
from agent.demo.expected import DEMO_SERVICE_TYPES
from agent.ledger.key import LedgerKey

MAPPING: Final = Path(__file__).parents[2] / "config" / "epj" / "demo.yaml"
"""The demo product's mapping, the one that config/ shows: it is copied, so that the folder stands by itself."""

EXCHANGE: Final = "Demobuss"
USER: Final = "demo"
HER_ID, SERVICE_HER_ID = 8_000_001, 8_000_002
REGISTER_HER_ID, REGISTER_SERVICE_HER_ID = 8_139_520, 8_139_521
QUEUE: Final = f"{HER_ID}_async"
ERROR_QUEUE: Final = f"{HER_ID}_error"
REGISTER_QUEUE: Final = f"{REGISTER_HER_ID}_async"
REGISTER_ERROR_QUEUE: Final = f"{REGISTER_HER_ID}_error"
FICTITIOUS_NAMES: Final = ("Donald Duck",)
CUT_OFF: Final = date(2021, 1, 1)

EMBEDDED_SOURCE: Final = f"""\
source:
  outbox_table:
    sqlite_file: epj.db
    table: {LOG_TABLE}
    columns: {{{", ".join(f"{name}: {column}" for name, column in LOG_COLUMNS.items())}}}
    poll_s: 0.2
    longest_transaction_s: 0.5       # SQLite has one writer: no key comes late
"""
"""The source section for an EPJ in a SQLite file of the folder, with its change log."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Everybody's keys and certificates; `password` is that of the bus account."""

    authority: Issued
    signing: Issued
    decryption: Issued
    register_signing: Issued
    register_decryption: Issued
    server: Issued
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things stand in the demo's folder."""

    folder: Path

    @property
    def epj(self) -> Path:
        return self.folder / "epj.db"

    @property
    def municipality(self) -> Path:
        return self.folder / "demo.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"


def make_keys(at: datetime) -> Keys:
    """New keys, valid from a day before `at`: RSA 3072 where messages are protected. Computes for a second or two."""
    authority = make_authority("Demo authority", at=at, key_bits=2048)

    def of(name: str, usage: Usage, key_bits: int = 3072) -> Issued:
        return issue(authority, name, usage, at=at, key_bits=key_bits)

    return Keys(
        authority=authority,
        signing=of("Demo municipality, signing", Usage.SIGNING),
        decryption=of("Demo municipality, encryption", Usage.ENCRYPTION),
        register_signing=of("Demo register, signing", Usage.SIGNING),
        register_decryption=of("Demo register, encryption", Usage.ENCRYPTION),
        server=of("Demo bus", Usage.SERVER, 2048),
        password=token_urlsafe(24),
    )


def write_keys(places: Places, keys: Keys) -> WrittenFiles:
    """Write what the agent needs into the secrets folder, mode 0700; where the bus's own certificate was written."""
    places.secrets.mkdir(mode=0o700, exist_ok=True)
    write(keys.signing, places.secrets, "signing")
    write(keys.decryption, places.secrets, "decryption")
    for name, issued in (
        ("register-signing", keys.register_signing),
        ("register-encryption", keys.register_decryption),
        ("authority", keys.authority),
    ):
        write(issued, places.secrets, name).key.unlink()  # the agent has their certificates, never their keys
    write_secret(places.secrets / "bus-user", USER)
    write_secret(places.secrets / "bus-password", keys.password)
    LedgerKey.generate_file(places.secrets / "ledger.key")
    return write(keys.server, places.secrets, "bus")


def write_municipality(places: Places, port: int, source: str = EMBEDDED_SOURCE) -> Path:
    """The municipality's file, beside a copy of its mapping; `port`: the bus's on 127.0.0.1; `source`: that section."""
    shutil.copyfile(MAPPING, places.folder / "mapping.yaml")
    places.municipality.write_text(_municipality(port, source), encoding="utf-8")
    return places.municipality


def write_secret(path: Path, text: str) -> None:
    """A file for its owner alone."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _municipality(port: int, source: str) -> str:
    types = "\n".join(f'    {local}: "{code}"' if code else f"    {local}: none"
                      for local, code in DEMO_SERVICE_TYPES.items())  # fmt: skip
    names = ", ".join(f'"{name}"' for name in FICTITIOUS_NAMES)
    return f"""\
# The demo's municipality. It is made up; so are its numbers and its people.
version: 1
profile: test
unit: demo
municipality:
  numbers: [{{number: "4602", from: 2020-01-01}}]
  name: Demo kommune
  organisation_number: "853000019"
contacts:
  - {{name: Demo Kontakt, email: kontakt@demo.example, mobile: "40000000", roles: [iplos_contact, submission_officer]}}

epj:
  product: {{vendor: kpr-agent, name: DemoEPJ, version: "1.0"}}
  mapping: mapping.yaml
  service_types:
{types}

{source}
bus:
  nhn_amqp:
    url: amqps://127.0.0.1:{port}
    exchange: {EXCHANGE}
    addresses: v2
    user_file: secrets/bus-user
    password_file: secrets/bus-password
    ca_file: secrets/authority.cert.pem
    window: 4

parties:
  municipality:
    her_id: {HER_ID}
    service_her_id: {SERVICE_HER_ID}
    queue: {QUEUE}
    error_queue: {ERROR_QUEUE}
  register:
    her_id: {REGISTER_HER_ID}
    service_her_id: {REGISTER_SERVICE_HER_ID}
    queue: {REGISTER_QUEUE}

protection:
  signing_key_file: secrets/signing.key.pem
  signing_certificate_file: secrets/signing.cert.pem
  decryption_key_files: [secrets/decryption.key.pem]
  decryption_certificate_files: [secrets/decryption.cert.pem]
  register_encryption_certificate_file: secrets/register-encryption.cert.pem
  register_signing_certificate_files: [secrets/register-signing.cert.pem]

messages: {{max_notifications: 10}}    # the first load travels as ten a message, an idle stream one by one

rules:
  cut_off: {CUT_OFF}
  fictitious: {{names: [{names}]}}

# Years of corrections pass here in half a minute: the breaker, which guards ordinary days, would close at once.
gate: {{owed_share: 100%, owed_minimum: 100000}}

dispatch: {{max_unreceipted: 8, retry_first: 200ms, retry_longest: 2s, slow_retry: 5s}}

ledger:
  path: ledger.db
  key_file: secrets/ledger.key
"""
