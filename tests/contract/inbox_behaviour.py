"""What every Inbox does, whatever is behind it. A connector's test class inherits InboxBehaviour and fills the gaps."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from connectors.inbox import Inbox, Incoming, Queue, Settlement

WAIT_S = 60
"""A bound that only a fault reaches."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """A message that a test puts on one of the inbox's queues."""

    queue: Queue = Queue.ASYNC
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    subject: str = "APPREC"
    body: bytes = b"\x30\x00\xff"


class InboxBehaviour:
    """Override `make_inbox` (not entered, its queues empty at the start of a test), `deposit` and `take_dead`."""

    def make_inbox(self) -> Inbox:
        raise NotImplementedError

    async def deposit(self, *deposits: Deposit) -> None:
        """Put messages on the queues, in order."""
        raise NotImplementedError

    async def take_dead(self) -> str:
        """The id of the next message in the dead-letter queue, taken away; waits for it."""
        raise NotImplementedError

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[Inbox, AsyncIterator[Incoming]]]:
        async with self.make_inbox() as inbox:
            yield inbox, inbox.messages()

    async def nothing_is_left(self) -> None:
        """On each queue the next message is the one that is put there now."""
        markers = {queue: Deposit(queue=queue) for queue in Queue}
        await self.deposit(*markers.values())
        async with self.reading() as (inbox, messages):
            for _ in Queue:
                incoming = await following(messages)
                await inbox.settle(incoming, Settlement.ACCEPT)
                assert incoming.message_id == markers[incoming.queue].message_id

    async def test_messages_of_both_queues_come_and_accepted_ones_never_again(self) -> None:
        receipt, error = Deposit(), Deposit(queue=Queue.ERROR, subject="AMQP_SOAP_FAULT", body=b"")
        await self.deposit(receipt, error)
        async with self.reading() as (inbox, messages):
            got = [await following(messages), await following(messages)]
            for incoming in got:
                await inbox.settle(incoming, Settlement.ACCEPT)
        assert {(one.queue, one.message_id, one.subject, one.body) for one in got} == {
            (one.queue, one.message_id, one.subject, one.body) for one in (receipt, error)
        }
        await self.nothing_is_left()

    async def test_what_is_not_settled_comes_again(self) -> None:
        sent = Deposit()
        await self.deposit(sent)
        async with self.reading() as (_, messages):
            assert (await following(messages)).message_id == sent.message_id
        async with self.reading() as (inbox, messages):
            again = await following(messages)
            await inbox.settle(again, Settlement.ACCEPT)
        assert again.message_id == sent.message_id
        await self.nothing_is_left()

    async def test_a_retried_message_comes_again_and_counts(self) -> None:
        sent = Deposit()
        await self.deposit(sent)
        async with self.reading() as (inbox, messages):
            first = await following(messages)
            await inbox.settle(first, Settlement.RETRY)
            again = await following(messages)
            await inbox.settle(again, Settlement.ACCEPT)
        assert again.message_id == sent.message_id
        if self.counts_deliveries:
            assert (first.delivery_count, again.delivery_count) == (0, 1)

    counts_deliveries = True
    """Whether a second delivery shows that it is one."""

    async def test_a_message_that_is_left_stays_in_the_queue(self) -> None:
        sent = Deposit()
        await self.deposit(sent)
        async with self.reading() as (inbox, messages):
            await inbox.settle(await following(messages), Settlement.LEAVE)
        async with self.reading() as (inbox, messages):
            again = await following(messages)
            await inbox.settle(again, Settlement.ACCEPT)
        assert again.message_id == sent.message_id

    @pytest.mark.parametrize("queue", Queue)
    async def test_a_dead_lettered_message_is_out_of_the_way_and_kept(self, queue: Queue) -> None:
        bad, good = Deposit(queue=queue), Deposit(queue=queue)
        await self.deposit(bad, good)
        async with self.reading() as (inbox, messages):
            await inbox.settle(await following(messages), Settlement.DEAD_LETTER)
            rest = await following(messages)
            await inbox.settle(rest, Settlement.ACCEPT)
        assert rest.message_id == good.message_id
        assert await self.take_dead() == bad.message_id
        await self.nothing_is_left()

    async def test_more_messages_than_credit_all_come_in_order(self) -> None:
        sent = [Deposit() for _ in range(70)]
        await self.deposit(*sent)
        got = []
        async with self.reading() as (inbox, messages):
            for _ in sent:
                incoming = await following(messages)
                got.append(incoming.message_id)
                await inbox.settle(incoming, Settlement.ACCEPT)
        assert got == [one.message_id for one in sent]
        await self.nothing_is_left()

    async def test_messages_settled_out_of_order_and_late_all_count(self) -> None:
        sent = [Deposit() for _ in range(10)]
        await self.deposit(*sent)
        async with self.reading() as (inbox, messages):
            got = [await following(messages) for _ in sent]
            for incoming in reversed(got):
                await inbox.settle(incoming, Settlement.ACCEPT)
        await self.nothing_is_left()

    async def test_settling_twice_is_refused(self) -> None:
        await self.deposit(Deposit())
        async with self.reading() as (inbox, messages):
            incoming = await following(messages)
            await inbox.settle(incoming, Settlement.ACCEPT)
            with pytest.raises(ValueError, match="settled before"):
                await inbox.settle(incoming, Settlement.ACCEPT)

    async def test_repr_quotes_neither_body_nor_properties(self) -> None:
        await self.deposit(Deposit(body=b"canary"))
        async with self.reading() as (inbox, messages):
            incoming = await following(messages)
            await inbox.settle(incoming, Settlement.ACCEPT)
        assert incoming.body == b"canary"
        assert "canary" not in repr(incoming)


async def following(messages: AsyncIterator[Incoming]) -> Incoming:
    """The next message, within a bound."""
    async with asyncio.timeout(WAIT_S):
        return await anext(messages)
