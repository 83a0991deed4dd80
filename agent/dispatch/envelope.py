"""An envelope: one or more notifications as the bytes that are kept until the receipt, and as the bus takes them.

A message is judged before it is stored, by the project's own strict schema and rules and by the official schemas where
a folder of them is configured. One that fails is a fault of the program: nothing is skipped, sending halts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Final, Protocol
from uuid import UUID

from agent.dispatch.official_schemas import OfficialSchemas
from agent.domain.hodemelding import Head, HerIdType, Party, build_hodemelding, check_hodemelding
from agent.domain.melding import (
    PILOT_FORMAT,
    Contact,
    MeldingFormat,
    MeldingHead,
    NotWritable,
    build_melding,
)
from agent.domain.melding_rules import USUAL_WINDOW, Window
from agent.domain.notification import Notification
from agent.protection import CONTENT_TYPE
from agent.unit import NORWAY
from connectors.sender import Outgoing

PLAIN_CONTENT_TYPE: Final = "application/xml"
USUAL_HER_ID_TYPE: Final = HerIdType()


class MessageInvalid(Exception):
    """A message that must not go out: a fault of the program or its configuration. That municipality's sending halts.

    `places` names elements and attributes, `first_number` the notification it begins with; nothing quotes a value.
    """

    code = "KPR-601"

    def __init__(self, first_number: int, problems: Sequence[str]) -> None:
        super().__init__(
            f"the message that begins with notification {first_number} is not valid: {'; '.join(problems)}"
        )
        self.first_number = first_number
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Product:
    """`leverandor`, `navnEPJ`, `versjonEPJ`: the EPJ that the facts come from."""

    vendor: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class EnvelopeSettings:
    """What a reporting unit's messages say beside their notifications.

    kommunenummer_on: the number valid on a day in Norway. from_her_id, to_her_id: the communication parties of the bus
    (the services' HER-ids where they have one). time_to_live_s None: the message never expires on the bus.
    described: adds the optional X- properties that describe the message.
    """

    product: Product
    program_version: str
    contacts: tuple[Contact, ...] = field(repr=False)
    kommunenummer_on: Callable[[date], str]
    sender: Party
    receiver: Party
    from_her_id: int
    to_her_id: int
    queue: str
    reply_queue: str
    type_code: str = "KPR_IPL"
    type_text: str = "KPR IPLOS"
    subject: str = "KPR_IPL"
    ask_receipt: bool = True
    her_id_type: HerIdType = USUAL_HER_ID_TYPE
    cpa_id: str | None = None
    time_to_live_s: int | None = None
    system_identifier: str = "kpr-agent"
    described: bool = False
    form: MeldingFormat = PILOT_FORMAT
    window: Window = USUAL_WINDOW
    official: OfficialSchemas | None = None
    zone: tzinfo = NORWAY


@dataclass(frozen=True, slots=True)
class NewEnvelope:
    """An envelope to store: the MsgHead bytes in `content`, the first and last place in the chain it carries."""

    msg_id: UUID
    message_id: UUID
    first_number: int
    last_number: int
    content: bytes = field(repr=False)


class StoredEnvelope(Protocol):
    """What of a stored envelope goes onto the bus."""

    @property
    def id(self) -> int: ...

    @property
    def msg_id(self) -> str: ...

    @property
    def message_id(self) -> str: ...

    @property
    def created_at(self) -> datetime: ...


def build_envelope(
    notifications: Sequence[Notification], settings: EnvelopeSettings, *, msg_id: UUID, message_id: UUID, at: datetime
) -> NewEnvelope:
    """Notifications of one chain, in its order, as a message that has been judged. `at`: aware, becomes `GenDate`.

    Takes milliseconds of computing and may run in a worker thread. Raises MessageInvalid.
    """
    first, last = notifications[0].number, notifications[-1].number
    head = MeldingHead(
        vendor=settings.product.vendor,
        product=settings.product.name,
        product_version=settings.product.version,
        program_version=settings.program_version,
        contacts=settings.contacts,
        kommunenummer=settings.kommunenummer_on(at.astimezone(settings.zone).date()),
        form=settings.form,
    )
    outer = Head(
        type_code=settings.type_code,
        type_text=settings.type_text,
        msg_id=msg_id,
        generated_at=at,
        sender=settings.sender,
        receiver=settings.receiver,
        ask_receipt=settings.ask_receipt,
        her_id_type=settings.her_id_type,
    )
    try:
        content = build_hodemelding(outer, build_melding(head, notifications, settings.zone), settings.zone)
    except NotWritable as error:
        raise MessageInvalid(first, [str(error)]) from None  # its text names a place, no value
    problems = [
        f"{problem.place} {problem.text}".strip()
        for problem in check_hodemelding(content, settings.zone, form=settings.form, window=settings.window)
    ]
    if not problems and settings.official is not None:
        problems = settings.official.problems(content)
    if problems:
        raise MessageInvalid(first, problems)
    return NewEnvelope(msg_id, message_id, first, last, content)


def outgoing(envelope: StoredEnvelope, body: bytes, settings: EnvelopeSettings, *, protected: bool = True) -> Outgoing:
    """A stored envelope as the bus takes it: `body` is the protected message, or the plain one for a folder.

    The properties are those of NHN's AMQP profile, all strings, the same at every attempt; the sender adds the
    moment of the attempt (`enqueuedTimeUtc`). Nothing in them is personal (invariant 10).
    """
    properties = {
        "fromHerId": str(settings.from_her_id),
        "toHerId": str(settings.to_her_id),
        "applicationTimeStamp": envelope.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "X-SystemIdentifier": settings.system_identifier,
    }
    if settings.cpa_id is not None:
        properties["cpaId"] = settings.cpa_id
    if settings.described:
        properties |= _description(envelope, settings)
    return Outgoing(
        message_id=envelope.message_id,
        to=settings.queue,
        reply_to=settings.reply_queue,
        subject=settings.subject,
        content_type=CONTENT_TYPE if protected else PLAIN_CONTENT_TYPE,
        properties=properties,
        body=body,
        time_to_live_s=settings.time_to_live_s,
        file_name=f"{envelope.id:06d}.xml",
    )


def _description(envelope: StoredEnvelope, settings: EnvelopeSettings) -> dict[str, str]:
    return {
        "X-MessageInfo-Type": settings.type_code,
        "X-MessageInfo-MsgId": envelope.msg_id,
        "X-MessageInfo-SchemaNamespace": settings.form.namespace,
        "X-Sender-Lvl1Id": str(settings.sender.her_id),
        "X-Sender-Lvl2Id": str(settings.sender.service_her_id),
        "X-Receiver-Lvl1Id": str(settings.receiver.her_id),
        "X-Receiver-Lvl2Id": str(settings.receiver.service_her_id),
    }
