"""Files for the tests of settings: a good municipality and a good mapping, with parts exchanged."""

from pathlib import Path

from agent.settings import Fault, Loaded, load

MAPPING = """\
version: 1
service:
  table: public.tjeneste
  key: {column: tjeneste_id, kind: integer}
  type: lokal_type
  start: {column: start_dato, kind: date}
  end: {column: slutt_dato, kind: date}
  person: {by: bruker_id, table: public.bruker, key: {column: bruker_id, kind: integer}}
  provider: {by: enhet_id, table: public.enhet, key: enhet_id}
person:
  number: fnr
  user_number: bruker_id
  name: [fornavn, etternavn]
provider: {organisation_number: orgnr}
"""

MUNICIPALITY = """\
version: 1
profile: test
unit: kinn
municipality:
  numbers: [{number: "4602", from: 2020-01-01}]
  name: Kinn
  organisation_number: "820956532"
contacts:
  - {name: Kari Test, email: kari@kinn.example, mobile: "40000000", roles: [iplos_contact, submission_officer]}
epj:
  product: {vendor: Demo, name: DemoEPJ, version: "1.0"}
  mapping: mapping.yaml
  service_types: {LANG: "21", PB: none}
source:
  replay: {path: changes.jsonl}
bus:
  nhn_amqp:
    url: amqps://sb.test.nhn.no:5671
    exchange: NHNTestServiceBus
    addresses: v2
    user_file: bus-user
    password_file: bus-password
parties:
  municipality: {her_id: 93238, service_her_id: 93239, queue: 93238_async, error_queue: 93238_error}
  register: {her_id: 8139520, service_her_id: 93240, queue: 8139520_async}
protection:
  signing_key_file: signing.key
  signing_certificate_file: signing.pem
  decryption_key_files: [decryption.key]
  decryption_certificate_files: [decryption.pem]
  register_encryption_certificate_file: register.pem
  register_signing_certificate_files: [register-signing.pem]
ledger:
  path: kinn.db
  key_file: ledger.key
"""


def write(folder: Path, *changes: tuple[str, str], name: str = "kinn.yaml", mapping: str = MAPPING) -> Path:
    """A municipality's file, with each (old, new) exchanged, beside its mapping."""
    text = MUNICIPALITY
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "mapping.yaml").write_text(mapping, encoding="utf-8")
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def load_changed(folder: Path, *changes: tuple[str, str]) -> Loaded:
    """What loading gives with each (old, new) exchanged."""
    return load([write(folder, *changes)])


def told(loaded: Loaded) -> dict[str, str]:
    """Key -> text of every fault."""
    return {fault.key: fault.text for fault in loaded.faults}


def line_of(file: Path, text: str) -> int:
    """The line where a text stands."""
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def texts(faults: tuple[Fault, ...]) -> str:
    """All faults as they are printed."""
    return "\n".join(map(str, faults))
