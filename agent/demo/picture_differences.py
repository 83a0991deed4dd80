"""What a register holds against what the EPJ says must stand there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent.demo.expected import ABSENT, Expected, Fact, Stance
from agent.demo.told import END, PAUSE_FROM, PAUSE_TO, PROVIDER, START, Held, RegisterPicture, Told, provider_last_told


def compare_pictures(expected: Mapping[str, Expected], register: RegisterPicture) -> list[str]:
    """Every difference that no open fact can excuse, one line each, naming service and event and no person."""
    found: list[str] = []
    for service in sorted(set(expected) | set(register)):
        wanted, held = expected.get(service, Expected(ABSENT)), register.get(service, {})
        found += [f"service {service}: {difference}" for difference in differences(wanted, held)]
    return found


def differences(wanted: Expected, held: Held) -> Iterator[str]:
    """The differences of one service."""
    start = held.get((START, ""))
    if start is None:
        if held:
            yield "events stand without a start"
        if wanted.start.stance is Stance.STANDS:
            yield f"{START} does not stand and should"
        return
    if _lacks_its_number(wanted, start):
        wanted = _kept_back(wanted, wanted.provider_open)
    yield from _event(START, wanted.start, start)
    if wanted.start.stance is Stance.ABSENT:
        return
    yield from _event(END, wanted.end, held.get((END, "")))
    for pause in sorted({subject for event, subject in held if event in (PAUSE_FROM, PAUSE_TO)} | set(wanted.pauses)):
        begins, ends = wanted.pauses.get(pause, (ABSENT, ABSENT))
        yield from _event(f"{PAUSE_FROM} {pause}", begins, held.get((PAUSE_FROM, pause)))
        yield from _event(f"{PAUSE_TO} {pause}", ends, held.get((PAUSE_TO, pause)))
    if wanted.provider and not wanted.provider_open and provider_last_told(held) != wanted.provider:
        yield f"{PROVIDER}: the provider last told is not the present one"
    yield from _everywhere(wanted, held)


def _event(name: str, fact: Fact, told: Told | None) -> Iterator[str]:
    if told is None:
        if fact.stance is Stance.STANDS:
            yield f"{name} does not stand and should"
    elif fact.stance is Stance.ABSENT:
        yield f"{name} stands and should not"
    elif fact.stance is not Stance.OPEN and told.on != fact.on:
        yield f"{name} stands with {told.on}, the EPJ says {fact.on}"


def _everywhere(wanted: Expected, held: Held) -> Iterator[str]:
    """Type and person are the same in every event that stands, whatever else of it is open."""
    for (event, subject), told in sorted(held.items()):
        name = f"{event} {subject}".strip()
        if wanted.service_type and told.service_type != wanted.service_type:
            yield f"{name} has the type {told.service_type}, the EPJ says {wanted.service_type}"
        if wanted.person and told.person != wanted.person:
            yield f"{name} stands on another person, number or number type"


def _lacks_its_number(wanted: Expected, start: Told) -> bool:
    """A start told without a number (29), whose new type needs one: nothing new can be told until there is one."""
    without = start.organisation_number is None and bool(wanted.provider_open)
    return without and wanted.service_type != start.service_type


def _kept_back(wanted: Expected, why: str) -> Expected:
    pauses = {key: (begins.unless(why), ends.unless(why)) for key, (begins, ends) in wanted.pauses.items()}
    start, end = wanted.start.unless(why), wanted.end.unless(why)
    return replace(wanted, start=start, end=end, pauses=pauses, service_type=None)
