"""Whole messages, kept as files: every event with every status, and a backlog of several in one message.

`pytest tests/golden --rewrite-golden` writes them anew; the difference is then reviewed. The files are indented to be
readable, so one message is kept byte for byte too. All data is made up.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from lxml import etree

from agent.domain.hodemelding import Head, Party, build_hodemelding, check_hodemelding
from agent.domain.identifiers import made_up_organisation_number, tenor_number
from agent.domain.melding import Contact, MeldingHead, build_melding
from agent.domain.notification import (
    FIRST_PREVIOUS_GUID,
    Content,
    Event,
    Notification,
    ReportedPerson,
    Status,
)

FOLDER = Path(__file__).parent / "messages"
OSLO = ZoneInfo("Europe/Oslo")
SEED = UUID("6f9b1c52-2d0e-4b9a-8a54-0d6b8d2a7c10")
KARI = "Kari Prøve"

HEAD = MeldingHead(
    vendor="Demo",
    product="DemoEPJ",
    product_version="1.0",
    program_version="kpr-agent 0.1.0",
    contacts=(
        Contact(KARI, "kari@kommune.example", "+47 400 00 000", None, "16"),
        Contact(KARI, "kari@kommune.example", None, "post@kommune.example", "17"),
    ),
    kommunenummer="4602",
)
SENDER = Party("Prøve kommune", 8000001, "Saksbehandling", 8000002)
RECEIVER = Party("Helsedirektoratet", 8139520, "Kommunalt pasient- og brukerregister", 8000003)


def guid(name: str) -> UUID:
    return uuid5(SEED, name)


def synthetic(birth: date, first_serial: int = 0) -> str:
    return next(number for serial in range(first_serial, 1000) if (number := tenor_number(birth, serial)))


def organisation(first_serial: int) -> str:
    return next(number for serial in range(first_serial, 1000) if (number := made_up_organisation_number(serial)))


def person(birth: date = date(1938, 5, 17), district: str | None = None) -> ReportedPerson:
    return ReportedPerson(guid(f"pasient {birth}"), "B-17", synthetic(birth), "1", district)


def notification(number: int, event: Event, status: Status, on: date, **other: object) -> Notification:
    """One link; the one before it in the chain is `number` - 1, the original an hour older for each link."""
    registered_at = datetime(2026, 11, 21, 11, 0, tzinfo=UTC) + timedelta(hours=number)
    pause = "P-3" if event in {Event.PAUSE_FROM, Event.PAUSE_TO} else None
    content = Content(
        service_type=str(other.get("service_type", "18")),
        on=on,
        registered_at=registered_at,
        organisation_number=organisation(200 if event is Event.PROVIDER else 0) if other.get("unit", True) else None,
        person=other.get("person", person()),
    )
    return Notification(
        number=number,
        guid=guid(f"notifikasjon {number}"),
        previous_guid=guid(f"notifikasjon {number - 1}") if number > 1 else FIRST_PREVIOUS_GUID,
        original_guid=None if status is Status.NEW else guid(f"notifikasjon {other.get('original', 4)}"),
        status=status,
        event=event,
        event_guid=guid(f"hendelse {event.value} {other.get('version', number)}"),
        service_id="T-1001",
        pause_id=pause,
        arisen_at=registered_at + timedelta(seconds=2, microseconds=999_999),
        content=content,
    )


@dataclass(frozen=True)
class Case:
    name: str
    notifications: tuple[Notification, ...]


def single(event: Event, status: Status) -> Case:
    number = 1 if (event, status) == (Event.START, Status.NEW) else 7
    return Case(f"{event.value}-{status.value}", (notification(number, event, status, date(2026, 11, 20)),))


SEVERAL = Case(
    "several",
    (
        notification(11, Event.START, Status.NEW, date(2026, 6, 1), person=person(district="030101")),
        notification(12, Event.PAUSE_FROM, Status.NEW, date(2026, 7, 1)),
        notification(13, Event.PAUSE_TO, Status.NEW, date(2026, 7, 10)),
        notification(14, Event.PAUSE_FROM, Status.REPLACE, date(2026, 7, 2), original=12),
        notification(15, Event.PROVIDER, Status.NEW, date(2026, 8, 1)),
        notification(16, Event.PAUSE_TO, Status.ANNUL, date(2026, 7, 10), original=13, version=13),
        notification(17, Event.END, Status.NEW, date(2026, 10, 25)),
    ),
)
WITHOUT_UNIT = Case(
    "type-29-without-unit",
    (notification(7, Event.START, Status.NEW, date(2026, 10, 25), service_type="29", unit=False),),
)
CASES = [single(event, status) for event in Event for status in Status] + [SEVERAL, WITHOUT_UNIT]


def message(case: Case) -> bytes:
    head = Head("KPR_IPL", "KPR_IPL", guid(case.name), datetime(2026, 11, 22, 6, 30, tzinfo=UTC), SENDER, RECEIVER)
    return build_hodemelding(head, build_melding(HEAD, case.notifications, OSLO), OSLO)


def readable(content: bytes) -> bytes:
    root = etree.fromstring(content)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


def compare(path: Path, content: bytes, *, rewrite: bool) -> None:
    if rewrite:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert path.exists(), f"{path.name} is not there: run pytest tests/golden --rewrite-golden and review it"
    assert content == path.read_bytes(), f"{path.name} differs: rewrite it and review the difference, or mend the code"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message_is_as_kept(case: Case, request: pytest.FixtureRequest) -> None:
    compare(FOLDER / f"{case.name}.xml", readable(message(case)), rewrite=request.config.getoption("--rewrite-golden"))


def test_bytes_are_as_kept(request: pytest.FixtureRequest) -> None:
    compare(FOLDER / "several.exact.xml", message(SEVERAL), rewrite=request.config.getoption("--rewrite-golden"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message_meets_our_own_rules(case: Case) -> None:
    assert check_hodemelding(message(case), OSLO) == []


def test_there_is_no_file_without_a_case() -> None:
    kept = {path.name for path in FOLDER.glob("*.xml")}
    assert kept == {f"{case.name}.xml" for case in CASES} | {"several.exact.xml"}
