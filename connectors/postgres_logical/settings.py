"""PostgreSQL's own log, read by streaming replication (pgoutput): every committed transaction, whole and in order."""

from pydantic import Field

from connectors.section import ConnectorSection, FilePath


class PostgresLogicalSettings(ConnectorSection):
    """A publication and a replication slot in the EPJ's database."""

    connection_file: FilePath = Field(
        description="A file with one libpq connection string (keywords or a URL), password included or by passfile; "
        "read at each connection. sslmode is verify-full where it names none, but for a server on this machine."
    )
    publication: str = Field(
        default="kpr_agent", min_length=1, max_length=63, description="The publication with the mapped tables."
    )
    slot: str = Field(
        default="kpr_agent",
        pattern=r"^[a-z0-9_]{1,63}$",
        description="The replication slot that keeps the log for us: small letters, digits and _, at most 63.",
    )
    create_slot: bool = Field(
        default=True, description="Make the slot at the first start, when it is missing and nothing has been read."
    )
    chunk_rows: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="How many records of a large transaction, or of a load, come at once.",
    )
    connect_timeout_s: float = Field(
        default=15.0, gt=0, le=60, description="How long a connection may take to be made, in seconds."
    )
    operation_timeout_s: float = Field(
        default=30.0, gt=0, le=60, description="How long the database may take for one question, in seconds."
    )
    slot_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="How long making a slot may take: it waits for transactions that are open, in seconds.",
    )
    quiet_timeout_s: float = Field(
        default=45.0,
        ge=2,
        le=60,
        description="How long the server may be silent, keep-alives included, until it is held to be gone, in seconds.",
    )
    idle_interval_s: float = Field(
        default=5.0, ge=0.01, le=10, description="How often a quiet stream tells how far it has come, in seconds."
    )
