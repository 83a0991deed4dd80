"""Debezium gives each table a topic, and no order across topics: every order gives the same picture.

Each seed is another interleaving of the same topics, each topic in its own order. Whole topics come last or first, so
that a person's correction comes long after their service's changes, and the other way round. Records that come again,
as they do when Connect was restarted, tell nothing.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from agent.demo.debezium_lines import as_debezium
from agent.demo.epj import picture_of
from agent.demo.expected import DEMO_SERVICE_TYPES, Rules
from agent.demo.histories import Histories
from agent.demo.reconciliation import reconcile
from agent.demo.step import TABLES, Step
from agent.demo.told import PROVIDER, Held, Told, provider_last_told
from agent.domain import quality
from agent.domain.finding import Finding
from agent.domain.gate import GateLimits
from agent.domain.notification import Notification
from agent.domain.quality.rules import Profile
from agent.examine import open_gate
from agent.intake.booking import Booking
from agent.ledger.ledger import Ledger
from agent.ledger.transaction import LedgerTransaction
from agent.settings import capture
from agent.unit import ReportingUnit
from connectors.catalog import Encodings
from connectors.source import Capture, Encoding, Position, Transaction
from connectors.wire.debezium import DebeziumReader
from tests.agent_on_histories import TODAY, mapping
from tests.register_model import RegisterModel

SEEDS = 50
SERVICES = 30

Event = Mapping[str, Any]
Picture = dict[str, tuple[dict[tuple[str, str], Told], str | None]]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_across_topics_gives_what_the_epj_says(seed: int) -> None:
    steps = history(0.05)
    notifications, findings = run(interleaved(topics(0.05), Random(f"order/{seed}")))
    register = RegisterModel().replay(notifications)
    rules = Rules(service_types=DEMO_SERVICE_TYPES)
    assert reconcile(picture_of(steps), register.picture, findings, rules=rules, today=TODAY).differences == ()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_across_topics_gives_the_same_picture(seed: int) -> None:
    """Where nothing is wrong at the end nothing is left open: the pictures are equal, fact by fact."""
    notifications, _ = run(interleaved(topics(0.0), Random(f"order/{seed}")))
    assert last_told(RegisterModel().replay(notifications)) == picture_in_order()


@pytest.mark.parametrize("seed", range(SEEDS // 5))
def test_records_that_come_again_change_no_notification(seed: int) -> None:
    random = Random(f"again/{seed}")
    order = interleaved(topics(0.05), random)
    repeated = with_repeats(order, random)
    assert len(repeated) > len(order) + 10
    assert run(repeated)[0] == run(order)[0]


def test_the_orders_are_far_apart() -> None:
    """Else the two above would try one order fifty times: a correction comes before, and after, what it corrects."""
    corrections = [
        event for event in topics(0.05)["demo.public.bruker"] if event["value"] and event["value"]["op"] == "u"
    ]
    assert len(corrections) >= 3
    late = Counter[bool]()
    for seed in range(SEEDS):
        order = interleaved(topics(0.05), Random(f"order/{seed}"))
        last_service = max(place for place, event in enumerate(order) if event["topic"] == "demo.public.tjeneste")
        late[order.index(corrections[0]) > last_service] += 1
    assert min(late[True], late[False]) >= 5, late


@cache
def history(bad_share: float) -> tuple[Step, ...]:
    return tuple(Histories(4602, SERVICES, TODAY, bad_share=bad_share).steps())


@cache
def topics(bad_share: float) -> Mapping[str, Sequence[Event]]:
    """topic -> its records, in the topic's order."""
    found: dict[str, list[Event]] = {f"demo.public.{table}": [] for table in TABLES}
    for event in as_debezium(history(bad_share)):
        found[event["topic"]].append(event)
    assert all(found.values())
    return found


def interleaved(by_topic: Mapping[str, Sequence[Event]], random: Random) -> list[Event]:
    """One order of all records that keeps each topic's own, in stretches: one topic runs far ahead of another."""
    told = dict.fromkeys(by_topic, 0)
    favour = {topic: random.choice((0.02, 0.2, 1.0, 5.0, 50.0)) for topic in by_topic}
    order: list[Event] = []
    while going := [topic for topic in by_topic if told[topic] < len(by_topic[topic])]:
        topic = random.choices(going, [favour[topic] for topic in going])[0]
        first = told[topic]
        told[topic] = min(first + random.choice((1, 1, 3, 20)), len(by_topic[topic]))
        order += by_topic[topic][first : told[topic]]
    return order


def with_repeats(order: Sequence[Event], random: Random) -> list[Event]:
    """The same, but ten times a topic goes back by some records and tells them again before it goes on."""
    places = sorted(random.sample(range(1, len(order)), 10))
    repeated: list[Event] = []
    for first, last in pairwise([0, *places, len(order)]):
        repeated += order[first:last]
        topic = order[last - 1]["topic"]
        repeated += [event for event in order[:last] if event["topic"] == topic][-random.choice((2, 30)) :]
    return repeated


@cache
def wanted() -> Capture:
    return capture(mapping(), Encodings(date=Encoding.DAYS, timestamp=Encoding.MICROSECONDS))


def run(events: Sequence[Event]) -> tuple[list[Notification], list[Finding]]:
    """The records through reader, booking and examination, each a transaction of its own, as Kafka gives them."""
    types = {local: code or "none" for local, code in DEMO_SERVICE_TYPES.items()}
    unit = ReportingUnit(
        name="demo",
        mapping=mapping(),
        rules=quality.Rules(profile=Profile.TEST, service_types=types),
        digest="digest",
        secret=b"s" * 32,
        limits=GateLimits(owed_share=1.0, owed_minimum=1_000_000),
        fictitious_name=lambda name: name.casefold() == "donald duck",
    )
    now = datetime(TODAY.year, TODAY.month, TODAY.day, 6, tzinfo=UTC)
    with Ledger.open(":memory:", unit="demo", key=None) as ledger:
        ledger.run_now(lambda tx: open_gate(tx, unit))
        booking = Booking(unit)

        def book(tx: LedgerTransaction) -> dict[str, int]:
            for transaction in read(events):
                booking.book(tx, transaction, now)
            return tx.counters()

        counts = ledger.run_now(book)
        assert (counts["lines"], counts.get("unreadable", 0)) == (len(events), 0)
        notifications = [one.notification for one in ledger.read(lambda tx: list(tx.notifications(1, 10**9)))]
        return notifications, [finding for finding, _ in ledger.read(lambda tx: list(tx.findings()))]


def read(events: Sequence[Event]) -> Iterator[Transaction]:
    reader = DebeziumReader(wanted())
    next_offset = dict.fromkeys((f"demo.public.{table}" for table in TABLES), 0)
    for event in events:
        topic = event["topic"]
        key, value = (
            json.dumps(event[part]).encode() if event[part] is not None else None for part in ("key", "value")
        )
        record = reader.read(topic, key, value, place=f"{topic}/0/{next_offset[topic]}", raw=value or b"")
        next_offset[topic] += 1
        yield Transaction((record,), Position("kafka:test", {f"{one}/0": (at,) for one, at in next_offset.items()}))


def last_told(register: RegisterModel) -> Picture:
    """What stands of each service, and the provider told last: on the way there, orders tell of different providers."""
    return {service: (_facts(held), provider_last_told(held)) for service, held in register.picture.items()}


def _facts(held: Held) -> dict[tuple[str, str], Told]:
    return {
        slot: replace(told, first_number=0, organisation_number=None)
        for slot, told in held.items()
        if slot[0] != PROVIDER
    }


@cache
def picture_in_order() -> Picture:
    notifications, _ = run(tuple(as_debezium(history(0.0))))
    return last_told(RegisterModel().replay(notifications))
