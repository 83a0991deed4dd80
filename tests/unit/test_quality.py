"""The rules over one service without a ledger: verdicts, severities, and the order in which they are found."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from agent.domain.care import Absent, CareService, Dated, Person, Provider
from agent.domain.finding import Severity
from agent.domain.judged import DateFact, FactState, LeftOut, Withdrawal
from agent.domain.notification import Content, Event, ReportedPerson
from agent.domain.quality import FieldNames, Profile, Rules, judge
from agent.domain.reported import Reported, Standing
from tests.world import OLA, PER, A, read_mapping

TODAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = Rules(profile=Profile.TEST, service_types={"LANG": "21", "BOLIG": "29", "PB": "none", "GAMMEL": "13"})
NAMES = FieldNames.of(read_mapping(""))
PERSON = Person(
    key="1", number=OLA, number_type="1", user_number="1", birth_date=date(1940, 5, 17), district=None, changed_at=NOW
)
SERVICE = CareService(
    key="10",
    local_type="LANG",
    type_since=None,
    start=Dated(date(2026, 2, 1)),
    end=Dated(None),
    person=PERSON,
    provider=Provider(A),
    provider_changed_on=Dated(None),
    provider_dated=False,
    placements=None,
    pauses=(),
    gone_pauses={},
)
NOTHING = Reported("10")
TOLD = ReportedPerson(UUID(int=1), "1", OLA, "1")
STANDS = Reported(
    "10",
    (Standing(Event.START, "", UUID(int=2), 1, UUID(int=3), Content("21", date(2026, 2, 1), NOW, A, TOLD)),),
    {(Event.START, ""): 1},
)


def test_a_right_service_has_no_finding() -> None:
    judged = judge(SERVICE, NOTHING, RULES, NAMES, TODAY)
    assert judged.findings == ()
    assert (judged.service_type, judged.withdrawal, judged.left_out, judged.frozen) == ("21", None, None, False)
    assert judged.start == DateFact(FactState.RIGHT, date(2026, 2, 1))


@pytest.mark.parametrize(
    ("changes", "withdrawal"),
    [
        ({"deleted": True}, Withdrawal.DELETED),
        ({"annulled": True}, Withdrawal.ANNULLED),
        ({"local_type": "PB"}, Withdrawal.NOT_REPORTED),
    ],
)
def test_what_is_withdrawn_is_not_judged(changes: dict[str, object], withdrawal: Withdrawal) -> None:
    judged = judge(replace(SERVICE, person=None, **changes), STANDS, RULES, NAMES, TODAY)
    assert (judged.withdrawal, judged.findings) == (withdrawal, ())


def test_a_defective_record_and_a_type_whose_row_is_away_freeze_the_service() -> None:
    defective = judge(replace(SERVICE, defect="start: no date"), STANDS, RULES, NAMES, TODAY)
    assert (defective.frozen, [one.rule for one in defective.findings]) == (True, ["Q20"])
    away = judge(replace(SERVICE, waits_for=Absent("vedtak", deleted=False)), STANDS, RULES, NAMES, TODAY)
    assert (away.frozen, [(one.rule, one.severity) for one in away.findings]) == (True, [("H01", Severity.HOLD)])


@pytest.mark.parametrize(
    ("unknown", "finding"),
    [
        (Dated(None, away=Absent("dato", deleted=False)), ("H01", Severity.HOLD)),
        (Dated(None, defect="no date"), ("Q20", Severity.BLOCK)),
    ],
)
def test_a_date_of_which_nothing_is_known_is_wrong_and_not_empty(unknown: Dated, finding: tuple[str, Severity]) -> None:
    start = judge(replace(SERVICE, start=unknown), NOTHING, RULES, NAMES, TODAY)
    assert start.left_out is not LeftOut.NO_START
    assert (start.start.state, start.start.gone) == (FactState.WRONG, False)
    assert [(one.rule, one.severity) for one in start.findings] == [finding]
    end = judge(replace(SERVICE, end=unknown), STANDS, RULES, NAMES, TODAY)
    assert end.end.state is FactState.WRONG
    assert [(one.rule, one.severity) for one in end.findings] == [finding]
    changed_on = replace(SERVICE, provider_dated=True, provider_changed_on=unknown)
    judged = judge(changed_on, STANDS, RULES, NAMES, TODAY)
    assert [(one.rule, one.severity) for one in judged.findings] == [finding]


def test_a_person_whose_row_points_to_one_that_is_away_is_held() -> None:
    person = replace(PERSON, away=Absent("nummer", deleted=False))
    judged = judge(replace(SERVICE, person=person), NOTHING, RULES, NAMES, TODAY)
    assert judged.person is None
    assert [one.rule for one in judged.findings] == ["H01"]


@pytest.mark.parametrize(
    ("start", "state"),
    [
        (date(1989, 12, 31), FactState.WRONG),
        (date(1990, 1, 1), FactState.RIGHT),
        (TODAY, FactState.RIGHT),
        (date(2026, 3, 2), FactState.LATER),
        (date(2028, 2, 29), FactState.LATER),
        (date(2028, 3, 1), FactState.WRONG),
        (None, FactState.NONE),
    ],
)
def test_the_window_and_today(start: date | None, state: FactState) -> None:
    assert judge(replace(SERVICE, start=Dated(start)), STANDS, RULES, NAMES, TODAY).start.state is state


@pytest.mark.parametrize(
    ("dates", "again"),
    [
        ({"start": date(2026, 2, 1)}, None),
        ({"start": date(2026, 3, 9)}, date(2026, 3, 9)),
        ({"start": date(2026, 2, 1), "end": date(2026, 3, 20)}, date(2026, 3, 20)),
        ({"start": date(2026, 3, 9), "end": date(2026, 3, 20)}, date(2026, 3, 9)),
        ({"start": date(2028, 3, 5)}, date(2026, 3, 6)),
    ],
)
def test_the_day_to_look_again(dates: dict[str, date], again: date | None) -> None:
    service = replace(SERVICE, **{name: Dated(on) for name, on in dates.items()})
    assert judge(service, NOTHING, RULES, NAMES, TODAY).looks_again_on == again


def test_an_obsolete_type_of_a_reported_service_is_no_withdrawal() -> None:
    judged = judge(replace(SERVICE, local_type="GAMMEL"), STANDS, RULES, NAMES, TODAY)
    assert (judged.withdrawal, judged.service_type) == (None, None)
    assert [one.rule for one in judged.findings] == ["Q07"]


def test_a_finding_is_said_once() -> None:
    judged = judge(replace(SERVICE, provider=Provider("reha"), person=None), NOTHING, RULES, NAMES, TODAY)
    assert [one.rule for one in judged.findings] == ["Q15", "Q02"]
    assert len({one.text for one in judged.findings}) == 2


def test_a_fictitious_number_withdraws_before_anything_else_of_the_person_is_judged() -> None:
    rules = replace(RULES, fictitious_numbers=frozenset({PER}))
    person = replace(PERSON, number=PER, user_number=None)
    judged = judge(replace(SERVICE, person=person), STANDS, rules, NAMES, TODAY)
    assert judged.withdrawal is Withdrawal.FICTITIOUS
    assert [(one.rule, one.severity) for one in judged.findings] == [("Q01", Severity.WARN)]


def test_nothing_of_a_person_shows_in_a_repr() -> None:
    judged = judge(SERVICE, NOTHING, RULES, NAMES, TODAY)
    assert OLA not in repr(judged)
    assert OLA not in repr(SERVICE)
