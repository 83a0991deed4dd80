"""The providing unit's organisation number (Q02, Q03)."""

from datetime import date

from agent.domain.care import Absent, CareService, Placement, Provider
from agent.domain.codes import organisation_number_required
from agent.domain.identifiers import organisation_number_problem
from agent.domain.judged import DateFact, FactState, JudgedNumber, JudgedPlacement
from agent.domain.quality.dates import date_fact, say_unknown
from agent.domain.quality.wording import Judging, shown_key


def judge_provider(
    provider: Provider | Absent | None, service_type: str | None, judging: Judging, of: str = ""
) -> JudgedNumber:
    """The number that may be told. A bad one parks a type that needs none too; a missing one only warns there."""
    if isinstance(provider, Absent):
        what = "was deleted: restore it, or correct the reference" if provider.deleted else "is not there yet"
        judging.found.hold("H01", f"{of}the row of {provider.table} that {judging.names.provider} points to {what}")
        return JudgedNumber(None, usable=False, since=provider.since)
    if provider is not None and provider.defect is not None:
        judging.found.block("Q20", f"{of}the unit's row has a record that cannot be read: {provider.defect}")
        return JudgedNumber(None, usable=False, since=provider.since)
    if provider is None or provider.organisation_number is None:
        since = provider.since if provider is not None else None
        if service_type is None:  # nobody can say whether one is needed; the type's own finding keeps it back
            return JudgedNumber(None, usable=False, since=since)
        if organisation_number_required(service_type):
            judging.found.block(
                "Q03", f"{of}{judging.names.organisation_number} is empty and the service type requires it: fill it in"
            )
            return JudgedNumber(None, usable=False, since=since)
        judging.found.warn(
            "Q03", f"{of}{judging.names.organisation_number} is empty: sent without; fill it in if a unit provides it"
        )
        return JudgedNumber(None, usable=True, since=since)
    problem = organisation_number_problem(provider.organisation_number)
    if problem is not None:
        judging.found.block(
            "Q02", f"{of}{judging.names.organisation_number} is no valid organisation number ({problem}): correct it"
        )
        return JudgedNumber(None, usable=False, since=provider.since)
    return JudgedNumber(provider.organisation_number, usable=True, since=provider.since)


def judge_placements(
    service: CareService, service_type: str | None, judging: Judging
) -> tuple[JudgedPlacement, ...] | None:
    """Dated providers by their first days; None where the EPJ does not date them."""
    if service.placements is None:
        return None
    judged = [_judge_placement(placement, service_type, judging) for placement in service.placements]
    return tuple(sorted(judged, key=lambda placement: (placement.begins.on or date.max, placement.key)))


def _judge_placement(placement: Placement, service_type: str | None, judging: Judging) -> JudgedPlacement:
    begins = date_fact(placement.begins, judging)
    of = f"the placement {shown_key(placement.key)}: "
    if placement.defect is not None:
        judging.found.block("Q20", f"{of}its record cannot be read: {placement.defect}")
        return JudgedPlacement(placement.key, _wrong(begins), JudgedNumber(None, usable=False))
    if not placement.begins.known:
        say_unknown(f"{of}{judging.names.placement_from}", placement.begins, judging)
    elif begins.state in (FactState.WRONG, FactState.NONE):
        judging.found.block(
            "Q05", f"{of}{judging.names.placement_from} is empty or outside the window: correct the date"
        )
        begins = _wrong(begins)
    return JudgedPlacement(placement.key, begins, judge_provider(placement.provider, service_type, judging, of))


def _wrong(fact: DateFact) -> DateFact:
    return DateFact(FactState.WRONG, fact.on, fact.since)
