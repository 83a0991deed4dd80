"""Nobody's number, name or birth date stands in anything that a full demo writes or sends (invariant 10)."""

from pathlib import Path

import pytest
from proton import Message

from agent.demo.epj import open_sqlite, picture
from agent.demo.people import FICTITIOUS
from tests.e2e.canary import Canaries
from tests.e2e.kept_demo import KeptDemo, run_kept_demo
from tests.e2e.recorded_demo import MESSAGES, TITLES

EPJ_FILES = ("epj.db", "epj.db-wal", "epj.db-shm")
"""The demo's own EPJ, which is full of people. The register keeps its memory in the process."""

WRITTEN_BY_A_PERSON = "demo.yaml"
"""The municipality's file names the fictitious people that are never sent: looked at without that name only."""


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory: pytest.TempPathFactory) -> KeptDemo:
    return run_kept_demo(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def canaries(kept_demo: KeptDemo) -> Canaries:
    return _canaries(kept_demo)


def _canaries(kept: KeptDemo, **options: tuple[str, ...]) -> Canaries:
    engine = open_sqlite(kept.folder / "epj.db")
    try:
        return Canaries.of(picture(engine), **options)
    finally:
        engine.dispose()


def _messages(kept: KeptDemo) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted((kept.recordings / MESSAGES).iterdir())]


def test_there_is_something_to_find(kept_demo: KeptDemo, canaries: Canaries) -> None:
    assert kept_demo.code == 0
    kinds = [kind for kind, _ in canaries.texts]
    assert min(kinds.count(kind) for kind in ("an identity number", "a name", "a birth date")) > 50
    assert len(canaries.ddmmyy) > 50
    assert list(canaries.hits((kept_demo.folder / "epj.db").read_bytes(), "the EPJ"))


def test_nothing_the_demo_printed_names_anybody(kept_demo: KeptDemo, canaries: Canaries) -> None:
    printed = kept_demo.stdout + kept_demo.stderr
    assert len(printed.splitlines()) > 20
    assert list(canaries.hits(printed, "what was printed")) == []


def test_no_file_and_no_file_name_names_anybody(kept_demo: KeptDemo, canaries: Canaries) -> None:
    names = {path.name for path in kept_demo.folder.rglob("*")}
    assert {"agent.log", "ledger.db", *EPJ_FILES[:1], "signing.key.pem"} <= names
    assert list(canaries.hits_in_folder(kept_demo.folder, without=(*EPJ_FILES, WRITTEN_BY_A_PERSON))) == []
    without_it = _canaries(kept_demo, left_out=FICTITIOUS)
    assert list(without_it.hits((kept_demo.folder / WRITTEN_BY_A_PERSON).read_bytes(), WRITTEN_BY_A_PERSON)) == []


def test_every_log_line_is_one_event_and_names_nobody(kept_demo: KeptDemo, canaries: Canaries) -> None:
    lines = (kept_demo.folder / "agent.log").read_bytes().splitlines()
    assert len(lines) > 100
    assert [hit for number, line in enumerate(lines, 1) for hit in canaries.hits(line, f"line {number}")] == []


def test_no_message_names_anybody_outside_its_encrypted_body(kept_demo: KeptDemo, canaries: Canaries) -> None:
    messages = _messages(kept_demo)
    assert len(messages) > 40
    subjects = set()
    for name, raw in messages:
        assert list(canaries.hits(raw, f"message {name}")) == []  # headers, properties, and the body as it travels
        decoded = Message()
        decoded.decode(raw)
        subjects.add(decoded.subject)
        told = [decoded.id, decoded.subject, decoded.address, decoded.reply_to, decoded.correlation_id]
        for value in (*told, *(decoded.properties or {}), *(decoded.properties or {}).values()):
            assert list(canaries.hits(str(value).encode(), f"a property of message {name}")) == []
    assert subjects == {"KPR_IPL", "APPREC"}


def test_the_process_does_not_call_itself_by_anybody(kept_demo: KeptDemo, canaries: Canaries) -> None:
    titles = (kept_demo.recordings / TITLES).read_bytes()
    assert b"recorded_demo" in titles
    assert list(canaries.hits(titles, "arguments and threads")) == []


def test_teeth_one_planted_anywhere_is_found(kept_demo: KeptDemo, canaries: Canaries, tmp_path: Path) -> None:
    """The same scans over a copy into which one number, name or date was planted: each finds it, and names nobody."""
    for kind in ("an identity number", "a name", "a birth date"):
        planted = next(text for of, text in canaries.texts if of == kind)
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "ledger.db").write_bytes(b"SQLite format 3\0" + bytes(4000) + planted + bytes(100))
        assert list(canaries.hits_in_folder(folder)) == [f"ledger.db: {kind}"]
        line = b'{"event":"changes_booked","reason":"' + planted + b'"}'
        assert list(canaries.hits(line, "a line")) == [f"a line: {kind}"]
        discloses = planted in " ".join(canaries.hits(line, "a line")).encode()
        assert not discloses
    number = next(text for kind, text in canaries.texts if kind == "an identity number" and text.isdigit()).decode()
    (tmp_path / f"{number}.xml").touch()
    assert "the name of a file: an identity number" in list(canaries.hits_in_folder(tmp_path))
    message = Message(id="1", subject="KPR_IPL", properties={"X-SystemIdentifier": number}, body=b"x", inferred=True)
    assert list(canaries.hits(message.encode(), "a message")) == ["a message: an identity number"]
    fid = next(iter(canaries.ddmmyy))
    assert list(canaries.hits(b'fid="' + fid + b'"', "a body")) == ["a body: a birth date as ddmmyy"]
