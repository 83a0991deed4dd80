"""Real PostgreSQL on 127.0.0.1 with clusters of their own and wal_level=logical: the machine's, and Debian 13's 17."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.services import places
from tests.services.places import ServerMissing

_PASSWORD = "test-pw"
_UNPACK = Path(__file__).with_name("install-postgres.sh")
_HOW_TO = "PostgreSQL is missing. Tests that need it fail without it. To get it: apt-get install postgresql (as root)"


@dataclass(frozen=True)
class Postgres:
    """One server. It runs as the caller, or as the user `postgres` when the caller is root (it refuses root)."""

    port: int
    host: str = "127.0.0.1"
    name: str = "postgres15"
    unpacked: int | None = None  # a version of another Debian suite, unpacked; None: the machine's own

    @property
    def url(self) -> str:
        """The superuser's own database, as libpq reads it."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        return f"postgresql://postgres:{_PASSWORD}@{self.host}:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """A new, empty database (an old one of that name is dropped); returns its URL."""
        self.sql(f'drop database if exists "{database}" with (force)')
        self.sql(f'create database "{database}"')
        return self.database_url(database)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement through psql; returns the rows, unaligned."""
        command = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return places.run(
            [*command, "-d", self.database_url(database), "-c", statement], limit_s=60, why="psql"
        ).strip()

    def run_file(self, script: Path, database: str) -> None:
        """Run a file of statements through psql, as a person does; the first error ends it."""
        command = [str(self._programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.database_url(database)]
        places.run([*command, "-f", str(script)], limit_s=60, why=f"psql -f {script.name}")

    @cached_property
    def version(self) -> str:
        return self.sql("show server_version").split()[0]

    def start(self) -> None:
        """Install when missing (as root), make the cluster when missing, start when not running, wait until ready."""
        with places.locked(places.data_directory(self.name).with_suffix(".lock")):
            self._install()
            if self._pid() is None:
                self._make_cluster()
                self._boot()

    def stop(self) -> None:
        """A clean stop that waits for nobody (SIGINT, "fast")."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """A crash of the postmaster (SIGKILL); its children end themselves."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def running(self) -> bool:
        return self._pid() is not None

    def delete(self) -> None:
        """Stop, and remove the cluster: the next start makes a new one."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def make_standby(self, standby: "Postgres", slot: str) -> None:
        """Start a hot standby of this server (version 17) that keeps its failover slots too; `slot` is its own here."""
        standby.delete()
        directory = standby._directory
        directory.mkdir(parents=True, mode=0o700)
        if _is_root():
            shutil.chown(directory, "postgres")
        self.sql(f"select pg_create_physical_replication_slot('{slot}', true)")
        data = str(directory / "data")
        backup = [
            str(self._programs / "pg_basebackup"),
            "-d",
            self.url,
            "-D",
            data,
            "-S",
            slot,
            "-c",
            "fast",
            "--no-sync",
        ]
        places.run(_as_server_user(backup), limit_s=120, why="pg_basebackup", cwd=directory)
        with (directory / "data/postgresql.conf").open("a") as configuration:
            configuration.write(
                f"""port = {standby.port}
primary_conninfo = 'host={self.host} port={self.port} user=postgres password={_PASSWORD} dbname=postgres'
primary_slot_name = '{slot}'
hot_standby_feedback = on
sync_replication_slots = on
wal_receiver_status_interval = 1s
"""
            )
        (directory / "data/standby.signal").touch()
        standby.start()

    def promote(self) -> None:
        """Make a standby the primary; comes back when it takes writes."""
        self.sql("select pg_promote(true, 60)")

    @property
    def _programs(self) -> Path:
        return self._prefix / f"usr/lib/postgresql/{self.unpacked}/bin" if self.unpacked else _programs()

    @property
    def _prefix(self) -> Path:
        """Where another suite's packages are unpacked: for root where the user postgres may read."""
        place = Path(tempfile.gettempdir()) if _is_root() else places.cache_directory()
        return place / f"kpr-agent-postgresql-{self.unpacked}"

    def _install(self) -> None:
        if self.unpacked is None:
            _install()
        elif not (self._prefix / ".complete").exists():
            why = (
                f"PostgreSQL {self.unpacked} of Debian's trixie could not be unpacked. Tests that need it fail without "
                f"it. It needs Debian 12 or later, its apt mirror within reach, and about 130 MB. To try by hand: "
                f"{_UNPACK.name} trixie {self.unpacked} {self._prefix}"
            )
            places.run([str(_UNPACK), "trixie", str(self.unpacked), str(self._prefix)], limit_s=900, why=why)

    @property
    def _directory(self) -> Path:
        """Root's home is closed to the user postgres, so root's cluster lives in the directory for temporary files."""
        if os.geteuid() == 0:
            return Path(tempfile.gettempdir()) / f"kpr-agent-postgres-{self.port}"
        return places.data_directory(self.name)

    def _make_cluster(self) -> None:
        directory = self._directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
        if (directory / "data/PG_VERSION").exists():
            return
        password = directory / "password"
        password.touch(mode=0o600)
        password.write_text(_PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(password, "postgres")
        arguments = ["-D", str(directory / "data"), "-U", "postgres", f"--pwfile={password}", "-A", "scram-sha-256"]
        initdb = [str(self._programs / "initdb"), *arguments, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        places.run(_as_server_user(initdb), limit_s=120, why="initdb", cwd=directory)
        with (directory / "data/postgresql.conf").open("a") as configuration:
            configuration.write(
                f"""listen_addresses = '{self.host}'
port = {self.port}
unix_socket_directories = ''
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
max_slot_wal_keep_size = 512MB
max_connections = 200
shared_buffers = 64MB
logging_collector = off
"""
            )

    def _boot(self) -> None:
        places.require_free(self.port)
        directory = self._directory
        log = directory / "log"
        with log.open("ab") as output:
            subprocess.Popen(
                _as_server_user([str(self._programs / "postgres"), "-D", str(directory / "data")]),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        is_ready = [str(self._programs / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]

        def ready() -> bool:
            return subprocess.run(is_ready, check=False, timeout=10).returncode == 0

        if not places.wait_until(ready, 60):
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ServerMissing(f"PostgreSQL did not start on port {self.port}:\n{tail}")

    def _pid(self) -> int | None:
        return places.process_id(
            self._directory / "data/postmaster.pid", lambda command: f"{self._directory}/data" in command
        )

    def _end(self, number: signal.Signals) -> None:
        with places.locked(places.data_directory(self.name).with_suffix(".lock")):
            pid = self._pid()
            if pid is None:
                return
            places.end_process(pid, number)

            def closed() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex((self.host, self.port)) != 0

            places.wait_until(closed, 10)
            # After SIGKILL a zombie that nobody waits for would still look like a running server to the next one.
            (self._directory / "data/postmaster.pid").unlink(missing_ok=True)


def _as_server_user(command: list[str]) -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command] if _is_root() else command


def _is_root() -> bool:
    return os.geteuid() == 0


def _programs() -> Path:
    """The newest installed server's programs: Debian's place first, then the search path."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None:
        raise ServerMissing(_HOW_TO)
    return Path(on_path).resolve().parent


def _install() -> None:
    try:
        _programs()
    except ServerMissing:
        if not (_is_root() and shutil.which("apt-get")):
            raise
    else:
        return
    # Debian's package would start a cluster of its own on the default port.
    settings = Path("/etc/postgresql-common/createcluster.conf")
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("create_main_cluster = false\n")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    places.run(["apt-get", "-q", "update"], limit_s=300, why=_HOW_TO, env=quiet)
    install = ["apt-get", "-q", "-y", "--no-install-recommends", "install", "postgresql"]
    places.run(install, limit_s=600, why=_HOW_TO, env=quiet)
    pwd.getpwnam("postgres")


def postgres() -> Postgres:
    """The PostgreSQL of the tests, not started."""
    return Postgres(15434 + places.port_offset())


def postgres17() -> Postgres:
    """PostgreSQL 17 as Debian 13 ships it, not started."""
    return Postgres(15435 + places.port_offset(), name="postgres17", unpacked=17)


def failover_pair() -> tuple[Postgres, Postgres]:
    """Two servers of version 17 for a test to make a primary and its standby of; not started."""
    offset = places.port_offset()
    return (
        Postgres(15436 + offset, name="postgres17-a", unpacked=17),
        Postgres(15437 + offset, name="postgres17-b", unpacked=17),
    )
