"""The sections of a municipality's file on what is owed, and on how the daemon goes about it."""

import re
from datetime import date, timedelta
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from agent.settings.values import Day, Duration, File, Section, Share, Text

IdentityText = Annotated[str, StringConstraints(min_length=1, max_length=20)]


class Fictitious(Section):
    """People who do not exist."""

    numbers: tuple[IdentityText, ...] = Field(
        default=(),
        repr=False,
        description="Identity numbers, in double quotes, that are never sent.",
        json_schema_extra={"personal": True},
    )
    names: tuple[Text, ...] = Field(
        default=(),
        repr=False,
        description="Names that are never sent; * stands for any characters, ? for one, case does not count.",
        json_schema_extra={"personal": True},
    )

    def matches_name(self, name: str) -> bool:
        """Whether a person's name is one of `names`; white space counts as one blank."""
        folded = " ".join(name.split()).casefold()
        return any(_pattern(pattern).fullmatch(folded) for pattern in self.names)


class Rules(Section):
    """What is owed and when."""

    settle: Duration = Field(
        default=timedelta(0), description="How long a service must be quiet before it is examined; 0s = at once."
    )
    cut_off: Day = Field(
        default=date(2021, 1, 1),
        description="Services that ended, and pauses that were over, before this day are left out.",
    )
    earliest_date: Day = Field(default=date(1990, 1, 1), description="A date before this one is a defect.")
    latest_days_ahead: int = Field(
        default=730, ge=0, le=36500, description="A date more than so many days ahead is a defect, not a plan."
    )
    missing_row_alarm: Duration = Field(
        default=timedelta(days=7), description="An alarm when a referenced row has been missing so long."
    )
    fictitious: Fictitious = Field(default=Fictitious(), description="People who are never sent.")
    allowed_numbers: tuple[IdentityText, ...] = Field(
        default=(),
        repr=False,
        description="Identity numbers of the real series, in double quotes, that may be sent under qa.",
        json_schema_extra={"personal": True},
    )


class Gate(Section):
    """When too much is owed at once: it waits for a person."""

    owed_share: Share = Field(
        default=0.05,
        description="The gate closes when this share of the services is owed anything.",
        json_schema_extra={"default": "5%"},
    )
    owed_minimum: int = Field(default=20, ge=0, description="Never for fewer services than this.")
    window: Duration = Field(default=timedelta(hours=1), description="Over how long the share is counted.")


class Receipts(Section):
    """What comes back."""

    overdue_after: Duration = Field(default=timedelta(hours=24), description="An alarm when a receipt is so late.")
    foreign: Literal["stop", "dead_letter"] = Field(
        default="stop",
        description="A message on our queue that is not ours: stop (released, alarm) or dead_letter; never accepted.",
    )


class Dispatch(Section):
    """How sending goes on."""

    max_unreceipted: int = Field(default=500, ge=1, description="Sending waits when so many messages lack a receipt.")
    retry_first: Duration = Field(default=timedelta(seconds=1), description="The first wait after a failure.")
    retry_longest: Duration = Field(default=timedelta(minutes=5), description="The longest wait; they double up to it.")
    slow_retry: Duration = Field(
        default=timedelta(minutes=2), description="The wait where a person must act: no route, refused, rejected."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.retry_longest < self.retry_first:
            raise ValueError("retry_longest is shorter than retry_first")
        return self


class Keep(Section):
    """How long things are kept. y = 365 days."""

    message_bytes: Duration = Field(default=timedelta(days=90), description="A message's bytes, after its receipt.")
    notification_fields: Duration = Field(
        default=timedelta(days=3 * 365), description="A notification's fields, after its event stands no more."
    )
    receipts: Duration = Field(default=timedelta(days=3 * 365), description="Receipts as they came.")
    unreadable: Duration = Field(default=timedelta(days=365), description="Records that could not be read.")


class Ledger(Section):
    """The agent's own memory, one for each municipality."""

    path: File = Field(description="The ledger's file, on a local disk.")
    key_file: File = Field(description="The key that encrypts the ledger.")
    keep: Keep = Field(default=Keep(), description="How long things are kept.")


class Control(Section):
    """How verbs reach the daemon."""

    socket: File | None = Field(
        default=None, description="The Unix socket; by default the ledger's path with .sock behind it."
    )


@cache  # every row of a person is compared with every pattern
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    folded = " ".join(pattern.split()).casefold()
    return re.compile("".join(parts.get(character) or re.escape(character) for character in folded), re.DOTALL)
