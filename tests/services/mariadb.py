"""A real MariaDB on 127.0.0.1 with its own temporary data."""

import os
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from tests.services import places
from tests.services.places import ServerMissing

_PACKAGES = ("mariadb-server-core", "mariadb-client-core")
"""The programs alone: the package mariadb-server would start a service of its own."""
_HOW_TO = f"MariaDB is missing. Tests that need it fail without it. To get it: apt-get install {' '.join(_PACKAGES)}"
_PASSWORD = "test-pw:%@"


@dataclass(frozen=True)
class MariaDb:
    """One server. It runs as the caller; no other user reaches its data."""

    port: int
    host: str = "127.0.0.1"
    name: str = "mariadb"

    @property
    def url(self) -> str:
        """As SQLAlchemy reads it, with PyMySQL."""
        return self.database_url("mysql")

    def database_url(self, database: str) -> str:
        return f"mysql+pymysql://kpr:{quote(_PASSWORD, safe='')}@{self.host}:{self.port}/{database}?charset=utf8mb4"

    def create_database(self, database: str) -> str:
        """A new, empty database (an old one of that name is dropped); returns its URL."""
        self.sql(f"drop database if exists `{database}`; create database `{database}` character set utf8mb4")
        return self.database_url(database)

    def sql(self, statements: str, database: str = "mysql") -> str:
        """Run statements through the client; returns the rows, tabs between columns."""
        client = [_program("mariadb"), "--no-defaults", "-h", self.host, "-P", str(self.port), "-u", "kpr", "-N", "-B"]
        environment = os.environ | {"MYSQL_PWD": _PASSWORD}
        return places.run([*client, database, "-e", statements], limit_s=60, why="mariadb", env=environment).strip()

    @cached_property
    def version(self) -> str:
        return self.sql("select version()").partition("-")[0]

    def start(self) -> None:
        """Install when missing (as root), make the data when missing, start when not running, wait until ready."""
        with self._locked():
            _install()
            if self._pid() is None:
                self._make_data()
                self._boot()

    def stop(self) -> None:
        """A clean stop (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """A crash (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def running(self) -> bool:
        return self._pid() is not None

    @property
    def _directory(self) -> Path:
        return places.data_directory(self.name)

    def _locked(self) -> AbstractContextManager[None]:
        return places.locked(self._directory.with_suffix(".lock"))

    def _make_data(self) -> None:
        data = self._directory / "data"
        if (self._directory / ".complete").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True, mode=0o700)
        arguments = ["--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        if os.geteuid() == 0:
            arguments.append("--user=root")
        places.run([_program("mariadb-install-db"), *arguments], limit_s=120, why="mariadb-install-db")
        user = f"'kpr'@'{self.host}' identified by '{_PASSWORD}'"
        (self._directory / "init.sql").write_text(
            f"create user if not exists {user};\ngrant all on *.* to 'kpr'@'{self.host}' with grant option;\n"
        )
        (self._directory / ".complete").touch()

    def _boot(self) -> None:
        places.require_free(self.port)
        directory = self._directory
        command = [
            _program("mariadbd"),
            "--no-defaults",
            f"--datadir={directory}/data",
            f"--init-file={directory}/init.sql",
        ]
        command += [f"--bind-address={self.host}", f"--port={self.port}", f"--socket={directory}/socket"]
        command += [f"--pid-file={directory}/pid", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"]
        if os.geteuid() == 0:
            command.append("--user=root")
        with (directory / "log").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (directory / "pid").write_text(str(process.pid))
        if not places.wait_until(self._answers_or_dead, 60) or self._pid() is None:
            tail = "\n".join((directory / "log").read_text(errors="replace").splitlines()[-15:])
            raise ServerMissing(f"MariaDB did not start on port {self.port}:\n{tail}")

    def _answers_or_dead(self) -> bool:
        if self._pid() is None:
            return True
        try:
            self.sql("select 1")
        except ServerMissing:
            return False
        return True

    def _pid(self) -> int | None:
        return places.process_id(self._directory / "pid", lambda command: f"{self._directory}/data" in command)

    def _end(self, number: signal.Signals) -> None:
        with self._locked():
            pid = self._pid()
            if pid is not None:
                places.end_process(pid, number)
                places.wait_until_free(self.port)
            (self._directory / "pid").unlink(missing_ok=True)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        raise ServerMissing(_HOW_TO)
    return found


def _install() -> None:
    try:
        for name in ("mariadbd", "mariadb-install-db", "mariadb"):
            _program(name)
    except ServerMissing:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise
        places.apt_install(*_PACKAGES, why=_HOW_TO)


def mariadb() -> MariaDb:
    """The MariaDB of the tests, not started."""
    return MariaDb(13306 + places.port_offset())
