"""The room of findings: what the rules have to say at the moment, each with the moment since when they say it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from agent.domain.finding import Finding, Severity
from agent.ledger.moments import microseconds, moment
from agent.ledger.payload import finding_from_bytes, finding_to_bytes
from agent.ledger.room import SERVICE, Room
from agent.ledger.seal import index_prefix

_FINDING = index_prefix("finding")
_OF_NO_SERVICE = b""


class FindingsRoom(Room):
    """Findings, of a service or of none."""

    __slots__ = ()

    def set_findings(self, service_key: str | None, findings: Sequence[Finding], at: datetime) -> None:
        """Replace the findings of one service (None: those of no service). Those that stay keep their `since`."""
        service = self._service_hmac(service_key)
        present = {
            hmac for (hmac,) in self._db.execute("SELECT finding_hmac FROM finding WHERE service_hmac = ?", (service,))
        }
        if not present and not findings:
            return
        wanted: dict[bytes, tuple[Finding, bytes]] = {}
        for finding in findings:
            payload = finding_to_bytes(finding)
            wanted[self._seal.index_bytes(_FINDING, payload)] = (finding, payload)
        for hmac in present - wanted.keys():
            self._db.execute("DELETE FROM finding WHERE service_hmac = ? AND finding_hmac = ?", (service, hmac))
        for hmac, (finding, payload) in wanted.items():
            if hmac not in present:
                self._insert_finding(service, hmac, finding, payload, at)

    def add_finding(self, finding: Finding, at: datetime) -> bool:
        """Add one finding to those of its service, or of none; False when it is there already."""
        service = self._service_hmac(finding.service)
        payload = finding_to_bytes(finding)
        hmac = self._seal.index_bytes(_FINDING, payload)
        known = self._db.execute(
            "SELECT 1 FROM finding WHERE service_hmac = ? AND finding_hmac = ?", (service, hmac)
        ).fetchone()
        if known is None:
            self._insert_finding(service, hmac, finding, payload, at)
        return known is None

    def findings(self) -> Iterator[tuple[Finding, datetime]]:
        """Every finding with its `since`, the oldest first; read as it is asked for."""
        for service, hmac, since, sealed in self._db.execute(
            "SELECT service_hmac, finding_hmac, since, payload FROM finding ORDER BY since, id"
        ):
            yield finding_from_bytes(self._seal.open("finding", service + hmac, sealed)), moment(since)

    def findings_of(self, service_key: str | None) -> list[tuple[Finding, datetime]]:
        """The findings of one service, or of none, the oldest first."""
        service = self._service_hmac(service_key)
        found = self._db.execute(
            "SELECT finding_hmac, since, payload FROM finding WHERE service_hmac = ? ORDER BY since, id", (service,)
        ).fetchall()
        return [
            (finding_from_bytes(self._seal.open("finding", service + hmac, sealed)), moment(since))
            for hmac, since, sealed in found
        ]

    def count_findings(self) -> dict[tuple[str, Severity], int]:
        """(rule, severity) -> how many findings."""
        counted = self._db.execute(
            "SELECT rule, severity, count(*) FROM finding GROUP BY rule, severity ORDER BY rule, severity"
        )
        return {(rule, Severity(severity)): count for rule, severity, count in counted}

    def _service_hmac(self, service_key: str | None) -> bytes:
        return _OF_NO_SERVICE if service_key is None else self._seal.index(SERVICE, service_key)

    def _insert_finding(self, service: bytes, hmac: bytes, finding: Finding, payload: bytes, at: datetime) -> None:
        self._db.execute(
            "INSERT INTO finding (service_hmac, finding_hmac, rule, severity, since, payload)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                service,
                hmac,
                finding.rule,
                finding.severity.value,
                microseconds(at),
                self._seal.seal("finding", service + hmac, payload),
            ),
        )
