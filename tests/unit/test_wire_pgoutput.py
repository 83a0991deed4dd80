"""pgoutput's messages, byte by byte, by PostgreSQL's documentation; and what is no message of it."""

import contextlib
import struct
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres_logical.catalog import describe_kept, identifier, left_timeline_at, literal, lsn_of, lsn_text
from connectors.postgres_logical.changes import ChangeReader, Part, Unknown
from connectors.source import Capture, Change, Column, Ignored, Kind, Operation, Table, Unreadable, Value
from connectors.wire.copy_text import split_line
from connectors.wire.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Logical,
    NotPgoutput,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
    Unchanged,
    Update,
    decode,
    relation_of,
)
from connectors.wire.postgres_rows import ColumnUnfit, KeyUnfit
from connectors.wire.postgres_types import built_in, can_carry, value_of

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT_US = int((AT - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def cells(*values: str | bytes | Unchanged | None) -> bytes:
    told = struct.pack(">h", len(values))
    for value in values:
        if value is None:
            told += b"n"
        elif isinstance(value, Unchanged):
            told += b"u"
        else:
            octets = value.encode() if isinstance(value, str) else value
            told += b"t" + struct.pack(">i", len(octets)) + octets
    return told


def begin(lsn: int = 100) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, AT_US, 7)


def commit(lsn: int = 100, end: int = 148) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, lsn, end, AT_US)


def relation(
    *columns: tuple[str, int, bool], oid: int = 5, name: str = "tjeneste", identity: str = "d", schema: str = "demo"
) -> bytes:
    told = b"R" + struct.pack(">I", oid) + text(schema) + text(name) + identity.encode()
    told += struct.pack(">h", len(columns))
    for column, type_oid, is_identity in columns:
        told += bytes([is_identity]) + text(column) + struct.pack(">Ii", type_oid, -1)
    return told


def insert(*values: str | bytes | Unchanged | None, oid: int = 5) -> bytes:
    return b"I" + struct.pack(">I", oid) + b"N" + cells(*values)


MESSAGES = [
    (begin(), Begin(100, AT, 7)),
    (commit(), Commit(100, 148, AT)),
    (b"O" + struct.pack(">Q", 9) + text("annet"), Origin(9, "annet")),
    (
        relation(("id", 20, True), ("navn", 25, False)),
        Relation(
            5, "demo", "tjeneste", "d", (RelationColumn("id", 20, -1, True), RelationColumn("navn", 25, -1, False))
        ),
    ),
    (relation(schema=""), Relation(5, "pg_catalog", "tjeneste", "d", ())),
    (b"Y" + struct.pack(">I", 16400) + text("") + text("date"), Type(16400, "pg_catalog", "date")),
    (insert("1", None, Unchanged.TOAST), Insert(5, (b"1", None, Unchanged.TOAST))),
    (b"U" + struct.pack(">I", 5) + b"N" + cells("2"), Update(5, None, (b"2",))),
    (b"U" + struct.pack(">I", 5) + b"K" + cells("1") + b"N" + cells("2"), Update(5, (b"1",), (b"2",))),
    (b"U" + struct.pack(">I", 5) + b"O" + cells("1") + b"N" + cells("2"), Update(5, (b"1",), (b"2",))),
    (b"D" + struct.pack(">I", 5) + b"K" + cells("1", None), Delete(5, (b"1", None))),
    (b"D" + struct.pack(">I", 5) + b"O" + cells("1", "x"), Delete(5, (b"1", b"x"))),
    (b"T" + struct.pack(">iBII", 2, 3, 5, 6), Truncate((5, 6), True, True)),
    (b"M" + struct.pack(">BQ", 1, 9) + text("kpr") + struct.pack(">i", 3) + b"hei", Logical(9, "kpr", True, b"hei")),
]


@pytest.mark.parametrize(("payload", "message"), MESSAGES)
def test_every_message_is_read(payload: bytes, message: object) -> None:
    assert decode(payload) == message


@pytest.mark.parametrize("payload", [payload for payload, _ in MESSAGES])
def test_a_message_cut_anywhere_or_with_more_behind_it_is_refused(payload: bytes) -> None:
    for length in range(len(payload)):
        with pytest.raises(NotPgoutput):
            decode(payload[:length])
    with pytest.raises(NotPgoutput):
        decode(payload + b"\0")


@pytest.mark.parametrize(
    "payload",
    [
        b"S" + bytes(5),  # a streamed transaction: protocol 2, never asked for
        b"b" + bytes(40),  # a prepared one: protocol 3
        b"I" + struct.pack(">I", 5) + b"K" + cells("1"),
        b"D" + struct.pack(">I", 5) + b"N" + cells("1"),
        b"U" + struct.pack(">I", 5) + b"K" + cells("1") + b"K" + cells("1"),
        b"I" + struct.pack(">I", 5) + b"N" + struct.pack(">h", 1) + b"b" + struct.pack(">i", 1) + b"x",
        b"I" + struct.pack(">I", 5) + b"N" + struct.pack(">h", 1) + b"t" + struct.pack(">i", -1),
        b"R" + struct.pack(">I", 5) + b"\xff\0" + text("x") + b"d" + struct.pack(">h", 0),
        b"B" + struct.pack(">QqI", 1, 2**62, 1),
    ],
)
def test_what_is_not_of_the_protocol_is_refused(payload: bytes) -> None:
    with pytest.raises(NotPgoutput):
        decode(payload)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(payload: bytes) -> None:
    with contextlib.suppress(NotPgoutput):
        decode(payload)


def test_no_value_stands_in_a_repr() -> None:
    for payload in (insert("HEMMELIG"), b"D" + struct.pack(">I", 5) + b"K" + cells("HEMMELIG")):
        assert "HEMMELIG" not in repr(decode(payload))


def test_the_table_of_a_row_is_known_without_reading_it() -> None:
    assert relation_of(insert("1", oid=77)) == 77
    assert relation_of(begin()) is None
    assert relation_of(b"I\0") is None


# Rows and transactions

TABLE = Table("demo.tjeneste", ("id",), (Column("id", Kind.INTEGER), Column("navn", Kind.TEXT)))
COLUMNS = (("id", 20, True), ("navn", 25, False))


def reader(chunk_rows: int = 100, table: Table = TABLE) -> ChangeReader:
    return ChangeReader(Capture((table,)), {}, epoch="e", chunk_rows=chunk_rows)


def read(messages: list[bytes], found: ChangeReader | None = None) -> list[Part]:
    changes = found or reader()
    parts = []
    for payload in messages:
        part = changes.read(payload)
        if isinstance(part, Unknown):
            changes.leave(part)
            part = changes.read(payload)
        if part is not None:
            assert isinstance(part, Part)
            parts.append(part)
    return parts


def test_a_transaction_is_one_part_with_its_commits_place_and_moment() -> None:
    (part,) = read([begin(), relation(*COLUMNS), insert("1", "a"), insert("2", "b"), commit()])
    assert (part.lsn, part.index, part.is_final) == (148, 2, True)
    assert [(record.version.order, record.committed_at) for record in part.records] == [((100, 1), AT), ((100, 2), AT)]


def test_a_large_transaction_is_cut_and_only_its_last_part_is_final() -> None:
    rows = [insert(str(number), "x") for number in range(7)]
    parts = read([begin(), relation(*COLUMNS), *rows, commit()], reader(chunk_rows=3))
    assert [(len(part.records), part.lsn, part.index, part.is_final) for part in parts] == [
        (3, 100, 3, False), (3, 100, 6, False), (1, 148, 7, True),
    ]  # fmt: skip


def test_a_key_that_cannot_be_read_is_kept_and_the_rest_goes_on() -> None:
    payload = insert("HEMMELIG", "a")
    (part,) = read([begin(), relation(*COLUMNS), payload, insert("2", "b"), commit()])
    bad, good = part.records
    assert isinstance(bad, Unreadable)
    assert "HEMMELIG" not in bad.why + bad.place
    assert bad.raw == payload
    assert isinstance(good, Change)


def test_a_row_without_its_table_or_of_another_width_is_refused() -> None:
    for messages in (
        [begin(), insert("1", "a")],
        [begin(), relation(*COLUMNS), insert("1")],
        [relation(*COLUMNS), insert("1", "a")],
        [begin(), begin()],
    ):
        with pytest.raises(NotPgoutput):
            read(messages)


def test_other_tables_are_counted_and_truncated_ones_told() -> None:
    (part,) = read(
        [
            begin(), relation(*COLUMNS), relation(*COLUMNS, oid=6, name="annen"), insert("1", "a", oid=6),
            b"U" + struct.pack(">I", 6) + b"N" + cells("1", "b"), b"T" + struct.pack(">iBII", 2, 0, 6, 5), commit(),
        ]
    )  # fmt: skip
    assert [type(record) for record in part.records] == [Ignored, Ignored, Ignored, Change]
    assert part.records[3].operation is Operation.TRUNCATE


def test_a_domain_is_read_as_what_it_is_made_of() -> None:
    table = Table("demo.tjeneste", ("id",), (Column("id", Kind.INTEGER), Column("dag", Kind.DATE)))
    (part,) = read(
        [
            begin(), b"Y" + struct.pack(">I", 16400) + text("pg_catalog") + text("date"),
            relation(("id", 20, True), ("dag", 16400, False)), insert("1", "2026-01-15"), commit(),
        ],
        reader(table=table),
    )  # fmt: skip
    assert part.records[0].row == {"id": 1, "dag": date(2026, 1, 15)}


def test_a_mapped_column_that_goes_while_we_read_is_named() -> None:
    changes = reader()
    read([begin(), relation(*COLUMNS), insert("1", "a"), commit()], changes)
    with pytest.raises(ColumnUnfit) as unfit:
        read([begin(200), relation(("id", 20, True), ("nytt", 25, False))], changes)
    assert (unfit.value.table, unfit.value.column) == ("demo.tjeneste", "navn")
    with pytest.raises(KeyUnfit):
        read([begin(), relation(("id", 20, False), ("navn", 25, True))])


# Values


@pytest.mark.parametrize(
    ("octets", "type_oid", "kind", "value"),
    [
        (b"t", 16, Kind.TEXT, "true"),
        (b"f", 16, Kind.TEXT, "false"),
        (b"9007199254740993", 20, Kind.INTEGER, 9007199254740993),
        (b"ab   ", 1042, Kind.TEXT, "ab"),
        (b"2026-01-15", 1082, Kind.DATE, date(2026, 1, 15)),
        (b"2026-01-15 12:00:00+05:30", 1184, Kind.INSTANT, datetime(2026, 1, 15, 6, 30, tzinfo=UTC)),
        (None, 1082, Kind.DATE, None),
    ],
)
def test_values(octets: bytes | None, type_oid: int, kind: Kind, value: Value) -> None:
    assert value_of(octets, type_oid, Column("k", kind)) == value


def test_text_that_is_not_utf_8_and_numbers_that_are_none_are_undecodable() -> None:
    assert "UTF-8" in repr(value_of(b"\xff", 25, Column("k", Kind.TEXT)))
    assert "type" in repr(value_of(b"x", 20, Column("k", Kind.INTEGER)))


@pytest.mark.parametrize(
    ("name", "carries"),
    [
        ("bytea", set()),
        ("jsonb", {Kind.TEXT}),
        ("bool", {Kind.TEXT, Kind.INTEGER}),
        ("date", {Kind.TEXT, Kind.DATE, Kind.TIMESTAMP}),
        ("timestamp", {Kind.TEXT, Kind.DATE, Kind.TIMESTAMP}),
        ("timestamptz", {Kind.TEXT, Kind.INSTANT}),
        ("int8", set(Kind)),
    ],
)
def test_which_kinds_a_type_can_be_read_as(name: str, carries: set[Kind]) -> None:
    oid = built_in("pg_catalog", name)
    assert oid is not None
    assert {kind for kind in Kind if can_carry(oid, kind)} == carries
    assert built_in("demo", name) is None


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"1\ta\n", (b"1", b"a")),
        (b"\\N\t\t\\\\N\n", (None, b"", b"\\N")),
        (b"a\\tb\\nc\\\\d\\re\\bf\\fg\\vh\n", (b"a\tb\nc\\d\re\bf\fg\vh",)),
        (b"\n", (b"",)),
    ],
)
def test_a_line_of_copy(line: bytes, values: tuple[bytes | None, ...]) -> None:
    assert split_line(line) == values


# Places in the log


def test_a_place_in_the_log_reads_as_it_writes() -> None:
    assert lsn_of("16/B374D848") == 0x16B374D848
    assert lsn_text(0x16B374D848) == "16/B374D848"
    assert lsn_of(None) is None


def test_where_a_history_left_a_timeline() -> None:
    history = "1\t0/5000060\tno recovery target specified\n\n3\t1/0\tbefore 2026-01-01\n"
    assert left_timeline_at(history, 1) == 0x5000060
    assert left_timeline_at(history, 3) == 1 << 32
    assert left_timeline_at(history, 2) is None


def test_how_long_the_log_is_kept_is_said_in_bytes_and_hours() -> None:
    hour = timedelta(hours=1).total_seconds()
    assert "without limit" in describe_kept((None, "reserved", "-1", "5"))
    assert "another 512 MiB are written, about 2 h" in describe_kept(
        (str(512 * 2**20), "reserved", "1GB", str(256 * 2**20 / hour))
    )
    assert "not known (wal_status lost)" in describe_kept((None, "lost", "1GB", None))


def test_names_and_constants_are_quoted() -> None:
    assert identifier('a"b') == '"a""b"'
    assert literal("a'b") == "'a''b'"
    assert literal("a\\b'") == "E'a\\\\b'''"
