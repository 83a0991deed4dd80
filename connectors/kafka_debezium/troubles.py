"""What can go wrong with a Kafka platform, each by its own code, with what a person does about it.

No text quotes a record, a key or a password; topics, partitions, offsets and addresses are named.
"""

from typing import Final

from connectors.source import PositionLost, SourceChanged, SourceRefused, SourceUnavailable

_READ_AGAIN: Final = (
    "find out with the platform team what happened to the topic; then have Debezium write its tables again (a new "
    "snapshot, or an execute-snapshot signal) and follow 'A position is lost' in docs/operations.md"
)


class PositionExpired(PositionLost):
    """The topic no longer holds the record that is read next: retention, or a person, deleted it."""

    code = "KPR-130"

    def __init__(self, stream: str, next_offset: int, beginning: int) -> None:
        super().__init__(
            f"{stream}: the next record to read, {next_offset}, was deleted; the topic begins at {beginning}",
            repair=f"records are lost to us: {_READ_AGAIN}; then have the topic's retention raised",
        )


class TopicRecreated(PositionLost):
    """A topic of this name was deleted and made again: its offsets mean other records."""

    code = "KPR-131"

    def __init__(self, topic: str) -> None:
        super().__init__(f"{topic}: the topic was deleted and made again since it was read", repair=_READ_AGAIN)


class AnotherCluster(PositionLost):
    """Another Kafka cluster answers than the one the position was stored for."""

    code = "KPR-132"

    def __init__(self, stored: str, found: str) -> None:
        super().__init__(
            f"the stored position is of {stored}, and {found} answers",
            repair="check bootstrap_servers; if the platform has moved to another cluster, follow 'A position is lost' "
            "in docs/operations.md",
        )


class TopicTruncated(PositionLost):
    """The topic has lost records that were read: it ends before our place, or holds other records there."""

    code = "KPR-133"

    def __init__(self, stream: str, why: str) -> None:
        super().__init__(f"{stream}: {why}", repair=_READ_AGAIN)


class TopicMissing(SourceChanged):
    """A wanted topic is not there."""

    code = "KPR-134"

    def __init__(self, topics: tuple[str, ...]) -> None:
        super().__init__(
            f"topics that are not there: {', '.join(topics)}",
            repair="check topic_prefix, or topics, against the platform. Debezium makes a topic with its table's first "
            "row: for a table that may be empty have the topic made beforehand, or set missing_topics to wait",
        )


class OlderDatabase(PositionLost):
    """A new snapshot is older than changes that were read before it: the database behind Debezium went back."""

    code = "KPR-135"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"{stream}: a snapshot's rows are older, by the database's own log, than changes read before them",
            repair="the database behind Debezium was restored or exchanged, and its later changes would count as old. "
            "Have the connector's topics and offsets deleted, and both made again by a new snapshot: a new topic's "
            "versions are apart from the old one's. Then follow 'A position is lost' in docs/operations.md",
        )


class LoginRefused(SourceRefused):
    """The platform knows the mechanism, and not the user or the password."""

    code = "KPR-136"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"Kafka at {address} refuses the user or the password",
            repair="check user_file and password_file; after a change of password they are read at the next try",
        )


class CertificateRefused(SourceRefused):
    """The platform's certificate is not one we trust, or ours is not one that it trusts."""

    code = "KPR-137"

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"the TLS handshake with Kafka at {address} failed: {why}",
            repair="check ca_file (the authority that signed the platform's certificate), the host name in "
            "bootstrap_servers, and certificate_file and key_file where the platform asks for a client certificate",
        )


class MechanismRefused(SourceRefused):
    """The platform does not offer the SASL mechanism, or wants a login where none is set, or none where one is."""

    code = "KPR-138"

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"Kafka at {address}: {why}", repair="ask the platform team which sasl_mechanism this listener takes"
        )


class TlsMismatch(SourceRefused):
    """One side speaks TLS and the other does not, or the listener is none of Kafka's."""

    code = "KPR-139"

    def __init__(self, address: str, *, with_tls: bool) -> None:
        super().__init__(
            f"Kafka at {address} does not answer as expected {'with' if with_tls else 'without'} TLS",
            repair="check the port, and whether this listener uses TLS (the setting tls) and a login (sasl_mechanism)",
        )


class RightsMissing(SourceRefused):
    """The user may not do what reading needs."""

    code = "KPR-140"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the Kafka user has no right to {what}",
            repair="have READ and DESCRIBE on the topics, and READ on the group if one is set, given to the user",
        )


class KafkaUnavailable(SourceUnavailable):
    """No broker answers, or a partition has no leader."""

    code = "KPR-141"

    def __init__(self, text: str) -> None:
        super().__init__(text, repair="check bootstrap_servers, the network and the state of the brokers")


class NoProgress(SourceUnavailable):
    """Records are there to be read, and none comes."""

    code = "KPR-142"

    def __init__(self, stream: str, quiet_s: float) -> None:
        super().__init__(
            f"{stream}: there is more to read, and nothing came for {quiet_s:g} s",
            repair="the source is opened again by itself; if that does not help, see the brokers' logs",
        )


class TopicsGrown(SourceUnavailable):
    """A topic has more partitions than when the source was opened, or a missing one has come."""

    code = "KPR-143"

    def __init__(self, topics: tuple[str, ...]) -> None:
        super().__init__(
            f"new topics or partitions: {', '.join(topics)}",
            repair="none: the source is opened again and reads them from their beginning",
        )


class BrokerTooOld(SourceRefused):
    """The broker cannot tell the topics' ids, without which a topic made again goes unnoticed."""

    code = "KPR-144"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"Kafka at {address} does not tell the topics' ids (Metadata version 12)",
            repair="Apache Kafka 3.1 or later, or a platform that is compatible with it, is needed",
        )


class FilesUnreadable(SourceRefused):
    """A file with a certificate, a key, a user's name or a password cannot be read."""

    code = "KPR-145"

    def __init__(self, why: str) -> None:
        super().__init__(why, repair="check the file's path, its rights and what it holds")


class FetchRefused(SourceRefused):
    """A broker's answer cannot be read, or it will not give records for a reason that time does not mend."""

    code = "KPR-146"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Kafka does not give us records: {name}",
            repair="see the broker's log, and check its disk, with the platform team; no record was skipped",
        )


class GroupShared(SourceRefused):
    """Another member of our consumer group holds some of our partitions."""

    code = "KPR-147"

    def __init__(self, group: str) -> None:
        super().__init__(
            f"another member of the consumer group {group} holds partitions that are ours",
            repair="give this municipality a group of its own, or leave group out; see whether a second agent runs",
        )
