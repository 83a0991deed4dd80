"""What the rooms of a transaction share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from sqlite3 import Connection

from agent.ledger.errors import LedgerCorrupt
from agent.ledger.seal import Seal, index_prefix
from connectors.source import Position

SERVICE = index_prefix("service")
PERSON = index_prefix("person")


@dataclass(slots=True)
class Progress:
    """The one line of progress, as this transaction has it."""

    position: Position | None
    seen_through: datetime | None
    open_transaction: bool
    changed: bool = False


@dataclass(slots=True)
class Remembered:
    """What one transaction has read and need not read again, and what it writes once, at its end.

    It is the only writer and its ledger's only reader of these while it lives; undone, it is thrown away.
    """

    service_ids: dict[str, int] = field(default_factory=dict)  # numbers are never given twice, services never deleted
    notes: dict[str, str] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    progress: Progress | None = None


class Room:
    """The open transaction's connection, the seal, the clock and what it remembers. A room adds queries, no state."""

    __slots__ = ("_clock", "_db", "_remembered", "_seal")

    def __init__(self, connection: Connection, seal: Seal, clock: Callable[[], datetime]) -> None:
        self._db = connection
        self._seal = seal
        self._clock = clock
        self._remembered = Remembered()

    def _service_id(self, service_key: str) -> int | None:
        """The number of a service in this ledger, or None."""
        known = self._remembered.service_ids.get(service_key)
        if known is not None:
            return known
        found = self._db.execute(
            "SELECT id FROM service WHERE key_hmac = ?", (self._seal.index(SERVICE, service_key),)
        ).fetchone()
        if found is None:
            return None
        self._remembered.service_ids[service_key] = int(found[0])
        return int(found[0])

    def _service_id_made(self, service_key: str) -> int:
        """The number of a service, which is made known where it is new."""
        known = self._service_id(service_key)
        if known is not None:
            return known
        hmac = self._seal.index(SERVICE, service_key)
        made = self._db.execute(
            "INSERT INTO service (key_hmac, key_payload) VALUES (?, ?)",
            (hmac, self._seal.seal("service", hmac, service_key.encode())),
        ).lastrowid
        if made is None:
            raise LedgerCorrupt("a service got no number")
        return made

    def _service_key(self, hmac: bytes, sealed: bytes) -> str:
        return self._seal.open("service", hmac, sealed).decode()
