"""The end of a demo: what the EPJ says, what the register holds, and what is parked or held and why.

Neither side is the agent's own state: the EPJ's rows are read by the oracle, the picture is the register's. The agent's
findings only have to explain what may differ; a finding on what nothing is wrong with is a difference too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from agent.demo.epj import EpjPicture
from agent.demo.expected import Expected, Rules, expected_picture
from agent.demo.picture_differences import differences
from agent.demo.told import Held, RegisterPicture
from agent.domain.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Waiting:
    """A service that is parked or held in part: what the oracle sees in its rows, and what the agent says of it."""

    service: str
    severity: Severity
    reasons: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """services: rows of services in the EPJ; standing: services and events that the register holds.

    `differences` names services and events, no person; empty when EPJ, register and findings agree.
    """

    services: int
    standing_services: int
    standing_events: int
    parked: tuple[Waiting, ...]
    held: tuple[Waiting, ...]
    differences: tuple[str, ...] = field(default=())

    @property
    def agrees(self) -> bool:
        return not self.differences


def reconcile(
    epj: EpjPicture, register: RegisterPicture, findings: Iterable[Finding], *, rules: Rules, today: date
) -> Reconciliation:
    """Hold the three against each other. `findings` as they stand in the ledger; `today`: the day in Norway."""
    expected = expected_picture(epj, rules, today)
    said = _by_service(findings)
    found: list[str] = []
    waiting: list[Waiting] = []
    for service in sorted(set(expected) | set(register), key=_by_number):
        wanted, held = expected.get(service), register.get(service, {})
        if wanted is None:
            found += [f"service {service}: it stands in the register and is not in the EPJ"] if held else []
            continue
        texts = said.get(service, ())
        found += [f"service {service}: {text}" for text in differences(wanted, held)]
        found += [f"service {service}: {text}" for text in _unexplained(wanted, held, texts)]
        waiting += _waiting(service, wanted, texts)
    return Reconciliation(
        services=len(expected),
        standing_services=len(register),
        standing_events=sum(len(held) for held in register.values()),
        parked=tuple(one for one in waiting if one.severity is Severity.BLOCK),
        held=tuple(one for one in waiting if one.severity is Severity.HOLD),
        differences=tuple(found),
    )


def lines(result: Reconciliation, *, most: int = 20) -> Iterator[str]:
    """The result as plain lines for a person; at most `most` lines of each list."""
    yield f"EPJ: {result.services} services"
    yield f"register: {result.standing_services} services with {result.standing_events} events that stand"
    for name, waiting in (("parked", result.parked), ("held", result.held)):
        yield f"{name}: {len(waiting)} services"
        yield from (f"  {text}" for one in waiting[:most] for text in one.texts)
        yield from _rest(len(waiting), most)
    yield f"differences: {len(result.differences)}"
    yield from (f"  {text}" for text in result.differences[:most])
    yield from _rest(len(result.differences), most)


def _unexplained(wanted: Expected, held: Held, findings: Iterable[Finding]) -> Iterator[str]:
    findings = tuple(findings)
    reasons = sorted(set(wanted.reasons()))
    is_unjudged = wanted.left_out and not held
    if reasons and not findings and not is_unjudged:
        yield f"no finding says that {' and that '.join(reasons)}"
    keeps_back = {finding.rule for finding in findings if finding.severity is not Severity.WARN}
    if keeps_back and wanted.is_right():
        yield f"{', '.join(sorted(keeps_back))} keeps something back, and nothing is wrong with it"


def _waiting(service: str, wanted: Expected, findings: Iterable[Finding]) -> Iterator[Waiting]:
    findings = tuple(findings)
    reasons = tuple(sorted(set(wanted.reasons())))
    for severity in (Severity.BLOCK, Severity.HOLD):
        texts = tuple(finding.text for finding in findings if finding.severity is severity)
        if texts:
            yield Waiting(service, severity, reasons, texts)
            return


def _by_service(findings: Iterable[Finding]) -> Mapping[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.service is not None:
            found.setdefault(finding.service, []).append(finding)
    return found


def _by_number(service: str) -> tuple[int, str]:
    return (int(service) if service.isdecimal() else 0, service)


def _rest(count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f"  ... and {count - most} more"
