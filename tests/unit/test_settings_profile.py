"""Hosts, HER-ids and placeholders must fit the profile (invariant 13)."""

from pathlib import Path

import pytest

from agent.settings.profile import HOSTS, REGISTER_HER_IDS
from tests.unit.settings_files import load_changed, texts, told

PRODUCTION = (
    ("profile: test", "profile: production"),
    ("sb.test.nhn.no", "sb.nhn.no"),
    ("her_id: 8139520", "her_id: 122612"),
    ("Kari Test", "Kari Nordmann"),
    ("kari@kinn.example", "kari.nordmann@kinn.kommune.no"),
    ('"40000000"', '"41326587"'),
)


def test_a_production_file_without_placeholders_is_good(tmp_path: Path) -> None:
    loaded = load_changed(tmp_path, *PRODUCTION)
    assert loaded.faults == ()
    assert loaded.municipalities[0].settings.profile == "production"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("sb.nhn.no", "sb.test.nhn.no", "bus.nhn_amqp.url"),
        ("sb.nhn.no", "localhost", "bus.nhn_amqp.url"),
        ("sb.nhn.no", "127.0.0.1", "bus.nhn_amqp.url"),
        ("sb.nhn.no", "bus.example", "bus.nhn_amqp.url"),
        ("sb.nhn.no", "bus-qa.kommune.no", "bus.nhn_amqp.url"),
        ("her_id: 122612", "her_id: 8139520", "parties.register.her_id"),
        ("her_id: 122612", "her_id: 171479", "parties.register.her_id"),
        ("service_her_id: 93240", "service_her_id: 121017", "parties.register.service_her_id"),
        ("{her_id: 93238", "{her_id: 0", "parties.municipality.her_id"),
        ("service_her_id: 93239", "service_her_id: 0", "parties.municipality.service_her_id"),
        ("service_her_id: 93240", "service_her_id: 0", "parties.register.service_her_id"),
        ("queue: 93238_async", "queue: 0_kinn_async", "parties.municipality.queue"),
        ("Kari Nordmann", "Kari Test", "contacts[0].name"),
        ("kari.nordmann@kinn.kommune.no", "kari@kinn.example", "contacts[0].email"),
        ("kari.nordmann@kinn.kommune.no", "kari@example.org", "contacts[0].email"),
        ('"41326587"', '"40000000"', "contacts[0].mobile"),
        ('"41326587"', '"+4799999999"', "contacts[0].mobile"),
    ],
)
def test_what_production_refuses(tmp_path: Path, old: str, new: str, key: str) -> None:
    loaded = load_changed(tmp_path, *PRODUCTION, (old, new))
    assert set(told(loaded)) == {key}


@pytest.mark.parametrize("profile", ["test", "qa"])
@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("sb.test.nhn.no", "sb.nhn.no", "bus.nhn_amqp.url"),
        ("sb.test.nhn.no", "SB.NHN.NO.", "bus.nhn_amqp.url"),
        ("sb.test.nhn.no", "tjenestebuss.nhn.no", "bus.nhn_amqp.url"),
        ("her_id: 8139520", "her_id: 122612", "parties.register.her_id"),
        ("her_id: 8139520", "her_id: 94378", "parties.register.her_id"),
    ],
)
def test_what_is_production_is_refused_elsewhere(tmp_path: Path, profile: str, old: str, new: str, key: str) -> None:
    loaded = load_changed(tmp_path, ("profile: test", f"profile: {profile}"), (old, new))
    assert key in told(loaded)


def test_a_local_bus_and_an_unknown_register_are_let_through_in_test(tmp_path: Path) -> None:
    loaded = load_changed(tmp_path, ("sb.test.nhn.no", "localhost"), ("her_id: 8139520", "her_id: 93241"))
    assert loaded.faults == ()


def test_a_folder_in_production_needs_shadow_mode(tmp_path: Path) -> None:
    bus = (
        "  nhn_amqp:\n    url: amqps://sb.nhn.no:5671\n    exchange: NHNTestServiceBus\n    addresses: v2\n"
        "    user_file: bus-user\n    password_file: bus-password\n"
    )
    loaded = load_changed(tmp_path, *PRODUCTION, (bus, "  folder: {path: out}\n"))
    assert set(told(loaded)) == {"bus.folder"}
    shadow = load_changed(
        tmp_path, *PRODUCTION, (bus, "  folder: {path: out}\n"), ("unit: kinn", "unit: kinn\nmode: shadow")
    )
    assert shadow.faults == ()


def test_no_contact_is_quoted(tmp_path: Path) -> None:
    loaded = load_changed(tmp_path, *PRODUCTION, ("kari.nordmann@kinn.kommune.no", "kari@kinn.example"))
    assert "kari" not in texts(loaded.faults)


def test_every_known_host_and_her_id_has_a_profile() -> None:
    for profiles in (*HOSTS.values(), *(profiles for profiles, _ in REGISTER_HER_IDS.values())):
        assert profiles
        assert profiles <= {"test", "qa", "production"}
