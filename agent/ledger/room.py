"""What the rooms of a transaction share."""

from collections.abc import Callable
from datetime import datetime
from sqlite3 import Connection

from agent.ledger.errors import LedgerCorrupt
from agent.ledger.seal import Seal, index_prefix

SERVICE = index_prefix("service")
PERSON = index_prefix("person")


class Room:
    """The open transaction's connection, the seal and the clock. A room adds the queries of a few tables, no state."""

    __slots__ = ("_clock", "_db", "_seal")

    def __init__(self, connection: Connection, seal: Seal, clock: Callable[[], datetime]) -> None:
        self._db = connection
        self._seal = seal
        self._clock = clock

    def _service_id(self, service_key: str) -> int | None:
        """The number of a service in this ledger, or None."""
        found = self._db.execute(
            "SELECT id FROM service WHERE key_hmac = ?", (self._seal.index(SERVICE, service_key),)
        ).fetchone()
        return None if found is None else int(found[0])

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
