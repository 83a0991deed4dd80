"""The room of the chain: a reporting unit's notifications, appended one by one and never changed (invariant 4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from agent.domain.notification import FIRST_PREVIOUS_GUID, Notification, Status
from agent.ledger.errors import ChainBroken, NotificationForgotten, corrupt_row
from agent.ledger.moments import microseconds, moment, moment_or_none
from agent.ledger.payload import notification_from_bytes, notification_to_bytes
from agent.ledger.room import Room

_COLUMNS = (
    "SELECT n.number, n.guid, n.previous_guid, n.approved, n.chained_at, n.payload, s.key_hmac, s.key_payload"
    " FROM notification AS n JOIN service AS s ON s.id = n.service_id "
)


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """A notification in its place. `trace` leads back to the rows it came from; approved: a person let it go."""

    notification: Notification
    service_key: str
    trace: Mapping[str, str] = field(repr=False)
    chained_at: datetime
    approved: bool


class ChainRoom(Room):
    """The chain."""

    __slots__ = ()

    def chain_end(self) -> tuple[int, UUID] | None:
        """Number and GUID of the last notification; None before the first."""
        found = self._db.execute("SELECT number, guid FROM notification ORDER BY number DESC LIMIT 1").fetchone()
        return None if found is None else (found[0], UUID(bytes=found[1]))

    def add_notification(
        self,
        notification: Notification,
        service_key: str,
        trace: Mapping[str, str],
        *,
        approved: bool = False,
        at: datetime | None = None,
    ) -> None:
        """Append to the chain; `at`: now, where it is not given.

        ChainBroken unless its number is the next one and its previous GUID is that of the chain's end.
        """
        number, guid = self.chain_end() or (0, FIRST_PREVIOUS_GUID)
        if notification.number != number + 1 or notification.previous_guid != guid:
            raise ChainBroken(
                f"notification {notification.number} does not follow the chain's end, which is number {number}"
            )
        if self._number_of(notification.guid) is not None:
            raise ChainBroken(f"notification {notification.number} has a GUID that stands in the chain already")
        payload = notification_to_bytes(notification, trace)
        original = notification.original_guid
        self._db.execute(
            "INSERT INTO notification (number, guid, previous_guid, original_guid, status, event, service_id, approved,"
            " chained_at, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                notification.number,
                notification.guid.bytes,
                notification.previous_guid.bytes,
                None if original is None else original.bytes,
                notification.status.value,
                notification.event.value,
                self._service_id_made(service_key),
                approved,
                microseconds(at or self._clock()),
                self._seal.seal("notification", notification.number, payload),
            ),
        )

    def notification(self, number: int) -> StoredNotification | None:
        """The notification of that number; None when the chain does not reach it. May raise NotificationForgotten."""
        return next(self.notifications(number, number), None)

    def notification_by_guid(self, guid: UUID) -> StoredNotification | None:
        """The notification of that `notifikasjonGUID`, or None. May raise NotificationForgotten."""
        number = self._number_of(guid)
        return None if number is None else self.notification(number)

    def notifications(self, first: int, last: int, *, skip_forgotten: bool = False) -> Iterator[StoredNotification]:
        """The notifications of those numbers, both included, in chain order; read as it is asked for.

        One whose fields were deleted by retention raises NotificationForgotten, unless it is to be skipped.
        """
        for line in self._db.execute(_COLUMNS + "WHERE n.number BETWEEN ? AND ? ORDER BY n.number", (first, last)):
            if line[5] is not None:
                yield self._stored(line)
            elif not skip_forgotten:
                raise NotificationForgotten(f"the fields of notification {line[0]} were deleted by retention")

    def notifications_of(self, service_key: str) -> list[StoredNotification]:
        """Every notification of one service, in chain order; those whose fields are forgotten are left out."""
        found = self._db.execute(
            _COLUMNS + "WHERE n.service_id = ? ORDER BY n.number", (self._service_id(service_key),)
        ).fetchall()
        return [self._stored(line) for line in found if line[5] is not None]

    def first_told_at(self, service_key: str) -> datetime | None:
        """When the first notification of a service was chained; None when nothing was ever told of it."""
        (first,) = self._db.execute(
            "SELECT min(chained_at) FROM notification WHERE service_id = ?", (self._service_id(service_key),)
        ).fetchone()
        return moment_or_none(first)

    def first_told_after(self, moment: datetime) -> list[str]:
        """The keys of the services of which the first notification was chained after a moment, in that order."""
        found = self._db.execute(
            "SELECT s.key_hmac, s.key_payload FROM notification AS n JOIN service AS s ON s.id = n.service_id"
            " GROUP BY n.service_id HAVING min(n.chained_at) > ? ORDER BY min(n.number)",
            (microseconds(moment),),
        ).fetchall()
        return [self._service_key(hmac, sealed) for hmac, sealed in found]

    def count_notifications(self) -> dict[tuple[str, str], int]:
        """(event, status) -> how many notifications, by the codes that the message has for them."""
        counted = self._db.execute("SELECT event, status, count(*) FROM notification GROUP BY event, status")
        return {(event, status): count for event, status, count in counted}

    def recent_services(self, status: Status, since: datetime) -> int:
        """How many services have a notification of that status chained since then that no person let go."""
        (count,) = self._db.execute(
            "SELECT count(DISTINCT service_id) FROM notification WHERE status = ? AND chained_at >= ? AND approved = 0",
            (status.value, microseconds(since)),
        ).fetchone()
        return int(count)

    def _number_of(self, guid: UUID) -> int | None:
        found = self._db.execute("SELECT number FROM notification WHERE guid = ?", (guid.bytes,)).fetchone()
        return None if found is None else int(found[0])

    def _stored(self, line: tuple[int, bytes, bytes, int, int, bytes, bytes, bytes]) -> StoredNotification:
        number, guid, previous, approved, chained_at, sealed, key_hmac, key_sealed = line
        notification, trace = notification_from_bytes(self._seal.open("notification", number, sealed))
        if (notification.number, notification.guid.bytes, notification.previous_guid.bytes) != (number, guid, previous):
            raise corrupt_row("notification", str(number))
        service_key = self._service_key(key_hmac, key_sealed)
        return StoredNotification(notification, service_key, trace, moment(chained_at), bool(approved))
