"""The life of one care service in the EPJ: its rows as they are now, and how a turn changes them.

The turns stand in agent/demo/turns.py (ordinary ones) and agent/demo/mishaps.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from agent.demo.people import changed
from agent.demo.step import Row, RowChange, inserted, updated

TYPES: Final = ("LANG", "KORT_UTR", "KORT_REHAB", "KORT", "BOLIG")
"""Local types that are reported; BOLIG (29) is the one that needs no organisation number."""

NOT_REPORTED: Final = "PB"
ACTIVE: Final = "AKTIV"
ANNULLED: Final = ("FEILREGISTRERT", "SLETTET")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life may refer to: keys of right and of bad units and people, and the day that it is seen from."""

    units: Sequence[int]
    people: Sequence[int]
    bad_units: Sequence[int]
    bad_people: Sequence[int]
    today: date


class Life:
    """One service at a time with its pauses. `at` is the moment of the turn; the caller moves it on."""

    def __init__(self, random: Random, surroundings: Surroundings, service: Row, spare_keys: range) -> None:
        self.random = random
        self.around = surroundings
        self.service = service
        self.pauses: dict[int, Row] = {}
        self.present = False
        self.at = datetime.min  # noqa: DTZ901 - wall-clock time, set before each turn
        self._spare_keys = iter(spare_keys)

    def next_key(self) -> int:
        """A key that no row has had."""
        return next(self._spare_keys)

    # What stands

    @property
    def start(self) -> date:
        """The start, or the day of the first registration where there is none."""
        start, registered = self.service["start_dato"], self.service["registrert_tid"]
        if isinstance(start, date) and abs((start - self.around.today).days) < 20_000:
            return start
        return registered.date() if isinstance(registered, datetime) else self.around.today

    @property
    def end(self) -> date | None:
        end = self.service["slutt_dato"]
        return end if isinstance(end, date) else None

    def active_pauses(self) -> list[Row]:
        return [pause for pause in self.pauses.values() if pause["status"] == ACTIVE]

    def pause_dates(self) -> list[date]:
        cells = [pause[column] for pause in self.active_pauses() for column in ("fra_dato", "til_dato")]
        return [cell for cell in cells if isinstance(cell, date)]

    def open_pause(self) -> Row | None:
        return next((pause for pause in self.active_pauses() if pause["til_dato"] is None), None)

    def day_between(self, first: date, last: date) -> date:
        """Some day of the span, ends included; `first` where the span is empty."""
        return first + timedelta(days=self.random.randint(0, max(0, (last - first).days)))

    def latest_day(self) -> date:
        """The last day on which something of this stay can have happened."""
        through = max(self.around.today, self.start + timedelta(days=30))
        return through if self.end is None else max(self.end, self.start)

    # Rows

    def change_service(self, **cells: str | int | date | None) -> RowChange:
        self.service = changed(self.service, self.at, **cells)
        return updated("tjeneste", self.service)

    def change_pause(self, pause: Row, **cells: str | int | date | None) -> RowChange:
        row = changed(pause, self.at, **cells)
        key = int(str(row["pause_id"]))
        self.pauses[key] = row
        return updated("pause", row)

    def new_pause(self, begins: date | None, ends: date | None) -> RowChange:
        row: Row = {
            "pause_id": self.next_key(),
            "tjeneste_id": self.service["tjeneste_id"],
            "fra_dato": begins,
            "til_dato": ends,
            "status": ACTIVE,
            "registrert_tid": self.at,
            "endret_tid": self.at,
        }
        self.pauses[int(str(row["pause_id"]))] = row
        return inserted("pause", row)

    def insert_service(self) -> RowChange:
        self.present = True
        self.service = {**self.service, "registrert_tid": self.at, "endret_tid": self.at}
        return inserted("tjeneste", self.service)
