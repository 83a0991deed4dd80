"""The file of one municipality: every key, its default and one sentence on what it is for.

The sentences go into the JSON Schema and docs/configuration.md. Sources and buses own their settings
(connectors/catalog.py). The form follows HIS 1135:2021 (contacts, Melding) and the profile of NHN's Tjenestebuss.
"""

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from agent.domain.codes import SERVICE_TYPES
from agent.settings.exchange import Messages, Parties, Protection
from agent.settings.operation import Control, Dispatch, Gate, Ledger, Receipts, Rules
from agent.settings.values import (
    Day,
    Email,
    File,
    Mobile,
    MunicipalityNumber,
    OrganisationNumber,
    Section,
    ShortText,
    Text,
)
from connectors.catalog import BusSection, SourceSection

CONTACT_ROLES: Final = ("iplos_contact", "submission_officer")
"""Types 16 and 17 of 8471. Every municipality has both; settings/profile.py sees to it."""

NOT_REPORTED: Final = "none"

_UNIT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

Profile = Literal["test", "qa", "production"]


def _service_type(code: str) -> str:
    if code != NOT_REPORTED and code not in SERVICE_TYPES:
        raise ValueError('write a code of code system 9151 in double quotes, such as "21", or none for not reported')
    return code


def _unit_name(text: str) -> str:
    if not _UNIT.fullmatch(text):
        raise ValueError("write a short name of small letters a-z, digits and dashes, such as evje-og-hornnes")
    return text


UnitName = Annotated[str, AfterValidator(_unit_name), Field(json_schema_extra={"pattern": f"^{_UNIT.pattern}$"})]


class DatedNumber(Section):
    """A kommunenummer and the day from which it holds."""

    number: MunicipalityNumber = Field(description="The kommunenummer: four digits in double quotes.")
    from_: Day = Field(alias="from", description="The first day on which this number is the municipality's.")


class MunicipalityIdentity(Section):
    """Who reports: numbers by date, name, organisation number."""

    numbers: tuple[DatedNumber, ...] = Field(
        min_length=1,
        description="Every kommunenummer with its first day, earliest first.",
    )
    name: ShortText = Field(description="The municipality's name, as it stands in the message header.")
    organisation_number: OrganisationNumber = Field(
        description="The municipality's own organisation number: nine digits in double quotes."
    )

    @field_validator("numbers")
    @classmethod
    def _in_order(cls, numbers: tuple[DatedNumber, ...]) -> tuple[DatedNumber, ...]:
        days = [dated.from_ for dated in numbers]
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise ValueError("list the numbers by their first days, earliest first, each day once")
        return numbers

    def number_on(self, day: date) -> str:
        """The kommunenummer valid on `day`; before the first listed day, the first one."""
        held = [dated.number for dated in self.numbers if dated.from_ <= day]
        return held[-1] if held else self.numbers[0].number


class Contact(Section):
    """A contact person (Kontaktperson): the register answers these people with sensitive content."""

    name: ShortText = Field(repr=False, description="The person's name.", json_schema_extra={"personal": True})
    email: Email = Field(repr=False, description="Where feedback is sent.", json_schema_extra={"personal": True})
    mobile: Mobile | None = Field(
        default=None,
        repr=False,
        description="A mobile number: eight digits in double quotes, with or without +47.",
        json_schema_extra={"personal": True},
    )
    second_email: Email | None = Field(
        default=None, repr=False, description="A second address for feedback.", json_schema_extra={"personal": True}
    )
    roles: tuple[Literal["iplos_contact", "submission_officer"], ...] = Field(
        min_length=1, description="iplos_contact (type 16), submission_officer (type 17), or both."
    )


class Product(Section):
    """The EPJ product, as the message names it."""

    vendor: ShortText = Field(description="The product's vendor (leverandor).")
    name: ShortText = Field(description="The product's name (navnEPJ).")
    version: ShortText = Field(description="The product's version (versjonEPJ), in double quotes.")


class Only(Section):
    """Which rows or tables are this unit's, where several units share one database."""

    column: Text | None = Field(default=None, description="The column that tells the units apart; needs value.")
    value: Text | None = Field(default=None, description="The column's value for this unit, as text.")
    tables: tuple[Text, ...] = Field(
        default=(), description="The mapped tables that have the column; all of them where this is left out."
    )
    schema_: Text | None = Field(
        default=None, alias="schema", description="The database schema of this unit, in place of the mapping's."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.column is None) == (self.schema_ is None):
            raise ValueError("write exactly one of column (with value) and schema")
        if (self.column is None) != (self.value is None):
            raise ValueError("column and value belong together: write both")
        if self.tables and self.column is None:
            raise ValueError("tables belongs to column: remove it")
        return self


class Epj(Section):
    """The record system: product, mapping, local service types."""

    product: Product = Field(description="The EPJ product, as the message names it.")
    mapping: File = Field(description="The product's mapping file (docs/mapping.md).")
    service_types: dict[Text, Annotated[str, AfterValidator(_service_type)]] = Field(
        min_length=1,
        description='Local service type to its code in 9151, such as "21"; none = known and not reported.',
    )
    only: Only | None = Field(default=None, description="This unit's share of a database that several units use.")


class MunicipalitySettings(Section):
    """One municipality's configuration."""

    version: Literal[1] = Field(description="The version of this file's form: 1.")
    profile: Profile = Field(description="test, qa or production: decides who may be sent, and to whom.")
    mode: Literal["live", "shadow"] = Field(
        default="live", description="live, or shadow: everything runs, nothing enters the chain."
    )
    unit: UnitName = Field(
        description="The reporting unit's own name for ever: it seeds identities and names the chain. Never change it."
    )
    municipality: MunicipalityIdentity = Field(description="Who reports.")
    contacts: tuple[Contact, ...] = Field(
        min_length=1, description="The contact persons: at least one iplos_contact and one submission_officer."
    )
    epj: Epj = Field(description="The record system.")
    source: SourceSection = Field(description="Where changes come from: exactly one kind of source.")
    bus: BusSection = Field(description="Where messages go: exactly one kind of bus.")
    parties: Parties = Field(description="Sender and receiver.")
    protection: Protection = Field(description="Keys and certificates.")
    messages: Messages = Field(default=Messages(), description="What is written into messages.")
    rules: Rules = Field(default=Rules(), description="What is owed and when.")
    gate: Gate = Field(default=Gate(), description="When too much at once waits for a person.")
    receipts: Receipts = Field(default=Receipts(), description="What comes back.")
    dispatch: Dispatch = Field(default=Dispatch(), description="How sending goes on.")
    ledger: Ledger = Field(description="The agent's own memory.")
    control: Control = Field(default=Control(), description="How verbs reach the daemon.")

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens for verbs."""
        return self.control.socket or self.ledger.path.with_name(self.ledger.path.name + ".sock")
