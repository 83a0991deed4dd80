"""Real RabbitMQ brokers on 127.0.0.1: 4.0.5 as Debian 13 ships it, 3.10.8 as Debian 12 ships it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme

from tests.services import places, topology
from tests.services.places import ServerMissing

_INSTALL = Path(__file__).with_name("install-rabbitmq.sh")
_AMQP_SASL_HEADER = b"AMQP\x03\x01\x00\x00"


@dataclass(frozen=True)
class Broker:
    """One broker: where it listens and how to start, stop, freeze and ask it. Every call is safe to repeat."""

    name: str
    suite: str
    major: int
    port: int
    tls_port: int
    distribution_port: int
    epmd_port: int
    host: str = "127.0.0.1"
    exchange: str = topology.EXCHANGE

    # -- what a client needs -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"amqps://{self.host}:{self.tls_port}"

    @property
    def plain_url(self) -> str:
        return f"amqp://{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self._directory / "tls" / "ca.pem"

    def credentials(self, user: str = "kpr") -> tuple[Path, Path]:
        """The files (mode 0600) with the name and the password of a user of `topology.PASSWORDS`."""
        directory = self._directory / "credentials"
        return directory / f"{user}.user", directory / f"{user}.password"

    @cached_property
    def version(self) -> str:
        """What the running broker says of itself, such as "4.0.5"."""
        return self.ctl("eval", "io:format(rabbit_misc:version()).").split()[0].removesuffix("ok")

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install when missing, start when not running, and wait until both ports answer."""
        with places.locked(self._directory.with_suffix(".lock")):
            self._install()
            booted = self._pid() is None
            if booted:
                self._boot()
            self._wait_until_ready()
            if booted:
                self._mend_queues()

    def stop(self) -> None:
        """A clean stop (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """A crash (SIGKILL): connections die with no word."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as behind a dead link."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def running(self) -> bool:
        return self._pid() is not None

    def ctl(self, *arguments: str) -> str:
        """rabbitmqctl; about a second a call."""
        program = str(self._prefix / "usr/lib/rabbitmq/lib/current/sbin/rabbitmqctl")
        return places.run(
            [program, "-q", *arguments], limit_s=60, why=f"rabbitmqctl of {self.name}", env=self._environment()
        )

    def delete_queue(self, queue: str) -> None:
        self.ctl("delete_queue", queue)

    def unbind(self, queue: str) -> None:
        """Take the queue's binding to the exchange away; `restore_queues` puts it back."""
        source, destination = self._resource("exchange", self.exchange), self._resource("queue", queue)
        self.ctl(
            "eval", f'rabbit_binding:remove({{binding, {source}, <<"{queue}">>, {destination}, []}}, <<"tests">>).'
        )

    def restore_queues(self) -> None:
        """Bring back every queue and binding of the topology that is gone."""
        self.ctl("import_definitions", str(self._directory / "definitions.json"))

    def depth(self, queue: str) -> int:
        """Messages in a queue, those delivered but not settled included."""
        rows = (line.split("\t") for line in self.ctl("list_queues", "name", "messages").splitlines())
        return next(int(row[1]) for row in rows if row[0] == queue)

    def _mend_queues(self) -> None:
        """3.10 may not bring a quorum queue back that was deleted and declared anew: begin it again."""
        rows = (line.split("\t") for line in self.ctl("list_queues", "name", "state").splitlines()[1:])
        down = [row[0] for row in rows if row[-1] in ("down", "stopped", "crashed")]
        for queue in down:
            self.delete_queue(queue)
        if down:
            self.restore_queues()

    # -- inside ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _resource(kind: str, name: str) -> str:
        return f'rabbit_misc:r(<<"/">>, {kind}, <<"{name}">>)'

    @property
    def _directory(self) -> Path:
        return places.data_directory(self.name)

    @property
    def _prefix(self) -> Path:
        return places.cache_directory() / f"rabbitmq-{self.suite}"

    def _install(self) -> None:
        if (self._prefix / ".complete").exists():
            return
        why = (
            f"RabbitMQ of Debian's {self.suite} could not be installed. Tests that need it fail without it. It needs a "
            f"Debian 12 or later, its apt mirror within reach, and about 120 MB in {places.cache_directory()}. "
            f"To try by hand: {_INSTALL.name} {self.suite} {self._prefix}"
        )
        places.run([str(_INSTALL), self.suite, str(self._prefix)], limit_s=900, why=why)

    def _boot(self) -> None:
        places.require_free(self.port, self.tls_port, self.distribution_port)  # a living epmd is used again
        directory = self._directory
        for part in ("tls", "log", "mnesia", "credentials"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        _write_certificates(directory / "tls")
        for user, password in topology.PASSWORDS.items():
            for file, secret in zip(self.credentials(user), (user, password), strict=True):
                _write_private(file, secret)
        topology.write_configuration(directory, port=self.port, tls_port=self.tls_port, major=self.major)
        with (directory / "console.log").open("wb") as console:
            server = subprocess.Popen(
                [str(self._prefix / "usr/lib/rabbitmq/lib/current/sbin/rabbitmq-server")],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (directory / "pid").write_text(str(server.pid))

    def _environment(self) -> dict[str, str]:
        directory = self._directory
        return {
            "PATH": f"{self._prefix}/usr/lib/erlang/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory),  # the Erlang cookie
            "LANG": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then execs Erlang, so that the pid is the broker's
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{directory.name}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

    def _wait_until_ready(self) -> None:
        """The plain port answers AMQP's SASL header and the TLS port, which opens last, takes connections."""

        def ready_or_dead() -> bool:
            return self._pid() is None or self._answers()

        if not places.wait_until(ready_or_dead, 120) or self._pid() is None:
            console = (self._directory / "console.log").read_text(errors="replace").splitlines()[-20:]
            raise ServerMissing(f"{self.name} did not start:\n" + "\n".join(console))

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.tls_port), 1).close()
            with socket.create_connection((self.host, self.port), 1) as plain:
                plain.settimeout(5)
                plain.sendall(_AMQP_SASL_HEADER)
                return plain.recv(8) == _AMQP_SASL_HEADER
        except OSError:
            return False

    def _pid(self) -> int | None:
        # The process is named after the loader, not beam.smp: it is known by our prefix in its command line.
        return places.process_id(self._directory / "pid", lambda command: f"{self._prefix}/" in command)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._pid()
        if pid is None:
            raise ServerMissing(f"{self.name} is not running")
        os.kill(pid, number)

    def _end(self, number: signal.Signals) -> None:
        with places.locked(self._directory.with_suffix(".lock")):
            pid = self._pid()
            if pid is not None:
                places.end_process(pid, number)
            (self._directory / "pid").unlink(missing_ok=True)
            self._end_epmd()

    def _end_epmd(self) -> None:
        """epmd makes itself a daemon, and will not go before it has noticed that the broker is gone."""
        epmd = str(self._prefix / "usr/lib/erlang/bin/epmd")

        def gone() -> bool:
            with contextlib.suppress(ServerMissing):
                places.run([epmd, "-kill"], limit_s=20, why="epmd", env=self._environment())
            with socket.socket() as probe:
                return probe.connect_ex((self.host, self.epmd_port)) != 0

        places.wait_until(gone, 5)


def _write_certificates(directory: Path) -> None:
    """A throw-away authority and a server certificate for localhost and 127.0.0.1; kept when there."""
    if (directory / "server.key").exists():
        return
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for number, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(directory / "server.pem", append=number > 0)
    server.private_key_pem.write_to_path(directory / "server.key")


def _write_private(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret)


def broker(name: str) -> Broker:
    """The broker "rabbitmq40" or "rabbitmq310", not started."""
    offset = places.port_offset()
    match re.fullmatch(r"rabbitmq(40|310)", name):
        case None:
            raise ValueError(f"no broker {name}")
        case found if found[1] == "40":
            return Broker(name, "trixie", 4, 5681 + offset, 5682 + offset, 25681 + offset, 4381 + offset)
        case _:
            return Broker(name, "bookworm", 3, 5691 + offset, 5692 + offset, 25691 + offset, 4391 + offset)
