"""The tests of a mapping file as plain data: rows in, events out. `check` runs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from agent.domain.mapping import EpjMapping, Meaning, TableMapping
from agent.settings.mapping_file import MappingFile, Scalar
from agent.settings.mapping_graph import Loc
from agent.settings.model_faults import nearest, written_place
from agent.settings.values import needs_quotes
from agent.settings.yaml_reading import Document
from connectors.source import Value


@dataclass(frozen=True, slots=True)
class MappingTest:
    """One test. `rows`: table -> rows, each column -> value as a source decodes it (connectors/source.py: Value).

    `service_types`: local type -> code; empty: the municipality's. `expect`: the events owed, in order, each as
    "TjenesteStart N".
    """

    name: str
    today: date
    service_types: Mapping[str, str]
    rows: Mapping[str, tuple[Mapping[str, Value], ...]] = field(repr=False)
    expect: tuple[str, ...]


def mapping_tests(document: Document, words: MappingFile, mapping: EpjMapping) -> tuple[MappingTest, ...]:
    """The tests of a mapping file; faults in `document` for tables, columns and values that do not fit the mapping."""
    return tuple(
        MappingTest(
            test.name,
            test.today,
            dict(test.service_types),
            {
                table: tuple(
                    _row(document, mapping, table, row, ("tests", index, "rows", table, number))
                    for number, row in enumerate(rows)
                )
                for table, rows in test.rows.items()
                if _is_mapped(document, mapping, table, ("tests", index, "rows", table))
            },
            test.expect,
        )
        for index, test in enumerate(words.tests)
    )


def _is_mapped(document: Document, mapping: EpjMapping, table: str, loc: Loc) -> bool:
    if table in mapping.tables:
        return True
    near = nearest(table, list(mapping.tables))
    hint = f': did you mean "{near}"?' if near is not None else ""
    document.faults.append(document.fault(loc, f"no such table in this mapping{hint}"))
    return False


def _row(
    document: Document, mapping: EpjMapping, table: str, row: Mapping[str, Scalar], loc: Loc
) -> Mapping[str, Value]:
    described = mapping.tables[table]
    known = _kinds(mapping, described)
    values: dict[str, Value] = {}
    for column, scalar in row.items():
        place = written_place(document, (*loc, column))
        if column not in known:
            near = nearest(column, list(known))
            hint = f': did you mean "{near}"?' if near is not None else ""
            document.faults.append(document.fault(place, f"no such column of {table} in this mapping{hint}"))
            continue
        try:
            values[column] = _value(scalar, known[column], document.sources.get(place, ""))
        except ValueError as error:
            document.faults.append(document.fault(place, str(error)))
    for column in described.key:
        if row.get(column) is None:
            document.faults.append(document.fault(loc, f"the row has no {column}, which is its key"))
    return values


def _kinds(mapping: EpjMapping, table: TableMapping) -> Mapping[str, Meaning]:
    """A table's columns with their kinds, those of a name among them."""
    names = mapping.person.name if table.name == mapping.person_table else ()
    return {**table.columns, **dict.fromkeys(names, Meaning.TEXT)}


def _value(scalar: Scalar, kind: Meaning, source: str) -> Value:
    if scalar is None:
        return None
    if kind is Meaning.INTEGER:
        if not isinstance(scalar, int):
            raise ValueError("this column is an integer: write a whole number without quotes")
        return scalar
    if not isinstance(scalar, str):
        raise ValueError(needs_quotes(source))  # noqa: TRY004 - a value in a file, not a caller's mistake
    try:
        if kind is Meaning.DATE:
            return date.fromisoformat(scalar)
        if kind is Meaning.TEXT:
            return scalar
        moment = datetime.fromisoformat(scalar)
    except ValueError:
        raise ValueError(_FORMS[kind]) from None
    if (moment.tzinfo is None) is not (kind is Meaning.TIMESTAMP):
        raise ValueError(_FORMS[kind])
    return moment if kind is Meaning.TIMESTAMP else moment.astimezone(UTC)


_FORMS = {
    Meaning.DATE: "this column is a date: write YYYY-MM-DD",
    Meaning.TIMESTAMP: "this column is a timestamp: write YYYY-MM-DDTHH:MM:SS, with no zone",
    Meaning.INSTANT: "this column is an instant: write YYYY-MM-DDTHH:MM:SS+01:00, with its zone",
}
