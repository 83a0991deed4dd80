"""The `source` section of a municipality's file for each kind of source, as a person would write it for one EPJ."""

from pathlib import Path
from typing import Any

from agent.demo.epj_schema import LOG_COLUMNS, LOG_TABLE
from agent.demo.step import TABLES
from tests.e2e.sources_stage import Epj
from tests.services import Kafka

Section = dict[str, Any]

_ENCODINGS = {"date": "days", "timestamp": "microseconds"}
"""What Debezium writes with time.precision.mode=adaptive, where its records carry no schema."""

POLL_S = 0.05


def postgres_logical(epj: Epj, *, slot: str = "", chunk_rows: int = 1000) -> Section:
    """Its publication is made here, and its slot by the source itself at its first start."""
    tables = ", ".join(f"public.{table}" for table in TABLES)
    publication = slot or f"kpr_{epj.name}"
    epj.execute(f"CREATE PUBLICATION {publication} FOR TABLE {tables}")
    return {
        "postgres_logical": {
            "connection_file": str(epj.url_file),
            "publication": publication,
            "slot": publication,
            "chunk_rows": chunk_rows,
            "idle_interval_s": 0.5,
        }
    }


def with_copied_slot(epj: Epj, section: Section) -> Section:
    """The same source with a slot of its own, which stands where the other one stands now."""
    settings = section["postgres_logical"]
    copy = f"{settings['slot']}_copy"
    epj.execute(f"SELECT pg_copy_logical_replication_slot('{settings['slot']}', '{copy}')")
    return {"postgres_logical": {**settings, "slot": copy}}


def kafka_debezium(epj: Epj, kafka: Kafka, topics: list[str] | None = None) -> Section:
    """A topic for each table, or these topics."""
    where: Section = {"topic_prefix": epj.name} if topics is None else {"topics": topics}
    platform: Section = {"bootstrap_servers": [kafka.bootstrap], "tls": False, "poll_s": POLL_S}
    return {"kafka_debezium": platform | where, "encodings": _ENCODINGS}


def outbox_table(epj: Epj, *, batch_rows: int = 500) -> Section:
    log = {"table": f"public.{LOG_TABLE}", "columns": dict(LOG_COLUMNS), "batch_rows": batch_rows}
    return {"outbox_table": {"url_file": str(epj.url_file), "poll_s": POLL_S} | log}


def replay(file: Path) -> Section:
    return {"replay": {"path": str(file)}, "encodings": _ENCODINGS}


def table_query(epj: Epj, *, scan_every_s: float = 3.0) -> Section:
    """Changes by the moment that each write of the EPJ sets, and full scans for what was deleted."""
    changed = {"column": "endret_tid", "kind": "modified", "safety_lag_s": 86_400.0}
    tables = {f"public.{table}": {"watermark": dict(changed)} for table in TABLES}
    scans = {"scan_every_s": scan_every_s, "delete_after_scans": 2, "rows_per_second": None}
    return {"table_query": {"url_file": str(epj.url_file), "poll_s": POLL_S, "tables": tables, **scans}}
