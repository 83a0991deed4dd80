"""A real Apache Kafka on 127.0.0.1: one node, broker and controller, with every way in that a platform offers."""

import base64
import shutil
import signal
import socket
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from tests.services import jvm, places

PLAIN_PASSWORDS = {"kpr-plain": "plain-pw"}
SCRAM_PASSWORDS = {"kpr-scram": "scram-pw:%@"}
"""The users. SCRAM-SHA-256 and SCRAM-SHA-512 know the same ones. All may do all; `deny` takes a right away."""


@dataclass(frozen=True)
class Kafka:
    """One broker: where it listens and how to start, stop and kill it. Every call is safe to repeat.

    Clients may not create a topic by asking for it. Topics are for `tests.services.topics`.
    """

    port: int
    name: str = "kafka"
    host: str = "127.0.0.1"

    # -- what a client needs -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self.bootstrap

    @property
    def bootstrap(self) -> str:
        """PLAINTEXT: anybody, as a superuser."""
        return f"{self.host}:{self.port}"

    @property
    def sasl_ssl(self) -> str:
        """TLS with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
        return f"{self.host}:{self.port + 1}"

    @property
    def ssl(self) -> str:
        """TLS, anybody."""
        return f"{self.host}:{self.port + 3}"

    @property
    def mutual_ssl(self) -> str:
        """TLS with a client certificate: `client_certificate`."""
        return f"{self.host}:{self.port + 4}"

    @property
    def sasl_plaintext(self) -> str:
        """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 without TLS."""
        return f"{self.host}:{self.port + 5}"

    @property
    def ca_file(self) -> Path:
        return self._tls / "ca.pem"

    @property
    def wrong_ca_file(self) -> Path:
        """An authority that did not sign the broker's certificate."""
        return self._tls / "wrong-ca.pem"

    @property
    def client_certificate(self) -> tuple[Path, Path]:
        """The files with a client's certificate and its key."""
        return self._tls / "client.pem", self._tls / "client.key"

    def credentials(self, user: str = "kpr-scram") -> tuple[Path, Path]:
        """The files (mode 0600) with the name and the password of a user, as the broker began with."""
        directory = self._directory / "credentials"
        return directory / f"{user}.user", directory / f"{user}.password"

    @cached_property
    def version(self) -> str:
        return jvm.version("kafka_2.13")

    @property
    def log_file(self) -> Path:
        """What the broker printed since its start."""
        return self._directory / "console.log"

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fetch when missing, start when not running, and wait until every port answers."""
        with self._locked():
            if self._process.pid() is None:
                self._boot()
            if not places.wait_until(self._answers_or_dead, 120) or self._process.pid() is None:
                raise self._process.did_not_start()

    def stop(self) -> None:
        """A clean stop (SIGTERM). Topics, users and the cluster id stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """A crash (SIGKILL). A start after it takes a few seconds more."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def erase(self) -> None:
        """Kill it and delete what it holds: the next start is another cluster at the same address."""
        self.kill()
        shutil.rmtree(self._directory / "data", ignore_errors=True)

    def running(self) -> bool:
        return self._process.pid() is not None

    # -- what an administrator does, in a JVM: two or three seconds each ---------------------------------------------

    def set_scram_password(self, user: str, password: str) -> None:
        """Connections that are open stay so: a broker asks for a password only once."""
        whom = ("--alter", "--entity-type", "users", "--entity-name", user)
        for size in (256, 512):  # one call cannot alter both
            change = ("--add-config", f"SCRAM-SHA-{size}=[password={password}]")
            jvm.tool("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, *whom, *change)

    def deny(self, user: str, topic: str) -> None:
        """The user may do nothing with the topic any more; everybody else may still do all."""
        self._acl("--add", user, topic)

    def allow_again(self, user: str, topic: str) -> None:
        self._acl("--remove", user, topic, "--force")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _acl(self, verb: str, user: str, topic: str, *more: str) -> None:
        # Once a topic has any entry, whoever is not named may do nothing: so all are, and the denial comes first.
        whom = ("--deny-principal", f"User:{user}", "--allow-principal", "User:*", "--operation", "All")
        tool = "org.apache.kafka.tools.AclCommand"
        jvm.tool(tool, "--bootstrap-server", self.bootstrap, verb, "--topic", topic, *whom, *more)

    @property
    def _directory(self) -> Path:
        return places.data_directory(self.name)

    @property
    def _tls(self) -> Path:
        return self._directory / "tls"

    @property
    def _properties(self) -> Path:
        return self._directory / "server.properties"

    @property
    def _process(self) -> jvm.JavaProcess:
        return jvm.JavaProcess(self.name, self._directory, str(self._properties))

    @property
    def _ports(self) -> range:
        return range(self.port, self.port + 6)

    def _locked(self) -> AbstractContextManager[None]:
        return places.locked(self._directory.with_suffix(".lock"))

    def _boot(self) -> None:
        jvm.programs()
        places.require_free(*self._ports)
        for part in ("tls", "credentials"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        _write_certificates(self._tls)
        for user, password in (PLAIN_PASSWORDS | SCRAM_PASSWORDS).items():
            for file, secret in zip(self.credentials(user), (user, password), strict=True):
                file.touch(mode=0o600)
                file.write_text(secret)
        self._properties.write_text(self._configuration())
        if not (self._directory / "data/meta.properties").exists():
            self._format()
        self._process.boot(jvm.command("kafka.Kafka", str(self._properties), heap_mb=320))

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        users = [
            f"--add-scram=SCRAM-SHA-{size}=[name={user},password={password}]"
            for user, password in SCRAM_PASSWORDS.items()
            for size in (256, 512)
        ]
        jvm.tool("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties), *users)

    def _answers_or_dead(self) -> bool:
        if self._process.pid() is None:
            return True
        try:
            for port in self._ports:
                socket.create_connection((self.host, port), 1).close()
        except OSError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        with self._locked():
            self._process.end(number, *self._ports)

    def _configuration(self) -> str:
        ways = {"PLAINTEXT": 0, "SASL_SSL": 1, "SSL": 3, "MUTUAL": 4, "SASL_PLAINTEXT": 5}
        listeners = ",".join(f"{name}://{self.host}:{self.port + number}" for name, number in ways.items())
        plain = " ".join(f'user_{user}="{password}"' for user, password in PLAIN_PASSWORDS.items())
        module = "org.apache.kafka.common.security"
        logins = "\n".join(
            f"listener.name.{way}.{mechanism}.sasl.jaas.config={module}.{login}"
            for way in ("sasl_ssl", "sasl_plaintext")
            for mechanism, login in (
                ("plain", f"plain.PlainLoginModule required {plain};"),
                ("scram-sha-256", "scram.ScramLoginModule required;"),
                ("scram-sha-512", "scram.ScramLoginModule required;"),
            )
        )
        return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{self.host}:{self.port + 2}
listeners={listeners},CONTROLLER://{self.host}:{self.port + 2}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,MUTUAL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
{logins}
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={self._tls}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={self._tls}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
log.dirs={self._directory}/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.initial.task.delay.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
"""


def _write_certificates(directory: Path) -> None:
    """A throw-away authority, the broker's certificate and a client's, and an authority that signed neither."""
    if (directory / "client.key").exists():
        return
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    trustme.CA().cert_pem.write_to_path(directory / "wrong-ca.pem")
    broker = authority.issue_cert("localhost", "127.0.0.1")
    # Kafka wants the key and the chain in one file, and the key as PKCS#8, which trustme does not write.
    key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = b"".join(blob.bytes() for blob in broker.cert_chain_pems)
    (directory / "broker.pem").write_bytes(pkcs8 + chain)
    client = authority.issue_cert("kpr-client")
    (directory / "client.pem").write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    client.private_key_pem.write_to_path(directory / "client.key")


def kafka() -> Kafka:
    """The broker of the tests, not started."""
    return Kafka(19092 + places.port_offset())
