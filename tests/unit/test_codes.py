"""Code systems as data."""

from agent.domain.codes import (
    CONTACT_ROLES,
    IDENTITY_TYPES,
    OID_HER_ID,
    OID_SERVICE_TYPE,
    REPORTED,
    SERVICE_TYPES,
    TYPES_WITH_KPR_ID,
    Standing,
    is_reported,
    organisation_number_required,
)


def test_the_pilot_reports_five_service_types() -> None:
    assert set(REPORTED) == {"18", "19", "20", "21", "29"}
    assert not is_reported("15")
    assert not is_reported("unknown")


def test_an_organisation_number_is_required_for_18_to_21_and_not_for_29() -> None:
    assert [code for code in REPORTED if organisation_number_required(code)] == ["18", "19", "20", "21"]
    assert not organisation_number_required("15")


def test_every_reported_type_is_known_and_current() -> None:
    assert all(SERVICE_TYPES[code].standing is Standing.CURRENT for code in REPORTED)


def test_standing_of_codes() -> None:
    expired = {code for code, known in SERVICE_TYPES.items() if known.standing is Standing.EXPIRED}
    obsolete = {code: known.replaced_by for code, known in SERVICE_TYPES.items() if known.standing is Standing.OBSOLETE}
    assert expired == {"6", "14", "23", "24", "26", "27", "28"}
    assert obsolete == {"12": "29", "13": "29"}
    assert len(SERVICE_TYPES) == 27
    assert "10" not in SERVICE_TYPES
    assert "16" not in SERVICE_TYPES


def test_display_texts() -> None:
    assert SERVICE_TYPES["29"].text == "Bolig som kommunen disponerer for helse- og omsorgsformål"
    assert SERVICE_TYPES["18"].text == "Tidsbegrenset opphold - utredning/behandling"
    assert all(known.text for known in SERVICE_TYPES.values())


def test_other_systems() -> None:
    assert OID_HER_ID == "2.16.578.1.12.4.1.1.9051"
    assert OID_SERVICE_TYPE == "2.16.578.1.12.4.1.1.9151"
    assert set(IDENTITY_TYPES) == {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12"}
    assert {"1", "2", "10"} == TYPES_WITH_KPR_ID
    assert set(CONTACT_ROLES) == {"16", "17"}
