"""Places in the chain (invariants 4 and 5), without a ledger."""

from datetime import UTC, date, datetime
from uuid import UUID

from agent.domain.chain import ChainEnd, extend, unit_namespace
from agent.domain.compare import Owed
from agent.domain.notification import FIRST_PREVIOUS_GUID, Content, Event, ReportedPerson, Status
from agent.domain.reported import Reported, Standing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMESPACE = unit_namespace("prove")
PERSON = ReportedPerson(UUID(int=7), "1", "17854010026", "1")


def content(on: date = date(2026, 2, 1)) -> Content:
    return Content("21", on, NOW, "810100001", PERSON)


def tell(reported: Reported, *owed: Owed, end: ChainEnd | None = None):
    return extend(end or ChainEnd(), reported, owed, namespace=NAMESPACE, arisen_at=NOW)


def new(event: Event, subject: str = "") -> Owed:
    return Owed(Status.NEW, event, subject, content())


def test_nothing_owed_leaves_the_chain_as_it_is() -> None:
    reported = Reported("10")
    assert tell(reported, end=ChainEnd(5, UUID(int=9))) == ([], reported, ChainEnd(5, UUID(int=9)))


def test_each_points_to_the_one_before_it() -> None:
    told, reported, end = tell(Reported("10"), new(Event.START), new(Event.PAUSE_FROM, "7"))
    assert [one.number for one in told] == [1, 2]
    assert [one.previous_guid for one in told] == [FIRST_PREVIOUS_GUID, told[0].guid]
    assert end == ChainEnd(2, told[1].guid)
    assert [one.slot for one in reported.standing] == [(Event.START, ""), (Event.PAUSE_FROM, "7")]


def test_only_pauses_have_a_pause_id_and_are_followed() -> None:
    told, reported, _ = tell(Reported("10"), new(Event.START), new(Event.PROVIDER, "1"), new(Event.PAUSE_FROM, "7"))
    assert [one.pause_id for one in told] == [None, None, "7"]
    assert reported.followed_pauses == {"7"}
    assert reported.changes_told == 1


def test_a_replacement_keeps_the_original_and_has_a_version_of_its_own() -> None:
    told, reported, end = tell(Reported("10"), new(Event.START))
    standing = reported.standing[0]
    again = Owed(Status.REPLACE, Event.START, "", content(date(2026, 2, 2)), standing)
    replaced, reported, _ = tell(reported, again, end=end)
    assert replaced[0].original_guid == told[0].guid
    assert replaced[0].event_guid != told[0].event_guid
    assert reported.standing[0].original_guid == told[0].guid
    assert reported.standing[0].original_number == 1
    assert reported.standing[0].event_guid == replaced[0].event_guid
    assert reported.versions == {(Event.START, ""): 2}


def test_an_annulment_names_the_version_it_annuls_and_versions_survive_it() -> None:
    told, reported, end = tell(Reported("10"), new(Event.START))
    annul = Owed(Status.ANNUL, Event.START, "", content(), reported.standing[0])
    annulled, reported, end = tell(reported, annul, end=end)
    assert annulled[0].event_guid == told[0].event_guid
    assert annulled[0].guid != told[0].guid
    assert reported.standing == ()
    assert reported.ever
    back, reported, _ = tell(reported, new(Event.START), end=end)
    assert back[0].event_guid != told[0].event_guid
    assert reported.versions == {(Event.START, ""): 2}


def test_guids_that_stand_are_read_and_never_derived_again() -> None:
    imported = Standing(Event.START, "", UUID(int=2), 1, UUID(int=3), content())
    reported = Reported("10", (imported,), {(Event.START, ""): 1})
    told, _, _ = tell(reported, Owed(Status.ANNUL, Event.START, "", content(), imported))
    assert (told[0].event_guid, told[0].original_guid) == (UUID(int=3), UUID(int=2))


def test_only_new_changes_of_provider_are_counted() -> None:
    _, reported, end = tell(Reported("10"), new(Event.START), new(Event.PROVIDER, "1"))
    again = Owed(Status.REPLACE, Event.PROVIDER, "1", content(), reported.at(Event.PROVIDER, "1"))
    _, reported, end = tell(reported, again, end=end)
    annul = Owed(Status.ANNUL, Event.PROVIDER, "1", content(), reported.at(Event.PROVIDER, "1"))
    _, reported, _ = tell(reported, annul, end=end)
    assert reported.changes_told == 1


def test_the_same_history_gives_the_same_chain_and_another_unit_another() -> None:
    assert tell(Reported("10"), new(Event.START)) == tell(Reported("10"), new(Event.START))
    assert unit_namespace("prove") != unit_namespace("annen")


def test_services_events_subjects_and_versions_have_guids_of_their_own() -> None:
    told = [
        tell(Reported(service), new(event, subject))[0][0].event_guid
        for service in ("10", "11")
        for event, subject in ((Event.PAUSE_FROM, "1"), (Event.PAUSE_TO, "1"), (Event.PAUSE_FROM, "2"))
    ]
    assert len(set(told)) == 6
