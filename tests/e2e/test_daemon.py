"""`kpr-agent run` from end to end over the embedded bus: gate, receipts, halts, signals, neighbours, kills."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from agent.demo.epj_schema import LOG_TABLE
from agent.demo.register import Script
from tests.e2e.embedded import SECOND_HER_ID, Daemon, Place, Town, a_town, histories, until

KILLS = int(os.environ.get("KPR_DAEMON_KILLS", "5"))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with a_town(tmp_path) as opened:
        yield opened


async def first_load(town: Town, place: Place, services: int = 12) -> Daemon:
    """A daemon that has read the EPJ as it stood, and whose plan was applied."""
    place.write(histories(services))
    daemon = await town.daemon(place.file)
    await until(place.has_read, "the load is read")
    await place.applied()
    return daemon


def agrees(town: Town, place: Place) -> bool:
    result = place.reconciled(town.register)
    assert result.differences == ()
    assert result.standing_events > 0
    return True


async def test_a_first_load_waits_for_a_person_and_then_goes_out_and_is_receipted(town: Town) -> None:
    place = town.add()
    place.write(histories(12))
    daemon = await town.daemon(place.file)
    await daemon.logged("gate_closed")
    await until(place.has_read, "the load is read")

    plan = json.loads(await town.verb("plan", place.file, "--json"))
    assert plan["gate"].startswith("first load")
    assert plan["notifications"] == sum(line["count"] for line in plan["owed"]) > 0
    assert town.bus.transfers == 0  # a closed gate: nothing has gone out

    answer = json.loads(await town.verb("apply", place.file, "--json"))
    assert (answer["applied"], answer["notifications"]) == (True, plan["notifications"])
    await town.done(place)
    assert town.register.notifications == plan["notifications"]
    assert agrees(town, place)
    [status] = json.loads(await town.verb("status", place.file, "--json"))
    assert (status["gate"], status["notifications"], status["sent"]) == ("open", plan["notifications"], 0)

    assert await daemon.terminated() == 0
    assert daemon.lines[-1]["event"] == "stopped"


async def test_what_changes_later_goes_out_by_itself(town: Town) -> None:
    place = town.add()
    steps = histories(14)
    place.write(steps[: len(steps) // 2])
    daemon = await town.daemon(place.file)
    await until(place.has_read, "the load is read")
    await place.applied()
    await town.done(place)
    before = town.register.notifications
    place.write(steps[len(steps) // 2 :])
    await town.done(place)
    assert town.register.notifications > before
    assert agrees(town, place)
    assert await daemon.terminated() == 0


async def test_a_negative_receipt_halts_the_chain_until_a_person_sends_again(tmp_path: Path) -> None:
    async with a_town(tmp_path, Script(refused=frozenset({2}))) as town:
        place = town.add()
        daemon = await first_load(town, place)
        await daemon.logged("sending_halted")
        refused = await daemon.logged("receipt_negative")
        status = place.status()
        assert status["halted"]
        assert status["rejected"] > 0
        answer = json.loads(await town.verb("resend", place.file, "--json"))
        assert answer["reissued"][0]["old_msg_id"] == refused["msg_id"]
        await daemon.logged("sending_goes_on")
        await town.done(place)
        assert agrees(town, place)
        assert "nothing to send again" in json.loads(await town.verb("resend", place.file, "--json", code=1))["error"]
        assert await daemon.terminated() == 0


async def test_an_emptied_table_waits_until_a_person_has_confirmed_it(town: Town) -> None:
    place = town.add()
    daemon = await first_load(town, place)
    await town.done(place)
    before = town.register.notifications
    with place.engine.begin() as connection:
        pauses = connection.scalar(sa.text("SELECT count(*) FROM pause"))
        connection.execute(sa.text(f"INSERT INTO {LOG_TABLE} (tabell, operasjon) VALUES ('public.pause', 'T')"))
        connection.execute(sa.text("DELETE FROM pause"))  # logged behind it, row by row: it says nothing new
    assert pauses
    alarm = await daemon.logged("source_trouble")
    assert (alarm["level"], alarm["error_code"]) == ("alarm", "KPR-105")
    assert "source confirm" in alarm["repair"]
    [status] = json.loads(await town.verb("status", place.file, "--json"))
    assert status["held_deletion"] == f"public.pause was emptied (TRUNCATE) and had {pauses} rows"
    assert "KPR-105" in status["source_trouble"]
    assert "source confirm" in await town.verb("status", place.file)
    assert town.register.notifications == before

    confirmed = json.loads(await town.verb("source", "confirm", place.file, "--json"))
    assert confirmed == {"confirmed": True, "text": status["held_deletion"]}
    await town.done(place)
    assert town.register.notifications > before
    assert agrees(town, place)
    await town.verb("source", "confirm", place.file, code=1)  # there is nothing left to confirm
    assert place.status()["source_trouble"] is None
    assert await daemon.terminated() == 0


async def test_a_second_daemon_is_told_that_the_ledger_is_taken_and_harms_nothing(town: Town) -> None:
    place = town.add()
    first = await first_load(town, place)
    second = await town.daemon(place.file)
    busy = await second.logged("ledger_busy")
    assert (busy["level"], busy["municipality"], busy["error_code"]) == ("alarm", "demo", "KPR-501")
    assert await second.terminated() == 0
    await town.verb("resend", place.file, code=1)  # the first one still answers on its socket
    await town.done(place)
    assert agrees(town, place)
    assert await first.terminated() == 0


async def test_sigterm_before_anything_goes_on_ends_well(town: Town) -> None:
    place = town.add()
    daemon = await town.daemon(place.file)
    await daemon.logged("municipality_started")
    assert await daemon.terminated() == 0


async def test_sigterm_ends_in_its_bound_when_the_bus_says_nothing_any_more(town: Town) -> None:
    """What is on its way without an outcome is waited for, not for ever, and goes again at the next start."""
    place = town.add()
    place.write(histories(12))
    daemon = await town.daemon(place.file)
    await until(place.has_read, "the load is read")
    town.fall_silent_at(town.bus.transfers + 2)
    await place.applied()
    await until(lambda: town.bus.silent, "the bus falls silent")
    assert await daemon.terminated() == 0
    town.bus.silent = False
    town.bus.drop_connections()
    again = await town.daemon(place.file)
    await town.done(place)
    assert agrees(town, place)
    assert town.register.refused == 0
    assert await again.terminated() == 0


async def test_a_bad_file_is_told_and_its_neighbour_runs(town: Town) -> None:
    good, bad = town.add("good"), town.add("bad", her_id=SECOND_HER_ID)
    bad.exchange(("profile: test", "profile: tset"))
    daemon = await town.daemon(good.file, bad.file)
    await daemon.logged("municipality_refused")
    await daemon.logged("source_open", municipality="good")
    assert [text for text in daemon.texts if str(bad.file) in text and "profile" in text]
    assert not [line for line in daemon.lines if line.get("municipality") == "bad"]
    assert await daemon.terminated() == 0


async def test_strict_refuses_all_when_one_file_is_bad(town: Town) -> None:
    good, bad = town.add("good"), town.add("bad", her_id=SECOND_HER_ID)
    bad.exchange(("profile: test", "profile: tset"))
    daemon = await town.daemon("--strict", good.file, bad.file)
    assert await daemon.ended() == 78
    assert not good.places.folder.joinpath("ledger.db").exists()


async def test_no_good_file_is_a_wrong_configuration(town: Town) -> None:
    bad = town.add("bad")
    bad.exchange(("profile: test", "profile: tset"))
    daemon = await town.daemon(bad.file)
    assert await daemon.ended() == 78


@pytest.mark.parametrize("trouble", ["another database", "a damaged ledger", "no queue"])
async def test_one_municipalitys_trouble_does_not_stop_the_other(town: Town, trouble: str) -> None:
    good, troubled = town.add("good"), town.add("troubled", her_id=SECOND_HER_ID)
    if trouble == "another database":
        with sqlite3.connect(troubled.places.folder / "elsewhere.db") as elsewhere:
            elsewhere.execute("CREATE TABLE something (nr integer)")
        elsewhere.close()
        troubled.exchange(("sqlite_file: epj.db", "sqlite_file: elsewhere.db"))
    elif trouble == "a damaged ledger":
        troubled.places.folder.joinpath("ledger.db").write_bytes(b"no ledger" * 1000)
    else:
        town.bus.delete_queue(troubled.queue)
    good.write(histories(8))
    daemon = await town.daemon(good.file, troubled.file)
    told = {
        "another database": "source_trouble",
        "a damaged ledger": "municipality_faulted",
        "no queue": "inbox_refused",
    }[trouble]
    line = await daemon.logged(told, municipality="troubled")
    assert line["error_type"]
    await until(good.has_read, "the load is read")
    await good.applied()
    await town.done(good)
    assert agrees(town, good)
    assert await daemon.terminated() == 0


async def test_two_municipalities_keep_apart(town: Town) -> None:
    places = [town.add("north"), town.add("south", her_id=SECOND_HER_ID)]
    for seed, place in enumerate(places, 3):
        place.write(histories(8, seed))
    daemon = await town.daemon(*(place.file for place in places))
    for place in places:
        await until(place.has_read, "the load is read")
        await place.applied()
    await town.done(*places)
    assert all(agrees(town, place) for place in places)
    assert town.register.refused == 0
    assert await daemon.terminated() == 0


async def test_kill_9_at_any_moment_loses_and_doubles_nothing(town: Town) -> None:
    place = town.add()
    steps = histories(30, seed=5)
    backlog = len(steps) // 2
    place.write(steps[:backlog])
    daemon = await town.daemon(place.file)
    await until(place.has_read, "the load is read")
    await place.applied()
    random = Random(7)
    rest = steps[backlog:]
    for kill in range(KILLS):
        # Between a transfer and its outcome, at some message of those to come; else when there is nothing to send.
        town.kill_at(town.bus.transfers + random.randint(1, 5), daemon, lost=kill % 2 == 0)
        place.write(rest[kill * len(rest) // KILLS : (kill + 1) * len(rest) // KILLS])
        await until(lambda: daemon.is_killed or place.is_done(), "it is killed or done")  # noqa: B023 - awaited here
        await daemon.killed()
        daemon = await town.daemon(place.file)
    await town.done(place)
    status = place.status()
    assert town.kills_at_transfers > 0
    assert agrees(town, place)
    # Everything once, in order, and refused nothing: a message sent twice came with the same ids and bytes.
    assert town.register.notifications == town.register.chain_end(min(place.her_ids)) == status["notifications"]
    assert town.register.refused == 0
    assert await daemon.terminated() == 0
