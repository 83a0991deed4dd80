"""The command line: what each verb prints, what it leaves behind, and how it ends."""

import json
import socket
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from agent.cli import app, main
from agent.composition import reporting_unit, wanted
from agent.demo.debezium_lines import as_lines
from agent.demo.histories import Histories
from agent.demo.world import Places, write_municipality
from agent.dispatch.envelope import MessageInvalid
from agent.examine import notice_rules
from agent.intake.booking import Booking
from agent.ledger.key import LedgerKey
from agent.pipeline import open_ledger
from agent.settings import Municipality, load
from agent.verbs import dry_run
from agent.verbs.dry_run import COUNTS
from connectors.replay import read_records
from connectors.source import Position, Transaction

TODAY = date(2026, 11, 22)
VERBS = (
    "check", "doctor", "run", "dry-run", "status", "plan", "apply", "resend", "messages", "parked", "receive", "demo",
)  # fmt: skip
SOURCE_VERBS = ("prepare", "new-incarnation", "confirm", "vanished")
ENCODINGS = {"date": "days", "timestamp": "microseconds"}


def call(*arguments: object, code: int = 0) -> Result:
    """What a verb printed; it must end with that code, and not by a fault of the program."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The demo's municipality with a file of changes for a source; its ledger's key is there, its ledger is not."""
    folder = tmp_path / "town"
    folder.mkdir()
    places = Places(folder)
    places.secrets.mkdir()
    LedgerKey.generate_file(places.secrets / "ledger.key")
    written = write_municipality(places, 5671)
    change(written, source={"replay": {"path": "changes.jsonl"}, "encodings": ENCODINGS})
    return written


def change(file: Path, **sections: Any) -> None:
    """Exchange sections of a municipality's file."""
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, **sections}, sort_keys=False, allow_unicode=True))


@pytest.fixture
def changes(tmp_path: Path) -> Path:
    """The changes of a few services, some of them bad."""
    return write_lines(tmp_path / "changes.jsonl", as_lines(Histories(4, 25, TODAY, bad_share=0.1).steps()))


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def dry(file: Path, changes: Path, out: Path, *more: object, code: int = 0) -> Result:
    return call("dry-run", "--config", file, "--changes", changes, "--out", out, *more, code=code)


def summary_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_bytes())
    return found


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# -- help and wrong calls


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    told = call("--help").stdout
    assert [verb for verb in VERBS if verb not in told] == []
    assert "78 the configuration is wrong" in " ".join(told.split())


@pytest.mark.parametrize("verb", SOURCE_VERBS)
def test_every_verb_about_a_source_explains_itself(verb: str) -> None:
    assert verb in call("source", "--help").stdout
    assert "Exit" in call("source", verb, "--help").stdout or verb == "vanished"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    told = call(verb, "--help").stdout
    assert len(told.splitlines()) > 5
    assert "Usage" in told


@pytest.mark.parametrize("arguments", [("run",), ("frob",), ("status", "--frob", "x"), ("demo", "--seconds", "1")])
def test_a_wrong_call_exits_64(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kpr-agent", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 64


# -- check


def test_check_names_good_files_and_ends_well(file: Path) -> None:
    assert "demo: good (test, live)" in call("check", file).stdout


def test_check_tells_every_fault_and_exits_78(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("profile: test", "profile: tset").replace("subject", "subjekt") + "frobs: 1\n")
    told = call("check", file, code=78).stderr
    assert "profile" in told
    assert "frobs" in told
    assert str(file) in told


def test_check_looks_at_files_only_when_asked(file: Path) -> None:
    assert "signing_key_file" in call("check", "--files", file, code=78).stderr


def test_check_runs_the_mappings_tests(file: Path) -> None:
    mapping = file.with_name("mapping.yaml")
    mapping.write_text(mapping.read_text().replace("expect: [TjenesteStart N]", "expect: [TjenesteSlutt N]"))
    told = call("check", file, code=78).stderr
    assert "expected TjenesteSlutt N, owed TjenesteStart N" in told


# -- dry-run


def test_a_dry_run_writes_plain_messages_and_a_summary(file: Path, changes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = dry(file, changes, out, "--as-of", "2026-11-22").stdout
    summary = summary_of(out)
    assert [name for name in COUNTS if not isinstance(summary[name], int)] == []
    assert set(summary) == {*COUNTS, "by_event", "findings", "gate"}
    assert summary["lines"] == summary["changes"] + summary["ignored"] + summary["unreadable"]
    parts = ("reported", "parked", "held", "nothing_to_report")
    assert summary["changes"] == sum(summary[part] for part in parts) > 50
    assert sum(summary["by_event"].values()) == summary["notifications"] > 10
    assert set(summary["findings"][0]) == {"rule", "severity", "service", "text"}
    assert summary["gate"]["would_hold"]
    names = sorted(path.name for path in (out / "messages").iterdir())
    assert names == [f"{number:06d}.xml" for number in range(1, summary["messages"] + 1)]
    assert b"MsgHead" in (out / "messages" / names[0]).read_bytes()
    assert f"notifications        {summary['notifications']}" in told


def test_two_dry_runs_are_the_same_byte_for_byte(file: Path, changes: Path, tmp_path: Path) -> None:
    outs = [tmp_path / name for name in ("one", "two", "at midnight", "later")]
    for out, as_of in zip(
        outs, ("2026-11-22", "2026-11-22", "2026-11-22T00:00:00+01:00", "2026-11-22T10:30"), strict=True
    ):
        dry(file, changes, out, "--as-of", as_of)
    first, second, at_midnight, later = map(files_of, outs)
    assert first == second == at_midnight  # a bare date is 00:00 in Norway
    assert first != later
    assert b"<GenDate>2026-11-22T00:00:00+01:00" in first["messages/000001.xml"].replace(b"msghead:", b"")
    assert b"2026-11-22T10:30:00+01:00" in later["messages/000001.xml"]


def test_as_of_decides_what_is_to_come(file: Path, changes: Path, tmp_path: Path) -> None:
    counts = {}
    for as_of in ("2026-11-22", "2027-11-22"):
        dry(file, changes, tmp_path / as_of, "--as-of", as_of)
        counts[as_of] = summary_of(tmp_path / as_of)["by_event"].get("TjenesteStart:N", 0)
    assert counts["2026-11-22"] < counts["2027-11-22"]


def test_json_prints_the_summary_that_is_written(file: Path, changes: Path, tmp_path: Path) -> None:
    told = dry(file, changes, tmp_path / "out", "--as-of", "2026-11-22", "--json").stdout
    assert json.loads(told) == summary_of(tmp_path / "out")


def test_unreadable_and_parked_input_still_ends_well(file: Path, changes: Path, tmp_path: Path) -> None:
    with changes.open("ab") as opened:
        opened.write(b'{"topic": \n\nnot JSON\n{"value": NaN}\n\xff\xfe\n')
    dry(file, changes, tmp_path / "out", "--as-of", "2026-11-22")
    summary = summary_of(tmp_path / "out")
    assert summary["unreadable"] == 4
    assert summary["parked"] > 0
    assert [finding for finding in summary["findings"] if finding["service"] is None]


def test_without_encodings_numbers_are_no_dates(file: Path, changes: Path, tmp_path: Path) -> None:
    change(file, source={"replay": {"path": "changes.jsonl"}})
    dry(file, changes, tmp_path / "out", "--as-of", "2026-11-22")
    summary = summary_of(tmp_path / "out")
    assert summary["notifications"] == 0  # nothing is guessed
    assert summary["parked"] > 0


def test_a_folder_that_is_not_empty_is_refused(file: Path, changes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert "is not empty" in dry(file, changes, out, code=64).stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_changes_that_are_not_there_are_refused(file: Path, tmp_path: Path) -> None:
    dry(file, tmp_path / "nowhere.jsonl", tmp_path / "out", code=64)


@pytest.mark.parametrize("as_of", ["yesterday", "2026-13-01", "22.11.2026"])
def test_an_as_of_that_is_no_moment_is_refused(file: Path, changes: Path, tmp_path: Path, as_of: str) -> None:
    assert "--as-of" in dry(file, changes, tmp_path / "out", "--as-of", as_of, code=64).stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_with_a_bad_file_is_a_wrong_configuration(file: Path, changes: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace("profile: test", "profile: tset"))
    assert "profile" in dry(file, changes, tmp_path / "out", code=78).stderr


def test_official_schemas_that_are_not_there_are_a_wrong_configuration(
    file: Path, changes: Path, tmp_path: Path
) -> None:
    (tmp_path / "official").mkdir()
    change(file, messages={"official_schemas": str(tmp_path / "official")})
    dry(file, changes, tmp_path / "out", code=78)


def test_a_message_that_must_not_go_out_is_a_fault_of_the_program(
    file: Path, changes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invalid(*_: Any, **__: Any) -> None:
        raise MessageInvalid(1, ["Melding/Notifikasjon is not right"])

    monkeypatch.setattr(dry_run, "build_envelope", invalid)
    assert "KPR-601" in dry(file, changes, tmp_path / "out", code=70).stderr


# -- verbs on a ledger, without a daemon


@pytest.fixture
def loaded(file: Path, changes: Path) -> Path:
    """The municipality's file, with a ledger that has read the changes behind a closed gate."""
    municipality = municipality_of(file)
    now = datetime.now(UTC)
    with open_ledger(municipality) as ledger:
        unit = reporting_unit(municipality, ledger.unit_secret)
        ledger.run_now(lambda tx: notice_rules(tx, unit))
        records = tuple(record for _, record in read_records(changes, wanted(municipality)))
        transaction = Transaction(records, Position("a test", {"line": (len(records),)}), seen_through=now)
        ledger.run_now(lambda tx: Booking(unit).book(tx, transaction, now))
    return file


def municipality_of(file: Path) -> Municipality:
    return load([file]).municipalities[0]


def test_status_of_a_fresh_ledger(file: Path) -> None:
    open_ledger(municipality_of(file)).close()
    [status] = json.loads(call("status", file, "--json").stdout)
    assert (status["municipality"], status["profile"], status["mode"]) == ("demo", "test", "live")
    assert status["gate"].startswith("first load")
    assert (status["position"], status["lag_s"], status["halted"]) == (None, None, False)
    names = ("due", "waiting", "sent", "receipted", "rejected", "overdue", "parked", "held", "notifications")
    assert [status[name] for name in names] == [0] * len(names)
    assert "demo" in call("status", file).stdout


def test_without_a_ledger_verbs_that_read_exit_69(file: Path) -> None:
    [status] = json.loads(call("status", file, "--json", code=69).stdout)
    assert status["code"].startswith("KPR-")
    assert "KPR-" in call("plan", file, code=69).stderr


def test_plan_and_apply_without_a_daemon(loaded: Path) -> None:
    plan = json.loads(call("plan", loaded, "--json").stdout)
    assert plan["gate"].startswith("first load")
    assert plan["notifications"] == sum(line["count"] for line in plan["owed"]) > 10
    told = call("plan", loaded).stdout
    assert f"kpr-agent apply {loaded}" in told
    assert "TjenesteStart N: a new event" in told

    answer = json.loads(call("apply", loaded, "--json").stdout)
    assert (answer["applied"], answer["notifications"]) == (True, plan["notifications"])
    assert json.loads(call("plan", loaded, "--json").stdout)["notifications"] == 0
    [status] = json.loads(call("status", loaded, "--json").stdout)
    assert (status["gate"], status["waiting"], status["due"]) == ("open", plan["notifications"], 0)
    assert "applied: 0 services" in call("apply", loaded).stdout  # again: nothing is left


def test_shadow_mode_is_not_applied(loaded: Path) -> None:
    change(loaded, mode="shadow")
    assert "mode is shadow" in call("apply", loaded, code=1).stderr
    [status] = json.loads(call("status", loaded, "--json").stdout)
    assert status["notifications"] == 0


def test_there_is_nothing_to_send_again(loaded: Path) -> None:
    assert "nothing to send again" in call("resend", loaded, code=1).stderr
    assert "no message" in call("resend", loaded, "--message", "unknown", code=1).stderr
    assert "KPR-603" in call("resend", loaded, "--json", code=1).stdout


def test_receive_needs_a_daemon(loaded: Path) -> None:
    assert "no daemon" in call("receive", loaded, code=1).stderr


def test_a_ledger_that_somebody_holds_without_answering_is_not_available(loaded: Path) -> None:
    with open_ledger(municipality_of(loaded)):
        told = call("apply", loaded, code=69).stderr
        call("plan", loaded)  # reading is free
    assert "holds the ledger" in told


def test_a_socket_that_nobody_listens_on_is_passed_by(loaded: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(municipality_of(loaded).settings.control_socket))
    assert "applied" in call("apply", loaded).stdout
