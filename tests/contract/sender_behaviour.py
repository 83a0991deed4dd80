"""What every Sender does, whatever is behind it: a connector's test class inherits SenderBehaviour."""

import asyncio
import uuid
from dataclasses import dataclass, replace

from connectors.sender import Outgoing, Sender, Verdict


def message(number: int = 0, **other: object) -> Outgoing:
    """A message with a new id. The body is no text, so that a sender that decodes it shows."""
    plain = Outgoing(
        message_id=str(uuid.uuid4()),
        to="there",
        reply_to="1234_async",
        subject="KPR_IPL",
        content_type="application/pkcs7-mime; smime-type=signed-and-enveloped-data",
        properties={"fromHerId": "93238", "toHerId": "8139520", "applicationTimeStamp": "2026-11-21T12:00:00Z"},
        body=b"\x30\x82\x00\xff\xfe" + str(number).encode(),
    )
    return replace(plain, **other)  # type: ignore[arg-type]  # fields of Outgoing


@dataclass(frozen=True, slots=True)
class Delivered:
    """What stands at the far end, in the order it got there."""

    name: str
    body: bytes


class SenderBehaviour:
    """Override `make_sender` (a sender, not entered, that can reach its far end) and `take_delivered`."""

    def make_sender(self) -> Sender:
        raise NotImplementedError

    async def take_delivered(self, count: int) -> list[Delivered]:
        """The first `count` messages at the far end, in order, taken away."""
        raise NotImplementedError

    async def test_what_is_accepted_is_at_the_far_end_unchanged(self) -> None:
        outgoing = message()
        async with self.make_sender() as sender:
            outcome = await sender.send(outgoing)
        assert outcome.verdict is Verdict.ACCEPTED
        assert await self.take_delivered(1) == [Delivered(outgoing.message_id, outgoing.body)]

    async def test_transfers_leave_in_the_order_of_the_calls(self) -> None:
        messages = [message(number) for number in range(40)]
        async with self.make_sender() as sender:
            outcomes = await asyncio.gather(*(sender.send(outgoing) for outgoing in messages))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
        delivered = await self.take_delivered(40)
        assert sorted(one.body for one in delivered) == sorted(one.body for one in messages)
        if self.keeps_order:
            assert [one.body for one in delivered] == [one.body for one in messages]

    keeps_order = True
    """Whether the far end can tell the order."""

    async def test_the_same_id_again_is_accepted_again(self) -> None:
        outgoing = message()
        async with self.make_sender() as sender:
            outcomes = [await sender.send(outgoing), await sender.send(outgoing)]
        assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED, Verdict.ACCEPTED]
        assert {one.name for one in await self.take_delivered(self.copies_of_a_repeated_id)} == {outgoing.message_id}

    copies_of_a_repeated_id = 2
    """How often the far end has a message that was sent twice."""

    async def test_a_sender_can_be_left_without_having_sent(self) -> None:
        async with self.make_sender():
            pass

    async def test_a_large_body_arrives_whole(self) -> None:
        outgoing = message(body=bytes(range(256)) * 4096)
        async with self.make_sender() as sender:
            outcome = await sender.send(outgoing)
        assert outcome.verdict is Verdict.ACCEPTED
        assert [one.body for one in await self.take_delivered(1)] == [outgoing.body]

    async def test_sending_after_leaving_is_an_outcome_and_nothing_goes(self) -> None:
        async with self.make_sender() as sender:
            pass
        assert (await sender.send(message())).verdict is Verdict.UNAVAILABLE

    async def test_repr_and_outcome_quote_no_body(self) -> None:
        outgoing = message(body=b"canary")
        async with self.make_sender() as sender:
            outcome = await sender.send(outgoing)
        await self.take_delivered(1)
        for text in (repr(outgoing), repr(outcome), repr(sender)):
            assert "canary" not in text
