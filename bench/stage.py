"""A folder with all that a daemon needs: its municipality's file, keys of RSA 3072, an EPJ in SQLite, a new ledger.

The bus is the tests' real RabbitMQ 4.0.5 over TLS. Nobody answers: what counts here ends with `accepted`.
"""

import asyncio
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from agent.composition import reporting_unit
from agent.demo.epj import apply_steps, create_tables, open_sqlite
from agent.demo.epj_schema import LOG_COLUMNS, LOG_TABLE
from agent.demo.expected import DEMO_SERVICE_TYPES
from agent.demo.step import Step
from agent.demo.world import MAPPING, Keys, Places, write_keys
from agent.examine import notice_rules, open_gate
from agent.ledger.ledger import Ledger
from agent.pipeline import open_ledger
from agent.settings import Municipality, load
from connectors.inbox import Settlement
from connectors.nhn_amqp.bus import NhnAmqpInbox
from tests.services import Broker
from tests.services.far_end import FarEnd, account, encoded_message
from tests.services.topology import REGISTER

QUEUE, _ERROR_QUEUE = f"{REGISTER}_async", f"{REGISTER}_error"
OUR_QUEUE, OUR_ERROR_QUEUE = "1234_async", "1234_error"
_TAKE_LIMIT_S = 120
_HER_ID, _SERVICE_HER_ID, _REGISTER_HER_ID, _REGISTER_SERVICE_HER_ID = 8000001, 8000002, 8139520, 8000003


class Stage:
    """One run's folder. `window`: transfers without an answer; `poll_s`: the wait between two looks at the EPJ."""

    def __init__(self, folder: Path, broker: Broker, keys: Keys, *, window: int, poll_s: float = 0.05) -> None:
        self.folder = folder
        self.broker = broker
        self.window = window
        folder.mkdir()
        write_keys(Places(folder), keys)
        shutil.copyfile(MAPPING, folder / "mapping.yaml")
        self.epj_file = folder / "epj.db"
        self._epj = open_sqlite(self.epj_file)
        create_tables(self._epj)
        self.file = folder / "municipality.yaml"
        self.file.write_text(yaml.safe_dump(self._municipality(poll_s), sort_keys=False), encoding="utf-8")
        self._open_gate()

    def write(self, steps: Iterable[Step]) -> int:
        """Each step one committed transaction of the EPJ; how many."""
        return apply_steps(self._epj, steps)

    @cached_property
    def municipality(self) -> Municipality:
        loaded = load([self.file], look_at_files=True)
        if loaded.faults:
            raise RuntimeError("; ".join(map(str, loaded.faults)))
        return loaded.municipalities[0]

    def open_ledger(self) -> Ledger:
        return open_ledger(self.municipality)

    def notifications(self) -> int:
        """How many stand in the ledger's chain; while no daemon runs."""
        with self.open_ledger() as ledger:
            end = ledger.run_now(lambda tx: tx.chain_end())
        return 0 if end is None else end[0]

    async def empty_queue(self) -> None:
        await FarEnd(self.broker).empty(QUEUE)

    async def take_message_ids(self) -> list[str]:
        """The AMQP message-ids of everything in the register's queue up to now, which is then empty."""
        marker = str(uuid4())
        await FarEnd(self.broker).put(QUEUE, encoded_message(message_id=marker))
        taken: list[str] = []
        inbox = NhnAmqpInbox(account(self.broker, "v2", user="register"), async_queue=QUEUE, error_queue=_ERROR_QUEUE)
        async with asyncio.timeout(_TAKE_LIMIT_S), inbox:
            async for incoming in inbox.messages():
                await inbox.settle(incoming, Settlement.ACCEPT)
                if incoming.message_id == marker:
                    break
                taken.append(incoming.message_id or "")
        return taken

    def _open_gate(self) -> None:
        with self.open_ledger() as ledger:
            unit = reporting_unit(self.municipality, ledger.unit_secret)
            ledger.run_now(lambda tx: (notice_rules(tx, unit), open_gate(tx, unit)))

    def _municipality(self, poll_s: float) -> dict[str, Any]:
        bus = account(self.broker, "v2", window=self.window).model_dump(mode="json", exclude_defaults=True)
        secrets = Path("secrets")
        return {
            "version": 1,
            "profile": "test",
            "unit": "bench",
            "municipality": {
                "numbers": [{"number": "4602", "from": "2020-01-01"}],
                "name": "Benk",
                "organisation_number": "853000019",
            },
            "contacts": [
                {"name": "Benk Kontakt", "email": "kontakt@benk.example", "mobile": "40000000"}
                | {"roles": ["iplos_contact", "submission_officer"]}
            ],
            "epj": {
                "product": {"vendor": "kpr-agent", "name": "DemoEPJ", "version": "1.0"},
                "mapping": "mapping.yaml",
                "service_types": {local: code or "none" for local, code in DEMO_SERVICE_TYPES.items()},
            },
            "source": {
                "outbox_table": {"sqlite_file": "epj.db", "table": LOG_TABLE, "columns": dict(LOG_COLUMNS)}
                | {"poll_s": poll_s, "longest_transaction_s": 5.0}
            },
            "bus": {"nhn_amqp": bus},
            "parties": {
                "municipality": {"her_id": _HER_ID, "service_her_id": _SERVICE_HER_ID}
                | {"queue": OUR_QUEUE, "error_queue": OUR_ERROR_QUEUE},
                "register": {"her_id": _REGISTER_HER_ID, "service_her_id": _REGISTER_SERVICE_HER_ID, "queue": QUEUE},
            },
            "protection": {
                "signing_key_file": str(secrets / "signing.key.pem"),
                "signing_certificate_file": str(secrets / "signing.cert.pem"),
                "decryption_key_files": [str(secrets / "decryption.key.pem")],
                "decryption_certificate_files": [str(secrets / "decryption.cert.pem")],
                "register_encryption_certificate_file": str(secrets / "register-encryption.cert.pem"),
                "register_signing_certificate_files": [str(secrets / "register-signing.cert.pem")],
            },
            "rules": {"fictitious": {"names": ["Donald Duck"]}},
            # Years of corrections pass in seconds, and nobody answers: neither may hold the run.
            "gate": {"owed_share": "100%", "owed_minimum": 1_000_000},
            "dispatch": {"max_unreceipted": 1_000_000}
            | {"retry_first": "200ms", "retry_longest": "2s", "slow_retry": "2s"},
            "ledger": {"path": "ledger.db", "key_file": str(secrets / "ledger.key")},
        }


def at(moment: str) -> float:
    """A log line's moment as seconds since 1970."""
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()
