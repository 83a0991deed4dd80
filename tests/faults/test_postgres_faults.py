"""What the source that reads PostgreSQL's log does when the server, the network or a person does it harm.

After each, either a new source goes on exactly behind the last acknowledged position, or the stop is named.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

from connectors.postgres_logical.troubles import (
    AnotherDatabase,
    ConnectionFileUnreadable,
    NotLetIn,
    OlderRestore,
    RightsMissing,
    ServerGone,
    ServerUnfit,
    SlotAhead,
    SlotForeign,
    SlotInvalidated,
    SlotMissing,
    TlsRefused,
    WrongPassword,
)
from connectors.source import Position, PositionLost, Source, SourceError, SourceRefused, SourceUnavailable, Transaction
from tests.contract.postgres_stage import PostgresStage, staged
from tests.contract.source_behaviour import HISTORY, PATIENCE_S, Seen, Written, caught_up, read_all, read_until, reading
from tests.faults.postgres_cluster import Line, configured, copied, data_of, entries, own_cluster, promote, restored
from tests.services import Postgres

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    yield from own_cluster()


@pytest.fixture
def stage(server: Postgres, tmp_path: Path) -> Iterator[PostgresStage]:
    yield from staged(server, tmp_path)


def never(_: Seen) -> bool:
    return False


async def read_and_acknowledge(stage: PostgresStage, position: Position | None, seen: Seen, *, until: int) -> Position:
    """What a pipeline does: book whole transactions, acknowledge, start again behind the last one after trouble."""
    source = stage.open(position)
    async with reading(source) as stream:
        await read_until(stream, lambda seen: len(seen.changes) >= until, seen)
        position = seen.position
        await source.acknowledge(position)
    return position


async def acknowledge_all(source: Source, stream: AsyncIterator[Transaction]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for transaction in stream:
            await source.acknowledge(transaction.position)


# Broken off


async def test_a_backend_killed_in_a_large_transaction_is_resumed_exactly(stage: PostgresStage) -> None:
    stage.write([Written(9999, "foer")])
    stage.run("INSERT INTO demo.tjeneste SELECT n, repeat('x', 2000), '2026-01-15' FROM generate_series(1, 3000) n")
    source = stage.open(stage.start)
    async with reading(source) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 100)
        await source.acknowledge(seen.position)
        acknowledged, whole = seen.position, [told for told in seen.told if told[1] == "foer"]
        stage.ask(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{stage.slot}'")
        with pytest.raises(ServerGone):
            await read_until(stream, never, seen)
    assert not seen.transactions[-1].final
    rest = await read_all(stage.open(acknowledged))
    assert whole == [(9999, "foer")]
    assert [key for key, _ in rest.told] == list(range(1, 3001))


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_restarted_or_crashed_is_resumed_exactly(
    stage: PostgresStage, server: Postgres, how: str
) -> None:
    stage.write(HISTORY[:20])
    source = stage.open(stage.start)
    async with reading(source) as stream:
        seen = await read_until(stream, lambda seen: len(seen.changes) >= 11)
        await source.acknowledge(seen.position)
        stopping = asyncio.create_task(asyncio.to_thread(getattr(server, how)))
        with pytest.raises(SourceUnavailable):
            await read_until(stream, never, seen)
    await stopping
    with pytest.raises(ServerGone):
        await read_all(stage.open(seen.position))
    server.start()
    stage.write(HISTORY[20:])
    rest = await read_all(stage.open(seen.position))
    assert seen.told + rest.told == [(change.key, change.status) for change in HISTORY]


async def test_a_server_that_stops_is_let_go_when_what_it_sent_is_acknowledged(
    stage: PostgresStage, server: Postgres
) -> None:
    """It asks until all that it has sent is confirmed: what others wrote, too. Nobody has to wait for a time-out."""
    source = stage.open(stage.start, idle_interval_s=10.0, quiet_timeout_s=60.0)
    async with reading(source) as stream:
        await read_until(stream, caught_up)
        stage.run("CREATE TABLE demo.stoy (t text)", "INSERT INTO demo.stoy VALUES ('x')")
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        with pytest.raises(ServerGone):
            await acknowledge_all(source, stream)
        await stopping
    server.start()


async def test_a_server_that_stops_does_not_wait_for_a_reader_that_hangs(
    stage: PostgresStage, server: Postgres
) -> None:
    """A ledger that hangs must not keep the EPJ's own database from stopping: we let go of the stream."""
    stage.run("INSERT INTO demo.tjeneste SELECT n, repeat('x', 2000), '2026-01-15' FROM generate_series(1, 5000) n")
    log = data_of(server).parent / "log"
    async with reading(stage.open(stage.start)) as stream:
        await read_until(stream, lambda seen: len(seen.changes) >= 1)
        before = log.read_text().count("database system is shut down")
        await asyncio.to_thread(server.stop)  # kills what does not end by itself
        assert log.read_text().count("database system is shut down") == before + 1
    server.start()
    assert len((await read_all(stage.open(stage.start))).changes) == 5000


async def test_a_line_that_is_cut_is_resumed_exactly(stage: PostgresStage, server: Postgres) -> None:
    stage.write(HISTORY[:20])
    async with Line(server.port).laid() as line:
        stage.connection_file.write_text(stage.url.replace(f":{server.port}/", f":{line.port}/"))
        source = stage.open(stage.start)
        async with reading(source) as stream:
            seen = await read_until(stream, lambda seen: len(seen.changes) >= 11)
            await source.acknowledge(seen.position)
            line.cut()
            with pytest.raises(ServerGone):
                await read_until(stream, never, seen)
        stage.write(HISTORY[20:])
        await stage.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", stage.slot)
        rest = await read_all(stage.open(seen.position))
    assert seen.told + rest.told == [(change.key, change.status) for change in HISTORY]


async def test_a_line_that_falls_silent_is_found_out_and_the_slot_set_free(
    stage: PostgresStage, server: Postgres
) -> None:
    """Both ends find it out by themselves: we by the server's silence, the server by ours."""
    stage.write(HISTORY[:5])
    async with Line(server.port).laid() as line:
        stage.connection_file.write_text(stage.url.replace(f":{server.port}/", f":{line.port}/"))
        source = stage.open(stage.start, quiet_timeout_s=2.0, operation_timeout_s=2.0)
        async with reading(source) as stream:
            seen = await read_until(stream, caught_up)
            line.fall_silent()
            with pytest.raises(ServerGone):
                await read_until(stream, never, seen)
        await stage.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", stage.slot)
        with pytest.raises(ServerGone):
            await read_all(stage.open(seen.position, connect_timeout_s=1.0))
    stage.connection_file.write_text(stage.url)
    stage.write(HISTORY[5:])
    assert len((await read_all(stage.open(seen.position))).changes) == len(HISTORY) - 5


async def test_silence_in_a_load_is_found_out(stage: PostgresStage, server: Postgres) -> None:
    stage.run("INSERT INTO demo.tjeneste SELECT n, repeat('x', 2000), '2026-01-15' FROM generate_series(1, 5000) n")
    async with Line(server.port).laid() as line:
        stage.connection_file.write_text(stage.url.replace(f":{server.port}/", f":{line.port}/"))
        async with reading(stage.open(None, quiet_timeout_s=2.0)) as stream:
            seen = await read_until(stream, lambda seen: len(seen.changes) >= 10)
            line.fall_silent()
            with pytest.raises(ServerGone):
                await read_until(stream, never, seen)
        assert not seen.transactions[-1].final


async def test_cancelled_at_any_moment_nothing_is_left_and_nothing_is_lost(stage: PostgresStage) -> None:
    """Cancelled after a growing time, from the first connection to the middle of a load and of the stream."""
    stage.run("INSERT INTO demo.tjeneste SELECT n, 'v' || n, '2026-01-15' FROM generate_series(1, 2000) n")
    others = asyncio.all_tasks()
    for milliseconds in range(1, 200, 8):
        with contextlib.suppress(TimeoutError, ServerGone, SourceUnavailable):
            async with asyncio.timeout(milliseconds / 1000):
                await read_all(stage.open(None if milliseconds % 3 else stage.start, chunk_rows=100))
        assert asyncio.all_tasks() == others
        await stage.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", stage.slot)
    await stage.until("SELECT count(*) = 1 FROM pg_replication_slots WHERE database = %s", stage.name)
    assert len((await read_all(stage.open(stage.start))).changes) == 2000


# The slot


async def test_a_slot_that_was_dropped_stops_and_is_never_made_anew(stage: PostgresStage) -> None:
    """Invariant 2: a lost place never means "from now"."""
    stage.write(HISTORY[:5])
    position = (await read_all(stage.open(stage.start))).position
    stage.drop_slot()
    with pytest.raises(SlotMissing) as stop:
        await read_all(stage.open(position))
    assert "new-incarnation" in stop.value.repair
    assert stage.slot_state() == {}


async def test_a_slot_whose_log_was_thrown_away_stops_with_the_reason(stage: PostgresStage, server: Postgres) -> None:
    """max_slot_wal_keep_size of 1 MB, and more than that written: by a reader that rests, and at the next start."""
    stage.write(HISTORY[:5])
    position = (await read_all(stage.open(stage.start))).position
    with configured(server, max_slot_wal_keep_size="1MB", max_wal_size="64MB"):
        async with reading(stage.open(position)) as stream:
            seen = await read_until(stream, caught_up)
            stage.run("CREATE TABLE demo.stoy (t text)")
            for _ in range(20):
                stage.run(
                    "INSERT INTO demo.stoy SELECT repeat('x', 2000) FROM generate_series(1, 8000)",
                    "SELECT pg_switch_wal()",
                    "CHECKPOINT",
                )
                if stage.slot_state()["wal_status"] == "lost":
                    break
            with pytest.raises(SourceError):
                await read_until(stream, never, seen)
    with pytest.raises(SlotInvalidated, match="lost") as stop:
        await read_all(stage.open(position))
    assert isinstance(stop.value, PositionLost)
    assert "max_slot_wal_keep_size" in stop.value.repair
    with pytest.raises(SlotInvalidated):
        await read_all(stage.open(None))


async def test_a_slot_that_somebody_else_has_read_from_is_a_gap(stage: PostgresStage) -> None:
    stage.write(HISTORY[:5])
    position = (await read_all(stage.open(stage.start))).position
    stage.write(HISTORY[5:10])
    stage.ask(
        f"SELECT count(*) FROM pg_logical_slot_get_binary_changes('{stage.slot}', NULL, NULL,"
        " 'proto_version', '1', 'publication_names', 'kpr_agent')"
    )
    with pytest.raises(SlotAhead):
        await read_all(stage.open(position))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("SELECT pg_create_physical_replication_slot('{slot}')", "physical"),
        ("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')", "test_decoding"),
    ],
)
@pytest.mark.parametrize("is_first_start", [True, False])
async def test_a_slot_of_another_kind_is_left_alone(
    stage: PostgresStage, make: str, words: str, is_first_start: bool
) -> None:
    position = None if is_first_start else (await read_all(stage.open(stage.start))).position
    stage.drop_slot()
    stage.run(make.format(slot=stage.slot))
    with pytest.raises(SlotForeign, match=words):
        await read_all(stage.open(position))
    stage.drop_slot()


async def test_a_slot_of_another_database_is_left_alone(stage: PostgresStage) -> None:
    stage.exchange()
    with pytest.raises(SlotForeign, match="another database"):
        await read_all(stage.open(None))


# Who answers


async def test_another_cluster_behind_the_address_stops(stage: PostgresStage, postgres: Postgres) -> None:
    position = (await read_all(stage.open(stage.start))).position
    url = postgres.create_database(stage.name)
    try:
        stage.connection_file.write_text(url)
        with pytest.raises(AnotherDatabase, match="system identifier"):
            await read_all(stage.open(position))
    finally:
        postgres.sql(f"DROP DATABASE {stage.name}")


async def test_a_backup_put_back_is_an_older_restore(stage: PostgresStage, server: Postgres, tmp_path: Path) -> None:
    """The log ends before our position; and when it has grown past it on a new timeline, the history tells."""
    stage.write(HISTORY[:5])
    before = (await read_all(stage.open(stage.start))).position
    copy = data_of(server).parent / "copy"
    copied(server, copy)
    stage.write(HISTORY[5:])
    position = (await read_all(stage.open(before))).position
    try:
        restored(server, copy)
        with pytest.raises(OlderRestore, match="ends before"):
            await read_all(stage.open(position))
        promote(server)
        stage.run(
            "CREATE TABLE demo.stoy (t text)",
            "INSERT INTO demo.stoy SELECT repeat('x', 900) FROM generate_series(1, 2000)",
        )
        with pytest.raises(OlderRestore, match="left the timeline"):
            await read_all(stage.open(position))
        rest = await read_all(stage.open(before))
        assert rest.position.detail != before.detail
        assert rest.told == []
    finally:
        shutil.rmtree(copy, ignore_errors=True)


async def test_after_a_promotion_the_same_position_goes_on_exactly(stage: PostgresStage, server: Postgres) -> None:
    """The slot is there, and the new timeline begins behind our position: no change is lost, none is doubled."""
    stage.write(HISTORY[:10])
    first = Seen()
    position = await read_and_acknowledge(stage, stage.start, first, until=5)
    promote(server)
    stage.write(HISTORY[10:])
    rest = await read_all(stage.open(position))
    assert first.told + rest.told == [(change.key, change.status) for change in HISTORY]
    assert rest.position.incarnation == position.incarnation
    assert rest.position.detail != position.detail
    versions = {change.version.epoch for change in first.changes + rest.changes if change.version}
    assert len(versions) == 1
    older = Position(position.incarnation, position.place, '{"timeline": 99}')
    with pytest.raises(OlderRestore, match="older timeline"):
        await read_all(stage.open(older))


async def test_a_standby_does_not_pass_for_an_older_restore(stage: PostgresStage, server: Postgres) -> None:
    server.stop()
    (data_of(server) / "standby.signal").touch()
    server.start()
    try:
        with pytest.raises(ServerUnfit, match="standby"):
            await read_all(stage.open(stage.start))
    finally:
        server.sql("SELECT pg_promote()")
    assert (await read_all(stage.open(stage.start))).told == []


# Who is let in


async def refused(stage: PostgresStage, url: str) -> SourceError:
    stage.connection_file.write_text(url)
    with pytest.raises(SourceRefused) as refusal:
        await read_all(stage.open(stage.start))
    assert "test-pw" not in f"{refusal.value}{refusal.value.repair}{refusal.value!r}"
    assert refusal.value.repair
    return refusal.value


async def test_a_wrong_password_and_an_unknown_role_are_told(stage: PostgresStage) -> None:
    assert isinstance(await refused(stage, stage.url.replace("test-pw", "feil")), WrongPassword)
    assert isinstance(await refused(stage, stage.url.replace("postgres:test-pw", "ukjent:test-pw")), WrongPassword)
    assert isinstance(await refused(stage, stage.url.replace(":test-pw", "")), WrongPassword)


async def test_a_database_that_is_not_there_and_no_entry_are_told(stage: PostgresStage, server: Postgres) -> None:
    assert isinstance(await refused(stage, stage.url + "_ikke"), NotLetIn)
    with entries(server, "host postgres postgres 127.0.0.1/32 scram-sha-256\n"):
        assert "pg_hba.conf" in str(await refused(stage, stage.url))
    with entries(server, f"host {stage.name} all 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n"):
        assert isinstance(await refused(stage, stage.url), NotLetIn)
    stage.connection_file.write_text(stage.url)
    assert (await read_all(stage.open(stage.start))).told == []


async def test_a_role_that_may_not_replicate_is_told(stage: PostgresStage) -> None:
    stage.run(f"CREATE ROLE {stage.name} LOGIN PASSWORD 'prove'")
    try:
        trouble = await refused(stage, stage.url.replace("postgres:test-pw", f"{stage.name}:prove"))
        assert isinstance(trouble, RightsMissing)
    finally:
        stage.run(f"DROP ROLE {stage.name}")


async def test_a_connection_file_that_cannot_be_read_is_told(stage: PostgresStage) -> None:
    for text in ("", "host", "postgresql://[::1", "host=a\0b"):
        assert isinstance(await refused(stage, text), ConnectionFileUnreadable)
    stage.connection_file.unlink()
    with pytest.raises(ConnectionFileUnreadable):
        await read_all(stage.open(stage.start))


async def test_the_password_file_is_read_at_each_connection(stage: PostgresStage) -> None:
    stage.connection_file.write_text(stage.url.replace("test-pw", "feil"))
    with pytest.raises(WrongPassword):
        await read_all(stage.open(stage.start))
    stage.connection_file.write_text(stage.url)
    assert (await read_all(stage.open(stage.start))).told == []


async def test_the_servers_certificate_is_verified(stage: PostgresStage, server: Postgres, tmp_path: Path) -> None:
    """verify-full: signed by the named authority, for the named host; and TLS is not given up when it is not there."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    certificate = authority.issue_cert("localhost")
    for name, pems in (("tls.key", [certificate.private_key_pem]), ("tls.pem", certificate.cert_chain_pems)):
        file = data_of(server) / name
        file.write_bytes(b"".join(pem.bytes() for pem in pems))
        file.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(file, "postgres", "postgres")

    def url(host: str, authority: str, **more: str) -> str:
        parameters = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / authority), **more}
        return stage.url.replace("127.0.0.1", host) + "?" + urlencode(parameters)

    assert isinstance(await refused(stage, url("localhost", "ca.pem")), TlsRefused)  # the server has no TLS yet
    with configured(server, ssl="on", ssl_cert_file="tls.pem", ssl_key_file="tls.key"):
        await stage.until("SELECT setting = 'on' FROM pg_settings WHERE name = 'ssl'")
        stage.connection_file.write_text(url("localhost", "ca.pem"))
        stage.write(HISTORY[:3])
        source = stage.open(stage.start)
        async with reading(source) as stream:
            seen = await read_until(stream, caught_up)
            assert len(seen.changes) == 3
            await stage.until(
                "SELECT count(*) >= 2 AND bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
                " WHERE a.application_name = 'kpr-agent' AND a.datname = %s",
                stage.name,
            )
        assert isinstance(await refused(stage, url("localhost", "stranger.pem")), TlsRefused)
        assert isinstance(await refused(stage, url("127.0.0.1", "ca.pem")), TlsRefused)
        assert isinstance(await refused(stage, url("localhost", "not-there.pem")), TlsRefused)


async def test_a_server_that_is_not_set_up_is_told(stage: PostgresStage, server: Postgres) -> None:
    stage.drop_slot()
    with configured(server, restart=True, wal_level="replica"), pytest.raises(ServerUnfit, match="wal_level"):
        await read_all(stage.open(None))
    with configured(server, restart=True, max_replication_slots="1"):
        stage.run("SELECT pg_create_physical_replication_slot('annen')")
        with pytest.raises(ServerUnfit, match="max_replication_slots"):
            await read_all(stage.open(None))
        stage.run("SELECT pg_drop_replication_slot('annen')")


async def test_no_walsender_left_is_told(stage: PostgresStage, server: Postgres) -> None:
    with (
        configured(server, restart=True, max_wal_senders="0", wal_level="logical"),
        pytest.raises(ServerUnfit, match="max_wal_senders"),
    ):
        await read_all(stage.open(stage.start))
