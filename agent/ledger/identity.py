"""What a ledger is: its installation id, its reporting unit, its wrapped keys, and the epoch of its last writer."""

import os
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.ledger.errors import LedgerWrongKey, LedgerWrongUnit, corrupt_row
from agent.ledger.key import KEY_SIZE_BYTES, LedgerKey
from agent.ledger.moments import microseconds
from agent.ledger.seal import Seal

_NONCE_SIZE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Identity:
    """An opened ledger's identity and its seal. `unit_secret` seeds pasientGUIDs; it never leaves the process."""

    installation_id: str
    unit: str
    unit_secret: bytes = field(repr=False)
    seal: Seal = field(repr=False)


def create_identity(connection: sqlite3.Connection, unit: str, key: LedgerKey, now: datetime) -> Identity:
    """The identity of a new ledger, written in the caller's transaction."""
    installation_id = str(uuid4())
    data_key = os.urandom(KEY_SIZE_BYTES)
    nonce = os.urandom(_NONCE_SIZE_BYTES)
    wrapped = nonce + _wrapping(key).encrypt(nonce, data_key, _wrapped_for(unit, installation_id))
    seal = Seal(data_key, unit)
    # Made once and stored: another master key, or another way of making it, must not change who is who.
    unit_secret = key.derive(b"unit secret|" + unit.encode())
    connection.execute(
        "INSERT INTO ledger (only_line, installation_id, unit, epoch, created_at, master_key_id, data_key, unit_secret)"
        " VALUES (1, ?, ?, 0, ?, ?, ?, ?)",
        (installation_id, unit, microseconds(now), key.identifier(), wrapped, seal.seal("ledger", 1, unit_secret)),
    )
    return Identity(installation_id, unit, unit_secret, seal)


def read_identity(connection: sqlite3.Connection, unit: str, key: LedgerKey) -> Identity:
    """The identity of a ledger that is there; LedgerWrongUnit or LedgerWrongKey when it is not the one wanted."""
    line = connection.execute(
        "SELECT installation_id, unit, master_key_id, data_key, unit_secret FROM ledger"
    ).fetchone()
    if line is None:
        raise corrupt_row("ledger", "1")
    installation_id, stored_unit, master_key_id, wrapped, secret = line
    if stored_unit != unit:
        raise LedgerWrongUnit(
            f"the ledger belongs to the reporting unit {stored_unit}, not to {unit}: mend ledger.path or unit"
        )
    if master_key_id != key.identifier():
        raise LedgerWrongKey(
            f"the ledger was made with the key {master_key_id}, this one is {key.identifier()}: mend ledger.key_file"
        )
    try:
        data_key = _wrapping(key).decrypt(
            wrapped[:_NONCE_SIZE_BYTES], wrapped[_NONCE_SIZE_BYTES:], _wrapped_for(unit, installation_id)
        )
    except (InvalidTag, ValueError):
        # The key is the right one by its identifier, so it is the line that was changed.
        raise corrupt_row("ledger", "1") from None
    seal = Seal(data_key, unit)
    return Identity(installation_id, unit, seal.open("ledger", 1, secret), seal)


def raise_epoch(connection: sqlite3.Connection) -> int:
    """The epoch of this writer: from now on every other one is refused (invariant 11)."""
    (epoch,) = connection.execute("UPDATE ledger SET epoch = epoch + 1 RETURNING epoch").fetchone()
    return int(epoch)


def stored_epoch(connection: sqlite3.Connection) -> int:
    """The epoch of the last writer."""
    (epoch,) = connection.execute("SELECT epoch FROM ledger").fetchone()
    return int(epoch)


def _wrapping(key: LedgerKey) -> AESGCM:
    return AESGCM(key.derive(b"kpr-agent ledger data key"))


def _wrapped_for(unit: str, installation_id: str) -> bytes:
    return b"\0".join((b"data key", unit.encode(), installation_id.encode()))
