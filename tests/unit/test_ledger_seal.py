"""The ledger at rest: keys, sealed payloads, and what a reader of its files finds."""

import base64
import os
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.domain.care import RowRead, RowsFound
from agent.domain.finding import Finding, Severity
from agent.domain.notification import Content, Event, ReportedPerson
from agent.domain.reported import Reported, Standing
from agent.domain.rows import KeptRow
from agent.ledger.errors import LedgerCorrupt, LedgerKeyUnusable
from agent.ledger.key import LedgerKey
from agent.ledger.ledger import Ledger
from agent.ledger.seal import Seal, index_prefix
from agent.ledger.transaction import LedgerTransaction
from connectors.source import Position
from tests.contract.ledger_behaviour import NOW, chained, guid, row

KEY = LedgerKey(bytes(range(32)))
CANARIES = ("15876100123", "KanariSynthetisk", "canary-key-4711", "canary-case", "canary-stream")


def open_with(path: Path, write: Callable[[LedgerTransaction], object]) -> Ledger:
    ledger = Ledger.open(path, unit="kinn", key=KEY)
    ledger.run_now(write)
    return ledger


def write_canaries(tx: LedgerTransaction) -> None:
    """Every room gets something personal."""
    number, name, key, case, stream = CANARIES
    person = ReportedPerson(guid("p"), number, number, "1")
    told = Content("21", date(2026, 1, 2), NOW, "810000019", person)
    kept = KeptRow("public.bruker", number, {"fnr": number, "navn": name}, {"fnr": NOW}, None)
    tx.put_row(kept, frozenset({("fnr",), ("navn",)}))
    tx.put_reported(key, Reported(key, (Standing(Event.START, case, guid("n"), 1, guid("e"), told),)))
    tx.set_dependencies(key, frozenset({RowRead("public.bruker", number), RowsFound("public.pause", ("t",), key)}))
    tx.put_person(number, guid("p"), number_was_right=True)
    tx.set_findings(key, [Finding("Q01", Severity.BLOCK, key, f"service {key}, case {case}")], NOW)
    tx.mark_due([key], not_before=None, cause="change")
    tx.set_planned(key, date(2026, 12, 1))
    tx.set_position(Position("1", {stream: (1,)}, f"after {key}"))
    tx.keep_unreadable(f"line of {key}", "why", f"{number} {name}".encode())
    tx.add_notification(chained(1), key, {"row": key, "case": case}, at=NOW)
    tx.add_envelope("m", "a", 1, 1, content=f"<Bruker fid='{number}' navn='{name}'/>".encode(), state="s", at=NOW)
    tx.book_receipt(1, "apprec", "rejected", digest=number.encode(), content=f"DN={number}".encode(), at=NOW)


def test_no_canary_is_in_any_file_of_the_ledger_invariant_10(tmp_path: Path) -> None:
    ledger = open_with(tmp_path / "kinn.db", write_canaries)
    try:
        files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert {"kinn.db", "kinn.db-wal"} <= files.keys()
        assert b"public.bruker" in files["kinn.db-wal"]  # the scan finds what is in clear
        ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        files["after the checkpoint"] = (tmp_path / "kinn.db").read_bytes()
    finally:
        ledger.close()
    assert b"public.bruker" in files["after the checkpoint"]
    for name, content in files.items():
        for canary in CANARIES:
            for spelled in (canary.encode(), canary.encode("utf-16-le"), canary.encode().hex().encode()):
                assert spelled not in content, f"a canary is in {name}"


def test_the_secrets_are_in_no_repr(tmp_path: Path) -> None:
    ledger = open_with(tmp_path / "kinn.db", write_canaries)
    shown = repr((ledger, KEY, ledger.read(lambda tx: (tx.person(CANARIES[0]), list(tx.unreadable())))))
    ledger.close()
    assert not re.search("|".join(CANARIES[:2]), shown)
    assert repr(KEY.secret) not in shown


def test_equal_content_is_never_equal_on_the_disk() -> None:
    seal = Seal(os.urandom(32), "kinn")
    assert len({seal.seal("t", 1, b"same") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("seal", "table", "number"),
    [
        pytest.param(Seal(b"k" * 32, "kinn"), "u", 1, id="another table"),
        pytest.param(Seal(b"k" * 32, "kinn"), "t", 2, id="another row"),
        pytest.param(Seal(b"k" * 32, "bykle"), "t", 1, id="another unit"),
        pytest.param(Seal(b"j" * 32, "kinn"), "t", 1, id="another key"),
    ],
)
def test_a_payload_opens_only_where_it_was_sealed(seal: Seal, table: str, number: int) -> None:
    sealed = Seal(b"k" * 32, "kinn").seal("t", 1, b"content")
    assert Seal(b"k" * 32, "kinn").open("t", 1, sealed) == b"content"
    with pytest.raises(LedgerCorrupt, match=f"{table}, row {number},") as caught:
        seal.open(table, number, sealed)
    assert (caught.value.table, caught.value.row_id) == (table, str(number))


def test_every_flipped_bit_and_every_cut_is_seen() -> None:
    seal = Seal(b"k" * 32, "kinn")
    sealed = seal.seal("t", 1, b"content")
    for place in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[place] ^= 1 << bit
            with pytest.raises(LedgerCorrupt):
                seal.open("t", 1, bytes(flipped))
        with pytest.raises(LedgerCorrupt):
            seal.open("t", 1, sealed[:place])


def test_index_keys_tell_apart_what_is_apart() -> None:
    seal = Seal(b"k" * 32, "kinn")
    kinds = [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ("", "abc")]
    keys = {seal.index(index_prefix(*names), "v") for names in kinds}
    assert len(keys) == len(kinds)
    assert seal.index(index_prefix("a"), "v") != Seal(b"j" * 32, "kinn").index(index_prefix("a"), "v")


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        pytest.param(
            "UPDATE kept_row SET payload = (SELECT payload FROM kept_row WHERE id = 2) WHERE id = 1",
            lambda tx: tx.row("public.tjeneste", "1"),
            id="a row swapped for another of its table",
        ),
        pytest.param(
            "UPDATE kept_row SET table_name = 'public.pause'",
            lambda tx: list(tx.rows_of("public.pause")),
            id="a row put into another table of the source",
        ),
        pytest.param(
            "UPDATE service SET reported = key_payload",
            lambda tx: tx.reported("canary-key-4711"),
            id="a payload put into another column",
        ),
        pytest.param(
            "UPDATE person SET payload = (SELECT payload FROM receipt)",
            lambda tx: tx.person("15876100123"),
            id="a payload put into another table",
        ),
        pytest.param(
            "UPDATE envelope SET content = zeroblob(length(content))",
            lambda tx: tx.envelope_content(1),
            id="bytes wiped out",
        ),
        pytest.param("UPDATE progress SET position = x''", lambda tx: tx.position(), id="a payload emptied"),
    ],
)
def test_a_row_that_was_tampered_with_is_named_and_never_quoted(
    tmp_path: Path, damage: str, read: Callable[[LedgerTransaction], object]
) -> None:
    path = tmp_path / "kinn.db"

    def write(tx: LedgerTransaction) -> None:
        tx.put_row(row("1"), frozenset())
        tx.put_row(row("2"), frozenset())
        write_canaries(tx)

    open_with(path, write).close()
    other = sqlite3.connect(path, isolation_level=None)
    assert other.execute(damage).rowcount >= 1
    other.close()
    with Ledger.open(path, unit="kinn", key=KEY) as ledger, pytest.raises(LedgerCorrupt) as caught:
        ledger.read(read)
    assert caught.value.table is not None
    assert caught.value.row_id is not None
    assert not re.search("|".join(CANARIES), str(caught.value))


def test_an_index_that_points_at_a_wrong_row_gives_no_row(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    lookups = frozenset({("bruker_id",)})
    rows = (row("1", person="7"), row("2", person="8"))
    open_with(path, lambda tx: [tx.put_row(one, lookups) for one in rows]).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE lookup SET row_id = 3 - row_id")
    other.close()
    with Ledger.open(path, unit="kinn", key=KEY) as ledger:
        assert ledger.read(lambda tx: tx.find("public.tjeneste", ("bruker_id",), "7")) == []


def test_a_damaged_data_key_is_not_called_a_wrong_key(tmp_path: Path) -> None:
    path = tmp_path / "kinn.db"
    open_with(path, lambda tx: tx.count("x")).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE ledger SET data_key = zeroblob(60)")
    other.close()
    with pytest.raises(LedgerCorrupt):
        Ledger.open(path, unit="kinn", key=KEY)


def test_the_unit_secret_is_made_from_the_master_key_and_each_ledger_has_its_own_data_key(tmp_path: Path) -> None:
    ledgers = [
        Ledger.open(tmp_path / name, unit=unit, key=KEY, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        for name, unit in (("a.db", "kinn"), ("b.db", "kinn"), ("c.db", "bykle"))
    ]
    assert ledgers[0].unit_secret == ledgers[1].unit_secret != ledgers[2].unit_secret
    assert ledgers[0].installation_id != ledgers[1].installation_id
    hmacs = [ledger._seal.index(index_prefix("row", "t"), "1") for ledger in ledgers]
    assert len(set(hmacs)) == 3
    for ledger in ledgers:
        ledger.close()


# key files


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(KEY.secret, id="raw"),
        pytest.param(base64.b64encode(KEY.secret), id="base64"),
        pytest.param(base64.b64encode(KEY.secret) + b"\n", id="base64 with a line end"),
        pytest.param(KEY.secret.hex().encode() + b"\r\n", id="hex"),
        pytest.param(b"  " + KEY.secret.hex().upper().encode(), id="upper-case hex"),
    ],
)
def test_a_key_file_is_read_as_people_write_it(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    assert LedgerKey.from_file(path) == KEY


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"password",
        KEY.secret[:16].hex().encode(),
        base64.b64encode(KEY.secret[:24]),
        b"g" * 64,
        KEY.secret + b"\n",
        b"\xff" * 44,
        b"x" * 4096,
    ],
    ids=["empty", "password", "16 bytes", "24 bytes", "no hex", "33 bytes", "no text", "long"],
)
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(LedgerKeyUnusable, match="openssl rand -base64 32") as caught:
        LedgerKey.from_file(path)
    assert not text.strip() or text.decode("latin-1").strip() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    LedgerKey.generate_file(path)
    path.chmod(mode)
    with pytest.raises(LedgerKeyUnusable, match=f"chmod 600 {path}"):
        LedgerKey.from_file(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerKeyUnusable, match="No such file"):
        LedgerKey.from_file(tmp_path / "key")


def test_a_generated_key_is_read_back_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = LedgerKey.generate_file(path)
    assert LedgerKey.from_file(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LedgerKeyUnusable, match="never replaced"):
        LedgerKey.generate_file(path)
    assert LedgerKey.from_file(path) == made
