"""Step 5: owed events take their places in the reporting unit's one chain and become notifications.

Numbers rise by one, each notification points to the one before it, and every GUID is derived from what it names, so
that the same history gives the same chain (invariants 4 and 5). What has a place never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from agent.domain.compare import Owed
from agent.domain.notification import FIRST_PREVIOUS_GUID, Event, Notification, Status
from agent.domain.reported import Reported, Standing


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last link of a chain; number 0 and the zero GUID before the first one."""

    number: int = 0
    guid: UUID = FIRST_PREVIOUS_GUID


def unit_namespace(unit: str) -> UUID:
    """The seed of a reporting unit's GUIDs: from its own name for ever, never from the kommunenummer."""
    return uuid5(NAMESPACE_URL, f"urn:kpr-agent:unit:{unit}")


def extend(
    end: ChainEnd, reported: Reported, owed: Sequence[Owed], *, namespace: UUID, arisen_at: datetime
) -> tuple[list[Notification], Reported, ChainEnd]:
    """The notifications for one service's owed events in order, what then stands reported, and the new end."""
    notifications = []
    for event in owed:
        notification, reported = _link(end, reported, event, namespace, arisen_at)
        notifications.append(notification)
        end = ChainEnd(notification.number, notification.guid)
    return notifications, reported, end


def _link(
    end: ChainEnd, reported: Reported, owed: Owed, namespace: UUID, arisen_at: datetime
) -> tuple[Notification, Reported]:
    version = reported.versions.get(owed.slot, 0) + (owed.status is not Status.ANNUL)
    event_guid = (
        owed.original.event_guid
        if owed.status is Status.ANNUL and owed.original is not None
        else uuid5(namespace, f"{reported.service_id}/{owed.event.value}/{owed.subject}/{version}")
    )
    notification = Notification(
        number=end.number + 1,
        guid=uuid5(event_guid, owed.status.value),
        previous_guid=end.guid,
        original_guid=owed.original.original_guid if owed.original is not None else None,
        status=owed.status,
        event=owed.event,
        event_guid=event_guid,
        service_id=reported.service_id,
        pause_id=owed.subject if owed.event in (Event.PAUSE_FROM, Event.PAUSE_TO) else None,
        arisen_at=arisen_at,
        content=owed.content,
    )
    return notification, _booked(reported, owed, notification, version)


def _booked(reported: Reported, owed: Owed, notification: Notification, version: int) -> Reported:
    others = tuple(standing for standing in reported.standing if standing.slot != owed.slot)
    if owed.status is Status.ANNUL:
        return replace(reported, standing=others)
    told = Standing(
        event=owed.event,
        subject=owed.subject,
        original_guid=owed.original.original_guid if owed.original is not None else notification.guid,
        original_number=owed.original.original_number if owed.original is not None else notification.number,
        event_guid=notification.event_guid,
        content=owed.content,
    )
    is_pause = owed.event in (Event.PAUSE_FROM, Event.PAUSE_TO)
    return Reported(
        service_id=reported.service_id,
        standing=(*others, told),
        versions={**reported.versions, owed.slot: version},
        followed_pauses=reported.followed_pauses | {owed.subject} if is_pause else reported.followed_pauses,
        changes_told=reported.changes_told + (owed.event is Event.PROVIDER and owed.status is Status.NEW),
    )
