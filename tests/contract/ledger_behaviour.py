"""What every ledger must do, whatever keeps it: inherit `LedgerBehaviour` and give it a `ledger` and a `reopened`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID, uuid5

import pytest

from agent.domain.care import RowRead, RowsFound
from agent.domain.finding import Finding, Severity
from agent.domain.notification import FIRST_PREVIOUS_GUID, Content, Event, Notification, ReportedPerson, Status
from agent.domain.reported import Reported, Standing
from agent.domain.rows import KeptRow, RowVersion
from agent.ledger.errors import (
    ChainBroken,
    IdentityConflict,
    LedgerError,
    LedgerReadOnly,
    NotificationForgotten,
    PositionConflict,
)
from agent.ledger.ledger import Ledger
from agent.ledger.retention import Forgotten
from agent.ledger.services import PersonRecord, ServiceCounts, ServiceOutcome
from agent.ledger.transaction import LedgerTransaction
from connectors.source import Position

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERVICES = "public.tjeneste"
BY_PERSON = ("bruker_id",)
LOOKUPS = frozenset({BY_PERSON, ("sak", "del")})
_NAMES = UUID("6f1d0c54-2c3b-4a58-9d0e-0f6f6b1f4a11")


def guid(name: str) -> UUID:
    return uuid5(_NAMES, name)


def content(on: date = date(2026, 1, 2)) -> Content:
    person = ReportedPerson(guid("patient"), "17", "15876100123", "1", "460201")
    return Content("21", on, NOW.astimezone(timezone(HOUR)), "810000019", person)


def row(key: str, *, person: str | None = "7", order: int = 1, **more: str | None) -> KeptRow:
    values = {"tjeneste_id": key, "bruker_id": person, **more}
    return KeptRow(SERVICES, key, values, dict.fromkeys(values, NOW), RowVersion("1/1", (order, 0)))


def chained(number: int, status: Status = Status.NEW, original: int | None = None) -> Notification:
    """The notification of that number in a chain whose GUIDs follow from their numbers."""
    previous = FIRST_PREVIOUS_GUID if number == 1 else guid(f"notification {number - 1}")
    return Notification(
        number,
        guid(f"notification {number}"),
        previous,
        None if original is None else guid(f"notification {original}"),
        status,
        Event.START,
        guid(f"event {number}"),
        "4711",
        None,
        NOW,
        content(),
    )


def fill_chain(tx: LedgerTransaction, last: int) -> None:
    end = tx.chain_end()
    for number in range(1 if end is None else end[0] + 1, last + 1):
        tx.add_notification(chained(number), f"service {number}", {"row": str(number)}, at=NOW)


def envelope(tx: LedgerTransaction, number: int, *, state: str = "ready", last: int | None = None) -> int:
    fill_chain(tx, last or number)
    name = f"{number}-{last or number}-{tx.count_envelopes()}"
    return tx.add_envelope(
        str(guid(f"msg {name}")),
        str(guid(f"amqp {name}")),
        number,
        last or number,
        content=b"<MsgHead/>",
        state=state,
        at=NOW,
    )


class LedgerBehaviour:
    """The suite. `ledger` is a new one; `reopened` closes it and gives what was kept, or None where nothing can be."""

    @pytest.fixture
    def ledger(self) -> Iterator[Ledger]:
        raise NotImplementedError

    @pytest.fixture
    def reopened(self, ledger: Ledger) -> Callable[[], Ledger] | None:
        raise NotImplementedError

    # transactions

    def test_work_gives_its_result_and_is_kept(self, ledger: Ledger) -> None:
        assert ledger.run_now(lambda tx: tx.count("changes", 2) or 7) == 7
        assert ledger.read(lambda tx: tx.counters()) == {"changes": 2}

    def test_work_that_raises_leaves_nothing(self, ledger: Ledger) -> None:
        def work(tx: LedgerTransaction) -> None:
            tx.put_row(row("1"), LOOKUPS)
            tx.count("changes")
            tx.mark_due(["1"], not_before=None, cause="change")
            raise KeyError("stop")

        with pytest.raises(KeyError, match="stop"):
            ledger.run_now(work)
        assert ledger.read(lambda tx: (tx.row(SERVICES, "1"), tx.counters(), tx.count_due())) == (None, {}, 0)

    async def test_run_does_the_same_on_another_thread(self, ledger: Ledger) -> None:
        await ledger.run(lambda tx: tx.count("changes"))
        with pytest.raises(KeyError):
            await ledger.run(lambda tx: tx.count("changes") or {}["missing"])
        assert await ledger.run(lambda tx: tx.counters()) == {"changes": 1}

    def test_reading_cannot_write(self, ledger: Ledger) -> None:
        with pytest.raises(LedgerReadOnly):
            ledger.read(lambda tx: tx.count("changes"))
        ledger.run_now(lambda tx: tx.count("changes"))
        assert ledger.read(lambda tx: tx.counters()) == {"changes": 1}

    def test_work_inside_of_work_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(RuntimeError, match="inside another"):
            ledger.run_now(lambda _: ledger.run_now(lambda tx: tx.counters()))

    def test_a_closed_ledger_says_so(self, ledger: Ledger) -> None:
        ledger.close()
        ledger.close()
        for use in (ledger.run_now, ledger.read):
            with pytest.raises(LedgerError, match="closed"):
                use(lambda tx: tx.counters())

    def test_everything_is_there_after_reopening(self, ledger: Ledger, reopened: Callable[[], Ledger] | None) -> None:
        position = Position("cluster 1", {"wal": (5, 2)}, "detail")

        def write(tx: LedgerTransaction) -> None:
            tx.put_row(row("1"), LOOKUPS)
            tx.put_person("15876100123", guid("patient"), number_was_right=True)
            tx.set_position(position)
            envelope(tx, 1)

        ledger.run_now(write)
        if reopened is None:
            return
        secret, installation = ledger.unit_secret, ledger.installation_id
        again = reopened()
        assert (again.unit_secret, again.installation_id) == (secret, installation)
        assert again.read(lambda tx: tx.row(SERVICES, "1")) == row("1")
        assert again.read(lambda tx: tx.position()) == position
        assert again.read(lambda tx: tx.patient_guid("15876100123")) == guid("patient")
        assert again.read(lambda tx: tx.envelope_content(1)) == b"<MsgHead/>"

    # rows

    def test_a_row_comes_back_as_it_was_put(self, ledger: Ledger) -> None:
        full = KeptRow(
            SERVICES,
            "a|b\\|",
            {"x": None, "y": "", "z": "blåbær \U0001f600"},
            {"x": NOW, "": datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)))},
            RowVersion("tl 4", (2**80, -(2**70), 3)),
            deleted=False,
            defect="column y cannot be read",
        )
        ledger.run_now(lambda tx: tx.put_row(full, frozenset()))
        known = ledger.read(lambda tx: tx.row(SERVICES, "a|b\\|"))
        assert known == full
        assert known.since[""].utcoffset() == timedelta(hours=2)
        assert ledger.read(lambda tx: tx.row("public.pause", "a|b\\|")) is None

    def test_rows_are_found_by_their_present_values_only(self, ledger: Ledger) -> None:
        def found(value: str) -> list[str]:
            return sorted(known.key for known in ledger.read(lambda tx: tx.find(SERVICES, BY_PERSON, value)))

        ledger.run_now(lambda tx: [tx.put_row(row(key), LOOKUPS) for key in ("1", "2", "3")])
        assert found("7") == ["1", "2", "3"]
        ledger.run_now(lambda tx: tx.put_row(row("2", person="8"), LOOKUPS))
        ledger.run_now(lambda tx: tx.put_row(replace(row("3"), deleted=True), LOOKUPS))
        assert (found("7"), found("8"), found("9")) == (["1"], ["2"], [])
        ledger.run_now(lambda tx: tx.put_row(row("3", person=None), LOOKUPS))
        ledger.run_now(lambda tx: tx.put_row(row("1", person="8"), LOOKUPS))
        assert (found("7"), found("8")) == ([], ["1", "2"])
        assert ledger.read(lambda tx: tx.row(SERVICES, "3")) == row("3", person=None)

    def test_rows_are_found_by_several_columns_together(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: tx.put_row(row("1", sak="a|b", **{"del": "c"}), LOOKUPS))
        ledger.run_now(lambda tx: tx.put_row(row("2", sak="a", **{"del": "b|c"}), LOOKUPS))
        found = ledger.read(lambda tx: tx.find(SERVICES, ("sak", "del"), "a\\|b|c"))
        assert [known.key for known in found] == ["1"]

    def test_rows_are_counted_and_streamed_by_table(self, ledger: Ledger) -> None:
        def write(tx: LedgerTransaction) -> None:
            for key in range(20):
                tx.put_row(row(str(key)), LOOKUPS)
            tx.put_row(replace(row("3"), deleted=True), LOOKUPS)
            tx.put_row(replace(row("3"), table="public.pause"), frozenset())

        ledger.run_now(write)
        assert ledger.read(lambda tx: (tx.count_rows(SERVICES), tx.count_rows("public.pause"))) == (19, 1)
        keys = ledger.read(lambda tx: [known.key for known in tx.rows_of(SERVICES)])
        assert sorted(keys, key=int) == [str(key) for key in range(20)]

    def test_rows_are_indexed_again_for_another_mapping(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: [tx.put_row(row(str(key), sak="s"), LOOKUPS) for key in range(3)])
        assert ledger.run_now(lambda tx: tx.index_again({SERVICES: frozenset({("sak",)})})) == 3
        assert len(ledger.read(lambda tx: tx.find(SERVICES, ("sak",), "s"))) == 3
        assert ledger.read(lambda tx: tx.find(SERVICES, BY_PERSON, "7")) == []

    # services

    def test_a_reading_knows_the_rows_that_it_did_not_tell(self, ledger: Ledger) -> None:
        def absent(readings: int = 1) -> list[str]:
            rows = ledger.read(lambda tx: tx.absent_rows(SERVICES, readings))
            assert len(rows) == ledger.read(lambda tx: tx.count_absent(SERVICES, readings))
            return sorted(found.key for found in rows)

        ledger.run_now(lambda tx: [tx.put_row(row(key), LOOKUPS) for key in ("1", "2", "3")])
        assert absent() == []  # nothing was ever read as a whole
        ledger.run_now(lambda tx: tx.begin_reading([SERVICES]))
        ledger.run_now(lambda tx: [tx.put_row(row("1"), LOOKUPS), tx.mark_told(SERVICES, "2")])
        assert absent() == ["3"]
        ledger.run_now(lambda tx: tx.begin_reading([SERVICES]))  # broken off, and begun again under the same number
        assert absent() == ["3"]
        ledger.run_now(lambda tx: (tx.end_reading([SERVICES]), tx.begin_reading([SERVICES])))
        assert (absent(), absent(2)) == (["1", "2", "3"], ["3"])
        assert ledger.read(lambda tx: tx.is_first_told(SERVICES, "1"))
        ledger.run_now(lambda tx: tx.put_row(replace(row("1"), values={}, deleted=True), LOOKUPS))
        assert absent() == ["2", "3"]
        assert not ledger.read(lambda tx: tx.is_first_told(SERVICES, "1"))

    def test_a_row_told_again_is_known_by_its_values_alone(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: [tx.put_row(row("1"), LOOKUPS), tx.begin_reading([SERVICES])])
        values = dict(reversed(row("1").values.items()))
        assert not ledger.run_now(lambda tx: tx.told_again(SERVICES, "1", {**values, "bruker_id": "8"}))
        assert ledger.read(lambda tx: tx.count_absent(SERVICES)) == 1
        assert ledger.run_now(lambda tx: tx.told_again(SERVICES, "1", values))
        assert ledger.read(lambda tx: tx.count_absent(SERVICES)) == 0
        ledger.run_now(lambda tx: tx.put_row(replace(row("1"), defect="odd"), LOOKUPS))
        assert not ledger.run_now(lambda tx: tx.told_again(SERVICES, "1", values))
        ledger.run_now(lambda tx: tx.put_row(replace(row("1"), deleted=True), LOOKUPS))
        assert not ledger.run_now(lambda tx: tx.told_again(SERVICES, "1", values))

    def test_services_first_told_after_a_moment(self, ledger: Ledger) -> None:
        def chain(tx: LedgerTransaction, number: int, service: str, at: datetime) -> None:
            tx.add_notification(chained(number), service, {}, approved=False, at=at)

        ledger.run_now(lambda tx: chain(tx, 1, "1", NOW))
        ledger.run_now(lambda tx: (chain(tx, 2, "2", NOW + HOUR), chain(tx, 3, "1", NOW + HOUR)))
        assert ledger.read(lambda tx: tx.first_told_after(NOW)) == ["2"]
        assert ledger.read(lambda tx: (tx.first_told_at("1"), tx.first_told_at("9"))) == (NOW, None)

    def test_what_stands_reported_comes_back_exactly(self, ledger: Ledger) -> None:
        standing = Standing(Event.PAUSE_FROM, "p1", guid("n"), 4, guid("e"), content())
        reported = Reported(
            "4711",
            (standing, Standing(Event.START, "", guid("m"), 2**40, guid("f"), content())),
            {(Event.START, ""): 2, (Event.PAUSE_FROM, "p1"): 1},
            frozenset({"p1", "p2"}),
            3,
        )
        assert ledger.read(lambda tx: tx.reported("1")) is None
        ledger.run_now(lambda tx: tx.put_reported("1", reported))
        assert ledger.read(lambda tx: tx.reported("1")) == reported
        ledger.run_now(lambda tx: tx.put_reported("1", replace(reported, standing=())))
        assert ledger.read(lambda tx: tx.reported("1")) == replace(reported, standing=())

    def test_outcomes_are_kept_and_counted(self, ledger: Ledger) -> None:
        def write(tx: LedgerTransaction) -> None:
            tx.set_outcome("a", parked=True, held=False, standing=True, missing_since=None)
            tx.set_outcome("b", parked=False, held=True, standing=False, missing_since=NOW - HOUR)
            tx.set_outcome("c", parked=False, held=True, standing=True, missing_since=NOW)

        ledger.run_now(write)
        assert ledger.read(lambda tx: tx.count_services()) == ServiceCounts(3, 2, 1, 2)
        assert ledger.read(lambda tx: tx.outcome("b")) == ServiceOutcome(False, True, False, NOW - HOUR)
        assert ledger.read(lambda tx: list(tx.service_keys())) == ["a", "b", "c"]
        assert ledger.read(lambda tx: list(tx.parked_services())) == ["a"]
        assert ledger.read(lambda tx: tx.missing_longer_than(NOW)) == ["b"]
        ledger.run_now(lambda tx: tx.set_outcome("b", parked=False, held=False, standing=False, missing_since=None))
        assert ledger.read(lambda tx: (tx.count_services().held, tx.missing_longer_than(NOW + HOUR))) == (1, ["c"])
        assert ledger.read(lambda tx: tx.outcome("z")) is None

    def test_a_service_is_found_by_whatever_it_read(self, ledger: Ledger) -> None:
        person, pauses = RowRead("public.bruker", "7"), RowsFound("public.pause", ("tjeneste_id",), "1")
        ledger.run_now(lambda tx: tx.set_dependencies("1", frozenset({person, pauses})))
        ledger.run_now(lambda tx: tx.set_dependencies("2", frozenset({person})))
        assert ledger.read(lambda tx: tx.dependents([person])) == ["1", "2"]
        assert ledger.read(lambda tx: tx.dependents([pauses, person, person])) == ["1", "2"]
        assert ledger.read(lambda tx: tx.dependents([RowRead("public.pause", "7")])) == []
        ledger.run_now(lambda tx: tx.set_dependencies("1", frozenset({pauses})))
        assert ledger.read(lambda tx: tx.dependents([person])) == ["2"]
        assert ledger.read(lambda tx: tx.dependents([pauses])) == ["1"]

    def test_a_patient_guid_is_made_once_invariant_5(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: tx.put_person("p", None, number_was_right=False))
        assert ledger.read(lambda tx: tx.patient_guid("p")) is None
        ledger.run_now(lambda tx: tx.put_person("p", guid("one"), number_was_right=True))
        ledger.run_now(lambda tx: tx.put_person("p", None, number_was_right=False))
        assert ledger.read(lambda tx: tx.person("p")) == PersonRecord("p", guid("one"), True)
        with pytest.raises(IdentityConflict):
            ledger.run_now(lambda tx: tx.put_person("p", guid("two"), number_was_right=True))
        assert ledger.read(lambda tx: (tx.patient_guid("p"), tx.person("q"))) == (guid("one"), None)

    # findings

    def test_findings_are_replaced_and_keep_their_since(self, ledger: Ledger) -> None:
        stays = Finding("Q02", Severity.BLOCK, "1", "service 1: mend the number")
        goes = Finding("Q03", Severity.WARN, "1", "service 1: a warning")
        comes = Finding("Q03", Severity.WARN, "1", "service 1: another warning")
        other = Finding("Q01", Severity.HOLD, None, "belongs to no service")
        ledger.run_now(lambda tx: tx.set_findings("1", [stays, goes], NOW))
        assert ledger.run_now(lambda tx: tx.add_finding(other, NOW + HOUR)) is True
        assert ledger.run_now(lambda tx: tx.add_finding(other, NOW + 2 * HOUR)) is False
        ledger.run_now(lambda tx: tx.set_findings("1", [comes, stays, stays], NOW + 2 * HOUR))
        expected = [(stays, NOW), (other, NOW + HOUR), (comes, NOW + 2 * HOUR)]
        assert ledger.read(lambda tx: list(tx.findings())) == expected
        assert ledger.read(lambda tx: tx.findings_of("1")) == [expected[0], expected[2]]
        counts = {("Q01", Severity.HOLD): 1, ("Q02", Severity.BLOCK): 1, ("Q03", Severity.WARN): 1}
        assert ledger.read(lambda tx: tx.count_findings()) == counts
        ledger.run_now(lambda tx: tx.set_findings("1", [], NOW))
        ledger.run_now(lambda tx: tx.set_findings(None, [], NOW))
        assert ledger.read(lambda tx: list(tx.findings())) == []

    # due and planned

    def test_due_services_come_in_order_and_keep_their_place(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: tx.mark_due(["b", "a"], not_before=None, cause="change"))
        ledger.run_now(lambda tx: tx.mark_due(["c", "b"], not_before=None, cause="person"))
        assert ledger.read(lambda tx: tx.due(10, NOW)) == ["b", "a", "c"]
        assert ledger.read(lambda tx: (tx.due(2, NOW), tx.count_due(), tx.due_cause("b"))) == (["b", "a"], 3, "person")
        ledger.run_now(lambda tx: tx.clear_due("b"))
        ledger.run_now(lambda tx: tx.mark_due(["b"], not_before=None, cause="change"))
        ledger.run_now(lambda tx: tx.clear_due("never seen"))
        assert ledger.read(lambda tx: tx.due(10, NOW)) == ["a", "c", "b"]

    def test_a_service_waits_for_its_time(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: tx.mark_due(["a"], not_before=NOW + HOUR, cause="change"))
        ledger.run_now(lambda tx: tx.mark_due(["b"], not_before=None, cause="change"))
        assert ledger.read(lambda tx: (tx.due(10, NOW), tx.next_due_at())) == (["b"], NOW + HOUR)
        assert ledger.read(lambda tx: tx.due(10, NOW + HOUR)) == ["a", "b"]
        ledger.run_now(lambda tx: tx.mark_due(["a"], not_before=NOW + 2 * HOUR, cause="change"))
        assert ledger.read(lambda tx: tx.due(10, NOW + HOUR)) == ["b"]

    def test_all_services_become_due(self, ledger: Ledger) -> None:
        for key in ("a", "b", "c"):
            ledger.run_now(
                lambda tx, key=key: tx.set_outcome(key, parked=False, held=False, standing=False, missing_since=None)
            )
        ledger.run_now(lambda tx: tx.mark_due(["c"], not_before=NOW + HOUR, cause="change"))
        assert ledger.run_now(lambda tx: tx.mark_all_due("mapping")) == 3
        assert ledger.read(lambda tx: tx.due(10, NOW)) == ["c", "a", "b"]

    def test_planned_days(self, ledger: Ledger) -> None:
        monday, tuesday, friday = date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 27)

        def write(tx: LedgerTransaction) -> None:
            for key, day in (("a", friday), ("b", monday), ("c", tuesday), ("d", tuesday)):
                tx.set_planned(key, day)

        ledger.run_now(write)
        assert ledger.read(lambda tx: tx.planned(tuesday)) == [(monday, "b"), (tuesday, "c"), (tuesday, "d")]
        assert ledger.read(lambda tx: tx.planned(friday, 1)) == [(monday, "b")]
        # A day is never cut in two.
        assert ledger.read(lambda tx: tx.planned(friday, 2)) == [(monday, "b"), (tuesday, "c"), (tuesday, "d")]
        assert ledger.read(lambda tx: (tx.next_planned(), tx.count_planned())) == (monday, 4)
        ledger.run_now(lambda tx: [tx.set_planned("b", None), tx.set_planned("c", friday), tx.set_planned("x", None)])
        assert ledger.read(lambda tx: tx.planned(tuesday)) == [(tuesday, "d")]

    # position and counts

    def test_positions_only_move_forward_invariant_2(self, ledger: Ledger) -> None:
        assert ledger.read(lambda tx: tx.position()) is None
        first = Position("cluster 1", {"a": (5, 2), "b": (2**70,)}, "seen: 3")
        ledger.run_now(lambda tx: tx.set_position(first))
        ledger.run_now(lambda tx: tx.set_position(first))
        for wrong in (Position("cluster 2", {"a": (6, 0)}), Position("cluster 1", {"a": (5, 1), "b": (2**71,)})):
            with pytest.raises(PositionConflict):
                ledger.run_now(lambda tx, wrong=wrong: tx.set_position(wrong))
        assert ledger.read(lambda tx: tx.position()) == first
        ledger.run_now(lambda tx: tx.set_position(Position("cluster 1", {"a": (6, 0)})))
        assert ledger.read(lambda tx: tx.position()) == Position("cluster 1", {"a": (6, 0), "b": (2**70,)})
        again = Position("cluster 2", {"a": (0,)})
        ledger.run_now(lambda tx: tx.forget_position())
        assert ledger.read(lambda tx: (tx.position(), tx.seen_through())) == (None, None)
        ledger.run_now(lambda tx: tx.set_position(again))
        assert ledger.read(lambda tx: tx.position()) == again

    def test_a_refused_position_undoes_its_rows_invariant_1(self, ledger: Ledger) -> None:
        ledger.run_now(lambda tx: tx.set_position(Position("1", {"a": (5,)})))
        with pytest.raises(PositionConflict):
            ledger.run_now(lambda tx: [tx.put_row(row("1"), LOOKUPS), tx.set_position(Position("1", {"a": (4,)}))])
        assert ledger.read(lambda tx: tx.row(SERVICES, "1")) is None

    def test_progress_notes_and_counters(self, ledger: Ledger) -> None:
        assert ledger.read(lambda tx: (tx.seen_through(), tx.open_transaction(), tx.note("gate"))) == (
            None,
            False,
            None,
        )

        def write(tx: LedgerTransaction) -> None:
            tx.set_seen_through(NOW)
            tx.set_open_transaction(True)
            tx.set_note("gate", "first load")
            tx.set_note("gate", "breaker")
            tx.set_note("digest", "abc")
            tx.count("reported")
            tx.count("reported", 4)
            tx.count("parked", 0)

        ledger.run_now(write)
        assert ledger.read(lambda tx: (tx.seen_through(), tx.open_transaction(), tx.note("gate"))) == (
            NOW,
            True,
            "breaker",
        )
        assert ledger.read(lambda tx: tx.counters()) == {"parked": 0, "reported": 5}
        ledger.run_now(lambda tx: [tx.set_note("gate", None), tx.set_open_transaction(False)])
        assert ledger.read(lambda tx: (tx.notes(), tx.open_transaction())) == ({"digest": "abc"}, False)

    def test_unreadable_records_are_kept(self, ledger: Ledger) -> None:
        raw = bytes(range(256)) + b"\n{"
        ledger.run_now(lambda tx: tx.keep_unreadable("line 3", "duplicate keys", raw, at=NOW))
        ledger.run_now(lambda tx: tx.keep_unreadable("line 4", "NaN", b"", at=NOW))
        kept = ledger.read(lambda tx: list(tx.unreadable()))
        assert [(one.place, one.why, one.raw, one.kept_at) for one in kept] == [
            ("line 3", "duplicate keys", raw, NOW),
            ("line 4", "NaN", b"", NOW),
        ]
        assert ledger.read(lambda tx: tx.count_unreadable()) == 2

    # the chain

    def test_the_chain_comes_back_exactly(self, ledger: Ledger) -> None:
        assert ledger.read(lambda tx: tx.chain_end()) is None
        second = replace(chained(2, Status.REPLACE, 1), pause_id="p1", event=Event.PAUSE_TO)
        ledger.run_now(lambda tx: tx.add_notification(chained(1), "a", {"row": "1"}, at=NOW))
        ledger.run_now(lambda tx: tx.add_notification(second, "b", {}, approved=True, at=NOW + HOUR))
        assert ledger.read(lambda tx: tx.chain_end()) == (2, second.guid)
        one, two = ledger.read(lambda tx: list(tx.notifications(1, 9)))
        assert (one.notification, one.service_key, one.trace, one.chained_at, one.approved) == (
            chained(1),
            "a",
            {"row": "1"},
            NOW,
            False,
        )
        assert one.notification.content.registered_at.utcoffset() == HOUR
        assert (two.notification, two.approved) == (second, True)
        assert ledger.read(lambda tx: tx.notification_by_guid(second.guid)) == two
        assert ledger.read(lambda tx: (tx.notification(3), tx.notification_by_guid(guid("x")))) == (None, None)
        assert ledger.read(lambda tx: tx.notifications_of("a")) == [one]
        assert ledger.read(lambda tx: tx.count_notifications()) == {
            ("TjenesteStart", "N"): 1,
            ("MidlertidigStoppTil", "M"): 1,
        }

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param(chained(2), id="repeated"),
            pytest.param(chained(4), id="gap"),
            pytest.param(replace(chained(3), previous_guid=guid("fork")), id="fork"),
            pytest.param(replace(chained(3), guid=guid("notification 1")), id="same GUID"),
        ],
    )
    def test_the_chain_has_no_gap_no_fork_no_repeat_invariant_4(self, ledger: Ledger, wrong: Notification) -> None:
        ledger.run_now(lambda tx: fill_chain(tx, 2))
        with pytest.raises(ChainBroken):
            ledger.run_now(lambda tx: tx.add_notification(wrong, "a", {}, at=NOW))
        assert ledger.read(lambda tx: tx.chain_end()) == (2, guid("notification 2"))

    def test_the_first_of_a_chain_follows_nothing_invariant_4(self, ledger: Ledger) -> None:
        with pytest.raises(ChainBroken):
            ledger.run_now(
                lambda tx: tx.add_notification(replace(chained(1), previous_guid=guid("x")), "a", {}, at=NOW)
            )

    def test_recent_services_are_counted_once_and_unapproved_only(self, ledger: Ledger) -> None:
        def write(tx: LedgerTransaction) -> None:
            tx.add_notification(chained(1), "a", {}, at=NOW - 2 * HOUR)
            tx.add_notification(chained(2, Status.ANNUL, 1), "a", {}, at=NOW)
            tx.add_notification(chained(3, Status.ANNUL, 1), "a", {}, at=NOW)
            tx.add_notification(chained(4, Status.ANNUL, 1), "b", {}, at=NOW)
            tx.add_notification(chained(5, Status.ANNUL, 1), "c", {}, approved=True, at=NOW)

        ledger.run_now(write)
        assert ledger.read(lambda tx: tx.recent_services(Status.ANNUL, NOW)) == 2
        assert ledger.read(lambda tx: tx.recent_services(Status.NEW, NOW - HOUR)) == 0

    # envelopes and receipts

    def test_envelopes_come_back_in_order(self, ledger: Ledger) -> None:
        assert ledger.read(lambda tx: tx.last_enveloped_number()) == 0
        ids = [ledger.run_now(lambda tx, number=number: envelope(tx, number)) for number in (1, 2, 3)]
        ids.append(ledger.run_now(lambda tx: envelope(tx, 4, last=6)))
        assert ids == sorted(set(ids))
        ledger.run_now(lambda tx: tx.set_envelope(ids[1], state="sent", attempts=1, sent_at=NOW))
        listed = ledger.read(lambda tx: tx.envelopes(["sent", "ready"], 3))
        assert [one.id for one in listed] == ids[:3]
        assert [one.id for one in ledger.read(lambda tx: tx.envelopes(["ready"], 9, after_id=ids[0]))] == ids[2:]
        assert ledger.read(lambda tx: (tx.count_envelopes(), tx.last_enveloped_number())) == (
            {"ready": 3, "sent": 1},
            6,
        )
        assert [one.id for one in ledger.read(lambda tx: tx.envelopes_with(5))] == [ids[3]]

    def test_an_envelope_is_found_by_its_ids(self, ledger: Ledger) -> None:
        number = ledger.run_now(lambda tx: envelope(tx, 1))
        known = ledger.read(lambda tx: tx.envelope(number))
        assert (known.attempts, known.sent_at, known.created_at, known.superseded_by) == (0, None, NOW, None)
        assert ledger.read(lambda tx: tx.envelope_by_msg_id(known.msg_id.upper())) == known
        assert ledger.read(lambda tx: tx.envelope_by_message_id(known.message_id)) == known
        assert ledger.read(lambda tx: tx.envelope_by_msg_id(known.message_id)) is None
        assert ledger.read(lambda tx: tx.envelope_content(number)) == b"<MsgHead/>"
        with pytest.raises(LedgerError):  # the same MsgId twice would make receipts ambiguous
            ledger.run_now(
                lambda tx: tx.add_envelope(known.msg_id.upper(), "x", 1, 1, content=b"", state="ready", at=NOW)
            )

    def test_an_envelope_changes_only_where_it_is_told(self, ledger: Ledger) -> None:
        first = ledger.run_now(lambda tx: envelope(tx, 1))
        second = ledger.run_now(lambda tx: envelope(tx, 1))
        before = ledger.read(lambda tx: tx.envelope(first))
        ledger.run_now(lambda tx: tx.set_envelope(first, state="sent", sent_at=NOW, next_try_at=NOW + HOUR))
        ledger.run_now(lambda tx: tx.set_envelope(first, next_try_at=None, superseded_by=second, closed_at=NOW))
        assert ledger.read(lambda tx: tx.envelope(first)) == replace(
            before, state="sent", sent_at=NOW, superseded_by=second, closed_at=NOW
        )
        with pytest.raises(LedgerError, match="no envelope 99"):
            ledger.run_now(lambda tx: tx.set_envelope(99, state="sent"))

    def test_what_waits_too_long_is_found(self, ledger: Ledger) -> None:
        ids = [ledger.run_now(lambda tx, number=number: envelope(tx, number)) for number in (1, 2, 3)]
        for number, sent in zip(ids, (NOW, NOW - 2 * HOUR, NOW - HOUR), strict=True):
            ledger.run_now(lambda tx, number=number, sent=sent: tx.set_envelope(number, state="sent", sent_at=sent))
        assert ledger.read(lambda tx: tx.oldest_unanswered(["sent", "ready"]).id) == ids[1]
        assert ledger.read(lambda tx: tx.oldest_unanswered(["ready"])) is None
        assert [one.id for one in ledger.read(lambda tx: tx.overdue(["sent"], NOW))] == [ids[1], ids[2]]
        assert ledger.read(lambda tx: tx.count_overdue(["sent"], NOW)) == 2

    def test_a_receipt_is_booked_once_invariant_7(self, ledger: Ledger) -> None:
        number = ledger.run_now(lambda tx: envelope(tx, 1))
        digest = sha256(b"receipt").digest()
        book = lambda tx: tx.book_receipt(number, "apprec", "ok", digest=digest, content=b"<AppRec/>", at=NOW)  # noqa: E731
        assert ledger.run_now(book) is True
        assert ledger.run_now(book) is False
        assert ledger.run_now(
            lambda tx: tx.book_receipt(None, "error", "foreign", digest=b"other", content=b"", at=NOW)
        )
        (one,) = ledger.read(lambda tx: tx.receipts_of(number))
        assert (one.kind, one.verdict, one.booked_at, one.content) == ("apprec", "ok", NOW, b"<AppRec/>")
        assert [other.content for other in ledger.read(lambda tx: tx.receipts_of(None))] == [b""]
        assert ledger.read(lambda tx: tx.count_receipts()) == {("apprec", "ok"): 1, ("error", "foreign"): 1}

    # retention and status

    def test_message_bytes_receipts_and_unreadable_are_forgotten(self, ledger: Ledger) -> None:
        ids = [ledger.run_now(lambda tx, number=number: envelope(tx, number)) for number in (1, 2, 3)]

        def write(tx: LedgerTransaction) -> None:
            tx.set_envelope(ids[0], state="closed", closed_at=NOW - 2 * HOUR)
            tx.set_envelope(ids[1], state="closed", closed_at=NOW)
            tx.set_envelope(ids[2], state="sent", sent_at=NOW - 2 * HOUR)
            tx.book_receipt(ids[0], "apprec", "ok", digest=b"d", content=b"c", at=NOW - 2 * HOUR)
            tx.keep_unreadable("line 1", "NaN", b"x", at=NOW - 2 * HOUR)
            tx.keep_unreadable("line 2", "NaN", b"x", at=NOW)

        ledger.run_now(write)
        forget = lambda tx: tx.forget(  # noqa: E731
            closed=["closed"],
            message_bytes_before=NOW - HOUR,
            receipts_before=NOW - HOUR,
            unreadable_before=NOW - HOUR,
        )
        assert ledger.run_now(forget) == Forgotten(messages=1, receipts=1, unreadable=1)
        assert not ledger.run_now(forget)
        contents = ledger.read(lambda tx: [tx.envelope_content(number) for number in ids])
        assert contents == [None, b"<MsgHead/>", b"<MsgHead/>"]
        assert ledger.read(lambda tx: [one.content for one in tx.receipts_of(ids[0])]) == [None]
        # Its digest is known for ever.
        assert not ledger.run_now(lambda tx: tx.book_receipt(ids[0], "a", "ok", digest=b"d", content=b"c", at=NOW))
        assert ledger.read(lambda tx: [one.place for one in tx.unreadable()]) == ["line 2"]

    def test_fields_are_forgotten_after_the_event_stands_no_more(self, ledger: Ledger) -> None:
        def write(tx: LedgerTransaction) -> None:
            tx.add_notification(chained(1), "a", {}, at=NOW - 9 * HOUR)
            tx.add_notification(chained(2), "b", {}, at=NOW - 9 * HOUR)
            tx.add_notification(chained(3, Status.REPLACE, 1), "a", {}, at=NOW - 8 * HOUR)
            tx.add_notification(chained(4, Status.ANNUL, 1), "a", {}, at=NOW - 7 * HOUR)
            tx.add_notification(chained(5, Status.ANNUL, 2), "b", {}, at=NOW)

        ledger.run_now(write)
        forget = lambda tx: tx.forget(closed=["closed"], notification_fields_before=NOW - HOUR)  # noqa: E731
        assert not ledger.run_now(forget)  # in no envelope yet
        ids = [ledger.run_now(lambda tx, n=number: envelope(tx, n, state="closed")) for number in (1, 2, 3)]
        ids.append(ledger.run_now(lambda tx: envelope(tx, 4, state="sent")))
        assert not ledger.run_now(forget)  # its annulment is not closed
        ledger.run_now(lambda tx: tx.set_envelope(ids[3], state="closed"))
        assert ledger.run_now(forget) == Forgotten(notifications=3)
        with pytest.raises(NotificationForgotten):
            ledger.read(lambda tx: tx.notification(3))
        left = ledger.read(lambda tx: [one.notification.number for one in tx.notifications(1, 5, skip_forgotten=True)])
        assert left == [2, 5]
        assert ledger.read(lambda tx: tx.chain_end()) == (5, guid("notification 5"))

    def test_status_says_it_all(self, ledger: Ledger) -> None:
        empty = ledger.read(lambda tx: tx.status(unanswered=["sent"], overdue_before=NOW))
        assert (empty.position, empty.notifications, empty.waiting, empty.overdue) == (None, 0, 0, 0)

        def write(tx: LedgerTransaction) -> None:
            tx.set_position(Position("1", {"a": (1,)}))
            tx.set_seen_through(NOW)
            tx.mark_due(["a", "b"], not_before=None, cause="change")
            tx.set_planned("a", date(2026, 12, 1))
            tx.set_outcome("a", parked=True, held=True, standing=True, missing_since=None)
            tx.set_note("gate", "breaker")
            tx.count("reported", 3)
            number = envelope(tx, 1)
            tx.set_envelope(number, state="sent", sent_at=NOW - HOUR)
            envelope(tx, 2)
            fill_chain(tx, 5)
            tx.keep_unreadable("line 1", "NaN", b"", at=NOW)
            tx.add_finding(Finding("Q01", Severity.WARN, None, "text"), NOW)

        ledger.run_now(write)
        status = ledger.read(lambda tx: tx.status(unanswered=["sent"], overdue_before=NOW))
        assert (status.notifications, status.waiting, status.envelopes) == (5, 3, {"ready": 1, "sent": 1})
        assert (status.overdue, status.oldest_unanswered_at) == (1, NOW - HOUR)
        assert (status.due, status.planned, status.next_planned) == (2, 1, date(2026, 12, 1))
        assert status.services == ServiceCounts(known=7, standing=1, parked=1, held=1)
        assert (status.notes, status.counters, status.unreadable) == ({"gate": "breaker"}, {"reported": 3}, 1)
        assert (status.position, status.seen_through) == (Position("1", {"a": (1,)}), NOW)
        assert status.findings == {("Q01", Severity.WARN): 1}
