"""The rules in their order, over one service."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from agent.domain import codes
from agent.domain.assemble import latest
from agent.domain.care import CareService, Person
from agent.domain.judged import DateFact, FactState, Judged, JudgedNumber, JudgedPlacement, LeftOut, Withdrawal
from agent.domain.quality.dates import (
    date_fact,
    judge_pauses,
    judge_stay,
    key_problem,
    outside,
    over_before_cut_off,
    say_unknown,
)
from agent.domain.quality.person import judge_person
from agent.domain.quality.provider import judge_placements, judge_provider
from agent.domain.quality.rules import Rules
from agent.domain.quality.wording import FieldNames, Findings, Judging
from agent.domain.reported import Reported


def judge(service: CareService, reported: Reported, rules: Rules, names: FieldNames, today: date) -> Judged:
    """Every fact of a service with the verdict on it, as of `today` (the day in Norway)."""
    judging = Judging(rules, today, names, Findings(service.key, service.labels))
    return _Judgement(service, reported, judging).whole()


@dataclass(frozen=True, slots=True)
class _Judgement:
    service: CareService
    reported: Reported
    judging: Judging

    @property
    def _stands(self) -> bool:
        return bool(self.reported.standing)

    def whole(self) -> Judged:
        service, found = self.service, self.judging.found
        if service.deleted or service.annulled:
            why = Withdrawal.DELETED if service.deleted else Withdrawal.ANNULLED
            return self._withdrawn(found, why, service.withdrawn_at, LeftOut.WITHDRAWN)
        if service.defect is not None:
            found.block("Q20", f"its newest record cannot be read: {service.defect}")
            return Judged(service.key, tuple(found.all), frozen=True)
        if service.waits_for is not None:
            found.hold("H01", f"waits for the row of {service.waits_for.table} that says its type")
            return Judged(service.key, tuple(found.all), frozen=True)
        code = self._code()
        if code is not None and not codes.is_reported(code) and not _obsolete(code):
            return self._withdrawn(found, Withdrawal.NOT_REPORTED, service.type_since, LeftOut.NOT_REPORTED)
        left_out = None if self._stands else self._left_out(code, found)
        if left_out is not None:
            return Judged(service.key, tuple(found.all), left_out=left_out, looks_again_on=self._looks_again_on())
        return self._facts(code, found)

    def _code(self) -> str | None:
        """The code of 9151 that the local type means; NOT_REPORTED; None where it is not mapped."""
        local = self.service.local_type
        return self.judging.rules.service_types.get(local) if local is not None else None

    def _left_out(self, code: str | None, found: Findings) -> LeftOut | None:
        """Why a service of which nothing stands owes nothing; what is left out is not judged further."""
        if not self.reported.ever and over_before_cut_off(self.service, self.judging):
            return LeftOut.BEFORE_CUT_OFF
        if code is None:
            found.warn("Q08", f"{self._unmapped()}: not reported; map it, or say that it means none")
            return LeftOut.UNMAPPED
        if self.service.start.on is None and self.service.start.known:
            found.warn("Q04", f"{self.judging.names.start} is empty: not reported until there is a date")
            return LeftOut.NO_START
        return None

    def _facts(self, code: str | None, found: Findings) -> Judged:
        service, names = self.service, self.judging.names
        verdict = judge_person(service.person, self.reported, self.judging)
        if verdict.fictitious:
            return self._withdrawn(found, Withdrawal.FICTITIOUS, _since(service.person), LeftOut.FICTITIOUS)
        if verdict.fictitious_name:
            return Judged(service.key, tuple(found.all), left_out=LeftOut.FICTITIOUS)
        problem = key_problem(service.key)
        if problem is not None:
            found.block("Q16", f"its key cannot be sent as an id: {problem}; map another key")
            return Judged(service.key, tuple(found.all), frozen=True)
        service_type = self._judge_type(code, found)
        told_type = self.reported.standing[0].content.service_type if self._stands else None
        start, end = judge_stay(service, self.judging)
        if start.state is FactState.LATER:
            found.hold("H02", f"{names.start} is {start.on}: reported on that day")
        provider, placements, changed_on = self._judge_providers(service_type or told_type, found)
        followed = self.reported.followed_pauses
        pauses = judge_pauses(service, (start, end), followed, self.judging)
        return Judged(
            key=service.key,
            findings=tuple(found.all),
            service_type=service_type,
            type_since=service.type_since,
            person=verdict.person,
            start=start,
            end=end,
            provider=provider,
            provider_changed_on=changed_on,
            placements=placements,
            pauses=pauses,
            gone_pauses=service.gone_pauses,
            looks_again_on=self._looks_again_on(),
        )

    def _judge_type(self, code: str | None, found: Findings) -> str | None:
        if code is None:
            found.block("Q08", f"{self._unmapped()}, and the service is reported: map it, or correct it")
            return None
        if _obsolete(code):
            now = codes.SERVICE_TYPES[code].replaced_by
            found.block(
                "Q07",
                f"{self.judging.names.type} ({self.service.local_type}) means the obsolete code {code}: use {now}",
            )
            return None
        return code

    def _unmapped(self) -> str:
        if self.service.local_type is None:
            return f"{self.judging.names.type} is empty"
        return f"{self.judging.names.type} ({self.service.local_type}) is not among service_types"

    def _judge_providers(
        self, service_type: str | None, found: Findings
    ) -> tuple[JudgedNumber, tuple[JudgedPlacement, ...] | None, DateFact | None]:
        service, names = self.service, self.judging.names
        placements = judge_placements(service, service_type, self.judging)
        provider = service.provider if placements is None else None
        judged = JudgedNumber(None, usable=False)
        if not placements:
            judged = judge_provider(provider, service_type, self.judging)
        if not service.provider_dated:
            return judged, placements, None
        changed_on = date_fact(service.provider_changed_on, self.judging)
        if not service.provider_changed_on.known:
            say_unknown(names.provider_changed_on, service.provider_changed_on, self.judging)
        elif changed_on.state is FactState.WRONG:
            found.block("Q05", outside(names.provider_changed_on, changed_on, self.judging))
        return judged, placements, changed_on

    def _withdrawn(self, found: Findings, why: Withdrawal, at: datetime | None, left_out: LeftOut) -> Judged:
        return Judged(self.service.key, tuple(found.all), withdrawal=why, withdrawn_at=at, left_out=left_out)

    def _looks_again_on(self) -> date | None:
        """The first day to come on which a date is a fact, or on which one too far ahead enters the window."""
        service = self.service
        dates = [service.start.on, service.end.on, service.provider_changed_on.on]
        dates += [dated.on for pause in service.pauses for dated in (pause.begins, pause.ends)]
        dates += [placement.begins.on for placement in service.placements or ()]
        window = timedelta(days=self.judging.rules.latest_days_ahead)
        ahead = [on for on in dates if on is not None and on > self.judging.today]
        return min((on if on <= self.judging.today + window else on - window for on in ahead), default=None)


def _obsolete(code: str) -> bool:
    known = codes.SERVICE_TYPES.get(code)
    return known is not None and known.replaced_by is not None


def _since(person: object) -> datetime | None:
    return latest(person.changed_at, person.moved_at) if isinstance(person, Person) else None
