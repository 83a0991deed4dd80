"""How a connector's own settings behave: frozen, no unknown keys, nothing converted, no values in errors or repr."""

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FilePath = Annotated[Path, Field(strict=False, json_schema_extra={"format": "path"})]
"""A path; whoever reads the configuration makes a relative one relative to the file it stands in."""


class ConnectorSection(BaseModel):
    """A part of a configuration file that a connector owns. Every field says in one sentence what it is for."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_default=True,
        populate_by_name=True,
    )


class DatabaseSection(ConnectorSection):
    """A connector's section that names a database which SQLAlchemy reaches (connectors/sql_connection.py)."""

    url_file: FilePath | None = Field(
        default=None, description="A file with one SQLAlchemy URL, password included; read at each connection."
    )
    sqlite_file: FilePath | None = Field(default=None, description="A SQLite database, instead of url_file.")

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.url_file is None) == (self.sqlite_file is None):
            raise ValueError("write exactly one of url_file and sqlite_file")
        return self


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("write the name of a time zone, such as Europe/Oslo") from None
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
