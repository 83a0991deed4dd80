"""From one municipality's settings to the values that its loops are made of. Opens nothing and reads no file."""

from importlib.metadata import PackageNotFoundError, version

from agent.dispatch.envelope import EnvelopeSettings, Product
from agent.dispatch.loop import DispatchSettings
from agent.dispatch.official_schemas import OfficialSchemas
from agent.domain.gate import GateLimits
from agent.domain.hodemelding import HerIdType, Party
from agent.domain.melding import Contact
from agent.domain.melding_rules import Window
from agent.domain.quality import Profile, Rules
from agent.protection import ProtectionFiles
from agent.receive.loop import ReceiveSettings
from agent.retry import RetrySettings
from agent.settings import Municipality, MunicipalitySettings, capture, mapping_digest
from agent.unit import ReportingUnit, Share
from connectors.source import Capture

_ROLES = {"iplos_contact": "16", "submission_officer": "17"}
"""Our words for the roles of code system 8471."""


def program_version() -> str:
    """The version of this program, as it stands in messages (`versjonUt`)."""
    try:
        return f"kpr-agent {version('kpr-agent')}"
    except PackageNotFoundError:
        return "kpr-agent (not installed)"


def reporting_unit(municipality: Municipality, secret: bytes) -> ReportingUnit:
    """The unit that intake and examination work for. `secret`: the ledger's unit secret."""
    settings = municipality.settings
    return ReportingUnit(
        name=settings.unit,
        mapping=municipality.mapping,
        rules=_rules(settings),
        digest=mapping_digest(municipality),
        secret=secret,
        limits=GateLimits(settings.gate.owed_share, settings.gate.owed_minimum),
        shadow=settings.mode == "shadow",
        settle=settings.rules.settle,
        gate_window=settings.gate.window,
        share=_share(municipality),
        fictitious_name=settings.rules.fictitious.matches_name,
    )


def wanted(municipality: Municipality) -> Capture:
    """What this municipality asks of its source."""
    settings = municipality.settings
    return capture(municipality.mapping, settings.source.encodings, settings.epj.only)


def envelope_settings(municipality: Municipality, official: OfficialSchemas | None = None) -> EnvelopeSettings:
    """What stands in this municipality's messages beside their notifications."""
    settings = municipality.settings
    ours, theirs, messages = settings.parties.municipality, settings.parties.register_, settings.messages
    her_id_type = messages.her_id_type
    return EnvelopeSettings(
        product=Product(settings.epj.product.vendor, settings.epj.product.name, settings.epj.product.version),
        program_version=program_version(),
        contacts=_contacts(settings),
        kommunenummer_on=municipality.number_on,
        sender=Party(ours.name or settings.municipality.name, ours.her_id, ours.service_name, ours.service_her_id),
        receiver=Party(theirs.name, theirs.her_id, theirs.service_name, theirs.service_her_id),
        from_her_id=ours.service_her_id or ours.her_id,
        to_her_id=theirs.service_her_id or theirs.her_id,
        queue=theirs.queue,
        reply_queue=ours.queue,
        type_code=messages.type,
        type_text=messages.type_text,
        subject=messages.subject,
        ask_receipt=messages.ask_receipt,
        her_id_type=HerIdType(her_id_type.code, her_id_type.text, her_id_type.system),
        cpa_id=messages.cpa_id,
        time_to_live_s=int(messages.time_to_live.total_seconds()) if messages.time_to_live else None,
        window=Window(settings.rules.earliest_date, settings.rules.latest_days_ahead),
        official=official,
    )


def dispatch_settings(settings: MunicipalitySettings) -> DispatchSettings:
    """How this municipality's sending goes on. The window belongs to the bus."""
    return DispatchSettings(
        window=getattr(settings.bus.chosen, "window", 1),
        max_unreceipted=settings.dispatch.max_unreceipted,
        max_notifications=settings.messages.max_notifications,
        look_ahead=2 * getattr(settings.bus.chosen, "window", 1) + 8,
        retry=retry_settings(settings),
    )


def receive_settings(settings: MunicipalitySettings) -> ReceiveSettings:
    """Whose receipts these are, and what to do with what is not ours."""
    ours, theirs = settings.parties.municipality, settings.parties.register_
    return ReceiveSettings(
        our_her_ids=_her_ids(ours.her_id, ours.service_her_id),
        register_her_ids=_her_ids(theirs.her_id, theirs.service_her_id),
        dead_letter_foreign=settings.receipts.foreign == "dead_letter",
        retry=retry_settings(settings),
    )


def retry_settings(settings: MunicipalitySettings) -> RetrySettings:
    """When to try again after trouble."""
    dispatch = settings.dispatch
    return RetrySettings(
        first_s=dispatch.retry_first.total_seconds(),
        longest_s=dispatch.retry_longest.total_seconds(),
        slow_s=dispatch.slow_retry.total_seconds(),
    )


def protection_files(settings: MunicipalitySettings) -> ProtectionFiles:
    """The key and certificate files of this municipality."""
    files = settings.protection
    return ProtectionFiles(
        signing_key=files.signing_key_file,
        signing_certificate=files.signing_certificate_file,
        decryption_keys=tuple(zip(files.decryption_key_files, files.decryption_certificate_files, strict=True)),
        register_encryption_certificate=files.register_encryption_certificate_file,
        register_signing_certificates=files.register_signing_certificate_files,
    )


def official_schemas(settings: MunicipalitySettings) -> OfficialSchemas | None:
    """The configured official schemas. Reads the folder; raises OfficialSchemasUnusable."""
    folder = settings.messages.official_schemas
    return OfficialSchemas.load(folder) if folder is not None else None


def _her_ids(*her_ids: int) -> frozenset[str]:
    """As text; a placeholder names nobody."""
    return frozenset(str(her_id) for her_id in her_ids if her_id)


def _rules(settings: MunicipalitySettings) -> Rules:
    rules = settings.rules
    return Rules(
        profile=Profile(settings.profile),
        service_types=settings.epj.service_types,
        cut_off=rules.cut_off,
        earliest_date=rules.earliest_date,
        latest_days_ahead=rules.latest_days_ahead,
        fictitious_numbers=frozenset(rules.fictitious.numbers),
        allowed_numbers=frozenset(rules.allowed_numbers),
    )


def _share(municipality: Municipality) -> Share | None:
    only = municipality.settings.epj.only
    if only is None or only.column is None or only.value is None:
        return None
    return Share(only.column, only.value, frozenset(only.tables or municipality.mapping.tables))


def _contacts(settings: MunicipalitySettings) -> tuple[Contact, ...]:
    """One `Kontaktperson` for each role of each contact."""
    return tuple(
        Contact(contact.name, contact.email, contact.mobile, contact.second_email, _ROLES[role])
        for contact in settings.contacts
        for role in contact.roles
    )
