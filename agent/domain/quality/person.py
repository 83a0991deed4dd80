"""The person: who may be told of, by which number (Q01, Q09, Q14, Q15)."""

from dataclasses import dataclass

from agent.domain import codes
from agent.domain.assemble import latest
from agent.domain.care import Absent, Person
from agent.domain.identifiers import check_number, is_synthetic, type_from_digits
from agent.domain.judged import JudgedPerson
from agent.domain.message_text import USER_NUMBER_LENGTH, district_problem, text_problem
from agent.domain.quality.rules import Profile, Rules
from agent.domain.quality.wording import Judging
from agent.domain.reported import Reported


@dataclass(frozen=True, slots=True)
class PersonVerdict:
    """`person` None: not to be told of now. `fictitious`: by number, so what stands is annulled."""

    person: JudgedPerson | None
    fictitious: bool = False
    fictitious_name: bool = False


def number_and_type(person: Person) -> tuple[str | None, str]:
    """The person's number and its type of code system 9032, told from the digits where the EPJ names none."""
    number = person.number or None
    if number is None:
        return None, person.number_type or codes.OTHER_IDENTITY
    return number, person.number_type or type_from_digits(number)


def has_right_number(person: Person) -> bool:
    """Whether the number is there and passes the check of its type."""
    number, kind = number_and_type(person)
    return number is not None and kind in codes.IDENTITY_TYPES and check_number(number, kind) is None


def judge_person(person: Person | Absent | None, reported: Reported, judging: Judging) -> PersonVerdict:
    """The person as the register would be told."""
    if person is None:
        judging.found.block("Q15", f"{judging.names.person} is empty: the service must say whose it is")
        return PersonVerdict(None)
    if isinstance(person, Absent):
        judging.found.hold("H01", _away(person, judging))
        return PersonVerdict(None)
    if person.defect is not None:
        judging.found.block("Q20", f"the person's row has a record that cannot be read: {person.defect}")
        return PersonVerdict(None)
    if person.away is not None:
        judging.found.hold("H01", f"waits for a row of {person.away.table} that the person's row points to")
        return PersonVerdict(None)
    number, kind = number_and_type(person)
    if number is not None and _fictitious(number, kind, judging.rules):
        judging.found.warn("Q01", f"{judging.names.number} is a fictitious person's number: never sent")
        return PersonVerdict(None, fictitious=True)
    if person.fictitious_name:
        if not reported.standing:
            judging.found.warn("Q01", "the person's name is on the list of fictitious people: not sent")
            return PersonVerdict(None, fictitious_name=True)
        if person.user_number != reported.standing[0].content.person.user_number:
            judging.found.block(
                "Q01",
                f"{judging.names.person} now points to a person whose name is on the list of fictitious people: not "
                "sent, and what stands stays; correct it, or annul the service",
            )
            return PersonVerdict(None)
        judging.found.warn(
            "Q01", "the person's name is on the list of fictitious people, and stands reported: judge it"
        )
    return PersonVerdict(_reportable(person, number, kind, judging))


def _reportable(person: Person, number: str | None, kind: str, judging: Judging) -> JudgedPerson | None:
    problem = text_problem(person.user_number or "", USER_NUMBER_LENGTH)
    if problem is not None:
        judging.found.block("Q15", f"{judging.names.user_number} cannot be sent: {problem}; correct it")
        return None
    if number is not None and has_right_number(person):
        if not _may_be_sent(number, kind, judging.rules):
            judging.found.block(
                "Q14",
                f"{judging.names.number} is of the real series and the profile is {judging.rules.profile.value}: "
                "nothing of this person is sent. Are these real patients? Then the profile is wrong",
            )
            return None
        if kind not in codes.TYPES_WITH_KPR_ID:
            judging.found.warn(
                "Q09",
                f"{judging.names.number} is of a type ({kind}) that gives no KPR-ID: sent; register a national number",
            )
        return _judged(person, number, kind, judging)
    if person.number_was_right:
        judging.found.block("Q09", f"{judging.names.number} was right and is now missing or invalid: correct it")
        return None
    if person.birth_date is None:
        birth_date = judging.names.birth_date
        instead = "the mapping names no birth date" if birth_date is None else f"{birth_date} is empty"
        what_to_do = "register the right number" if birth_date is None else "fill in one"
        judging.found.block("Q09", f"{judging.names.number} is missing or invalid, and {instead}: {what_to_do}")
        return None
    judging.found.warn(
        "Q09", f"{judging.names.number} is missing or invalid: sent with the birth date; register the right number"
    )
    return _judged(person, f"{person.birth_date:%d%m%y}", codes.OTHER_IDENTITY, judging)


def _judged(person: Person, identity: str, identity_type: str, judging: Judging) -> JudgedPerson:
    district = person.district
    problem = district_problem(district) if district is not None else None
    if problem is not None:
        judging.found.warn("Q17", f"{judging.names.district} is left out of the message ({problem}): correct it")
        district = None
    return JudgedPerson(
        key=person.key,
        user_number=person.user_number or "",
        identity=identity,
        identity_type=identity_type,
        district=district,
        since=latest(person.changed_at, person.moved_at),
    )


def _fictitious(number: str, kind: str, rules: Rules) -> bool:
    if number in rules.fictitious_numbers:
        return True
    return rules.profile is Profile.PRODUCTION and check_number(number, kind) is None and is_synthetic(number, kind)


def _may_be_sent(number: str, kind: str, rules: Rules) -> bool:
    """Invariant 13. Only fodselsnummer and D-nummer have a synthetic series, so only they can be told apart."""
    if rules.profile is Profile.PRODUCTION or kind not in (codes.FODSELSNUMMER, codes.D_NUMBER):
        return True
    if is_synthetic(number, kind):
        return True
    return rules.profile is Profile.QA and number in rules.allowed_numbers


def _away(person: Absent, judging: Judging) -> str:
    if person.deleted:
        return (
            f"the row of {person.table} that {judging.names.person} points to was deleted: restore it or correct that"
        )
    return f"waits for the row of {person.table} that {judging.names.person} points to"
