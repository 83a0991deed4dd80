"""What can be wrong with a PostgreSQL whose log is read: each trouble with its own code, its reaction and its repair.

Texts name tables, columns, slots and roles. They never hold PostgreSQL's own DETAIL or a value: those may quote a row.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from connectors.source import PositionLost, SourceChanged, SourceError, SourceRefused, SourceUnavailable

_PAGE: Final = "docs/operations/postgres.md"
_READ_AGAIN: Final = "then read everything again with `kpr-agent source new-incarnation FILE`"


class ConnectionFileUnreadable(SourceRefused):
    """The connection file is not there, not readable, or not a connection string."""

    code = "KPR-110"

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(
            f"the connection file {file}: {why}", repair="check connection_file, its rights, and what it holds"
        )


class ServerGone(SourceUnavailable):
    """No answer, a broken connection, a server that stops or starts: tried again by itself."""

    code = "KPR-111"

    def __init__(self, text: str) -> None:
        super().__init__(text, repair="check that the database runs and that the network lets us through to it")


class WrongPassword(SourceRefused):
    """The server does not accept the role's password, or does not know the role."""

    code = "KPR-112"

    def __init__(self, role: str) -> None:
        super().__init__(
            f"PostgreSQL did not accept the password of the role {role}",
            repair="put the right role and password into connection_file; it is read again at the next try",
        )


class NotLetIn(SourceRefused):
    """No entry in pg_hba.conf for us, a database that is not there, or a role that may not log in."""

    code = "KPR-113"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"PostgreSQL did not let us in: {why}",
            repair="check the role and the database in connection_file, and that pg_hba.conf has a line for them "
            "(a replication connection to a database needs that database's name there, not `replication`)",
        )


class RightsMissing(SourceRefused):
    """The role may not do what reading needs."""

    code = "KPR-114"

    def __init__(self, doing: str) -> None:
        super().__init__(
            f"the role lacks a right: PostgreSQL refused {doing}",
            repair="have the database's owner run what `kpr-agent source prepare FILE` prints",
        )


class TlsRefused(SourceRefused):
    """The server's certificate is not valid for its name, not signed by who we trust, or TLS is not to be had."""

    code = "KPR-115"

    def __init__(self) -> None:
        super().__init__(
            "TLS to PostgreSQL could not be set up as the connection file demands",
            repair="check sslrootcert and sslmode in connection_file, and the server's certificate: who signed it, "
            "its name and its last day",
        )


class StreamUnreadable(SourceRefused):
    """A message of the stream is not of the protocol, or names what it has not described."""

    code = "KPR-116"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the replication stream cannot be read: {why}",
            repair="nothing was skipped; tell the makers of kpr-agent, with the server's version",
        )


class ServerUnfit(SourceRefused):
    """The server cannot do logical replication as it is set up."""

    code = "KPR-117"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"PostgreSQL is not set up for this: {why}",
            repair="have the database's owner run what `kpr-agent source prepare FILE` prints; some need a restart",
        )


class PublicationChanged(SourceChanged):
    """The publication is gone, or no longer tells all that it must."""

    code = "KPR-118"

    def __init__(self, publication: str, why: str, kept: str = "") -> None:
        super().__init__(
            f"the publication {publication} {why}{_and(kept)}",
            repair="mend it as `kpr-agent source prepare FILE` says; where rows were written while it lacked a part, "
            f"they were not told: {_READ_AGAIN}",
        )


class TableGone(SourceChanged):
    """A wanted table is not there, or not published."""

    code = "KPR-119"

    def __init__(self, table: str, why: str, kept: str = "") -> None:
        super().__init__(
            f"the table {table} {why}{_and(kept)}",
            repair="name it as it is called now (mapping, tables), or publish it as `kpr-agent source prepare FILE` "
            f"says; where rows were written while it was not published, they were not told: {_READ_AGAIN}",
        )


class ColumnChanged(SourceChanged):
    """A mapped column is not there under any of its names, or is of a type that its kind can never be read from."""

    code = "KPR-120"

    def __init__(self, table: str, column: str, why: str, kept: str = "") -> None:
        super().__init__(
            f"the column {column} of {table} {why}{_and(kept)}",
            repair="put the column's new name into the mapping, the old one among its earlier names; reading goes on "
            "where it stopped",
        )


class SlotNotMade(SourceUnavailable):
    """Making a slot waits for every transaction that is open: one of them is too long."""

    code = "KPR-121"

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"a replication slot was not made within {waited_s:g} s: transactions that were open then still are",
            repair="find the transaction that stays open (pg_stat_activity, pg_prepared_xacts) and end it, or give "
            "slot_timeout_s more",
        )


class IdentityLacking(SourceChanged):
    """The replica identity does not hold the mapped key: a deleted row could not be told."""

    code = "KPR-122"

    def __init__(self, table: str, columns: str, kept: str = "") -> None:
        super().__init__(
            f"the replica identity of {table} does not hold the mapped key ({columns}){_and(kept)}",
            repair="map the table's primary key, or give the table an identity with these columns as "
            "`kpr-agent source prepare FILE` says",
        )


class SlotMissing(PositionLost):
    """The slot that kept the log for us is not there."""

    code = "KPR-123"

    def __init__(self, slot: str, *, was_read: bool) -> None:
        text = f"the replication slot {slot} is missing"
        if was_read:
            text += ", and with it the log since our position"
        repair = f"find out who dropped it; {_READ_AGAIN}" if was_read else "make it, or set create_slot: true"
        super().__init__(text, repair=repair)


class SlotInvalidated(PositionLost):
    """The server has thrown the slot's log away."""

    code = "KPR-124"

    def __init__(self, slot: str, reason: str) -> None:
        super().__init__(
            f"the replication slot {slot} is invalidated ({reason}): the log since our position is gone",
            repair=f"give max_slot_wal_keep_size more room ({_PAGE}), drop the slot, {_READ_AGAIN}",
        )


class SlotInUse(SourceUnavailable):
    """Another connection reads the slot: our own old one for a while after a broken network, or another agent."""

    code = "KPR-125"

    def __init__(self, slot: str, who: str) -> None:
        super().__init__(
            f"the replication slot {slot} is in use by another connection{who}",
            repair="after a broken network this ends by itself within a minute; else stop the other reader: one slot "
            "has one reader",
        )


class SlotForeign(SourceRefused):
    """A slot of that name is there, and is not one of ours."""

    code = "KPR-126"

    def __init__(self, slot: str, why: str) -> None:
        super().__init__(
            f"the replication slot {slot} is not ours: {why}",
            repair="give slot another name in the configuration; nothing was read from this one",
        )


class AnotherDatabase(PositionLost):
    """Another cluster or another database answers behind the address."""

    code = "KPR-127"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"another PostgreSQL answers than the one whose changes were read: {what}",
            repair="point connection_file at the database it was; if the EPJ has moved on purpose, read everything "
            "again with `kpr-agent source new-incarnation FILE`",
        )


class OlderRestore(PositionLost):
    """The cluster is a restored one that has left our history before our position."""

    code = "KPR-128"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the database was restored to a moment before our position: {what}",
            repair="find out what was restored, and when; then read everything again with "
            "`kpr-agent source new-incarnation FILE`, which lists what vanished",
        )


class SlotAhead(PositionLost):
    """The slot has moved past our position: what lies between is not to be had."""

    code = "KPR-129"

    def __init__(self, slot: str) -> None:
        super().__init__(
            f"the replication slot {slot} is ahead of our position: somebody else has read from it, or our ledger is "
            "an older copy",
            repair=f"find out which; {_READ_AGAIN}",
        )


def of_sqlstate(sqlstate: str, doing: str) -> SourceError:
    """The trouble that PostgreSQL's error code means while `doing` something (PostgreSQL's documentation, appendix A).

    Where a code means different things in different places, the caller says which.
    """
    if sqlstate in _NO_RIGHTS:
        return RightsMissing(doing)
    if sqlstate[:2] in _GONE_CLASSES or sqlstate in _GONE:
        return ServerGone(f"PostgreSQL broke off {doing} (SQLSTATE {sqlstate})")
    if sqlstate in _LIMITS:
        return ServerUnfit(f"it has no room for {doing} (SQLSTATE {sqlstate})")
    return StreamUnreadable(f"PostgreSQL refused {doing} (SQLSTATE {sqlstate or 'unknown'})")


_NO_RIGHTS: Final = frozenset({"42501"})
_GONE_CLASSES: Final = frozenset({"08", "57", "58", "53", "40", "25", "XX", "F0"})
_GONE: Final = frozenset({"55P03"})
_LIMITS: Final = frozenset({"53400"})

_REFUSALS: Final[tuple[tuple[str, str], ...]] = (
    ("password authentication failed", "password"),
    ("no password supplied", "password"),
    ("authentication failed", "password"),
    ("no pg_hba.conf entry", "no line of pg_hba.conf fits"),
    ("pg_hba.conf rejects", "a line of pg_hba.conf rejects us"),
    ("is not permitted to log in", "the role may not log in"),
    ("exceeds max_wal_senders", "senders"),
    ("must be superuser or replication role", "rights"),
    ("permission denied to start WAL sender", "rights"),
    ("permission denied for database", "rights"),
    ("does not support SSL", "tls"),
    ("certificate", "tls"),
    ("SSL error", "tls"),
    ("server certificate for", "tls"),
    ("root certificate file", "tls"),
)


def of_connecting(libpq_text: str, parameters: Mapping[str, str]) -> SourceError:
    """The trouble behind a connection that did not come to be.

    libpq gives no error code for it, only text: the server's own, which is English unless its lc_messages is another
    language, and libpq's. A refusal in other words is held for a server that is not there and tried again.
    """
    role = parameters.get("user", "")
    if "FATAL" in libpq_text and 'database "' in libpq_text and "does not exist" in libpq_text:
        return NotLetIn(f"there is no database {parameters.get('dbname', '')}")
    if 'role "' in libpq_text and "does not exist" in libpq_text:
        return WrongPassword(role)
    for words, meaning in _REFUSALS:
        if words in libpq_text:
            if meaning == "password":
                return WrongPassword(role)
            if meaning == "rights":
                return RightsMissing("a replication connection")
            if meaning == "senders":
                return ServerUnfit("all places for replication connections are taken (max_wal_senders)")
            return TlsRefused() if meaning == "tls" else NotLetIn(meaning)
    place = parameters.get("host") or parameters.get("hostaddr") or "its socket"
    return ServerGone(f"no connection to PostgreSQL at {place}, port {parameters.get('port') or '5432'}")


def _and(kept: str) -> str:
    return f"; {kept}" if kept else ""
