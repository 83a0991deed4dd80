"""PostgreSQL's log, on a real server: the contract, what a row and a table may do, and what the server is told."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from connectors.postgres_logical import source as postgres_source
from connectors.postgres_logical.troubles import ColumnChanged, IdentityLacking, PublicationChanged, TableGone
from connectors.source import (
    Capture,
    Change,
    Column,
    Ignored,
    Infinity,
    Kind,
    Missing,
    Operation,
    SourceError,
    Table,
    Undecodable,
)
from tests.contract.postgres_stage import PostgresStage, staged
from tests.contract.source_behaviour import (
    CAPTURE,
    HISTORY,
    WANTED,
    Seen,
    SourceBehaviour,
    Written,
    caught_up,
    read_all,
    read_until,
    reading,
)
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture
def stage(postgres: Postgres, tmp_path: Path) -> Iterator[PostgresStage]:
    yield from staged(postgres, tmp_path)


class TestPostgresLogical(SourceBehaviour):
    pass


def never(_: Seen) -> bool:
    return False


# What a value is


def wall_clock(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001  a wall-clock time has no zone


_KINDS = (
    ("boolean", "'t'", Kind.TEXT, "true"),
    ("boolean", "'f'", Kind.TEXT, "false"),
    ("boolean", "'t'", Kind.INTEGER, 1),
    ("char(5)", "'cc'", Kind.TEXT, "cc"),
    ("varchar(20)", "'  inni  '", Kind.TEXT, "  inni"),
    ("uuid", "'ABCDEF01-2345-6789-ABCD-EF0123456789'", Kind.TEXT, "abcdef01-2345-6789-abcd-ef0123456789"),
    ("text", "'ABCDEF01-2345-6789-ABCD-EF0123456789'", Kind.TEXT, "abcdef01-2345-6789-abcd-ef0123456789"),
    ("numeric(10,2)", "12.5", Kind.TEXT, "12.50"),
    ("numeric(30,0)", "123456789012345678901234567890", Kind.INTEGER, 123456789012345678901234567890),
    ("numeric", "12.5", Kind.INTEGER, Undecodable("the text is not an integer")),
    ("bigint", "9007199254740993", Kind.TEXT, "9007199254740993"),
    ("smallint", "-7", Kind.INTEGER, -7),
    ("double precision", "0.1", Kind.TEXT, "0.1"),
    ("real", "0.1", Kind.TEXT, "0.1"),
    ("double precision", "'NaN'", Kind.TEXT, Undecodable("not a finite number")),
    ("date", "'2026-03-29'", Kind.DATE, date(2026, 3, 29)),
    ("date", "'infinity'", Kind.DATE, Infinity.PLUS),
    ("date", "'-infinity'", Kind.DATE, Infinity.MINUS),
    ("date", "'0044-03-15 BC'", Kind.DATE, Undecodable("outside the years 1 to 9999")),
    ("date", "'12026-01-01'", Kind.DATE, Undecodable("outside the years 1 to 9999")),
    ("timestamp", "'2026-03-29 02:30:00.123456'", Kind.TIMESTAMP, wall_clock(2026, 3, 29, 2, 30, 0, 123456)),
    ("timestamp", "'2026-03-29 24:00'", Kind.TIMESTAMP, wall_clock(2026, 3, 30)),
    ("timestamp", "'2026-03-29 00:00'", Kind.DATE, date(2026, 3, 29)),
    ("timestamp", "'infinity'", Kind.TIMESTAMP, Infinity.PLUS),
    ("timestamp(3)", "'2026-03-29 02:30:00.9'", Kind.TIMESTAMP, wall_clock(2026, 3, 29, 2, 30, 0, 900000)),
    ("timestamptz", "'2026-03-29 02:30:00+05:45'", Kind.INSTANT, datetime(2026, 3, 28, 20, 45, tzinfo=UTC)),
    ("timestamptz", "'1814-05-17 12:00:00 Europe/Oslo'", Kind.INSTANT, datetime(1814, 5, 17, 11, 17, tzinfo=UTC)),
    ("timestamptz", "'infinity'", Kind.INSTANT, Infinity.PLUS),
    ("timestamptz", "'0044-03-15 12:00:00+00 BC'", Kind.INSTANT, Undecodable("outside the years 1 to 9999")),
    ("dato", "'2026-03-29'", Kind.DATE, date(2026, 3, 29)),
    ("flagg", "'t'", Kind.TEXT, "true"),
    ("farge", "'rød'", Kind.TEXT, "rød"),
    ("text", "NULL", Kind.DATE, None),
    ("text", "'ikke en dato'", Kind.DATE, Undecodable("not a date or a time in ISO 8601")),
)  # fmt: skip


async def test_values_are_the_same_from_the_load_and_from_the_log(stage: PostgresStage) -> None:
    """Every type with its odd ends: domains, enumerations, padding, exact integers, open ends, years before Christ."""
    columns = [Column(f"k{number}", kind) for number, (_, _, kind, _) in enumerate(_KINDS)]
    capture = Capture((Table("demo.alt", ("id",), (Column("id", Kind.INTEGER), *columns)),))
    declared = ", ".join(f"k{number} {type_name}" for number, (type_name, *_) in enumerate(_KINDS))
    insert = f"INSERT INTO demo.alt VALUES (%d, {', '.join(value for _, value, _, _ in _KINDS)})"
    with stage.connect() as connection:
        connection.execute("SET search_path = demo, public")
        connection.execute("CREATE DOMAIN dag AS date")
        connection.execute("CREATE DOMAIN dato AS dag")
        connection.execute("CREATE DOMAIN flagg AS boolean")
        connection.execute("CREATE TYPE farge AS ENUM ('rød', 'grønn')")
        connection.execute(f"CREATE TABLE alt (id bigint PRIMARY KEY, {declared})")
        connection.execute("ALTER PUBLICATION kpr_agent ADD TABLE alt")
        connection.execute(f"ALTER DATABASE {stage.name} SET datestyle = 'German, DMY'")
        connection.execute(f"ALTER DATABASE {stage.name} SET timezone = 'Asia/Kathmandu'")
        connection.execute(insert % 1)
        loaded = await read_all(stage.open(None, capture))
        connection.execute(insert % 2)
    streamed = await read_all(stage.open(loaded.position, capture))
    expected = {f"k{number}": value for number, (*_, value) in enumerate(_KINDS)}
    told = [(change.snapshot, change.key, change.row) for change in [*loaded.changes, *streamed.changes]]
    one, two = {"id": 1}, {"id": 2}
    assert told == [(True, one, one | expected), (False, one, one | expected), (False, two, two | expected)]


async def test_an_unchanged_large_value_is_unavailable_and_never_a_value(stage: PostgresStage) -> None:
    stage.run(
        "ALTER TABLE demo.tjeneste ALTER COLUMN status SET STORAGE EXTERNAL",
        "INSERT INTO demo.tjeneste VALUES (1, repeat('lang', 2000), '2026-01-15')",
        "UPDATE demo.tjeneste SET start_dato = '2026-02-01'",
    )
    first, second = (await read_all(stage.open(stage.start))).changes
    assert first.row is not None
    assert second.row is not None
    assert first.row["status"] == "lang" * 2000
    assert second.row == {"tjeneste_id": 1, "status": Missing.UNAVAILABLE, "start_dato": date(2026, 2, 1)}


async def test_under_full_a_large_value_is_told_with_a_new_key(stage: PostgresStage) -> None:
    stage.run(
        "ALTER TABLE demo.tjeneste ALTER COLUMN status SET STORAGE EXTERNAL",
        "ALTER TABLE demo.tjeneste REPLICA IDENTITY FULL",
        "INSERT INTO demo.tjeneste VALUES (1, repeat('lang', 2000), '2026-01-15')",
        "UPDATE demo.tjeneste SET tjeneste_id = 2",
        "DELETE FROM demo.tjeneste",
    )
    _, gone, made, deleted = (await read_all(stage.open(stage.start))).changes
    assert (gone.operation, gone.key, gone.row) == (Operation.DELETE, {"tjeneste_id": 1}, None)
    assert (made.operation, made.key) == (Operation.UPSERT, {"tjeneste_id": 2})
    assert made.row is not None
    assert made.row["status"] == "lang" * 2000
    assert (deleted.operation, deleted.key) == (Operation.DELETE, {"tjeneste_id": 2})


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL", "USING INDEX bare_nr"])
async def test_a_changed_key_is_a_deletion_and_a_row(stage: PostgresStage, identity: str) -> None:
    stage.run(
        "CREATE UNIQUE INDEX bare_nr ON demo.tjeneste (tjeneste_id)",
        f"ALTER TABLE demo.tjeneste REPLICA IDENTITY {identity}",
        "INSERT INTO demo.tjeneste VALUES (1, 'a', '2026-01-15'), (5, 'b', '2026-01-15')",
        "UPDATE demo.tjeneste SET tjeneste_id = tjeneste_id + 1",
        "UPDATE demo.tjeneste SET status = 'c' WHERE tjeneste_id = 2",
        "DELETE FROM demo.tjeneste WHERE tjeneste_id = 6",
    )
    seen = await read_all(stage.open(stage.start))
    assert seen.told == [(1, "a"), (5, "b"), (1, None), (2, "a"), (5, None), (6, "b"), (2, "c"), (6, None)]
    orders = [change.version.order for change in seen.changes if change.version]
    assert orders == sorted(set(orders))


async def test_an_identity_without_the_mapped_key_stops_the_source(stage: PostgresStage) -> None:
    stage.run(
        "ALTER TABLE demo.tjeneste ADD COLUMN annen int NOT NULL DEFAULT 0",
        "CREATE UNIQUE INDEX annen_nr ON demo.tjeneste (annen)",
        "ALTER TABLE demo.tjeneste REPLICA IDENTITY USING INDEX annen_nr",
    )
    with pytest.raises(IdentityLacking, match="tjeneste_id"):
        await read_all(stage.open(stage.start))


async def test_a_truncated_table_is_one_change_without_a_key(stage: PostgresStage) -> None:
    stage.run("INSERT INTO demo.tjeneste VALUES (1, 'a', '2026-01-15')", "TRUNCATE demo.tjeneste, demo.notat CASCADE")
    seen = await read_all(stage.open(stage.start))
    records = [record for transaction in seen.transactions for record in transaction.records]
    assert [type(record) for record in records] == [Change, Change, Ignored]
    assert (seen.changes[1].operation, seen.changes[1].key, seen.changes[1].row) == (Operation.TRUNCATE, None, None)


# Transactions


async def test_a_large_transaction_comes_in_parts_and_counts_when_it_is_whole(stage: PostgresStage) -> None:
    stage.run(
        "INSERT INTO demo.tjeneste SELECT n, 'v' || n, '2026-01-15' FROM generate_series(1, 30) n",
        "INSERT INTO demo.tjeneste VALUES (31, 'v31', '2026-01-15')",
    )
    seen = await read_all(stage.open(stage.start))
    assert seen.told == [(number, f"v{number}") for number in range(1, 32)]
    assert [transaction.final for transaction in seen.transactions] == [False] * 4 + [True] * 3
    assert [len(transaction.records) for transaction in seen.transactions] == [7, 7, 7, 7, 2, 1, 0]
    position = seen.transactions[4].position
    assert position.place["wal"][1] == 0
    assert (await read_all(stage.open(position))).told == [(31, "v31")]


async def test_a_transaction_of_just_so_many_parts_has_its_end_too(stage: PostgresStage) -> None:
    stage.run("INSERT INTO demo.tjeneste SELECT n, 'v' || n, '2026-01-15' FROM generate_series(1, 14) n")
    seen = await read_all(stage.open(stage.start))
    assert [(len(one.records), one.final) for one in seen.transactions] == [
        (7, False),
        (7, False),
        (0, True),
        (0, True),
    ]
    assert (await read_all(stage.open(seen.transactions[2].position))).told == []


async def test_what_is_acknowledged_is_never_a_part(stage: PostgresStage) -> None:
    """A transaction that was not read to its end comes again from its beginning (invariant 1)."""
    stage.run("INSERT INTO demo.tjeneste SELECT n, 'v' || n, '2026-01-15' FROM generate_series(1, 30) n")
    source = stage.open(stage.start)
    async with reading(source) as stream:
        part = await read_until(stream, lambda seen: len(seen.changes) >= 14)
        assert not part.transactions[-1].final
        await source.acknowledge(part.transactions[-1].position)
        assert stage.slot_state()["confirmed_flush_lsn"] == lsn_text(stage.start.place["wal"][0])
    assert len((await read_all(stage.open(stage.start))).told) == 30


async def test_all_that_a_transaction_may_hold_besides_rows_is_read(stage: PostgresStage) -> None:
    """Messages, an origin, a savepoint and a transaction that are rolled back, a table that is not wanted."""
    with stage.connect() as connection:
        connection.execute("SELECT pg_replication_origin_create(%s)", [stage.name])
        try:
            connection.execute("SELECT pg_replication_origin_session_setup(%s)", [stage.name])
            with connection.transaction():
                connection.execute("SELECT pg_logical_emit_message(true, 'kpr', 'hei')")
                connection.execute("INSERT INTO demo.tjeneste VALUES (1, 'a', '2026-01-15')")
                connection.execute("SAVEPOINT s")
                connection.execute("INSERT INTO demo.tjeneste VALUES (2, 'b', '2026-01-15')")
                connection.execute("ROLLBACK TO s")
                connection.execute("INSERT INTO demo.notat VALUES (3, 'c', '2026-01-15')")
            connection.execute("SELECT pg_logical_emit_message(false, 'kpr', 'hei')")
        finally:
            connection.execute("SELECT pg_replication_origin_session_reset()")
            connection.execute("SELECT pg_replication_origin_drop(%s)", [stage.name])
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO demo.tjeneste VALUES (4, 'd', '2026-01-15')")
    seen = await read_all(stage.open(stage.start))
    assert seen.told == [(1, "a")]
    (whole,) = (transaction for transaction in seen.transactions if transaction.records)
    assert [type(record) for record in whole.records] == [Change, Ignored]


async def test_a_change_has_its_commits_moment(stage: PostgresStage) -> None:
    before = stage.ask("SELECT clock_timestamp()")
    stage.write([Written(1, "a")])
    after = stage.ask("SELECT clock_timestamp()")
    (change,) = (await read_all(stage.open(stage.start))).changes
    assert change.committed_at is not None
    assert before <= change.committed_at <= after


# Tables that change


PARTITIONED = Capture(
    (
        Table(
            "demo.delt",
            ("id", "aar"),
            (Column("id", Kind.INTEGER), Column("aar", Kind.INTEGER), Column("s", Kind.TEXT)),
        ),
    )
)


async def test_a_partitioned_table_is_told_through_its_root(stage: PostgresStage) -> None:
    stage.run(
        "CREATE TABLE demo.delt (id int, aar int, s text, PRIMARY KEY (id, aar)) PARTITION BY LIST (aar)",
        "CREATE TABLE demo.delt_26 PARTITION OF demo.delt FOR VALUES IN (2026)",
        "CREATE TABLE demo.delt_rest (s text, aar int NOT NULL, vekk int, id int NOT NULL)",
        "ALTER TABLE demo.delt_rest DROP COLUMN vekk",
        "ALTER TABLE demo.delt ATTACH PARTITION demo.delt_rest DEFAULT",
        "ALTER PUBLICATION kpr_agent ADD TABLE demo.delt",
        "INSERT INTO demo.delt VALUES (1, 2026, 'a'), (2, 2030, 'b')",
    )
    loaded = await read_all(stage.open(None, PARTITIONED))
    assert sorted((c.key["id"], c.row["s"]) for c in loaded.changes if c.snapshot) == [(1, "a"), (2, "b")]
    stage.run("UPDATE demo.delt SET aar = 2031 WHERE id = 1", "DELETE FROM demo.delt WHERE id = 2")
    rest = await read_all(stage.open(loaded.transactions[-1].position, PARTITIONED))
    told = [(change.table, change.operation, dict(change.key)) for change in rest.changes]
    assert told == [
        ("demo.delt", Operation.DELETE, {"id": 1, "aar": 2026}),
        ("demo.delt", Operation.UPSERT, {"id": 1, "aar": 2031}),
        ("demo.delt", Operation.DELETE, {"id": 2, "aar": 2030}),
    ]


async def test_partitions_told_under_their_own_names_stop_the_source(stage: PostgresStage) -> None:
    """At the start, and while it runs: their rows would pass for those of tables that nobody wants."""
    stage.run(
        "CREATE TABLE demo.delt (id int, aar int, s text, PRIMARY KEY (id, aar)) PARTITION BY LIST (aar)",
        "CREATE TABLE demo.delt_26 PARTITION OF demo.delt FOR VALUES IN (2026)",
        "ALTER PUBLICATION kpr_agent ADD TABLE demo.delt",
    )
    async with reading(stage.open(stage.start, PARTITIONED)) as stream:
        await read_until(stream, caught_up)
        stage.run(
            "ALTER PUBLICATION kpr_agent SET (publish_via_partition_root = false)",
            "INSERT INTO demo.delt VALUES (1, 2026, 'a')",
        )
        with pytest.raises(PublicationChanged, match="publish_via_partition_root"):
            await read_until(stream, never)
    with pytest.raises(PublicationChanged, match="publish_via_partition_root"):
        await read_all(stage.open(stage.start, PARTITIONED))


async def test_what_is_not_mapped_may_change_as_it_likes(stage: PostgresStage) -> None:
    async with reading(stage.open(stage.start)) as stream:
        stage.write([Written(1, "a")])
        seen = await read_until(stream, lambda seen: len(seen.changes) == 1)
        stage.run(
            "ALTER TABLE demo.tjeneste ADD COLUMN ny int DEFAULT 7",
            "UPDATE demo.tjeneste SET status = 'b'",
            "ALTER TABLE demo.tjeneste RENAME COLUMN ny TO nyere",
            "ALTER TABLE demo.tjeneste ALTER COLUMN nyere TYPE text",
            "UPDATE demo.tjeneste SET status = 'c'",
            "ALTER TABLE demo.tjeneste DROP COLUMN nyere",
            "ALTER TABLE demo.tjeneste ALTER COLUMN status TYPE varchar(30)",
            "ALTER TABLE demo.tjeneste ALTER COLUMN tjeneste_id TYPE numeric(20)",
            "UPDATE demo.tjeneste SET status = 'd'",
            "DROP TABLE demo.notat",
            "DELETE FROM demo.tjeneste",
        )
        await read_until(stream, lambda seen: (1, None) in seen.told, seen)
    # the rewrite of a table by ALTER TYPE tells nothing of its rows
    assert seen.told == [(1, "a"), (1, "b"), (1, "c"), (1, "d"), (1, None)]


def renamed(name: str, *earlier: str) -> Capture:
    key, _, day = CAPTURE.tables[0].columns
    return Capture((Table(WANTED, ("tjeneste_id",), (key, Column(name, Kind.TEXT, earlier_names=earlier), day)),))


async def test_a_renamed_column_stops_the_source_and_goes_on_when_the_mapping_knows_it(stage: PostgresStage) -> None:
    """The one that runs and the one that starts stop un-acknowledged; no change is lost (invariants 1 and 2)."""
    source = stage.open(stage.start)
    stage.write([Written(1, "a")])
    async with reading(source) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) == 1)
        acknowledged = seen.position
        await source.acknowledge(acknowledged)
        stage.run(
            "UPDATE demo.tjeneste SET status = 'b'",
            "ALTER TABLE demo.tjeneste RENAME COLUMN status TO tilstand",
            "UPDATE demo.tjeneste SET tilstand = 'c'",
        )
        with pytest.raises(ColumnChanged, match=r"column status of demo\.tjeneste is not there.*MiB") as stop:
            await read_until(stream, never, seen)
    assert seen.told == [(1, "a"), (1, "b")]
    assert "earlier names" in stop.value.repair
    with pytest.raises(
        ColumnChanged, match=r"nothing was acknowledged; the server keeps the log until another \d+ MiB"
    ):
        await read_all(stage.open(seen.position))
    capture = renamed("tilstand", "status")
    for position, told in ((acknowledged, ["b", "c"]), (seen.position, ["c"])):
        rest = await read_all(stage.open(position, capture))
        assert [change.row["tilstand"] for change in rest.changes if change.row] == told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE demo.tjeneste DROP COLUMN start_dato", r"start_dato of demo\.tjeneste is not there"),
        (
            "ALTER TABLE demo.tjeneste ALTER COLUMN start_dato TYPE jsonb USING to_jsonb(start_dato)",
            r"start_dato of demo\.tjeneste is of a type that a date is never read from",
        ),
        (
            "ALTER TABLE demo.tjeneste ALTER COLUMN start_dato TYPE timestamptz",
            r"start_dato of demo\.tjeneste is of a type that a date is never read from",
        ),
    ],
)
async def test_a_mapped_column_dropped_or_retyped_stops_the_source(
    stage: PostgresStage, change: str, words: str
) -> None:
    async with reading(stage.open(stage.start)) as stream:
        stage.write([Written(1, "a")])
        await read_until(stream, lambda seen: len(seen.changes) == 1)
        stage.run(change, "UPDATE demo.tjeneste SET status = 'b'")
        with pytest.raises(ColumnChanged, match=words):
            await read_until(stream, never)
    with pytest.raises(ColumnChanged, match=words):
        await read_all(stage.open(stage.start))


async def test_a_generated_column_and_one_left_out_of_a_column_list_are_not_there(stage: PostgresStage) -> None:
    stage.run("ALTER PUBLICATION kpr_agent SET TABLE demo.tjeneste (tjeneste_id, start_dato)")
    with pytest.raises(ColumnChanged, match="status"):
        await read_all(stage.open(stage.start))
    stage.run(
        "ALTER PUBLICATION kpr_agent SET TABLE demo.tjeneste",
        "ALTER TABLE demo.tjeneste DROP COLUMN status",
        "ALTER TABLE demo.tjeneste ADD COLUMN status text GENERATED ALWAYS AS ('laget') STORED",
    )
    with pytest.raises(ColumnChanged, match="status"):
        await read_all(stage.open(stage.start))


MADE_ANEW = """ALTER TABLE demo.tjeneste RENAME TO gammel; CREATE TABLE demo.tjeneste (LIKE demo.gammel INCLUDING ALL);
ALTER PUBLICATION kpr_agent ADD TABLE demo.tjeneste"""


@pytest.mark.parametrize(
    ("change", "trouble", "words"),
    [
        ("DROP TABLE demo.tjeneste", TableGone, r"demo\.tjeneste is not there"),
        ("ALTER TABLE demo.tjeneste RENAME TO tjenester", TableGone, r"demo\.tjeneste is not there"),
        (
            MADE_ANEW,
            None,
            "is another table than it was",
        ),
        ("ALTER PUBLICATION kpr_agent DROP TABLE demo.tjeneste", TableGone, "is not in the publication kpr_agent"),
        ("DROP PUBLICATION kpr_agent", PublicationChanged, "is not there"),
        ("ALTER PUBLICATION kpr_agent SET (publish = 'insert, update')", PublicationChanged, "delete, truncate"),
    ],
)
async def test_a_table_that_falls_silent_is_found_out(
    stage: PostgresStage, monkeypatch: pytest.MonkeyPatch, change: str, trouble: type[SourceError] | None, words: str
) -> None:
    """A stream says nothing of a table that left it: the source looks now and then, and at its start."""
    monkeypatch.setattr(postgres_source, "_LOOK_AT_TABLES_EVERY_S", 0.1)
    async with reading(stage.open(stage.start)) as stream:
        await read_until(stream, caught_up)
        stage.run(change)
        with pytest.raises(trouble or TableGone, match=words):
            await read_until(stream, never)
    if trouble is not None:
        with pytest.raises(trouble, match=words):
            await read_all(stage.open(stage.start))


async def test_a_table_made_anew_while_nobody_read_is_found_out_too(stage: PostgresStage) -> None:
    """The position remembers the table's number; the stop lasts until everything is read again."""
    stage.write([Written(1, "a")])
    seen = await read_all(stage.open(stage.start))
    stage.run(*MADE_ANEW.split(";"))
    for _ in range(2):
        with pytest.raises(TableGone, match="another table") as stop:
            await read_all(stage.open(seen.position))
    assert "new-incarnation" in stop.value.repair
    assert {change.key["tjeneste_id"] for change in (await read_all(stage.open(None))).changes if change.key} == {1}


async def test_a_table_renamed_is_read_on_by_its_number_until_that_is_found_out(stage: PostgresStage) -> None:
    """Also from the log of before the renaming, when the mapping has the new name already."""
    async with reading(stage.open(stage.start)) as stream:
        stage.write([Written(1, "a")])
        seen = await read_until(stream, lambda seen: len(seen.changes) == 1)
        stage.run("ALTER TABLE demo.tjeneste RENAME TO tjenester", "UPDATE demo.tjenester SET status = 'b'")
        await read_until(stream, lambda seen: len(seen.changes) == 2, seen)
    wanted = CAPTURE.tables[0]
    now = Capture((Table(wanted.name, wanted.key, wanted.columns, found_as="demo.tjenester"),))
    assert (await read_all(stage.open(stage.start, now))).told == [(1, "a"), (1, "b")] == seen.told


async def test_a_publication_dropped_under_a_change_stops_the_source(stage: PostgresStage) -> None:
    async with reading(stage.open(stage.start)) as stream:
        await read_until(stream, caught_up)
        stage.run("DROP PUBLICATION kpr_agent", "INSERT INTO demo.tjeneste VALUES (1, 'a', '2026-01-15')")
        with pytest.raises(PublicationChanged):
            await read_until(stream, never)


async def test_a_table_may_be_named_without_its_schema_or_be_found_as_another(stage: PostgresStage) -> None:
    stage.run(
        "CREATE SCHEMA annen",
        "CREATE TABLE annen.tjeneste (tjeneste_id bigint PRIMARY KEY, status text, start_dato date)",
        "ALTER PUBLICATION kpr_agent ADD TABLE annen.tjeneste",
        "INSERT INTO annen.tjeneste VALUES (1, 'a', '2026-01-15')",
        "INSERT INTO demo.tjeneste VALUES (2, 'b', '2026-01-15')",
    )
    wanted = CAPTURE.tables[0]
    found = Capture((Table(wanted.name, wanted.key, wanted.columns, found_as="annen.tjeneste"),))
    for position in (None, stage.start):
        seen = await read_all(stage.open(position, found))
        assert {(change.table, change.key["tjeneste_id"]) for change in seen.changes if change.key} == {(WANTED, 1)}
    bare = Capture((Table("tjeneste", wanted.key, wanted.columns),))
    with pytest.raises(TableGone, match="several schemas"):
        await read_all(stage.open(stage.start, bare))
    stage.run("ALTER PUBLICATION kpr_agent DROP TABLE annen.tjeneste")
    assert [change.table for change in (await read_all(stage.open(None, bare))).changes if change.snapshot] == [
        "tjeneste"
    ]


# What the server is told


def lsn_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


async def test_the_slot_moves_only_with_what_was_acknowledged_invariant_1(stage: PostgresStage) -> None:
    stage.write(HISTORY)
    source = stage.open(stage.start)
    async with reading(source) as stream:
        seen = await read_until(stream, caught_up)
        await read_until(stream, caught_up, seen)
        began = lsn_text(stage.start.place["wal"][0])
        assert stage.slot_state()["confirmed_flush_lsn"] == began
        for transaction in (seen.transactions[4], seen.transactions[30]):
            await source.acknowledge(transaction.position)
            place = lsn_text(transaction.position.place["wal"][0])
            await stage.until(
                "SELECT confirmed_flush_lsn = %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                place,
                stage.slot,
            )
    assert (await read_all(stage.open(seen.transactions[30].position))).told == seen.told[31:]


async def test_on_a_quiet_database_the_slot_still_moves(stage: PostgresStage) -> None:
    """What other databases and other tables write is let go of, so that no log piles up."""
    source = stage.open(stage.start)
    async with reading(source) as stream:
        seen = await read_until(stream, caught_up)
        stage.run(
            "CREATE TABLE demo.stoy (t text)",
            "INSERT INTO demo.stoy SELECT repeat('x', 900) FROM generate_series(1, 3000)",
        )
        written = str(stage.ask("SELECT pg_current_wal_flush_lsn()"))
        high, _, low = written.partition("/")
        lsn = (int(high, 16) << 32) | int(low, 16)
        await read_until(stream, lambda seen: seen.position.place["wal"][0] >= lsn, seen)
        assert seen.changes == []
        await source.acknowledge(seen.position)
        await stage.until(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            written,
            stage.slot,
        )


async def test_the_server_hears_from_us_while_the_reader_is_busy(stage: PostgresStage) -> None:
    """wal_sender_timeout never strikes while a ledger works for longer than it, with the stream full of data."""
    stage.run("INSERT INTO demo.tjeneste SELECT n, repeat('x', 500), '2026-01-15' FROM generate_series(1, 20000) n")
    source = stage.open(stage.start, quiet_timeout_s=2.0, chunk_rows=1000)
    async with source, aclosing(source.transactions()) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 1)
        # three times as long as the server waits for us; nothing is taken from the stream meanwhile
        await stage.until(
            "SELECT clock_timestamp() > %s::timestamptz + interval '6 seconds'", stage.ask("SELECT clock_timestamp()")
        )
        await read_until(stream, lambda seen: len(seen.changes) == 20000, seen)


async def test_a_reader_that_is_gone_for_good_is_not_spoken_for(
    stage: PostgresStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stops waits for us: a reader that hangs must not make it wait for ever."""
    monkeypatch.setattr("connectors.postgres_logical.stream._ABANDONED_AFTER_S", 0.5)
    source = stage.open(stage.start, quiet_timeout_s=2.0)
    async with source, aclosing(source.transactions()) as stream:
        await read_until(stream, caught_up)
        await stage.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", stage.slot)
        with pytest.raises(SourceError):
            await read_until(stream, never)


async def test_how_far_it_has_seen_is_the_servers_clock_less_a_margin(stage: PostgresStage) -> None:
    before = stage.ask("SELECT clock_timestamp()")
    seen = await read_all(stage.open(stage.start))
    after = stage.ask("SELECT clock_timestamp()")
    seen_through = seen.transactions[-1].seen_through
    assert seen_through is not None
    assert before <= seen_through + postgres_source.COMMIT_MARGIN <= after


async def test_two_readers_of_one_slot_are_told_apart(stage: PostgresStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres_logical.catalog.LEAVING_S", 0.2)
    async with reading(stage.open(stage.start)) as stream:
        await read_until(stream, caught_up)
        with pytest.raises(SourceError, match=r"in use by another connection \(kpr-agent, process \d+\)") as trouble:
            await read_all(stage.open(stage.start))
        assert trouble.value.code == "KPR-125"
    assert isinstance(await read_all(stage.open(stage.start)), Seen)


async def test_nothing_stays_open_behind_a_source(stage: PostgresStage) -> None:
    stage.write(HISTORY)
    await read_all(stage.open(stage.start))
    await stage.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = %s AND application_name = 'kpr-agent'", stage.name
    )
    assert len(asyncio.all_tasks()) == 1
