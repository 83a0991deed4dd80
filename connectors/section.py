"""How a connector's own settings behave: frozen, no unknown keys, nothing converted, no values in errors or repr."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


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


FilePath = Annotated[Path, Field(strict=False, json_schema_extra={"format": "path"})]
"""A path; whoever reads the configuration makes a relative one relative to the file it stands in."""
