"""Java, and the programs in it: Apache Kafka, Kafka Connect and Debezium's connector, fetched once by Maven."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services import places
from tests.services.places import ServerMissing

_POM = Path(__file__).with_name("kafka-pom.xml")
_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-Djava.awt.headless=true")
"""Starts in half the time and in 50 MB less than the JVM's own choice, on two cores."""

_LOGGING = """status = warn
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
"""


def programs() -> Path:
    """The directory with `jars` (broker and worker) and `plugins` (Debezium); fetched when it is not there."""
    directory = places.cache_directory() / "kafka"
    complete = directory / ".complete"
    pom = _POM.read_bytes()
    with places.locked(directory.with_suffix(".lock")):
        java()
        if not complete.exists() or complete.read_bytes() != pom:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            _fetch(directory)
            (directory / "log4j2.properties").write_text(_LOGGING)
            complete.write_bytes(pom)
    return directory


def version(artifact: str) -> str:
    """The version of a jar that was fetched, such as "4.3.1" of "kafka_2.13"."""
    found = next(programs().rglob(f"{artifact}-[0-9]*.jar"))
    return found.stem.removeprefix(f"{artifact}-")


def command(main: str, *arguments: str, heap_mb: int) -> list[str]:
    """The command line that runs a main class of the programs."""
    directory = programs()
    logging = f"-Dlog4j2.configurationFile={directory}/log4j2.properties"
    return [java(), *_SMALL, f"-Xmx{heap_mb}m", logging, "-cp", f"{directory}/jars/*", main, *arguments]


def tool(main: str, *arguments: str) -> str:
    """Run one of Kafka's tools to its end, two or three seconds each; returns what it printed."""
    return places.run(command(main, *arguments, heap_mb=128), limit_s=120, why=main)


def java() -> str:
    return _program("java", "default-jre-headless")


def _fetch(directory: Path) -> None:
    why = (
        "Kafka could not be fetched. Tests that need it fail without it. It needs a registry within reach that Maven's "
        f"own configuration names (~/.m2/settings.xml), and about 70 MB in {directory}"
    )
    maven = [_program("mvn", "maven"), "-q", "-B", "-Dstyle.color=never", "-f", str(_POM), f"-Ddirectory={directory}"]
    places.run([*maven, "package"], limit_s=900, why=why)


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        how_to = f"{name} is missing; tests on Kafka fail without it. To get it: apt-get install {package} (as root)"
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise ServerMissing(how_to)
        places.apt_install(package, why=how_to)
        found = shutil.which(name)
    if found is None:
        raise ServerMissing(f"{package} is installed, but {name} is not on the search path")
    return found


@dataclass(frozen=True)
class JavaProcess:
    """A server in a JVM: `pid` and `console.log` in its directory. `mark` is in its command line, and in no other's."""

    name: str
    directory: Path
    mark: str

    def boot(self, arguments: list[str]) -> None:
        with (self.directory / "console.log").open("wb") as console:
            process = subprocess.Popen(
                arguments,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(process.pid))

    def pid(self) -> int | None:
        return places.process_id(self.directory / "pid", lambda command: self.mark in command)

    def end(self, number: signal.Signals, *ports: int) -> None:
        """Signal it, and wait until it is gone and its ports are free: a JVM's threads die after its first one."""
        pid = self.pid()
        if pid is not None:
            places.end_process(pid, number)
            places.wait_until_free(*ports)
        (self.directory / "pid").unlink(missing_ok=True)

    def did_not_start(self) -> ServerMissing:
        lines = (self.directory / "console.log").read_text(errors="replace").splitlines()
        told = [line for line in lines if re.search(r" (ERROR|FATAL) |Exception", line)] or lines
        return ServerMissing(f"{self.name} did not start:\n" + "\n".join(told[-15:]))
