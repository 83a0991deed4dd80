"""The room of receipts: what came back, booked before it is settled on the broker, each once (invariant 7)."""

from dataclasses import dataclass, field
from datetime import datetime

from agent.ledger.moments import microseconds, moment
from agent.ledger.room import Room
from agent.ledger.seal import index_prefix

_DIGEST = index_prefix("receipt digest")


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it was booked. `content` may quote a person's data: hidden, and None once it was forgotten."""

    id: int
    envelope_id: int | None
    kind: str
    verdict: str
    booked_at: datetime
    content: bytes | None = field(repr=False)


class ReceiptsRoom(Room):
    """Receipts and error-queue messages."""

    __slots__ = ()

    def book_receipt(
        self, envelope_id: int | None, kind: str, verdict: str, *, digest: bytes, content: bytes, at: datetime
    ) -> bool:
        """Whether it is new. One with a digest that was booked before changes nothing, forgotten or not.

        envelope_id None: it answers no envelope of ours. Kind and verdict are codes, in clear; the content is sealed.
        """
        hmac = self._seal.index_bytes(_DIGEST, digest)
        made = self._db.execute(
            "INSERT INTO receipt (envelope_id, kind, verdict, digest_hmac, booked_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (digest_hmac) DO NOTHING RETURNING id",
            (envelope_id, kind, verdict, hmac, microseconds(at)),
        ).fetchone()
        if made is None:
            return False
        self._db.execute(
            "UPDATE receipt SET payload = ? WHERE id = ?", (self._seal.seal("receipt", made[0], content), made[0])
        )
        return True

    def receipts_of(self, envelope_id: int | None) -> list[StoredReceipt]:
        """The receipts of one envelope (None: of no envelope of ours), in the order in which they came."""
        found = self._db.execute(
            "SELECT id, envelope_id, kind, verdict, booked_at, payload FROM receipt WHERE envelope_id IS ? ORDER BY id",
            (envelope_id,),
        ).fetchall()
        return [
            StoredReceipt(
                number,
                envelope,
                kind,
                verdict,
                moment(booked_at),
                None if sealed is None else self._seal.open("receipt", number, sealed),
            )
            for number, envelope, kind, verdict, booked_at, sealed in found
        ]

    def count_receipts(self) -> dict[tuple[str, str], int]:
        """(kind, verdict) -> how many."""
        counted = self._db.execute("SELECT kind, verdict, count(*) FROM receipt GROUP BY kind, verdict")
        return {(kind, verdict): count for kind, verdict, count in counted}
