"""What an auditor and a caseworker see: messages, the story of a service, what waits for people."""

from uuid import uuid4

from agent.domain.delivery import State
from agent.ledger.ledger import Ledger
from agent.verbs.listing import message_lines, messages, reported_for, waiting_for_people
from tests.world import World, d


def send(ledger: Ledger, first: int, last: int, world: World) -> str:
    """An envelope that was sent and answered positively; its MsgId."""
    msg_id = str(uuid4())

    def work(tx):
        envelope = tx.add_envelope(
            msg_id, str(uuid4()), first, last, content=b"<x/>", state=State.RECEIPTED.value, at=world.now
        )
        tx.set_envelope(envelope, sent_at=world.now, closed_at=world.now)
        tx.book_receipt(envelope, "receipt", "positive", digest=msg_id.encode(), content=b"<a/>", at=world.now)

    ledger.run_now(work)
    return msg_id


def test_the_story_of_a_service_was_it_reported_when_and_what_came_back() -> None:
    world = World()
    world.put("tjeneste", 10)
    msg_id = send(world.ledger, 1, 1, world)
    world.put("tjeneste", 10, slutt_dato=d("02-20"))
    start, end = world.ledger.read(lambda tx: reported_for(tx, "10"))
    assert (start["event"], start["status"], start["message"]["msg_id"]) == ("TjenesteStart", "N", msg_id)
    assert [answer["verdict"] for answer in start["message"]["receipts"]] == ["positive"]
    assert start["source"]["table"] == "public.tjeneste"
    assert (end["event"], end["date"], end["message"]) == ("TjenesteSlutt", "2026-02-20", None)
    shown = list(message_lines([start, end]))
    assert msg_id in shown[0]
    assert "answered: positive" in shown[0]
    assert "not in a message yet" in shown[1]
    assert world.ledger.read(lambda tx: reported_for(tx, "11")) == []


def test_the_last_messages_in_order() -> None:
    world = World()
    for key in (10, 11, 12):
        world.put("tjeneste", key)
    sent = [send(world.ledger, number, number, world) for number in (1, 2, 3)]
    found = world.ledger.read(lambda tx: messages(tx, last=2))
    assert [one["msg_id"] for one in found] == sent[1:]
    assert [(one["first_number"], one["state"]) for one in found] == [(2, "receipted"), (3, "receipted")]


def test_what_waits_for_people_leaves_out_warnings_and_what_was_mended() -> None:
    world = World()
    world.put("tjeneste", 10, slutt_dato=d("1986-01-01"))
    world.put("tjeneste", 11, start_dato=None)  # a warning only
    found = world.ledger.read(waiting_for_people)
    assert [(one["rule"], one["severity"], one["service"]) for one in found] == [("Q05", "block", "10")]
    assert "slutt_dato" in found[0]["text"]
    world.put("tjeneste", 10, slutt_dato=None)
    assert world.ledger.read(waiting_for_people) == []
