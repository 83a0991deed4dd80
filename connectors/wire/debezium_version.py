"""What is newer: each database's own order, out of Debezium's `source` block.

The order is that of commits, then of changes within one: PostgreSQL's LSN; SQL Server's commit LSN, change LSN and
serial number; Oracle's commit SCN, SCN, redo record and subscript; MySQL's binary log file, position and row.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from connectors.source import Mark, Version

Order = tuple[int, ...]
_NO_LSN: Final[Order] = (0, 0, 0)
_SNAPSHOT_WORDS: Final = frozenset(
    {"true", "first", "first_in_data_collection", "last", "last_in_data_collection", "incremental"}
)
_MARKS: Final[Mapping[str, Mark]] = {
    "first": Mark.BEGIN,
    "first_in_data_collection": Mark.BEGIN,
    "true": Mark.INSIDE,
    "last_in_data_collection": Mark.END,
    "last": Mark.END,
}
_HEX_LSN: Final = re.compile(r"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,16})")  # Db2 has 16 bytes
_TRAILING_NUMBER: Final = re.compile(r"([0-9]{1,18})$", re.ASCII)
_REDO_RECORD: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{1,16})\.([0-9a-fA-F]{1,16})\.([0-9a-fA-F]{1,8})")


def is_snapshot(source: Mapping[str, object]) -> bool:
    """Whether the row was read in a snapshot: a boolean, a word, "false" or null."""
    mark = source.get("snapshot")
    return mark is True or (isinstance(mark, str) and mark.lower() in _SNAPSHOT_WORDS)


def scan_mark(source: object) -> Mark | None:
    """Where a row stands in its table's snapshot; None for a row that is in none, or in an incremental one."""
    word = source.get("snapshot") if isinstance(source, dict) else None
    return _MARKS.get(word) if isinstance(word, str) else None


def version_of(connector: str, source: Mapping[str, object], epoch: str = "") -> Version | None:
    """The version within "connector:database" behind `epoch`; None where there is no order (incremental rows)."""
    if source.get("snapshot") == "incremental":
        return None
    order_of = _ORDERS.get(connector)
    order = None if order_of is None else order_of(source)
    if order is None:
        return None
    database = source.get("db")
    return Version(f"{epoch}{connector}:{database if isinstance(database, str) else ''}", order)


def _postgresql(source: Mapping[str, object]) -> Order | None:
    lsn = _number(source.get("lsn"))
    return None if lsn is None else (lsn,)


def _sqlserver(source: Mapping[str, object]) -> Order | None:
    commit = _hex_lsn(source.get("commit_lsn"))
    if commit is None:
        return None
    change = _hex_lsn(source.get("change_lsn")) or _NO_LSN  # a snapshot row has none: older than any change there
    return *commit, *change, _number(source.get("event_serial_no")) or 0


def _oracle(source: Mapping[str, object]) -> Order | None:
    change = _number(source.get("scn"))
    commit = _number(source.get("commit_scn"))
    if commit is None and change is None:
        return None
    if commit is None:  # a snapshot row has only the SCN as of which it was read
        return change or 0, change or 0, *_NO_LSN, 0
    record = _parts(_REDO_RECORD, source.get("rs_id")) or _NO_LSN
    return commit, change or 0, *record, _number(source.get("ssn")) or 0


def _mysql(source: Mapping[str, object]) -> Order | None:
    name = source.get("file")
    found = _TRAILING_NUMBER.search(name) if isinstance(name, str) else None
    place = _number(source.get("pos"))
    if found is None or place is None:
        return None
    return int(found[1]), place, _number(source.get("row")) or 0


def _db2(source: Mapping[str, object]) -> Order | None:
    commit = _hex_lsn(source.get("commit_lsn"))
    return None if commit is None else (*commit, *(_hex_lsn(source.get("change_lsn")) or _NO_LSN))


def _number(value: object) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 40:
        return int(value)
    return None


def _hex_lsn(value: object) -> Order | None:
    """`00000027:00000758:0005` as its three numbers."""
    return _parts(_HEX_LSN, value)


def _parts(form: re.Pattern[str], value: object) -> Order | None:
    found = form.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if found is None else tuple(int(part, 16) for part in found.groups())


_ORDERS: Final[Mapping[str, Callable[[Mapping[str, object]], Order | None]]] = {
    "postgresql": _postgresql,
    "sqlserver": _sqlserver,
    "oracle": _oracle,
    "mysql": _mysql,
    "mariadb": _mysql,
    "db2": _db2,
}
