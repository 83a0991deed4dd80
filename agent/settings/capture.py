"""What a source is asked for: the mapped columns of the mapped tables, and nothing else."""

from agent.domain.mapping import EpjMapping, Meaning, TableMapping
from agent.settings.municipality import Only
from connectors.catalog import Encodings
from connectors.source import Capture, Column, Kind, Table

_KINDS = {meaning: Kind(meaning.value) for meaning in Meaning}


def capture(mapping: EpjMapping, encodings: Encodings | None = None, only: Only | None = None) -> Capture:
    """The capture of one unit. The columns of a person's name are in it, though no row keeps them.

    `encodings`: `settings.source.encodings`. `only`: the column that tells units apart is asked for too; where a schema
    does, the tables are found there.
    """
    return Capture(tuple(_table(mapping, table, encodings or Encodings(), only) for table in mapping.tables.values()))


def _table(mapping: EpjMapping, table: TableMapping, encodings: Encodings, only: Only | None) -> Table:
    kinds = {column: _KINDS[meaning] for column, meaning in table.columns.items()}
    if table.name == mapping.person_table:
        kinds |= dict.fromkeys(mapping.person.name, Kind.TEXT)
    if only is not None and only.column is not None and (not only.tables or table.name in only.tables):
        kinds.setdefault(only.column, Kind.TEXT)
    return Table(
        table.name,
        table.key,
        tuple(
            Column(
                name,
                kind,
                encodings.of(table.name, name, kind),
                table.earlier_names.get(name, ()),
            )
            for name, kind in kinds.items()
        ),
        _found_as(table.name, only),
    )


def _found_as(table: str, only: Only | None) -> str:
    return "" if only is None or only.schema_ is None else f"{only.schema_}.{table.rpartition('.')[2]}"
