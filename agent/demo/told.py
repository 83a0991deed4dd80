"""What a register holds, as plain values that its different readers share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

START: Final = "TjenesteStart"
END: Final = "TjenesteSlutt"
PROVIDER: Final = "TjenesteutforerEndret"
PAUSE_FROM: Final = "MidlertidigStoppFra"
PAUSE_TO: Final = "MidlertidigStoppTil"

Slot = tuple[str, str]
"""An event of a service: its element name and its subject: "" for start and end, `midlertidigStoppID` for a pause's
two, and for a change of provider the `notifikasjonLopeNr` of its N as text (a service may have many)."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was last told, by N or M. first_number: `notifikasjonLopeNr` of its N."""

    service_type: str
    on: date
    organisation_number: str | None
    identity: str = field(repr=False)
    identity_type: str
    user_number: str = field(repr=False)
    first_number: int

    @property
    def person(self) -> tuple[str, str, str]:
        """`fid`, `typeID`, `brukerNr`."""
        return (self.identity, self.identity_type, self.user_number)


Held = Mapping[Slot, Told]
"""The events that stand for one service."""

RegisterPicture = Mapping[str, Held]
"""`tjenesteID` -> the events that stand for it; services for which nothing stands are left out."""


def provider_last_told(held: Held) -> str | None:
    """The organisation number last told for a service: that of its newest change of provider, else of its start."""
    changes = [told for (event, _), told in held.items() if event == PROVIDER]
    newest = max(changes, key=lambda told: told.first_number, default=held.get((START, "")))
    return newest.organisation_number if newest else None
