"""Sending again by a person's word: from the halt on, in order, with the same notifications and new ids."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.dispatch.envelope import MessageInvalid, build_envelope
from agent.dispatch.resend import ResendRefused, Resent, resend
from agent.dispatch.turn import INVALID_NOTE
from agent.domain.delivery import State
from agent.domain.hodemelding import melding_in
from agent.domain.xml_reading import NotRead, children, read_xml
from agent.ledger.ledger import Ledger
from tests.outbound import ENVELOPES, NOW, all_envelopes, chain, count_ids, notification, open_ledger, states

LATER = NOW + timedelta(days=1)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger() as opened:
        chain(opened, 6)
        yield opened


def store(ledger: Ledger, *wanted: str, numbers: int = 1) -> None:
    """One envelope for each state, `numbers` notifications in each."""
    new_id = count_ids()

    def work(tx) -> None:
        for place, state in enumerate(wanted):
            first = 1 + place * numbers
            made = build_envelope(
                [notification(number) for number in range(first, first + numbers)],
                ENVELOPES,
                msg_id=new_id(),
                message_id=new_id(),
                at=NOW,
            )
            tx.add_envelope(
                str(made.msg_id),
                str(made.message_id),
                made.first_number,
                made.last_number,
                content=made.content,
                state=state,
                at=NOW,
            )

    ledger.run_now(work)


def again(ledger: Ledger, message: str | None = None) -> Resent:
    ids = count_ids()
    for _ in range(100):
        ids()
    return ledger.run_now(lambda tx: resend(tx, message, ENVELOPES, at=LATER, new_id=ids))


def placed(resent: Resent) -> list[tuple[int, int]]:
    return [(each.first_number, each.last_number) for each in resent.reissued]


def test_from_the_halt_on_all_that_has_no_positive_receipt_goes_again(ledger: Ledger) -> None:
    store(ledger, "receipted", "sent", "rejected", "sent", "receipted", "ready")
    found = again(ledger)
    assert placed(found) == [(3, 3), (4, 4), (6, 6)]
    assert states(ledger) == [
        *["receipted", "sent", "superseded", "superseded", "receipted", "superseded"],
        *["ready", "ready", "ready"],
    ]
    envelopes = all_envelopes(ledger)
    assert [each.superseded_by for each in envelopes[2:6]] == [7, 8, None, 9]
    assert found.unanswered_before == (envelopes[1].msg_id,)
    assert len({each.msg_id for each in envelopes} | {each.message_id for each in envelopes}) == 18
    assert [each.new_msg_id for each in found.reissued] == [each.msg_id for each in envelopes[6:]]


def test_invariant_4_what_the_notifications_say_does_not_change(ledger: Ledger) -> None:
    store(ledger, "rejected", "sent", numbers=3)
    assert placed(again(ledger)) == [(1, 3), (4, 6)]

    def said(envelope_id: int) -> list[tuple[str, ...]]:
        content = ledger.run_now(lambda tx: tx.envelope_content(envelope_id)) or b""
        root = read_xml(content)
        assert not isinstance(root, NotRead)
        return [
            tuple(value for element in each.iter() for _, value in sorted(element.attrib.items()))
            for each in children(melding_in(root), "Notifikasjon")
        ]

    assert said(1) == said(3)
    assert said(2) == said(4)
    assert len(said(1)) == 3


def test_an_answer_that_was_unclear_comes_first_where_it_stands_before_the_halt(ledger: Ledger) -> None:
    store(ledger, "receipted", "unclear", "sent", "rejected")
    assert placed(again(ledger)) == [(2, 2), (3, 3), (4, 4)]


def test_a_message_the_broker_refused_goes_again(ledger: Ledger) -> None:
    store(ledger, "refused", "ready")
    assert placed(again(ledger)) == [(1, 1), (2, 2)]


def test_a_named_message_is_the_first_to_go_again_by_either_of_its_ids(ledger: Ledger) -> None:
    store(ledger, "sent", "sent", "sent")
    envelopes = all_envelopes(ledger)
    assert placed(again(ledger, "{" + envelopes[1].msg_id.upper() + "}")) == [(2, 2), (3, 3)]


def test_the_amqp_message_id_names_it_too(ledger: Ledger) -> None:
    store(ledger, "sent", "sent")
    assert placed(again(ledger, all_envelopes(ledger)[1].message_id)) == [(2, 2)]


def test_it_can_be_done_again_after_another_refusal(ledger: Ledger) -> None:
    store(ledger, "sent", "rejected", "sent")
    again(ledger)
    newer = all_envelopes(ledger)[3]
    ledger.run_now(lambda tx: tx.set_envelope(newer.id, state=State.REJECTED.value))
    ids = count_ids()
    for _ in range(300):
        ids()
    found = ledger.run_now(lambda tx: resend(tx, None, ENVELOPES, at=LATER, new_id=ids))
    assert placed(found) == [(2, 2), (3, 3)]
    assert states(ledger)[3:] == ["superseded", "superseded", "ready", "ready"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (None, "nothing to send again"),
        ("99999999-0000-0000-0000-000000000000", "no message of this ledger"),
        ("receipted", "positive receipt"),
    ],
)
def test_what_must_not_go_again_is_refused_and_nothing_changes(ledger: Ledger, message: str | None, why: str) -> None:
    store(ledger, "receipted", "sent")
    name = all_envelopes(ledger)[0].msg_id if message == "receipted" else message
    with pytest.raises(ResendRefused, match=why):
        again(ledger, name)
    assert states(ledger) == ["receipted", "sent"]


def test_what_was_sent_again_already_names_the_newer_one(ledger: Ledger) -> None:
    store(ledger, "rejected")
    old = all_envelopes(ledger)[0].msg_id
    newer = again(ledger).reissued[0].new_msg_id
    with pytest.raises(ResendRefused, match=newer):
        again(ledger, old)


def test_a_message_behind_the_halt_cannot_be_the_first(ledger: Ledger) -> None:
    store(ledger, "rejected", "sent")
    first, second = all_envelopes(ledger)
    with pytest.raises(ResendRefused, match=first.msg_id):
        again(ledger, second.msg_id)


def test_all_of_it_happens_or_nothing(ledger: Ledger) -> None:
    store(ledger, "rejected", "sent")
    wrong = replace(ENVELOPES, contacts=())
    with pytest.raises(MessageInvalid):
        ledger.run_now(lambda tx: resend(tx, None, wrong, at=LATER, new_id=count_ids()))
    assert states(ledger) == ["rejected", "sent"]


def test_a_long_way_back_is_read_whole(ledger: Ledger) -> None:
    chain(ledger, 444)
    store(ledger, "rejected", *["sent"] * 449)
    assert len(ledger.run_now(lambda tx: resend(tx, None, ENVELOPES, at=LATER, new_id=_fresh())).reissued) == 450
    assert ledger.run_now(lambda tx: tx.count_envelopes()) == {"ready": 450, "superseded": 450}
    assert ledger.run_now(lambda tx: tx.note(INVALID_NOTE)) is None


def _fresh():
    ids = count_ids()
    for _ in range(2000):
        ids()
    return ids
