"""How a demo starts real servers: through the project's scripts, and it stops only what did not run before."""

import asyncio
import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from agent.demo import run, servers
from agent.demo.servers import ScriptsMissing, ServerUnavailable, require_scripts, server

SCRIPT = """
import sys, pathlib
here, (name, verb) = pathlib.Path("state"), sys.argv[1:]
with open("log", "a") as log:
    log.write(f"{name} {verb}\\n")
if name == "broken" and verb == "start":
    sys.exit("no such package")
if verb == "start":
    here.touch()
if verb == "stop":
    here.unlink()
print(f"{name} 1.0, Plugin 2 on somewhere:1" if here.exists() else f"{name} is down")
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose scripts keep one server: a file that is there or not."""
    scripts = tmp_path / "tests" / "services"
    scripts.mkdir(parents=True)
    for package in (scripts.parent, scripts):
        (package / "__init__.py").touch()
    (scripts / "__main__.py").write_text(SCRIPT)
    monkeypatch.setattr(servers, "CHECKOUT", tmp_path)
    monkeypatch.setattr(servers, "_SCRIPTS", scripts)
    return tmp_path


def said() -> tuple[list[str], Callable[[str], None]]:
    lines: list[str] = []
    return lines, lines.append


def calls(checkout: Path) -> list[str]:
    return (checkout / "log").read_text().split("\n")[:-1]


async def test_a_server_that_did_not_run_is_started_told_and_stopped(checkout: Path) -> None:
    lines, say = said()
    async with server("one", "One", say) as address:
        assert (address, (checkout / "state").exists()) == ("somewhere:1", True)
    assert calls(checkout) == ["one status", "one start", "one stop"]
    assert lines[0].startswith("Starting One.")
    assert lines[1:] == ["  one 1.0, Plugin 2 on somewhere:1", "One is stopped."]


async def test_a_server_that_ran_before_is_left_running(checkout: Path) -> None:
    (checkout / "state").touch()
    async with server("one", "One", lambda _: None) as address:
        assert address == "somewhere:1"
    assert (checkout / "state").exists()
    assert "one stop" not in calls(checkout)


async def test_what_fails_inside_stops_the_server_too(checkout: Path) -> None:
    with pytest.raises(KeyError):
        async with server("one", "One", lambda _: None):
            raise KeyError
    assert not (checkout / "state").exists()


async def test_interrupted_it_stops_the_server_before_it_ends(checkout: Path) -> None:
    inside = asyncio.Event()

    async def hold() -> None:
        async with server("one", "One", lambda _: None):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.wait_for(inside.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (checkout / "state").exists()


async def test_a_server_that_cannot_be_had_is_told_with_what_the_script_said(checkout: Path) -> None:
    with pytest.raises(ServerUnavailable, match="no such package"):
        async with server("broken", "Broken", lambda _: None):
            pass


def ended(source: str, tmp_path: Path) -> tuple[int, str]:
    text = io.StringIO()
    with redirect_stderr(text):
        code = run.run_demo(seconds=5, seed=1, keep=tmp_path / "kept", as_json=True, source=source)
    return code, text.getvalue()


def test_without_the_scripts_a_real_source_ends_with_64_and_says_where_they_should_be(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "tests" / "services" / "__main__.py").unlink()
    with pytest.raises(ScriptsMissing):
        require_scripts()
    code, text = ended("postgres", tmp_path)
    assert (code, "checkout" in text, (tmp_path / "kept").exists()) == (64, True, False)


def test_a_server_that_cannot_be_had_ends_the_demo_with_69(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tests" / "services" / "__main__.py").write_text("import no_such_module_anywhere")
    code, text = ended("query", tmp_path)
    assert (code, "make setup-dev" in text) == (69, True)


def test_an_unknown_source_ends_with_64_and_names_those_there_are(tmp_path: Path) -> None:
    code, text = ended("oracle", tmp_path)
    assert (code, text) == (64, "--source takes one of embedded, postgres, kafka, query\n")
