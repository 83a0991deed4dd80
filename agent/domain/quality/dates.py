"""Dates: inside the window or not, come or still to come; the stay's two ends and its pauses (Q04, Q05, Q06)."""

from collections.abc import Collection, Sequence
from datetime import date

from agent.domain.care import CareService, Dated, Pause
from agent.domain.identifiers import looks_like_identity_number
from agent.domain.judged import DateFact, FactState, JudgedPause
from agent.domain.message_text import KEY_LENGTH, text_problem
from agent.domain.quality.wording import Judging


def date_fact(dated: Dated, judging: Judging) -> DateFact:
    """The date as of today: WRONG outside the window or where it is not known, LATER while it has not come."""
    if not dated.known:
        return DateFact(FactState.WRONG, None, dated.since)
    if dated.on is None:
        return DateFact(FactState.NONE, None, dated.since)
    rules = judging.rules
    if not rules.earliest_date <= dated.on <= rules.latest_date(judging.today):
        return DateFact(FactState.WRONG, dated.on, dated.since)
    return DateFact(FactState.LATER if dated.on > judging.today else FactState.RIGHT, dated.on, dated.since)


def judge_stay(service: CareService, judging: Judging) -> tuple[DateFact, DateFact]:
    """Start and end. An end before the start is the end's fault."""
    start, end = date_fact(service.start, judging), date_fact(service.end, judging)
    if not service.start.known:
        say_unknown(judging.names.start, service.start, judging)
    elif start.state is FactState.WRONG:
        judging.found.block("Q05", outside(judging.names.start, start, judging))
    if not service.end.known:
        say_unknown(judging.names.end, service.end, judging)
    elif end.state is FactState.WRONG:
        judging.found.block("Q05", outside(judging.names.end, end, judging))
    elif end_before_start(start, end):
        judging.found.block(
            "Q06",
            f"{judging.names.end} ({end.on}) is before {judging.names.start} ({start.on}): correct one",
        )
        end = DateFact(FactState.WRONG, end.on, end.since)
    return start, end


def end_before_start(start: DateFact, end: DateFact) -> bool:
    """Whether both dates are inside the window and in the wrong order."""
    return start.within and end.within and _before(end, start)


def over_before_cut_off(service: CareService, judging: Judging) -> bool:
    """Whether a right end leaves the service out; an end ON the cut-off's day does not, a wrong end never does."""
    start, end = date_fact(service.start, judging), date_fact(service.end, judging)
    return end.within and not end_before_start(start, end) and end.on is not None and end.on < judging.rules.cut_off


def judge_pauses(
    service: CareService, stay: tuple[DateFact, DateFact], followed: Collection[str], judging: Judging
) -> tuple[JudgedPause, ...]:
    """Every pause but those over before the cut-off and never reported."""
    judged = [
        _judge_pause(pause, stay, judging)
        for pause in service.pauses
        if pause.key in followed or not _pause_before_cut_off(pause, judging)
    ]
    _warn_overlaps(judged, judging)
    return tuple(judged)


def _judge_pause(pause: Pause, stay: tuple[DateFact, DateFact], judging: Judging) -> JudgedPause:
    begins, ends = date_fact(pause.begins, judging), date_fact(pause.ends, judging)
    problem = key_problem(pause.key)
    if problem is not None:
        judging.found.block(
            "Q16", f"the key of a pause ({judging.names.pause_from}) cannot be sent as an id: {problem}; map another"
        )
        return _judged(pause, _wrong(begins), _wrong(ends))
    if pause.defect is not None:
        judging.found.block("Q20", f"the pause {pause.key} has a record that cannot be read: {pause.defect}")
        return _judged(pause, _wrong(begins), _wrong(ends))
    begins = _judge_pause_from(pause, begins, stay, judging)
    ends = _judge_pause_to(pause, begins, ends, stay, judging)
    _warn_left_open(pause, begins, ends, stay[1], judging)
    return _judged(pause, begins, ends)


def _judge_pause_from(pause: Pause, begins: DateFact, stay: tuple[DateFact, DateFact], judging: Judging) -> DateFact:
    start, end = stay
    what = f"the pause {pause.key}: {judging.names.pause_from}"
    if not pause.begins.known:
        say_unknown(what, pause.begins, judging)
    elif begins.state is FactState.NONE:
        judging.found.block("Q06", f"{what} is empty: write the day on which the pause began, or delete the pause")
    elif begins.state is FactState.WRONG:
        judging.found.block("Q05", f"the pause {pause.key}: {outside(judging.names.pause_from, begins, judging)}")
    elif start.within and _before(begins, start):
        judging.found.block(
            "Q06", f"{what} ({begins.on}) is before the service begins ({start.on}): correct one of them"
        )
    elif end.within and _before(end, begins):
        judging.found.block("Q06", f"{what} ({begins.on}) is after the service ends ({end.on}): correct one of them")
    else:
        return begins
    return _wrong(begins)


def _judge_pause_to(
    pause: Pause, begins: DateFact, ends: DateFact, stay: tuple[DateFact, DateFact], judging: Judging
) -> DateFact:
    start, end = stay
    what = f"the pause {pause.key}: {judging.names.pause_to}"
    if ends.state is FactState.NONE:
        return ends
    if not pause.ends.known:
        say_unknown(what, pause.ends, judging)
    elif ends.state is FactState.WRONG:
        judging.found.block("Q05", f"the pause {pause.key}: {outside(judging.names.pause_to, ends, judging)}")
    elif begins.within and _before(ends, begins):
        judging.found.block("Q06", f"{what} ({ends.on}) is before the pause begins ({begins.on}): correct one of them")
    elif start.within and _before(ends, start):
        judging.found.block("Q06", f"{what} ({ends.on}) is before the service begins ({start.on}): correct one of them")
    elif end.within and _before(end, ends):
        judging.found.block("Q06", f"{what} ({ends.on}) is after the service ends ({end.on}): correct one of them")
    else:
        return ends
    return _wrong(ends)


def _warn_left_open(pause: Pause, begins: DateFact, ends: DateFact, end: DateFact, judging: Judging) -> None:
    if begins.right and ends.state is FactState.NONE and end.right:
        judging.found.warn(
            "Q06",
            f"the pause {pause.key} is still open though the service ended {end.on}: fill in {judging.names.pause_to}",
        )


def _warn_overlaps(pauses: Sequence[JudgedPause], judging: Judging) -> None:
    usable = [pause for pause in pauses if pause.begins.within and pause.ends.state is not FactState.WRONG]
    usable.sort(key=lambda pause: (pause.begins.on or date.min, pause.sort_key))
    running: JudgedPause | None = None  # the pause seen so far that lasts longest
    for pause in usable:
        if running is not None and (running.ends.on is None or (pause.begins.on or date.min) < running.ends.on):
            judging.found.warn(
                "Q06",
                f"the pauses {running.key} and {pause.key} overlap ({judging.names.pause_from}): both are sent",
            )
        if running is None or (running.ends.on is not None and (pause.ends.on or date.max) > running.ends.on):
            running = pause


def _pause_before_cut_off(pause: Pause, judging: Judging) -> bool:
    begins, ends = date_fact(pause.begins, judging), date_fact(pause.ends, judging)
    if pause.defect is not None or (begins.within and ends.within and _before(ends, begins)):
        return False
    return ends.within and ends.on is not None and ends.on < judging.rules.cut_off


def _judged(pause: Pause, begins: DateFact, ends: DateFact) -> JudgedPause:
    return JudgedPause(pause.key, begins, ends, pause.sort_key)


def _wrong(fact: DateFact) -> DateFact:
    return DateFact(FactState.WRONG, fact.on, fact.since)


def _before(one: DateFact, other: DateFact) -> bool:
    return one.on is not None and other.on is not None and one.on < other.on


def key_problem(key: str) -> str | None:
    """Why a row's key cannot be told as `tjenesteID` or `midlertidigStoppID`, or None. Quotes nothing of it."""
    if looks_like_identity_number(key):
        return "it holds an identity number"
    return text_problem(key, KEY_LENGTH)


def say_unknown(name: str, dated: Dated, judging: Judging) -> None:
    """The finding for a date of which nothing is known: its row is away, or cannot be read."""
    if dated.away is not None:
        judging.found.hold("H01", f"{name} waits for a row of {dated.away.table}")
    else:
        judging.found.block("Q20", f"{name} cannot be read: {dated.defect}")


def outside(name: str, fact: DateFact, judging: Judging) -> str:
    """What to say of a date outside the window."""
    return (
        f"{name} ({fact.on}) is outside {judging.rules.earliest_date} to {judging.rules.latest_date(judging.today)}: "
        "correct the date, or empty it where it means that there is none"
    )
