"""Loading municipalities: what is good, what is refused, and that everything is told at once."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from agent.settings import EXIT_CONFIGURATION, capture, check_files, load, mapping_digest
from agent.settings.operation import Fictitious
from connectors.source import Encoding, Kind
from tests.unit.settings_files import MAPPING, line_of, load_changed, texts, told, write


def test_a_good_file_gives_a_municipality_with_absolute_paths_and_defaults(tmp_path: Path) -> None:
    loaded = load([write(tmp_path)])
    assert loaded.faults == ()
    (municipality,) = loaded.municipalities
    settings = municipality.settings
    assert municipality.unit == "kinn"
    assert settings.mode == "live"
    assert settings.ledger.path == tmp_path / "kinn.db"
    assert settings.control_socket == tmp_path / "kinn.db.sock"
    assert settings.protection.decryption_key_files == (tmp_path / "decryption.key",)
    assert settings.bus.nhn_amqp is not None
    assert settings.bus.nhn_amqp.password_file == tmp_path / "bus-password"
    assert settings.source.replay is not None
    assert settings.source.replay.path == tmp_path / "changes.jsonl"
    assert settings.rules.settle == timedelta(0)
    assert settings.ledger.keep.notification_fields == timedelta(days=3 * 365)
    assert settings.gate.owed_share == 0.05
    assert settings.dispatch.retry_longest == timedelta(minutes=5)


def test_every_fault_of_every_file_is_told_in_one_go_and_good_files_still_load(tmp_path: Path) -> None:
    good = write(tmp_path)
    bad = write(
        tmp_path,
        ("unit: kinn", "unit: Sokndal Kommune"),
        ("kinn.db", "sokndal.db"),
        ("93238_", "77_"),
        ("profile: test", "profile: test\nmoed: live"),
        ('number: "4602"', "number: 4602"),
        ("addresses: v2", "addresses: v3"),
        ("roles: [iplos_contact, submission_officer]", "roles: [iplos_contact]"),
        ("  key_file: ledger.key\n", ""),
        name="sokndal.yaml",
    )
    worse = tmp_path / "worse.yaml"
    worse.write_text("version: 1\nunit: [\n", encoding="utf-8")
    loaded = load([good, bad, worse])
    assert [municipality.unit for municipality in loaded.municipalities] == ["kinn"]
    assert {fault.key for fault in loaded.faults if fault.file == str(bad)} == {
        "moed",
        "unit",
        "municipality.numbers[0].number",
        "bus.nhn_amqp.addresses",
        "contacts",
        "ledger.key_file",
    }
    assert any(fault.file == str(worse) for fault in loaded.faults)
    assert set(loaded.refused) == {bad, worse}


def test_a_fault_names_file_line_key_and_what_to_write(tmp_path: Path) -> None:
    file = write(tmp_path, ("profile: test", "profil: test"))
    by_key = {fault.key: str(fault) for fault in load([file]).faults}
    assert by_key["profil"] == f'{file}:{line_of(file, "profil:")}: profil: unknown key: did you mean "profile"?'
    assert by_key["profile"].startswith(f"{file}:1: profile: this key is missing. test, qa or production")


@pytest.mark.parametrize(
    ("old", "new", "key", "text"),
    [
        ('number: "4602"', "number: 4602", "municipality.numbers[0].number", 'write "4602", in double quotes'),
        ('number: "4602"', "number: 0301", "municipality.numbers[0].number", 'write "0301", in double quotes'),
        ('number: "4602"', 'number: "460"', "municipality.numbers[0].number", "four digits"),
        ("name: Kinn", "name: NO", "municipality.name", 'write "NO", in double quotes'),
        ('version: "1.0"', "version: 1.0", "epj.product.version", 'write "1.0", in double quotes'),
        ('"820956532"', '"999999999"', "municipality.organisation_number", "stands for nobody"),
        ('"820956532"', '"820956533"', "municipality.organisation_number", "check digit"),
        ("profile: test", "profile: tst", "profile", 'did you mean "test"'),
        ('LANG: "21"', 'LANG: "99"', "epj.service_types.LANG", "9151"),
        ('LANG: "21"', "LANG: 21", "epj.service_types.LANG", 'write "21", in double quotes'),
        ("{LANG:", '{17: "18", LANG:', "epj.service_types.17", 'write "17", in double quotes'),
        ("her_id: 93238", 'her_id: "93238"', "parties.municipality.her_id", "whole number"),
        ("queue: 93238_async", "queue: x/93238_async", "parties.municipality.queue", "what follows the last /"),
        ("from: 2020-01-01", "from: 2020-13-01", "municipality.numbers[0].from", "YYYY-MM-DD"),
        ("roles: [iplos", "roles: [admin, iplos", "contacts[0].roles[0]", "write one of"),
        ("  mapping: mapping.yaml", "  mapping: none.yaml", "epj.mapping", "no such file"),
        ("  path: kinn.db", "  path:", "ledger.path", "no value"),
        ("ledger:\n", "gate: {owed_share: 5}\nledger:\n", "gate.owed_share", "such as 5%"),
        ("ledger:\n", "rules: {settle: 10}\nledger:\n", "rules.settle", "with its unit"),
        ("ledger:\n", "rules: {settle: soon}\nledger:\n", "rules.settle", "with its unit"),
        ("ledger:\n", "rules: [settle]\nledger:\n", "rules", "keys and values"),
        ("ledger:\n", "dispatch: {retry_first: 1h}\nledger:\n", "dispatch", "shorter"),
        ("replay: {path", "reply: {path", "source.reply", 'did you mean "replay"'),
        ("decryption_key_files: [decryption.key]", "decryption_key_files: [a, b]", "protection", "pairs"),
        ("  service_types:", "  only: {column: kommune}\n  service_types:", "epj.only", "write both"),
        ("  service_types:", "  only: {schema: a, column: b, value: c}\n  service_types:", "epj.only", "exactly one"),
        ("  service_types:", '  only: {column: k, value: "1", tables: [public.brukr]}\n  service_types:',
         "epj.only.tables[0]", 'did you mean "public.bruker"'),
        ("  replay: {path: changes.jsonl}", "  replay: {path: c}\n  encodings: {columns: {bruker.f: days}}",
         "source.encodings.columns.bruker.f", "no such column"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_write(tmp_path: Path, old: str, new: str, key: str, text: str) -> None:
    loaded = load_changed(tmp_path, (old, new))
    assert loaded.municipalities == ()
    assert text in told(loaded).get(key, f"no fault at {key}: {told(loaded)}")


def test_missing_contact_roles_are_told_though_a_contact_has_faults(tmp_path: Path) -> None:
    loaded = load_changed(
        tmp_path, ("iplos_contact, submission_officer", "submission_officer"), ('"40000000"', "40000000")
    )
    assert set(told(loaded)) == {"contacts", "contacts[0].mobile"}
    assert "iplos_contact" in told(loaded)["contacts"]


def test_nothing_of_a_person_and_no_long_number_is_quoted(tmp_path: Path) -> None:
    loaded = load_changed(
        tmp_path,
        ("Kari Test", "[Kari Nordmann]"),
        ('"40000000"', "98765432"),
        ("kari@kinn.example", "kari.kinn.example"),
        (
            "ledger:\n",
            "rules: {allowed_numbers: [01857012345, 17854010026], fictitious: {names: Donald Duck}}\nledger:\n",
        ),
        ("profile: test", "profile: test\n17854010026: x"),
    )
    assert len(loaded.faults) >= 6
    for secret in ("Nordmann", "98765432", "kari.kinn", "01857012345", "17854010026", "Donald"):
        assert secret not in texts(loaded.faults)


def test_two_municipalities_with_one_unit_ledger_or_queue_are_both_refused(tmp_path: Path) -> None:
    one = write(tmp_path)
    other = write(tmp_path, ("name: Kinn\n", "name: Sokndal\n"), name="other.yaml")
    third = write(
        tmp_path, ("unit: kinn", "unit: valle"), ("kinn.db", "valle.db"), ("93238_", "77_"), name="third.yaml"
    )
    loaded = load([one, other, third])
    assert [municipality.unit for municipality in loaded.municipalities] == ["valle"]
    for file in (one, other):
        assert {fault.key for fault in loaded.refused[file]} == {
            "unit",
            "ledger.path",
            "parties.municipality.queue",
            "parties.municipality.error_queue",
        }


def test_the_same_file_twice_is_one_municipality(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert len(load([file, file]).municipalities) == 1


def test_a_faulty_mapping_refuses_its_municipalities_and_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, mapping=MAPPING)
    files = [
        write(tmp_path, mapping=MAPPING.replace("kind: date", "kind: dato", 1)),
        write(
            tmp_path,
            ("unit: kinn", "unit: valle"),
            ("kinn.db", "valle.db"),
            ("93238_", "77_"),
            name="valle.yaml",
            mapping=MAPPING.replace("kind: date", "kind: dato", 1),
        ),
    ]
    loaded = load(files)
    assert loaded.municipalities == ()
    (fault,) = loaded.faults
    assert fault.file == str(tmp_path / "mapping.yaml")
    assert fault.key == "service.start.kind"
    assert set(loaded.refused) == set(files)


def test_a_short_time_to_live_and_an_obsolete_code_are_warnings_that_refuse_nothing(tmp_path: Path) -> None:
    loaded = load_changed(
        tmp_path, ("ledger:\n", "messages: {time_to_live: 4d}\nledger:\n"), ("PB: none", 'PB: none, OMSORG: "13"')
    )
    assert len(loaded.municipalities) == 1
    assert {warning.key for warning in loaded.warnings} == {"messages.time_to_live", "epj.service_types.OMSORG"}


def test_check_prints_good_files_to_stdout_and_faults_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path)
    assert check_files([good]) == 0
    assert capsys.readouterr().out == f"{good}: kinn: good (test, live)\n"
    bad = write(tmp_path, ("profile: test", "profile: tset"), name="bad.yaml")
    assert check_files([bad]) == EXIT_CONFIGURATION == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"{bad}:2: profile: write one of")


def test_files_are_looked_at_only_when_asked(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert load([file]).faults == ()
    missing = load([file], look_at_files=True)
    assert len(missing.faults) == 9
    assert "cannot be read" in told(missing)["protection.signing_key_file"]
    for name in (
        "signing.key",
        "signing.pem",
        "decryption.key",
        "decryption.pem",
        "register.pem",
        "register-signing.pem",
        "ledger.key",
        "bus-user",
        "bus-password",
    ):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o400)
    assert load([file], look_at_files=True).faults == ()
    (tmp_path / "signing.pem").chmod(0o444)
    (tmp_path / "signing.key").chmod(0o444)
    (tmp_path / "ledger.key").chmod(0o600)
    (tmp_path / "ledger.key").write_text("")
    loose = told(load([file], look_at_files=True))
    assert set(loose) == {"protection.signing_key_file", "ledger.key_file"}
    assert "0444" in loose["protection.signing_key_file"]
    assert loose["ledger.key_file"] == "the file is empty"


def test_the_kommunenummer_is_that_of_the_day(tmp_path: Path) -> None:
    both = '{number: "3004", from: 2020-01-01}, {number: "3107", from: 2024-01-01}'
    (municipality,) = load_changed(tmp_path, ('{number: "4602", from: 2020-01-01}', both)).municipalities
    assert municipality.number_on(date(2023, 12, 31)) == "3004"
    assert municipality.number_on(date(2024, 1, 1)) == "3107"
    assert municipality.number_on(date(2019, 1, 1)) == "3004"
    backwards = '{number: "3107", from: 2024-01-01}, {number: "3004", from: 2020-01-01}'
    assert "earliest first" in texts(load_changed(tmp_path, ('{number: "4602", from: 2020-01-01}', backwards)).faults)


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("Donald Duck", True),
        ("DONALD  DUCK", True),
        ("Donald Duckworth", False),
        ("Test Testesen", True),
        ("Tess", False),
    ],
)
def test_fictitious_names_are_patterns_whatever_their_case(name: str, matches: bool) -> None:
    assert Fictitious(names=("donald duck", "Test*", "T?st")).matches_name(name) is matches


def test_the_digest_changes_with_what_decides_and_with_nothing_else(tmp_path: Path) -> None:
    (base,) = load([write(tmp_path)]).municipalities
    same = [
        (('LANG: "21", PB: none', 'PB: none, LANG: "21"'),),
        (("ledger:\n", "rules: {settle: 10m, cut_off: 2021-01-01}\nledger:\n"),),
        (("name: Kinn\n", "name: Kinn kommune\n"),),
    ]
    other = [
        (('LANG: "21"', 'LANG: "20"'),),
        (("ledger:\n", "rules: {cut_off: 2022-01-01}\nledger:\n"),),
        (("ledger:\n", "rules: {fictitious: {names: [Donald Duck]}}\nledger:\n"),),
        (("  service_types:", "  only: {schema: kinn}\n  service_types:"),),
    ]
    for changes in same:
        (changed,) = load_changed(tmp_path, *changes).municipalities
        assert mapping_digest(changed) == mapping_digest(base), changes
    for changes in other:
        (changed,) = load_changed(tmp_path, *changes).municipalities
        assert mapping_digest(changed) != mapping_digest(base), changes
    assert mapping_digest(replace(base, mapping=replace(base.mapping, zone="UTC"))) != mapping_digest(base)


def test_the_capture_asks_for_mapped_columns_names_and_the_column_that_tells_units_apart(tmp_path: Path) -> None:
    (municipality,) = load_changed(
        tmp_path,
        ("  replay: {path: changes.jsonl}", "  replay: {path: c}\n  encodings: {date: days}"),
        ("  service_types:", '  only: {column: kommune, value: "17", tables: [public.tjeneste]}\n  service_types:'),
    ).municipalities
    settings = municipality.settings
    wanted = {
        table.name: {column.name: column for column in table.columns}
        for table in capture(municipality.mapping, settings.source.encodings, settings.epj.only).tables
    }
    assert set(wanted["public.bruker"]) == {"bruker_id", "fnr", "fornavn", "etternavn"}
    assert "fornavn" not in municipality.mapping.tables["public.bruker"].columns
    assert wanted["public.tjeneste"]["kommune"].kind is Kind.TEXT
    assert "kommune" not in wanted["public.enhet"]
    assert wanted["public.tjeneste"]["start_dato"].encoding is Encoding.DAYS
    assert wanted["public.tjeneste"]["bruker_id"].kind is Kind.INTEGER
