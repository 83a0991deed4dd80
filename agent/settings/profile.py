"""Whom a file names: contact roles, and hosts, HER-ids and placeholders that fit its profile (invariant 13).

Judged on the file as read, so that these faults show together with all others. What is not known passes. The ids are
those of the letters and specifications of Helsedirektoratet and FHI; a new one is a line in a table here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from agent.settings.faults import Place
from agent.settings.municipality import CONTACT_ROLES
from agent.settings.yaml_reading import Document

TEST: Final = frozenset({"test"})
QA: Final = frozenset({"qa"})
TEST_AND_QA: Final = frozenset({"test", "qa"})
PRODUCTION: Final = frozenset({"production"})

HOSTS: Final[Mapping[str, frozenset[str]]] = {
    "sb.nhn.no": PRODUCTION,
    "sb.test.nhn.no": TEST_AND_QA,
}
"""Bus host -> the profiles that may use it."""

REGISTER_HER_IDS: Final[Mapping[int, tuple[frozenset[str], str]]] = {
    122612: (PRODUCTION, "KPR's in production"),
    134197: (PRODUCTION, "KPR's in production in older letters"),
    159000: (PRODUCTION, "the pilot's with real data"),
    85217: (PRODUCTION, "FHI's in production"),
    94378: (PRODUCTION, "FHI's in production"),
    171479: (QA, "KPR's in QA"),
    121017: (QA, "FHI's in QA"),
    8133973: (TEST, "KPR's in test"),
    8139520: (TEST, "the pilot's in development and test"),
}
"""The register's HER-id -> the profiles that may send to it, and whose it is."""

_LOCAL: Final = re.compile(r"localhost|127(\.\d+){3}|::1|.*\.local(host|domain)?|.*\.(example|test|invalid)")
_NAMED_TEST: Final = re.compile(r"(.*[.-])?(test|qa|dev|demo)\d*([.-].*)?")
_OF_NHN: Final = re.compile(r"(.*\.)?nhn\.no")
_EXAMPLE_MAIL: Final = re.compile(r".*[@.](example(\.(org|com|net|no))?|test|invalid|localhost)", re.IGNORECASE)
_EXAMPLE_NAME: Final = re.compile(r"(.*\s)?(test|testesen|example|eksempel|placeholder|dummy)(\s.*)?", re.IGNORECASE)
_EXAMPLE_MOBILE: Final = re.compile(r"(\+47|0047)?(\d)0{7}|(\+47|0047)?(\d)\4{7}|(\+47|0047)?12345678")

PLACEHOLDER_QUEUE: Final = "0_"


def lacking(document: Document) -> Iterator[tuple[Place, str]]:
    """The contact roles that nobody has."""
    contacts = document.at("contacts")
    roles = [document.at("contacts", index, "roles") for index in range(len(contacts))] if has_items(contacts) else []
    held = {str(role) for some in roles if isinstance(some, list) for role in some}
    missing = [role for role in CONTACT_ROLES if role not in held]
    if missing and has_items(contacts):
        yield (
            ("contacts",),
            f"nobody has the role {' and '.join(missing)}: give it to a contact, who may hold both",
        )


def has_items(value: Any) -> bool:
    """Whether something read from a file is a list that is not empty."""
    return isinstance(value, list) and bool(value)


def unfit(document: Document) -> Iterator[tuple[Place, str]]:
    """Every place that does not fit the file's profile, with what to write instead."""
    profile = document.at("profile")
    if profile not in {"test", "qa", "production"}:
        return
    yield from _bus(document, profile)
    yield from _register(document, profile)
    if profile == "production":
        yield from _placeholders(document)
        yield from _contacts(document)


def _bus(document: Document, profile: str) -> Iterator[tuple[Place, str]]:
    buses = document.at("bus")
    for name, settings in buses.items() if isinstance(buses, dict) else ():
        if name == "folder" and profile == "production" and document.at("mode") != "shadow":
            yield ("bus", name), "a folder keeps plain messages of real people: name a bus, or write mode: shadow"
        url = settings.get("url") if isinstance(settings, dict) else None
        if isinstance(url, str):
            yield from _host(("bus", name, "url"), _host_of(url), profile)


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".").casefold()
    except ValueError:
        return ""  # the connector's own settings refuse it


def _host(place: Place, host: str, profile: str) -> Iterator[tuple[Place, str]]:
    known = HOSTS.get(host)
    if known is not None and profile not in known:
        right = " or ".join(sorted(name for name, profiles in HOSTS.items() if profile in profiles))
        yield place, f"{host} is for {_profiles(known)}, this file's profile is {profile}: write {right}"
    elif known is None and profile == "production" and (_LOCAL.fullmatch(host) or _NAMED_TEST.fullmatch(host)):
        yield place, "this host is local or for tests: production needs NHN's production bus, sb.nhn.no"
    elif known is None and profile != "production" and _OF_NHN.fullmatch(host) and not _NAMED_TEST.fullmatch(host):
        yield place, f"this host of NHN is not a test host, this file's profile is {profile}: write sb.test.nhn.no"


def _register(document: Document, profile: str) -> Iterator[tuple[Place, str]]:
    for key in ("her_id", "service_her_id"):
        her_id = document.at("parties", "register", key)
        known = REGISTER_HER_IDS.get(her_id) if isinstance(her_id, int) else None
        if known is not None and profile not in known[0]:
            right = " or ".join(str(number) for number, (fits, _) in REGISTER_HER_IDS.items() if profile in fits)
            text = f"{her_id} is {known[1]}, and this file's profile is {profile}: known for it: {right}"
            yield ("parties", "register", key), text


def _placeholders(document: Document) -> Iterator[tuple[Place, str]]:
    for party in ("municipality", "register"):
        for key in ("her_id", "service_her_id"):
            if document.at("parties", party, key) == 0 and document.at("parties", party, key) is not False:
                yield ("parties", party, key), "0 is a placeholder: write the HER-id from Adresseregisteret"
        for key in ("queue", "error_queue"):
            queue = document.at("parties", party, key)
            if isinstance(queue, str) and queue.startswith(PLACEHOLDER_QUEUE):
                yield ("parties", party, key), "the queue is a placeholder: write the one from Adresseregisteret"


def _contacts(document: Document) -> Iterator[tuple[Place, str]]:
    checks = (
        ("name", _EXAMPLE_NAME, "the name is a placeholder: write a person whom the register can reach"),
        ("email", _EXAMPLE_MAIL, "the address is a placeholder: write one that is read"),
        ("second_email", _EXAMPLE_MAIL, "the address is a placeholder: write one that is read, or remove the key"),
        ("mobile", _EXAMPLE_MOBILE, "the number is a placeholder: write one that is answered, or remove the key"),
    )
    contacts = document.at("contacts")
    for index in range(len(contacts) if has_items(contacts) else 0):
        for key, pattern, text in checks:
            value = document.at("contacts", index, key)
            if isinstance(value, str) and pattern.fullmatch(value):
                yield ("contacts", index, key), text


def _profiles(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))
