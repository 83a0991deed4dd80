"""From a configuration's source and bus sections to connectors. A new connector is one field here and one case.

What a connector needs is loaded when it is opened: all their libraries together cost a hundred mebibytes.
"""

# ruff: noqa: PLC0415 - an import inside a function loads the libraries of the chosen connector only

from typing import Self, assert_never

from pydantic import Field, model_validator

from connectors.folder import FolderSettings
from connectors.inbox import Inbox
from connectors.inspection import Observation
from connectors.kafka_debezium.settings import KafkaDebeziumSettings
from connectors.nhn_amqp.account import NhnAmqpSettings
from connectors.outbox_table.source import OutboxTableSettings, OutboxTableSource
from connectors.postgres_logical.settings import PostgresLogicalSettings
from connectors.preparation import Prepared, Wishes, select_grants
from connectors.replay import ReplaySettings, ReplaySource
from connectors.section import ConnectorSection
from connectors.sender import Sender
from connectors.source import Capture, Encoding, Kind, Position, Source
from connectors.table_query.settings import TableQuerySettings
from connectors.table_query.source import TableQuerySource

SourceSettings = (
    OutboxTableSettings | ReplaySettings | KafkaDebeziumSettings | PostgresLogicalSettings | TableQuerySettings
)
BusSettings = NhnAmqpSettings | FolderSettings


class Encodings(ConnectorSection):
    """How numbers stand for dates and times in this source, where no schema says it. Nothing is guessed."""

    date: Encoding | None = Field(default=None, description="What a number in a date column counts, since 1970-01-01.")
    timestamp: Encoding | None = Field(
        default=None, description="What a number in a timestamp column counts, since 1970-01-01 (wall-clock time)."
    )
    instant: Encoding | None = Field(
        default=None, description="What a number in an instant column counts, since 1970-01-01 UTC."
    )
    columns: dict[str, Encoding] = Field(
        default={}, description="Exceptions: schema.table.column, or table.column, to what its numbers count."
    )

    def of(self, table: str, column: str, kind: Kind) -> Encoding | None:
        """The encoding of a column: its own, by the table's full name or its bare one, else that of its kind."""
        bare = table.rpartition(".")[2]
        by_kind = {Kind.DATE: self.date, Kind.TIMESTAMP: self.timestamp, Kind.INSTANT: self.instant}
        return self.columns.get(f"{table}.{column}") or self.columns.get(f"{bare}.{column}") or by_kind.get(kind)


class SourceSection(ConnectorSection):
    """Where changes come from: exactly one kind of source."""

    outbox_table: OutboxTableSettings | None = Field(
        default=None, description="A change log in the EPJ's database, written by triggers or by the EPJ itself."
    )
    replay: ReplaySettings | None = Field(default=None, description="Change events from a file.")
    kafka_debezium: KafkaDebeziumSettings | None = Field(
        default=None, description="Debezium's topics on a Kafka platform that is there already."
    )
    postgres_logical: PostgresLogicalSettings | None = Field(
        default=None, description="PostgreSQL's own log, read by streaming replication."
    )
    table_query: TableQuerySettings | None = Field(
        default=None, description="SELECT on the EPJ's tables or views, and nothing more."
    )
    encodings: Encodings = Field(
        default=Encodings(), description="How numbers stand for dates and times, where no schema says it."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        _require_one(
            "outbox_table, replay, kafka_debezium, postgres_logical and table_query",
            self.outbox_table,
            self.replay,
            self.kafka_debezium,
            self.postgres_logical,
            self.table_query,
        )
        return self

    @property
    def chosen(self) -> SourceSettings:
        """The settings of the one source."""
        if self.outbox_table is not None:
            return self.outbox_table
        if self.replay is not None:
            return self.replay
        if self.kafka_debezium is not None:
            return self.kafka_debezium
        if self.postgres_logical is not None:
            return self.postgres_logical
        if self.table_query is not None:
            return self.table_query
        raise ValueError("no source")


class BusSection(ConnectorSection):
    """Where messages go: exactly one kind of bus."""

    nhn_amqp: NhnAmqpSettings | None = Field(default=None, description="Norsk Helsenett's AMQP bus (Tjenestebuss).")
    folder: FolderSettings | None = Field(
        default=None, description="Files in a folder, for dry runs; nothing comes back from it."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        _require_one("nhn_amqp and folder", self.nhn_amqp, self.folder)
        return self

    @property
    def chosen(self) -> BusSettings:
        """The settings of the one bus."""
        if self.nhn_amqp is not None:
            return self.nhn_amqp
        if self.folder is not None:
            return self.folder
        raise ValueError("no bus")


def open_source(settings: SourceSettings, capture: Capture, position: Position | None) -> Source:
    """A source that starts behind `position`, or at the beginning; not yet entered. `capture` carries the encodings."""
    match settings:
        case OutboxTableSettings():
            return OutboxTableSource(settings, capture, position)
        case ReplaySettings():
            return ReplaySource(settings, capture, position)
        case KafkaDebeziumSettings():
            from connectors.kafka_debezium.source import KafkaDebeziumSource

            return KafkaDebeziumSource(settings, capture, position)
        case PostgresLogicalSettings():
            from connectors.postgres_logical.source import PostgresLogicalSource

            return PostgresLogicalSource(settings, capture, position)
        case TableQuerySettings():
            return TableQuerySource(settings, capture, position)
        case _:
            assert_never(settings)


async def inspect_source(
    settings: SourceSettings, capture: Capture, position: Position | None
) -> tuple[Observation, ...]:
    """How the live source stands, against the stored position. Changes nothing there, disturbs no reader, never raises
    a SourceError, and is bounded.
    """
    match settings:
        case OutboxTableSettings() | ReplaySettings() | TableQuerySettings():
            from connectors.opening import inspect_by_opening

            return await inspect_by_opening(lambda: open_source(settings, capture, position), position)
        case KafkaDebeziumSettings():
            from connectors.kafka_debezium.inspection import inspect_kafka

            return await inspect_kafka(settings, capture, position)
        case PostgresLogicalSettings():
            from connectors.postgres_logical.inspection import inspect

            return await inspect(settings, capture, position)
        case _:
            assert_never(settings)


async def plan_source(settings: SourceSettings, capture: Capture, wishes: Wishes) -> Prepared:
    """What the source's database still needs before the first start. Raises a SourceError where it must not be done."""
    match settings:
        case OutboxTableSettings():
            advice = "The change log itself is the EPJ's: its columns are in docs/operations.md, 'The change log'."
            grants = select_grants([settings.table], wishes.role) if settings.sqlite_file is None else ()
            return Prepared(grants, advice)
        case ReplaySettings():
            return Prepared((), "A file needs no preparation.")
        case TableQuerySettings():
            if settings.sqlite_file is not None:
                return Prepared((), "A SQLite file needs no rights but those of the file.")
            return Prepared(select_grants([table.name_in_source for table in capture.tables], wishes.role))
        case KafkaDebeziumSettings():
            advice = "Debezium and its database are prepared by their owners: see deploy/debezium/README.md."
            return Prepared((), advice)
        case PostgresLogicalSettings():
            from connectors.postgres_logical.preparation import prepare

            return await prepare(settings, capture, wishes)
        case _:
            assert_never(settings)


def open_sender(settings: BusSettings, *, send_to_queue: str) -> Sender:
    """A sender of messages for one queue (the register's), not yet entered."""
    match settings:
        case NhnAmqpSettings():
            from connectors.nhn_amqp.bus import NhnAmqpSender

            return NhnAmqpSender(settings, send_to_queue=send_to_queue)
        case FolderSettings():
            from connectors.folder import FolderSender

            return FolderSender(settings)
        case _:
            assert_never(settings)


def open_inbox(settings: BusSettings, *, async_queue: str, error_queue: str) -> Inbox | None:
    """An inbox on our own two queues, not yet entered; None for a bus from which nothing comes back (a folder)."""
    match settings:
        case NhnAmqpSettings():
            from connectors.nhn_amqp.bus import NhnAmqpInbox

            return NhnAmqpInbox(settings, async_queue=async_queue, error_queue=error_queue)
        case FolderSettings():
            return None
        case _:
            assert_never(settings)


def _require_one(names: str, *sections: object) -> None:
    if sum(section is not None for section in sections) != 1:
        raise ValueError(f"write exactly one of {names}")
