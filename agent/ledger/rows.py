"""The room of kept rows: what is known of every mapped table, and the values by which rows are looked up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import orjson

from agent.domain.mapping import Columns
from agent.domain.rows import KeptRow, Values, key_of
from agent.ledger.errors import corrupt_row
from agent.ledger.payload import row_from_bytes, row_to_bytes
from agent.ledger.room import Room
from agent.ledger.seal import index_prefix


@lru_cache(maxsize=1024)
def row_prefix(table: str) -> bytes:
    """The index prefix of a row's key. A dependency on the row has the same one."""
    return index_prefix("row", table)


@lru_cache(maxsize=1024)
def value_prefix(table: str, columns: Columns) -> bytes:
    """The index prefix of a looked-up value. A dependency on the look-up has the same one."""
    return index_prefix("value", table, *columns)


@lru_cache(maxsize=1024)
def _content_prefix(table: str) -> bytes:
    return index_prefix("row content", table)


_ABSENT = (
    "kept_row AS k JOIN reading AS r ON r.table_name = k.table_name"
    " WHERE k.table_name = ?1 AND k.deleted = 0 AND k.reading <= r.number - ?2"
)


@lru_cache(maxsize=1024)
def _place(table: str) -> str:
    return f"kept_row of {table}"


class RowsRoom(Room):
    """Kept rows. Implements `agent.domain.rows.Rows`."""

    __slots__ = ()

    def row(self, table: str, key: str) -> KeptRow | None:
        """The row of that key, deleted ones included; None when it was never seen."""
        hmac = self._seal.index(row_prefix(table), key)
        found = self._db.execute("SELECT payload FROM kept_row WHERE key_hmac = ?", (hmac,)).fetchone()
        return None if found is None else self._opened(table, hmac, found[0])

    def find(self, table: str, columns: Columns, value: str) -> Sequence[KeptRow]:
        """The rows that are not deleted whose `columns` equal `value`; only columns that `put_row` was told to index.

        The values themselves are compared again, so that neither a stale nor an equal HMAC gives a wrong row.
        """
        found = self._db.execute(
            "SELECT r.key_hmac, r.payload FROM lookup AS l JOIN kept_row AS r ON r.id = l.row_id"
            " WHERE l.value_hmac = ? AND r.deleted = 0",
            (self._seal.index(value_prefix(table, columns), value),),
        ).fetchall()
        rows = [self._opened(table, hmac, sealed) for hmac, sealed in found]
        return [row for row in rows if not row.deleted and key_of(columns, row.values) == value]

    def put_row(self, row: KeptRow, lookups: frozenset[Columns]) -> None:
        """Keep the row as it is now, in place of what was known of it, found by its present `lookups` only."""
        hmac = self._seal.index(row_prefix(row.table), row.key)
        content = None if row.deleted or row.defect is not None else self._content(row.table, row.values)
        (row_id,) = self._db.execute(
            "INSERT INTO kept_row (table_name, key_hmac, deleted, payload, content_hmac, reading)"
            " VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT number FROM reading WHERE table_name = ?1), 0))"
            " ON CONFLICT (key_hmac) DO UPDATE SET deleted = excluded.deleted, payload = excluded.payload,"
            " content_hmac = excluded.content_hmac, reading = excluded.reading RETURNING id",
            (row.table, hmac, row.deleted, self._seal.seal(_place(row.table), hmac, row_to_bytes(row)), content),
        ).fetchone()
        self._index(row_id, row, lookups)

    def told_again(self, table: str, key: str, values: Values) -> bool:
        """Whether a reading tells just what is kept of a row, by a keyed hash; then it counts as told by it."""
        found = self._db.execute(
            "UPDATE kept_row SET reading = coalesce((SELECT number FROM reading WHERE table_name = ?1), 0)"
            " WHERE key_hmac = ?2 AND content_hmac = ?3",
            (table, self._seal.index(row_prefix(table), key), self._content(table, values)),
        )
        return found.rowcount > 0

    def mark_told(self, table: str, key: str) -> None:
        """The row was told by the table's reading, though nothing of it was taken."""
        self._db.execute(
            "UPDATE kept_row SET reading = coalesce((SELECT number FROM reading WHERE table_name = ?1), 0)"
            " WHERE key_hmac = ?2",
            (table, self._seal.index(row_prefix(table), key)),
        )

    def begin_reading(self, tables: Iterable[str]) -> None:
        """A reading of these tables begins, or begins anew: one that was broken off keeps its number."""
        for table in tables:
            self._db.execute(
                "INSERT INTO reading (table_name, number, is_open) VALUES (?, 1, 1)"
                " ON CONFLICT (table_name) DO UPDATE SET number = number + 1 - is_open, is_open = 1",
                (table,),
            )

    def end_reading(self, tables: Iterable[str]) -> None:
        """The reading is complete: every row that is there was told."""
        for table in tables:
            self._db.execute("UPDATE reading SET is_open = 0 WHERE table_name = ?", (table,))

    def is_first_told(self, table: str, key: str) -> bool:
        """Whether the table's present reading has not told this row before."""
        found = self._db.execute(
            "SELECT 1 FROM kept_row AS k JOIN reading AS r ON r.table_name = ?1"
            " WHERE k.key_hmac = ?2 AND k.reading < r.number",
            (table, self._seal.index(row_prefix(table), key)),
        ).fetchone()
        return found is not None

    def count_absent(self, table: str, readings: int = 1) -> int:
        """How many rows that are not deleted none of the last `readings` readings of the table has told."""
        (count,) = self._db.execute(f"SELECT count(*) FROM {_ABSENT}", (table, readings)).fetchone()  # noqa: S608 - ours
        return int(count)

    def absent_rows(self, table: str, readings: int = 1, limit: int = -1) -> list[KeptRow]:
        """Those rows, at most `limit` of them (-1: all)."""
        found = self._db.execute(
            f"SELECT k.key_hmac, k.payload FROM {_ABSENT} LIMIT ?3",  # noqa: S608 - a constant of ours
            (table, readings, limit),
        ).fetchall()
        return [self._opened(table, hmac, sealed) for hmac, sealed in found]

    def count_rows(self, table: str) -> int:
        """How many rows of a table are known and not deleted."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM kept_row WHERE table_name = ? AND deleted = 0", (table,)
        ).fetchone()
        return int(count)

    def rows_of(self, table: str) -> Iterator[KeptRow]:
        """Every row of a table, deleted ones included, in no special order; read as it is asked for."""
        for hmac, sealed in self._db.execute("SELECT key_hmac, payload FROM kept_row WHERE table_name = ?", (table,)):
            yield self._opened(table, hmac, sealed)

    def present_rows(self, table: str, limit: int) -> list[KeptRow]:
        """At most `limit` rows of a table that are not deleted, in no special order."""
        found = self._db.execute(
            "SELECT key_hmac, payload FROM kept_row WHERE table_name = ? AND deleted = 0 LIMIT ?", (table, limit)
        ).fetchall()
        return [self._opened(table, hmac, sealed) for hmac, sealed in found]

    def index_again(self, lookups: Mapping[str, frozenset[Columns]]) -> int:
        """How many rows were indexed again: what a changed mapping needs before it finds rows."""
        done = 0
        for table, groups in lookups.items():
            last = 0
            while True:
                page = self._db.execute(
                    "SELECT id, key_hmac, payload FROM kept_row WHERE table_name = ? AND id > ? ORDER BY id LIMIT 500",
                    (table, last),
                ).fetchall()
                if not page:
                    break
                for row_id, hmac, sealed in page:
                    self._index(row_id, self._opened(table, hmac, sealed), groups)
                done, last = done + len(page), page[-1][0]
        return done

    def _content(self, table: str, values: Values) -> bytes:
        named = orjson.dumps(dict(values), option=orjson.OPT_SORT_KEYS)
        return self._seal.index_bytes(_content_prefix(table), named)

    def _index(self, row_id: int, row: KeptRow, lookups: frozenset[Columns]) -> None:
        wanted = set()
        if not row.deleted:
            for columns in lookups:
                value = key_of(columns, row.values)
                if value is not None:
                    wanted.add(self._seal.index(value_prefix(row.table, columns), value))
        present = {hmac for (hmac,) in self._db.execute("SELECT value_hmac FROM lookup WHERE row_id = ?", (row_id,))}
        for hmac in present - wanted:
            self._db.execute("DELETE FROM lookup WHERE value_hmac = ? AND row_id = ?", (hmac, row_id))
        for hmac in wanted - present:
            self._db.execute("INSERT INTO lookup (value_hmac, row_id) VALUES (?, ?)", (hmac, row_id))

    def _opened(self, table: str, hmac: bytes, sealed: bytes) -> KeptRow:
        payload = self._seal.open(_place(table), hmac, sealed)
        try:
            return row_from_bytes(table, payload)
        except (ValueError, TypeError, KeyError):
            raise corrupt_row(_place(table), hmac.hex()) from None
