"""The mapping file: the words in which an integration developer says what the tables of an EPJ product mean.

docs/mapping.md explains each word with an example. Short forms are widened here, so that the rest sees one form:
a column's name for a place or a key, one edge for a list of edges, one pause for a list of pauses.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from agent.domain.mapping import Meaning
from agent.settings.values import Day, Section, Text, Zone

KindWord = Literal["text", "integer", "date", "timestamp", "instant"]
DateWord = Literal["date", "timestamp", "instant"]
MomentWord = Literal["timestamp", "instant"]

MEANINGS: Final[Mapping[str, Meaning]] = {meaning.value: meaning for meaning in Meaning}


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return value
    # a tuple, because a strict model takes a list for one only where nothing in Python has touched the JSON
    return tuple(value) if isinstance(value, list) else (value,)


class KeyColumn(Section):
    """A column of a key, or one that rows are ordered by."""

    column: Text = Field(description="The column's name.")
    kind: KindWord | None = Field(
        default=None,
        description="text or integer (or another kind where it orders rows); what the column is elsewhere, else text.",
    )


AnyColumn = Annotated[KeyColumn, BeforeValidator(_column, json_schema_input_type=Text | KeyColumn)]
Key = Annotated[
    tuple[AnyColumn, ...],
    BeforeValidator(_listed, json_schema_input_type=AnyColumn | list[AnyColumn]),
    Field(min_length=1),
]
Names = Annotated[
    tuple[Text, ...], BeforeValidator(_listed, json_schema_input_type=Text | list[Text]), Field(min_length=1)
]


class EdgeWords(Section):
    """One step from a row to a row of another table."""

    by: Key = Field(description="The columns here that hold the other row's key.")
    table: Text = Field(description="The table that the step leads to.")
    key: Key | None = Field(
        default=None, description="The key columns of that table; they equal by, unless match says otherwise."
    )
    match: Key | None = Field(default=None, description="Where many rows match: the columns there that equal by.")
    first: AnyColumn | None = Field(default=None, description="Of many rows, the first by this column.")
    last: AnyColumn | None = Field(default=None, description="Of many rows, the last by this column.")

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.match is None and (self.first or self.last):
            raise ValueError("first and last choose among many rows: they need match")
        if self.match is not None and (self.first is None) == (self.last is None):
            raise ValueError("match finds many rows: write first or last with the column that orders them")
        if self.match is None and self.key is None:
            raise ValueError("write key (one row, by its key) or match (many rows)")
        there = self.match or self.key or ()
        if len(there) != len(self.by):
            raise ValueError("by and the columns there go in pairs: list as many of each, in the same order")
        return self


Edges = Annotated[tuple[EdgeWords, ...], BeforeValidator(_listed, json_schema_input_type=EdgeWords | list[EdgeWords])]


class PlaceWords(Section):
    """Where a fact stands: a column here, or of the row that via leads to."""

    column: Text = Field(description="The column's name.")
    kind: Literal["text", "integer"] | None = Field(default=None, description="text (the default) or integer.")
    via: Edges = Field(default=(), description="The steps to the row that has the column.")
    climb: EdgeWords | None = Field(
        default=None, description="A step inside that table to the row above, taken while the column is empty."
    )
    values: dict[Text, Text] = Field(
        default={}, description="What the product's codes mean; a code that is not listed stays as it is."
    )


class DateWords(Section):
    """Where a date stands. kind is never guessed."""

    column: Text = Field(description="The column's name.")
    kind: DateWord = Field(
        description="date, timestamp (wall-clock time in the mapping's zone) or instant (a moment with its zone)."
    )
    via: Edges = Field(default=(), description="The steps to the row that has the column.")


class NumberTypeWords(Section):
    """Where the type of an identity number stands, or one fixed code."""

    column: Text | None = Field(default=None, description="The column's name.")
    kind: Literal["text", "integer"] | None = Field(default=None, description="text (the default) or integer.")
    via: Edges = Field(default=(), description="The steps to the row that has the column.")
    values: dict[Text, Text] = Field(
        default={}, description='What the product\'s codes mean in 9032, such as F: "1"; others stay as they are.'
    )
    fixed: Annotated[str, StringConstraints(pattern=r"^\d{1,2}$")] | None = Field(
        default=None, description='One code of 9032 for everybody, in double quotes, such as "1".'
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.column is None) == (self.fixed is None):
            raise ValueError("write either column or fixed")
        return self


Column = Annotated[PlaceWords, BeforeValidator(_column, json_schema_input_type=Text | PlaceWords)]
NumberType = Annotated[NumberTypeWords, BeforeValidator(_column, json_schema_input_type=Text | NumberTypeWords)]


class RegisteredWords(Section):
    """When a row was made and last changed in the EPJ."""

    created: Text | None = Field(default=None, description="The column with the moment the row was made.")
    changed: Text | None = Field(default=None, description="The column with the moment of its last change.")
    kind: MomentWord = Field(description="timestamp (wall-clock time in the mapping's zone) or instant.")

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.created is None and self.changed is None:
            raise ValueError("write created, changed or both")
        return self


AnnulledWhen = dict[Text, Names]


class ServiceWords(Section):
    """The service's table and where its facts stand."""

    table: Text = Field(description="The table of services, as schema.table.")
    key: Key = Field(description="The columns that name a service; the register is told them as tjenesteID.")
    row_key: Key | None = Field(
        default=None, description="The table's row key, where several rows make one service; needs order_by."
    )
    order_by: AnyColumn | None = Field(
        default=None, description="Of several rows: the start is the first row's by this column, the rest the last's."
    )
    type: Column = Field(description="The local service type; service_types of the municipality translates it.")
    start: DateWords = Field(description="The day the service begins.")
    end: DateWords | None = Field(default=None, description="The day it ends.")
    person: Edges = Field(default=(), description="The steps to the person's row; none where it is this row.")
    provider: Edges = Field(default=(), description="The steps to the providing unit's row; none where it is this row.")
    provider_changed_on: DateWords | None = Field(
        default=None, description="The day the provider changed; without it, the day the change was registered."
    )
    registered: RegisteredWords | None = Field(default=None, description="When the row was made and changed.")
    annulled_when: AnnulledWhen = Field(default={}, description="Column to the texts that say: registered in error.")
    labels: dict[Text, Text] = Field(
        default={},
        description="Name to column: what people see beside the key (a case number); no person's data.",
    )

    @model_validator(mode="after")
    def _many_rows(self) -> Self:
        if (self.row_key is None) != (self.order_by is None):
            raise ValueError("row_key and order_by belong together: several rows make one service, in this order")
        return self


class PersonWords(Section):
    """Where the facts of a person stand, from the row that service.person leads to."""

    number: Column = Field(description="The identity number.")
    number_type: NumberType | None = Field(
        default=None, description="Its type in 9032 (a place with values, or fixed); without it, told from the digits."
    )
    user_number: Column = Field(description="The user number (brukerNr): unique in the municipality across all years.")
    key: Column | None = Field(default=None, description="The person's own key; the row's key by default.")
    birth_date: DateWords | None = Field(default=None, description="The birth date, used where a number is missing.")
    district: Column | None = Field(default=None, description="The city district (bydel).")
    name: Names | None = Field(
        default=None,
        description="The columns of the name: compared with fictitious names, in this order, and not kept.",
    )


class ProviderWords(Section):
    """Where the facts of a providing unit stand, from the row that the provider steps lead to."""

    organisation_number: Column = Field(description="The unit's organisation number.")


class PauseWords(Section):
    """Temporary stops: rows of a table, or two columns of the service row with a number."""

    table: Text | None = Field(default=None, description="The table; left out where columns of the service row say it.")
    key: Key | None = Field(default=None, description="The table's row key.")
    service: Key | None = Field(default=None, description="The columns that hold the service's key.")
    number: Annotated[int, Field(ge=1, le=999)] | None = Field(
        default=None, description="For columns of the service row: which pause of the service this is, from 1."
    )
    from_: DateWords = Field(alias="from", description="The day the pause begins.")
    to: DateWords = Field(description="The day it ends.")
    registered: RegisteredWords | None = Field(default=None, description="When the row was made and changed.")
    annulled_when: AnnulledWhen = Field(default={}, description="Column to the texts that say: registered in error.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.table is not None:
            if self.key is None or self.service is None or self.number is not None:
                raise ValueError("pauses in a table need key and service, and have no number")
        elif self.number is None or self.key or self.service or self.registered or self.annulled_when:
            raise ValueError("pauses in columns of the service row need number, from and to, and nothing else")
        return self


class PlacementWords(Section):
    """Dated providers as rows of a table."""

    table: Text = Field(description="The table of placements; it may be the table of services.")
    key: Key = Field(description="The table's row key.")
    service: Key = Field(description="The columns that hold the service's key.")
    from_: DateWords = Field(alias="from", description="The day the provider takes over.")
    provider: Edges = Field(default=(), description="The steps to the providing unit's row.")
    registered: RegisteredWords | None = Field(default=None, description="When the row was made and changed.")
    annulled_when: AnnulledWhen = Field(default={}, description="Column to the texts that say: registered in error.")


class TableWords(Section):
    """What is left to say of a table: its key where only steps lead to it, its moments, its columns' earlier names."""

    key: Key | None = Field(default=None, description="The table's row key.")
    registered: RegisteredWords | None = Field(default=None, description="When the row was made and changed.")
    earlier_names: dict[Text, Names] = Field(
        default={}, description="Column to the names it once had, tried in order where the column is not there."
    )


Scalar = str | int | None


class TestWords(Section):
    """Rows in, events out: run by `kpr-agent check`."""

    __test__ = False  # not a test class for pytest

    name: Text = Field(description="What the test shows.")
    today: Day = Field(description="The day it is.")
    service_types: dict[Text, Text] = Field(
        default={}, description="The local service types of these rows; the municipality's own where left out."
    )
    rows: dict[Text, tuple[dict[Text, Scalar], ...]] = Field(
        description="Table to its rows, each column to its value; dates and moments as text."
    )
    expect: tuple[
        Annotated[
            str,
            StringConstraints(pattern=r"^(Tjeneste(Start|Slutt|utforerEndret)|MidlertidigStopp(Fra|Til)) N$"),
        ],
        ...,
    ] = Field(description="The events that are owed, in order, such as TjenesteStart N; [] for none.")


Pauses = Annotated[
    tuple[PauseWords, ...], BeforeValidator(_listed, json_schema_input_type=PauseWords | list[PauseWords])
]


class MappingFile(Section):
    """What the tables of one EPJ product mean."""

    version: Literal[1] = Field(description="The version of this file's form: 1.")
    zone: Zone = Field(default="Europe/Oslo", description="The time zone of timestamp columns.")
    open_ended: tuple[Day, ...] = Field(
        default=(date(9999, 12, 31),), description='Every date that means "no date"; infinity always does.'
    )
    service: ServiceWords = Field(description="The service's table and where its facts stand.")
    person: PersonWords = Field(description="Where the facts of a person stand.")
    provider: ProviderWords = Field(description="Where the facts of a providing unit stand.")
    pauses: Pauses = Field(default=(), description="Temporary stops: a table, columns of the service row, or a list.")
    placements: PlacementWords | None = Field(default=None, description="Dated providers as rows of a table.")
    tables: dict[Text, TableWords] = Field(default={}, description="What is left to say of a table, by its name.")
    tests: tuple[TestWords, ...] = Field(default=(), description="Rows in, events out: run by kpr-agent check.")
