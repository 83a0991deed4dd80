"""The ordinary turns of a service's life: it starts, is paused, moved, corrected, annulled and ended.

A turn returns the changes of one transaction, or nothing where it does not apply. Each leaves rows that all the
data-quality rules accept.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

from agent.demo.life import ACTIVE, ANNULLED, NOT_REPORTED, TYPES, Life
from agent.demo.people import changed
from agent.demo.step import Row, RowChange, deleted, inserted, updated

Turn = Callable[[Life], list[RowChange]]


def set_end(life: Life) -> list[RowChange]:
    """The end is set, today or before, or planned ahead."""
    if life.end is not None:
        return []
    first = max([life.start, *life.pause_dates()])
    return [life.change_service(slutt_dato=life.day_between(first, max(first, life.at.date() + timedelta(days=45))))]


def move_end(life: Life) -> list[RowChange]:
    """The end is corrected."""
    if life.end is None:
        return []
    first = max([life.start, *life.pause_dates()])
    return [life.change_service(slutt_dato=max(first, life.end + timedelta(days=life.random.randint(-20, 20))))]


def remove_end(life: Life) -> list[RowChange]:
    """The end was a mistake."""
    return [] if life.end is None else [life.change_service(slutt_dato=None)]


def move_start(life: Life) -> list[RowChange]:
    """The start is corrected, within what the pauses and the end allow."""
    moved = life.start + timedelta(days=life.random.randint(-15, 15))
    bounds = [*life.pause_dates(), *([life.end] if life.end else [])]
    return [life.change_service(start_dato=min([moved, *bounds]))]


def put_off(life: Life) -> list[RowChange]:
    """The start is put off to a day to come."""
    if life.pause_dates() or life.end is not None:
        return []
    return [life.change_service(start_dato=life.around.today + timedelta(days=life.random.randint(1, 40)))]


def open_pause(life: Life) -> list[RowChange]:
    """A pause begins; its end is not known yet."""
    if life.open_pause() is not None:
        return []
    return [life.new_pause(life.day_between(life.start, life.latest_day()), None)]


def whole_pause(life: Life) -> list[RowChange]:
    """A pause with both ends is written down at once; it may overlap another."""
    begins = life.day_between(life.start, life.latest_day())
    return [life.new_pause(begins, life.day_between(begins, min(life.latest_day(), begins + timedelta(days=20))))]


def close_pause(life: Life) -> list[RowChange]:
    """An open pause ends."""
    pause = life.open_pause()
    if pause is None or not isinstance(begins := pause["fra_dato"], date):
        return []
    return [life.change_pause(pause, til_dato=life.day_between(begins, max(begins, life.latest_day())))]


def correct_pause(life: Life) -> list[RowChange]:
    """One of a pause's dates is corrected, or its end is taken away again."""
    pauses = [pause for pause in life.active_pauses() if isinstance(pause["fra_dato"], date)]
    if not pauses:
        return []
    pause = life.random.choice(pauses)
    begins, ends = pause["fra_dato"], pause["til_dato"]
    if not isinstance(begins, date) or (isinstance(ends, date) and life.random.random() < 0.3):
        return [life.change_pause(pause, til_dato=None)]
    last = ends if isinstance(ends, date) else life.latest_day()
    moved = life.day_between(life.start, max(life.start, last))
    return [life.change_pause(pause, fra_dato=moved)]


def withdraw_pause(life: Life) -> list[RowChange]:
    """A pause is annulled, or its row deleted."""
    pauses = life.active_pauses()
    if not pauses:
        return []
    pause = life.random.choice(pauses)
    if life.random.random() < 0.5:
        return [life.change_pause(pause, status=life.random.choice(ANNULLED))]
    del life.pauses[int(str(pause["pause_id"]))]
    return [deleted("pause", pause)]


def revive_pause(life: Life) -> list[RowChange]:
    """An annulled pause was right after all, where its dates still lie in the stay."""
    for pause in life.pauses.values():
        begins, ends = pause["fra_dato"], pause["til_dato"]
        if pause["status"] == ACTIVE or not isinstance(begins, date):
            continue
        last = ends if isinstance(ends, date) else begins
        if life.start <= begins <= last and (life.end is None or last <= life.end):
            return [life.change_pause(pause, status=ACTIVE)]
    return []


def change_provider(life: Life) -> list[RowChange]:
    """Another unit takes over; with few units it is often one that had the service before."""
    return [life.change_service(enhet_id=life.random.choice(life.around.units))]


def lose_provider(life: Life) -> list[RowChange]:
    """A dwelling (29) needs no unit."""
    return [life.change_service(enhet_id=None)] if life.service["lokal_type"] == "BOLIG" else []


def change_type(life: Life) -> list[RowChange]:
    """The type is corrected, now and then to one that is not reported."""
    if life.service["enhet_id"] is None:
        return []
    return [life.change_service(lokal_type=life.random.choice([*TYPES, *TYPES, NOT_REPORTED]))]


def move_person(life: Life) -> list[RowChange]:
    """The service was registered on the wrong person."""
    return [life.change_service(bruker_id=life.random.choice(life.around.people))]


def touch(life: Life) -> list[RowChange]:
    """The row is saved again, or gets another case number: nothing to report."""
    return [life.change_service(saksnummer=f"{life.at.year}/{life.random.randint(1, 9999)}")]


def annul(life: Life) -> list[RowChange]:
    """The whole service was registered in error."""
    return [life.change_service(status=life.random.choice(ANNULLED))]


def delete(life: Life) -> list[RowChange]:
    """The rows go: the pauses first, or the service first, or the pauses stay behind."""
    life.present = False
    service = deleted("tjeneste", life.service)
    order = life.random.randrange(3)
    if order == 2:
        return [service]
    pauses = [deleted("pause", pause) for pause in life.pauses.values()]
    life.pauses.clear()
    return [*pauses, service] if order else [service, *pauses]


def change_key(life: Life) -> list[RowChange]:
    """The service gets another key, and its pauses follow."""
    before = int(str(life.service["tjeneste_id"]))
    key = life.next_key()
    life.service = changed(life.service, life.at, tjeneste_id=key)
    return [updated("tjeneste", life.service, before), *_follow(life, key)]


def register_anew(life: Life) -> list[RowChange]:
    """The service is written down a second time, its pauses are moved over and the first one is annulled."""
    first = life.change_service(status=ANNULLED[0])
    key = life.next_key()
    life.service = {**life.service, "tjeneste_id": key, "status": ACTIVE, "registrert_tid": life.at}
    return [inserted("tjeneste", life.service), *_follow(life, key), first]


def succeed(life: Life) -> list[RowChange]:
    """The stay ends and one of another type begins on the same day; the life goes on with the new one."""
    if life.end is not None or life.open_pause() is not None or life.service["enhet_id"] is None:
        return []
    day = max([life.start, life.at.date(), *life.pause_dates()])
    ended = life.change_service(slutt_dato=day)
    other = life.random.choice([local for local in TYPES if local != life.service["lokal_type"]])
    fresh: Row = {"tjeneste_id": life.next_key(), "start_dato": day, "slutt_dato": None, "lokal_type": other}
    life.service = {**life.service, **fresh}
    life.pauses = {}
    return [ended, life.insert_service()]


def come_back(life: Life) -> list[RowChange]:
    """What was annulled or deleted stands again."""
    if life.present:
        return [life.change_service(status=ACTIVE)]
    return [life.insert_service()]


def _follow(life: Life, key: int) -> list[RowChange]:
    return [life.change_pause(pause, tjeneste_id=key) for pause in list(life.pauses.values())]


ORDINARY: Final[Sequence[tuple[Turn, int]]] = (
    (set_end, 14),
    (move_end, 6),
    (remove_end, 4),
    (move_start, 6),
    (put_off, 2),
    (open_pause, 9),
    (whole_pause, 6),
    (close_pause, 10),
    (correct_pause, 6),
    (withdraw_pause, 3),
    (revive_pause, 2),
    (change_provider, 9),
    (lose_provider, 1),
    (change_type, 4),
    (move_person, 4),
    (touch, 6),
    (annul, 4),
    (delete, 2),
    (change_key, 1),
    (register_anew, 2),
    (succeed, 4),
)
"""The ordinary turns and how often they come."""
