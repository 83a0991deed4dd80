"""Turns of a service's life that the data-quality rules refuse (domain.md section 8), and what mends each."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from agent.demo.life import Life
from agent.demo.step import RowChange
from agent.demo.turns import Turn

EARLY: Final = date(1986, 5, 17)
LATE: Final = date(2222, 2, 2)
UNMAPPED: Final = "UKJENT_TYPE"
NOWHERE: Final = 9_999_999
"""The key of a row that never comes."""


def start_out_of_time(life: Life) -> list[RowChange]:
    return [life.change_service(start_dato=life.random.choice([EARLY, LATE]))]


def start_missing(life: Life) -> list[RowChange]:
    return [life.change_service(start_dato=None)]


def mend_start(life: Life) -> list[RowChange]:
    bounds = [*life.pause_dates(), *([life.end] if life.end else []), life.at.date()]
    return [life.change_service(start_dato=min(bounds))]


def end_out_of_time(life: Life) -> list[RowChange]:
    return [life.change_service(slutt_dato=LATE)]


def end_before_start(life: Life) -> list[RowChange]:
    return [life.change_service(slutt_dato=life.start - timedelta(days=life.random.randint(1, 400)))]


def mend_end(life: Life) -> list[RowChange]:
    return [life.change_service(slutt_dato=max([life.start, *life.pause_dates()]))]


def pause_before_stay(life: Life) -> list[RowChange]:
    return [life.new_pause(life.start - timedelta(days=life.random.randint(1, 50)), life.start)]


def pause_out_of_time(life: Life) -> list[RowChange]:
    return [life.new_pause(life.random.choice([EARLY, LATE]), None)]


def pause_backwards(life: Life) -> list[RowChange]:
    begins = life.day_between(life.start, life.latest_day())
    return [life.new_pause(begins, begins - timedelta(days=life.random.randint(1, 5)))]


def pause_without_begin(life: Life) -> list[RowChange]:
    return [life.new_pause(None, None)]


def pause_end_out_of_time(life: Life) -> list[RowChange]:
    opened = life.open_pause()
    if opened is None:
        return [life.new_pause(life.day_between(life.start, life.latest_day()), LATE)]
    return [life.change_pause(opened, til_dato=LATE)]


def mend_pauses(life: Life) -> list[RowChange]:
    """Every pause is set right: inside the stay, its ends in order."""
    last = life.latest_day()
    begins = life.day_between(life.start, last)
    return [life.change_pause(pause, fra_dato=begins, til_dato=last) for pause in life.active_pauses()]


def type_unmapped(life: Life) -> list[RowChange]:
    return [life.change_service(lokal_type=UNMAPPED)]


def mend_type(life: Life) -> list[RowChange]:
    return [life.change_service(lokal_type="LANG")]


def person_nowhere(life: Life) -> list[RowChange]:
    return [life.change_service(bruker_id=NOWHERE)]


def person_bad(life: Life) -> list[RowChange]:
    return [life.change_service(bruker_id=life.random.choice(life.around.bad_people))]


def mend_person(life: Life) -> list[RowChange]:
    return [life.change_service(bruker_id=life.random.choice(life.around.people))]


def provider_nowhere(life: Life) -> list[RowChange]:
    return [life.change_service(enhet_id=NOWHERE)]


def provider_bad(life: Life) -> list[RowChange]:
    return [life.change_service(enhet_id=life.random.choice(life.around.bad_units))]


def provider_missing(life: Life) -> list[RowChange]:
    return [life.change_service(enhet_id=None)]


def mend_provider(life: Life) -> list[RowChange]:
    return [life.change_service(enhet_id=life.random.choice(life.around.units))]


MISHAPS: Final[Sequence[tuple[Turn, Turn]]] = (
    (start_out_of_time, mend_start),
    (start_missing, mend_start),
    (end_out_of_time, mend_end),
    (end_before_start, mend_end),
    (pause_before_stay, mend_pauses),
    (pause_out_of_time, mend_pauses),
    (pause_backwards, mend_pauses),
    (pause_without_begin, mend_pauses),
    (pause_end_out_of_time, mend_pauses),
    (type_unmapped, mend_type),
    (person_nowhere, mend_person),
    (person_bad, mend_person),
    (provider_nowhere, mend_provider),
    (provider_bad, mend_provider),
    (provider_bad, mend_provider),
    (provider_missing, mend_provider),
)
"""A mishap and the turn that mends it."""
