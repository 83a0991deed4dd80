"""The room of services: what stands reported, how the last examination ended, and what each service hangs on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from agent.domain.care import Dependency, RowRead
from agent.domain.reported import Reported
from agent.ledger.errors import IdentityConflict
from agent.ledger.moments import microseconds, microseconds_or_none, moment_or_none
from agent.ledger.payload import person_from_bytes, person_to_bytes, reported_from_bytes, reported_to_bytes
from agent.ledger.room import PERSON, SERVICE, Room
from agent.ledger.rows import row_prefix, value_prefix

_REPORTED = "service, reported"


@dataclass(frozen=True, slots=True)
class ServiceOutcome:
    """How the last examination of a service ended. missing_since: since when a row it refers to has been away."""

    parked: bool
    held: bool
    standing: bool
    missing_since: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """How many services are known, stand reported, are parked, are held."""

    known: int
    standing: int
    parked: int
    held: int


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """What is remembered of a person for ever. `key` is the EPJ's own key, which may be an identity number: hidden."""

    key: str = field(repr=False)
    patient_guid: UUID | None
    number_was_right: bool


class ServicesRoom(Room):
    """Services, their dependencies, and persons."""

    __slots__ = ()

    def reported(self, service_key: str) -> Reported | None:
        """What stands reported for a service; None when nothing was ever put."""
        hmac = self._seal.index(SERVICE, service_key)
        found = self._db.execute("SELECT reported FROM service WHERE key_hmac = ?", (hmac,)).fetchone()
        if found is None or found[0] is None:
            return None
        return reported_from_bytes(self._seal.open(_REPORTED, hmac, found[0]))

    def put_reported(self, service_key: str, reported: Reported) -> None:
        """Keep what stands reported for a service, in place of what was kept."""
        hmac = self._seal.index(SERVICE, service_key)
        sealed = self._seal.seal(_REPORTED, hmac, reported_to_bytes(reported))
        self._db.execute("UPDATE service SET reported = ? WHERE id = ?", (sealed, self._service_id_made(service_key)))

    def outcome(self, service_key: str) -> ServiceOutcome | None:
        """How the last examination ended; None for a service that is not known."""
        found = self._db.execute(
            "SELECT parked, held, standing, missing_since FROM service WHERE key_hmac = ?",
            (self._seal.index(SERVICE, service_key),),
        ).fetchone()
        if found is None:
            return None
        return ServiceOutcome(bool(found[0]), bool(found[1]), bool(found[2]), moment_or_none(found[3]))

    def set_outcome(
        self, service_key: str, *, parked: bool, held: bool, standing: bool, missing_since: datetime | None
    ) -> None:
        """Keep how the examination of a service ended."""
        self._db.execute(
            "UPDATE service SET parked = ?1, held = ?2, standing = ?3, missing_since = ?4 WHERE id = ?5"
            " AND (parked <> ?1 OR held <> ?2 OR standing <> ?3 OR missing_since IS NOT ?4)",
            (parked, held, standing, microseconds_or_none(missing_since), self._service_id_made(service_key)),
        )

    def service_keys(self) -> Iterator[str]:
        """The key of every service known, in the order in which they became known."""
        for hmac, sealed in self._db.execute("SELECT key_hmac, key_payload FROM service ORDER BY id"):
            yield self._service_key(hmac, sealed)

    def count_services(self) -> ServiceCounts:
        """Services by the outcome of their last examination."""
        counts = self._db.execute(
            "SELECT (SELECT count(*) FROM service), (SELECT count(*) FROM service WHERE standing = 1),"
            " (SELECT count(*) FROM service WHERE parked = 1), (SELECT count(*) FROM service WHERE held = 1)"
        ).fetchone()
        return ServiceCounts(*counts)

    def parked_services(self) -> Iterator[str]:
        """The keys of the services that have something parked."""
        for hmac, sealed in self._db.execute("SELECT key_hmac, key_payload FROM service WHERE parked = 1 ORDER BY id"):
            yield self._service_key(hmac, sealed)

    def missing_longer_than(self, since: datetime) -> list[str]:
        """The keys of the services with a row that has been missing since before that moment, the longest first."""
        found = self._db.execute(
            "SELECT key_hmac, key_payload FROM service WHERE missing_since < ? ORDER BY missing_since, id",
            (microseconds(since),),
        ).fetchall()
        return [self._service_key(hmac, sealed) for hmac, sealed in found]

    def set_dependencies(self, service_key: str, dependencies: frozenset[Dependency]) -> None:
        """Keep what was read to assemble a service; only the difference is written."""
        service_id = self._service_id_made(service_key)
        wanted = {self._dependency(dependency) for dependency in dependencies}
        present = {
            hmac for (hmac,) in self._db.execute("SELECT read_hmac FROM dependency WHERE service_id = ?", (service_id,))
        }
        for hmac in present - wanted:
            self._db.execute("DELETE FROM dependency WHERE read_hmac = ? AND service_id = ?", (hmac, service_id))
        for hmac in wanted - present:
            self._db.execute("INSERT INTO dependency (read_hmac, service_id) VALUES (?, ?)", (hmac, service_id))

    def dependents(self, dependencies: Iterable[Dependency]) -> list[str]:
        """The keys of the services that read any of these, each once, in the order in which they became known."""
        found: dict[int, tuple[bytes, bytes]] = {}
        for hmac in {self._dependency(dependency) for dependency in dependencies}:
            for service_id, key_hmac, sealed in self._db.execute(
                "SELECT s.id, s.key_hmac, s.key_payload FROM dependency AS d JOIN service AS s ON s.id = d.service_id"
                " WHERE d.read_hmac = ?",
                (hmac,),
            ):
                found[service_id] = (key_hmac, sealed)
        return [self._service_key(*found[service_id]) for service_id in sorted(found)]

    def person(self, person_key: str) -> PersonRecord | None:
        """What is remembered of a person, or None."""
        hmac = self._seal.index(PERSON, person_key)
        found = self._db.execute("SELECT payload FROM person WHERE key_hmac = ?", (hmac,)).fetchone()
        if found is None:
            return None
        return PersonRecord(*person_from_bytes(self._seal.open("person", hmac, found[0])))

    def patient_guid(self, person_key: str) -> UUID | None:
        """The `pasientGUID` that was made for a person, or None."""
        record = self.person(person_key)
        return None if record is None else record.patient_guid

    def put_person(self, person_key: str, patient_guid: UUID | None, number_was_right: bool) -> None:
        """Remember a person. A `pasientGUID` once made never changes (invariant 5): another one is refused.

        None keeps the GUID that is there, and a number that was once right stays so.
        """
        known = self.person(person_key)
        if known is not None:
            if patient_guid is None:
                patient_guid = known.patient_guid
            elif known.patient_guid not in {None, patient_guid}:
                raise IdentityConflict("a person has another pasientGUID already: it is made once and read ever after")
            number_was_right = number_was_right or known.number_was_right
            if known == PersonRecord(person_key, patient_guid, number_was_right):
                return
        hmac = self._seal.index(PERSON, person_key)
        sealed = self._seal.seal("person", hmac, person_to_bytes(person_key, patient_guid, number_was_right))
        self._db.execute(
            "INSERT INTO person (key_hmac, payload) VALUES (?, ?)"
            " ON CONFLICT (key_hmac) DO UPDATE SET payload = excluded.payload",
            (hmac, sealed),
        )

    def _dependency(self, dependency: Dependency) -> bytes:
        if isinstance(dependency, RowRead):
            return self._seal.index(row_prefix(dependency.table), dependency.key)
        return self._seal.index(value_prefix(dependency.table, dependency.columns), dependency.value)
