# ruff: noqa: S608 - the SQL is put together from our own table names and a checked schema name, never from data
"""The demo EPJ's tables, change log and triggers as SQL, for SQLite and PostgreSQL."""

from collections.abc import Iterator, Mapping
from typing import Final

from agent.demo.step import TABLES

LOG_TABLE: Final = "endringslogg"
"""The change log: nr (ordered key), tabell, operasjon (I, U, D), foer and etter (JSON), tx, tid."""

LOG_COLUMNS: Final[Mapping[str, str]] = {
    "key": "nr",
    "table": "tabell",
    "operation": "operasjon",
    "before": "foer",
    "after": "etter",
    "transaction": "tx",
    "time": "tid",
}
"""What the change log's columns are, in the words of the outbox_table connector."""

_REGISTERED: Final = {"registrert_tid": "timestamp", "endret_tid": "timestamp"}

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "bruker": {
        "bruker_id": "integer",
        "fnr": "text",
        "id_type": "text",
        "fodselsdato": "date",
        "fornavn": "text",
        "etternavn": "text",
        "bydel": "text",
        **_REGISTERED,
    },
    "enhet": {"enhet_id": "integer", "orgnr": "text", "navn": "text", **_REGISTERED},
    "tjeneste": {
        "tjeneste_id": "integer",
        "bruker_id": "integer",
        "enhet_id": "integer",
        "lokal_type": "text",
        "start_dato": "date",
        "slutt_dato": "date",
        "status": "text",
        "saksnummer": "text",
        **_REGISTERED,
    },
    "pause": {
        "pause_id": "integer",
        "tjeneste_id": "integer",
        "fra_dato": "date",
        "til_dato": "date",
        "status": "text",
        **_REGISTERED,
    },
}
"""Table -> column -> SQL type. No foreign keys: rows of real systems arrive in any order."""


def statements(dialect: str, schema: str | None) -> Iterator[str]:
    """Every statement that makes the EPJ, in order. `dialect` is sqlite or postgresql."""
    prefix = f"{schema_name(schema)}." if schema else ""
    if schema:
        yield f"CREATE SCHEMA IF NOT EXISTS {schema}"
    for table, columns in COLUMNS.items():
        yield _table(f"{prefix}{table}", TABLES[table], columns)
    if dialect == "postgresql":
        yield from _postgresql_log(prefix)
    else:
        yield from _sqlite_log()


def schema_name(schema: str) -> str:
    """The schema's name where it is a plain identifier; ValueError otherwise."""
    if not (schema.isascii() and schema.isidentifier()):
        raise ValueError("a schema is named by letters, digits and underscores")
    return schema


def _table(name: str, key: str, columns: Mapping[str, str]) -> str:
    lines = [f"{column} {kind}{' PRIMARY KEY' if column == key else ''}" for column, kind in columns.items()]
    return f"CREATE TABLE {name} ({', '.join(lines)})"


def _postgresql_log(prefix: str) -> Iterator[str]:
    log = f"{prefix}{LOG_TABLE}"
    yield (
        f"CREATE TABLE {log} (nr bigserial PRIMARY KEY, tabell text NOT NULL, operasjon text NOT NULL,"
        " foer jsonb, etter jsonb, tx bigint NOT NULL DEFAULT txid_current(),"
        " tid timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    yield f"""CREATE FUNCTION {prefix}skriv_endring() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  navn text := 'public.' || TG_TABLE_NAME;
  nokkel text := TG_ARGV[0];
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {log} (tabell, operasjon, etter) VALUES (navn, 'I', to_jsonb(NEW));
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO {log} (tabell, operasjon, foer) VALUES (navn, 'D', to_jsonb(OLD));
  ELSIF to_jsonb(NEW) -> nokkel = to_jsonb(OLD) -> nokkel THEN
    INSERT INTO {log} (tabell, operasjon, foer, etter) VALUES (navn, 'U', to_jsonb(OLD), to_jsonb(NEW));
  ELSE
    INSERT INTO {log} (tabell, operasjon, foer) VALUES (navn, 'D', to_jsonb(OLD));
    INSERT INTO {log} (tabell, operasjon, etter) VALUES (navn, 'I', to_jsonb(NEW));
  END IF;
  RETURN NULL;
END $$"""
    for table, key in TABLES.items():
        yield (
            f"CREATE TRIGGER {table}_endring AFTER INSERT OR UPDATE OR DELETE ON {prefix}{table}"
            f" FOR EACH ROW EXECUTE FUNCTION {prefix}skriv_endring('{key}')"
        )


def _sqlite_log() -> Iterator[str]:
    # AUTOINCREMENT: a key is never given twice, so that a reader's position stays true when the log is trimmed.
    yield (
        f"CREATE TABLE {LOG_TABLE} (nr integer PRIMARY KEY AUTOINCREMENT, tabell text NOT NULL,"
        " operasjon text NOT NULL, foer text, etter text, tx integer,"
        " tid text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"
    )
    for table, key in TABLES.items():
        old, new = _json_object(table, "OLD"), _json_object(table, "NEW")
        yield _sqlite_trigger(table, "insert", "INSERT", "1", [("I", "NULL", new)])
        yield _sqlite_trigger(table, "delete", "DELETE", "1", [("D", old, "NULL")])
        yield _sqlite_trigger(table, "update", "UPDATE", f"NEW.{key} = OLD.{key}", [("U", old, new)])
        yield _sqlite_trigger(
            table, "rekey", "UPDATE", f"NEW.{key} <> OLD.{key}", [("D", old, "NULL"), ("I", "NULL", new)]
        )


def _sqlite_trigger(table: str, name: str, occasion: str, condition: str, entries: list[tuple[str, str, str]]) -> str:
    inserts = " ".join(
        f"INSERT INTO {LOG_TABLE} (tabell, operasjon, foer, etter) VALUES ('public.{table}', '{letter}', {old}, {new});"
        for letter, old, new in entries
    )
    return f"CREATE TRIGGER {table}_{name} AFTER {occasion} ON {table} WHEN {condition} BEGIN {inserts} END"


def _json_object(table: str, side: str) -> str:
    pairs = ", ".join(f"'{column}', {side}.{column}" for column in COLUMNS[table])
    return f"json_object({pairs})"
