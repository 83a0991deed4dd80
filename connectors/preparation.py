"""What a source needs of its database before the first start: what a person wishes, and what comes of it.

Here too: the rights of a source that only reads tables, as statements that every database understands.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from connectors.inspection import Statement

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Wishes:
    """`role`: the database's name for the agent. `column_lists`, `failover`: where the database knows them.

    `admin`: the connection string of somebody who may prepare the database, as the driver reads it; None: the source's
    own connection, which often may look and not change.
    """

    role: str = "kpr_agent"
    column_lists: bool = False
    failover: bool = False
    admin: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The statements that are missing, in order, and `advice` in sentences where statements do not say it all.

    `run` runs them; None where a database administrator has to. It may raise a SourceError.
    """

    statements: tuple[Statement, ...]
    advice: str = ""
    run: Callable[[], Awaitable[None]] | None = None

    @property
    def count(self) -> int:
        """How many statements run; what stands as a comment is for the server's owner to decide."""
        return sum(not statement.text.startswith("--") for statement in self.statements)


def select_grants(tables: Sequence[str], role: str) -> tuple[Statement, ...]:
    """The right to read each table (`schema.table` or `table`) and nothing more, and to reach its schema."""
    schemas = sorted({table.rpartition(".")[0] for table in tables} - {""})
    return (
        *(
            Statement(
                f"GRANT USAGE ON SCHEMA {_identifier(schema)} TO {_identifier(role)};",
                "reach the tables of this schema (PostgreSQL; other databases need no such right)",
            )
            for schema in schemas
        ),
        *(
            Statement(f"GRANT SELECT ON {_identifier(table)} TO {_identifier(role)};", "read this table, nothing more")
            for table in tables
        ),
    )


def _identifier(name: str) -> str:
    """Each part of a dotted name as it is, or in double quotes where it is no plain word."""
    parts = name.split(".")
    return ".".join(part if _PLAIN_NAME.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts)
