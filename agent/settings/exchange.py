"""The sections of a municipality's file on the exchange: parties, protection, what is written into messages."""

from typing import Self

from pydantic import Field, model_validator

from agent.settings.values import Duration, File, HerId, QueueName, Section, ShortText, Text


class MunicipalityParty(Section):
    """Our side of the exchange, from Adresseregisteret."""

    her_id: HerId = Field(description="The municipality's HER-id; 0 is a placeholder and is refused in production.")
    service_her_id: HerId = Field(description="The HER-id of the service that sends; 0 is a placeholder.")
    name: ShortText | None = Field(default=None, description="Its name in the header; municipality.name by default.")
    service_name: ShortText = Field(default="Saksbehandling", description="The sending service's name in the header.")
    queue: QueueName = Field(description="Our asynchronous queue, where receipts come.")
    error_queue: QueueName = Field(description="Our error queue.")


class RegisterParty(Section):
    """The register's side of the exchange, from Adresseregisteret."""

    her_id: HerId = Field(description="The register's HER-id.")
    service_her_id: HerId = Field(description="The HER-id of the register's receiving service; 0 is a placeholder.")
    name: ShortText = Field(default="KPR", description="The register's name in the header.")
    service_name: ShortText = Field(default="KPR", description="The receiving service's name in the header.")
    queue: QueueName = Field(description="The queue that messages go to.")


class Parties(Section):
    """Sender and receiver."""

    municipality: MunicipalityParty = Field(description="Our HER-ids, names and queues.")
    register_: RegisterParty = Field(alias="register", description="The register's HER-ids, names and queue.")


class Protection(Section):
    """Keys and certificates, each a file of its own: sign with ours, encrypt to theirs, and the way back."""

    signing_key_file: File = Field(description="Our private key for signing (PEM).")
    signing_certificate_file: File = Field(
        description="Our signing certificate (PEM), with its chain behind it, the root left out."
    )
    decryption_key_files: tuple[File, ...] = Field(
        min_length=1, description="Our private keys for decryption (PEM); keep the old one while certificates rotate."
    )
    decryption_certificate_files: tuple[File, ...] = Field(
        min_length=1, description="The certificates of the decryption keys (PEM), in the same order."
    )
    register_encryption_certificate_file: File = Field(description="The register's certificate for encryption (PEM).")
    register_signing_certificate_files: tuple[File, ...] = Field(
        min_length=1, description="The certificates that the register may sign receipts with (PEM)."
    )
    legacy_3des: bool = Field(
        default=False, description="Whether receipts with 3DES and SHA-1, of old .NET clients, are read too."
    )

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len(self.decryption_key_files) != len(self.decryption_certificate_files):
            raise ValueError("decryption_key_files and decryption_certificate_files go in pairs: list as many of each")
        return self


class HerIdType(Section):
    """How the header writes the type of a HER-id; FHI's own program writes S="9051" (no OID)."""

    code: ShortText = Field(default="HER", description="The attribute V.")
    text: ShortText = Field(default="HER-id", description="The attribute DN.")
    system: ShortText = Field(default="2.16.578.1.12.4.1.1.9051", description="The attribute S.")


class Messages(Section):
    """What is written into messages and their envelopes."""

    type: ShortText = Field(default="KPR_IPL", description="The message type in the header (MsgInfo/Type V).")
    type_text: ShortText = Field(default="KPR IPLOS", description="The message type's text (MsgInfo/Type DN).")
    subject: ShortText = Field(default="KPR_IPL", description="The AMQP subject: the message function of 8279.")
    max_notifications: int = Field(
        default=1, ge=1, le=1000, description="At most so many notifications in one message, where a backlog waits."
    )
    ask_receipt: bool = Field(default=True, description="Whether the header asks for a receipt (Ack V=J).")
    cpa_id: Text | None = Field(default=None, description="The agreement's id (cpaId), only where there is one.")
    time_to_live: Duration | None = Field(
        default=None,
        description="After how long the bus may drop a message; left out = never. A warning below 14d.",
    )
    her_id_type: HerIdType = Field(default=HerIdType(), description="How the header writes the type of a HER-id.")
    official_schemas: File | None = Field(
        default=None, description="A folder with the official schemas; messages are then checked against them too."
    )
