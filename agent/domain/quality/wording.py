"""Words for findings: which service, which table and column, and what to do."""

from dataclasses import dataclass
from datetime import date

from agent.domain.finding import Finding, Severity
from agent.domain.identifiers import looks_like_identity_number
from agent.domain.mapping import EpjMapping, PauseColumns, Place
from agent.domain.quality.rules import Rules


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Each fact's own table and column in the EPJ, as "table.column", so that people find it."""

    type: str
    start: str
    end: str
    person: str
    number: str
    birth_date: str | None
    user_number: str
    organisation_number: str
    provider: str
    provider_changed_on: str
    pause_from: str
    pause_to: str
    placement_from: str
    district: str

    @classmethod
    def of(cls, mapping: EpjMapping) -> "FieldNames":
        service, person = mapping.service, mapping.person
        persons = service.person[-1].table if service.person else service.table
        units = service.provider[-1].table if service.provider else service.table
        pause = mapping.pauses[0] if mapping.pauses else None
        pauses = service.table if pause is None or isinstance(pause, PauseColumns) else pause.table
        placements = mapping.placements
        return cls(
            type=_name(service.table, service.type),
            start=_name(service.table, service.start),
            end=_name(service.table, service.end),
            person=_reference(service.table, service.person),
            number=_name(persons, person.number),
            birth_date=_name(persons, person.birth_date) if person.birth_date is not None else None,
            user_number=_name(persons, person.user_number),
            organisation_number=_name(units, mapping.organisation_number),
            provider=_reference(service.table, service.provider),
            provider_changed_on=_name(service.table, service.provider_changed_on),
            pause_from=_name(pauses, pause.begins) if pause else "the pause's from-date",
            pause_to=_name(pauses, pause.ends) if pause else "the pause's to-date",
            placement_from=_name(placements.table, placements.begins) if placements else "the placement's date",
            district=_name(persons, person.district),
        )


def _name(table: str, place: Place | None) -> str:
    if place is None:
        return f"a column that the mapping of {table} does not name"
    return f"{place.via[-1].table if place.via else table}.{place.column}"


def _reference(table: str, edges: tuple[object, ...]) -> str:
    by = getattr(edges[0], "by", ()) if edges else ()
    return f"{table}.{'+'.join(by)}" if by else table


def shown_key(key: str) -> str:
    """A row's key as people may see it: one that holds an identity number is repeated to nobody."""
    return "(a key that holds an identity number)" if looks_like_identity_number(key) else key


class Findings:
    """Collects what the rules find of one service, each text beginning with the service and its labels."""

    def __init__(self, key: str, labels: tuple[tuple[str, str], ...]) -> None:
        key = shown_key(key)
        self._key = key
        shown = ", ".join(f"{label} {value}" for label, value in labels if value)
        self._who = f"service {key}" + (f" ({shown})" if shown else "")
        self.all: list[Finding] = []

    def block(self, rule: str, text: str) -> None:
        self._add(rule, Severity.BLOCK, text)

    def hold(self, rule: str, text: str) -> None:
        self._add(rule, Severity.HOLD, text)

    def warn(self, rule: str, text: str) -> None:
        self._add(rule, Severity.WARN, text)

    def _add(self, rule: str, severity: Severity, text: str) -> None:
        finding = Finding(rule, severity, self._key, f"{self._who}: {text}")
        if finding not in self.all:
            self.all.append(finding)


@dataclass(frozen=True, slots=True)
class Judging:
    """What every rule needs: the configuration, the day in Norway, the names of fields, and where findings go."""

    rules: Rules
    today: date
    names: FieldNames
    found: Findings
