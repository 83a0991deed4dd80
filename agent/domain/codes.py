"""The code systems of the register as data. A new reported service type is one line in `REPORTED`.

Texts are the display texts that HL7 Norway publishes for code system 9151 (version 0.2.0); the other systems follow
HIS 1135:2021 (the pilot specification, version 56.0.0.5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

OID_PREFIX: Final = "2.16.578.1.12.4.1.1."
"""Code system NNNN of Volven has this OID with NNNN behind it."""

OID_HER_ID: Final = OID_PREFIX + "9051"
OID_SERVICE_TYPE: Final = OID_PREFIX + "9151"
OID_RECEIPT_STATUS: Final = OID_PREFIX + "8258"
OID_RECEIPT_ERROR: Final = OID_PREFIX + "8221"


class Standing(Enum):
    """Whether a code of 9151 may still be used."""

    CURRENT = "current"
    EXPIRED = "expired"  # marked so in the schema of 2021: known, never reported
    OBSOLETE = "obsolete"  # replaced before the pilot began


@dataclass(frozen=True, slots=True)
class ServiceType:
    """One code of 9151, tjenestetype. `replaced_by` names the code that an obsolete one became."""

    code: str
    text: str
    standing: Standing = Standing.CURRENT
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class Reporting:
    """How a reported service type is reported. Without a required organisation number it may still carry one."""

    organisation_number_required: bool


_EXPIRED: Final = Standing.EXPIRED

SERVICE_TYPES: Final[Mapping[str, ServiceType]] = {
    known.code: known
    for known in (
        ServiceType("1", "Praktisk bistand - daglige gjøremål"),
        ServiceType("2", "Praktisk bistand - opplæring - daglige gjøremål"),
        ServiceType("3", "Praktisk bistand - brukerstyrt - personlig assistanse"),
        ServiceType("4", "Dagaktivitetstilbud"),
        ServiceType("5", "Matombringing"),
        ServiceType("6", "Trygghetsalarm", _EXPIRED),
        ServiceType("7", "Avlastning utenfor institusjon"),
        ServiceType("8", "Avlastning i institusjon"),
        ServiceType("9", "Støttekontakt"),
        ServiceType("11", "Omsorgsstønad"),
        ServiceType("12", "Bolig (utgått kode)", Standing.OBSOLETE, replaced_by="29"),
        ServiceType("13", "Bolig (utgått kode)", Standing.OBSOLETE, replaced_by="29"),
        ServiceType("14", "Bruk av tvang psykisk utviklingshemning – planlagte tiltak", _EXPIRED),
        ServiceType("15", "Helsetjenester i hjemmet"),
        ServiceType("17", "Dagopphold i institusjon"),
        ServiceType("18", "Tidsbegrenset opphold - utredning/behandling"),
        ServiceType("19", "Tidsbegrenset opphold - habilitering/rehabilitering"),
        ServiceType("20", "Tidsbegrenset opphold - annet"),
        ServiceType("21", "Langtidsopphold i institusjon"),
        ServiceType("22", "Nattopphold i institusjon"),
        ServiceType("23", "Bruk av tvang psykisk utviklingshemning – nødsituasjoner", _EXPIRED),
        ServiceType("24", "Helsehjelp med tvang", _EXPIRED),
        ServiceType("25", "Kommunal øyeblikkelig hjelp - døgnopphold"),
        ServiceType("26", "Lokaliseringsteknologi (GPS)", _EXPIRED),
        ServiceType("27", "Elektronisk medisineringsstøtte", _EXPIRED),
        ServiceType("28", "Digitalt tilsyn", _EXPIRED),
        ServiceType("29", "Bolig som kommunen disponerer for helse- og omsorgsformål"),
    )
}
"""Every known code of 9151. 12 and 13 have no published text any more; theirs is ours."""

REPORTED: Final[Mapping[str, Reporting]] = {
    "18": Reporting(organisation_number_required=True),
    "19": Reporting(organisation_number_required=True),
    "20": Reporting(organisation_number_required=True),
    "21": Reporting(organisation_number_required=True),
    "29": Reporting(organisation_number_required=False),
}
"""The service types of the pilot."""


def is_reported(code: str) -> bool:
    """Whether services of this type are reported."""
    return code in REPORTED


def organisation_number_required(code: str) -> bool:
    """Whether every event of this type must carry the provider's organisation number; False for unreported types."""
    reporting = REPORTED.get(code)
    return reporting is not None and reporting.organisation_number_required


IDENTITY_TYPES: Final[Mapping[str, str]] = {
    "1": "Norsk fødselsnummer",
    "2": "D-nummer",
    "3": "H-nummer",
    "4": "Passnummer",
    "5": "Svensk personnummer",
    "6": "Dansk personnummer",
    "7": "Social security number",
    "8": "Forsikringspolisenummer",
    "9": "Annet",
    "10": "DUF-nummer",
    "12": "Felles hjelpenummer (FH-nummer)",
}
"""9032, type personidentifikasjon: `typeID`."""

FODSELSNUMMER: Final = "1"
D_NUMBER: Final = "2"
H_NUMBER: Final = "3"
OTHER_IDENTITY: Final = "9"
DUF_NUMBER: Final = "10"
FELLES_HJELPENUMMER: Final = "12"

TYPES_WITH_KPR_ID: Final = frozenset({FODSELSNUMMER, D_NUMBER, DUF_NUMBER})
"""The types of 9032 that give a person a KPR-ID; the others pass and come back as a defect (domain rule 9)."""

NOTIFICATION_STATUSES: Final[Mapping[str, str]] = {
    "N": "Original",
    "M": "KorrigerErstatt",
    "C": "KorrigerAnnuller",
}
"""7316, status notifikasjon. T (KorrigerSuppler) exists and must not be used, so it is left out."""

MESSAGE_TYPE_CONTINUOUS: Final = "K"
"""7371, meldingstype: continuous. B (batch) and E (change) are not used."""

CONTACT_IPLOS: Final = "16"
CONTACT_SUBMISSION_OFFICER: Final = "17"
CONTACT_ROLES: Final[Mapping[str, str]] = {
    CONTACT_IPLOS: "IPLOS kontaktperson",
    CONTACT_SUBMISSION_OFFICER: "IPLOS innsendingsansvarlig",
}
"""8471, type kontaktperson: the two roles that a municipality must fill. One person may hold both."""

RECEIPT_STATUSES: Final[Mapping[str, str]] = {
    "1": "OK",
    "2": "Avvist",
    "3": "OK, feil i delmelding",
}
"""8258, status of an application receipt."""

RECEIPT_ERRORS: Final = frozenset(
    {"E10", "E20", "E21", "E30", "E31", "E32", "E35", "E36", "E53", "E54"}
    | {"S01", "S02", "S03", "S99", "T01", "T02", "T10", "T99", "X99"}
)
"""8221, what a receipt's error means. Receipts carry codes of 8223 and 8124 too: never refuse one not listed here."""
