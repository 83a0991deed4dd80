"""What can go wrong with plain queries, each by its own code, with what a person does about it.

No text quotes a value, a key or a password; tables and columns are named.
"""

from connectors.source import PositionLost, SourceChanged, SourceRefused, SourceUnavailable

_LOST = (
    "find out whether the database was restored, exchanged or copied; then follow 'A position is lost' in "
    "docs/operations.md"
)


class QueryUnanswered(SourceUnavailable):
    """The database cannot be reached, or did not answer a query in time."""

    code = "KPR-150"

    def __init__(self, told: str) -> None:
        super().__init__(
            f"the database of table_query {told}",
            repair="check that the database answers; if queries take too long, set chunk_rows lower or have an index "
            "made (docs/operations/query.md)",
        )


class QueryRefused(SourceRefused):
    """Wrong user or password, or no right to SELECT."""

    code = "KPR-151"

    def __init__(self, told: str) -> None:
        super().__init__(
            f"the database of table_query {told}",
            repair="check the user and the password in url_file, and the right to SELECT the mapped columns",
        )


class TablesUnfit(SourceRefused):
    """The settings and the mapping do not fit: a table unknown to the mapping, or one that nothing reads."""

    code = "KPR-152"

    def __init__(self, why: str, repair: str) -> None:
        super().__init__(why, repair=repair)


class QueriedTableMissing(SourceChanged):
    """A mapped table or view is not there, or not as it was."""

    code = "KPR-153"

    def __init__(self, table: str) -> None:
        super().__init__(
            f"the table or view {table} is not there, or a column that is asked for is gone or of another type",
            repair="put its new name into the mapping, or have SELECT granted on it. Nothing is lost by waiting: rows "
            "are read as they are then",
        )


class QueriedColumnMissing(SourceChanged):
    """A mapped column is gone."""

    code = "KPR-154"

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        super().__init__(
            f"{table} has no column {', '.join(columns)}, or the agent's user may not read it",
            repair="put its new name into the mapping (the old one as an earlier name), or have SELECT granted on it. "
            "Nothing is lost by waiting: rows are read as they are then",
        )


class KeyUnfit(SourceChanged):
    """The mapped key does not tell rows apart, or cannot be asked for again."""

    code = "KPR-155"

    def __init__(self, table: str, why: str) -> None:
        super().__init__(
            f"the key of {table} cannot be read by: {why}",
            repair="name columns in the mapping's key that are unique together, such as the table's primary key",
        )


class WatermarkUnusable(SourceChanged):
    """The watermark column's values are not what is configured."""

    code = "KPR-156"

    def __init__(self, table: str, column: str, why: str) -> None:
        super().__init__(
            f"{table}.{column} cannot be a watermark: {why}",
            repair="name another column or kind under source.table_query.tables, or leave the watermark out and let "
            "full scans find the changes",
        )


class AnotherDatabase(PositionLost):
    """Another database answers than the one the position was stored for."""

    code = "KPR-157"

    def __init__(self) -> None:
        super().__init__("another database answers table_query than before", repair=_LOST)


class RowsWentBack(PositionLost):
    """The rows read last are gone or older than they were: a restored backup, or a replica behind the one before."""

    code = "KPR-158"

    def __init__(self, table: str, why: str) -> None:
        super().__init__(f"{table}: {why}", repair=_LOST)
