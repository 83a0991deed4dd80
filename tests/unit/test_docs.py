"""The documentation names what is there: files, functions, tests, codes, events, verbs, targets."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from agent.cli import app
from agent.domain.delivery import Alarm

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("tests/**/*.md")]
)
SOURCES = sorted([*ROOT.glob("agent/**/*.py"), *ROOT.glob("connectors/**/*.py")])
INVARIANTS = 13

FOLDERS = "agent|connectors|tests|config|docs|deploy|bench"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)(?:(::?)([\w.]+))?`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"KPR-\d{3}")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level."""
    level = heading.split(maxsplit=1)[0]
    return re.split(rf"^{level} ", text_of(ROOT / page).split(f"{heading}\n", 1)[1], flags=re.MULTILINE)[0]


def anchors_of(page: Path) -> set[str]:
    """GitHub's anchors: lower case, punctuation away, blanks to dashes."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text_of(page))}


def defined_in(body: list[ast.stmt]) -> Iterator[tuple[str, list[ast.stmt]]]:
    for statement in body:
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield statement.name, statement.body
            case ast.Assign():
                yield from ((target.id, []) for target in statement.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, []


def is_defined(path: Path, dotted: str) -> bool:
    body = tree_of(path).body
    for name in dotted.split("."):
        found = dict(defined_in(body))
        if name not in found:
            return False
        body = found[name]
    return True


# -- links and names --------------------------------------------------------------------------------------------------


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), link
        if anchor:
            assert anchor in anchors_of(there), link


@every_page
def test_every_file_function_and_test_that_is_named_is_there(page: Path) -> None:
    for path, mark, symbol in NAMED.findall(text_of(page)):
        there = ROOT / path
        assert there.exists(), path
        if mark == "::":
            assert re.search(rf"^\s*(async )?def {symbol}\(", text_of(there), re.MULTILINE), f"{path}::{symbol}"
        elif symbol:
            assert is_defined(there, symbol), f"{path}:{symbol}"


def test_a_name_that_is_not_there_would_be_seen() -> None:
    assert NAMED.findall("`agent/app.py:run`, `tests/unit/test_docs.py::x`") == [
        ("agent/app.py", ":", "run"),
        ("tests/unit/test_docs.py", "::", "x"),
    ]
    assert is_defined(ROOT / "agent/intake/loop.py", "Intake.run")
    assert not is_defined(ROOT / "agent/intake/loop.py", "Intake.walk")


@every_page
def test_verbs_and_targets_that_are_named_are_there(page: Path) -> None:
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    verbs |= {group.name for group in app.registered_groups if group.name}
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    code = "\n".join([*SPAN.findall(text_of(page)), *re.findall(r"^    .+$", text_of(page), re.MULTILINE)])
    code += "\n".join(re.findall(r"```sh\n(.*?)```", text_of(page), re.DOTALL))
    assert set(re.findall(r"(?:^|bin/| )kpr-agent ([a-z][a-z-]*)", code, re.MULTILINE)) <= verbs
    assert set(re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code, re.MULTILINE)) <= targets


def test_every_verb_is_in_the_readme_or_operations() -> None:
    told = text_of(ROOT / "README.md") + text_of(ROOT / "docs/operations.md")
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert re.search(rf"(kpr-agent|make|`){' ?'}{name}\b", told), name


def test_pages_that_code_names_are_there() -> None:
    for path in SOURCES:
        for page in re.findall(r"docs/[\w-]+\.md", text_of(path)):
            assert (ROOT / page).exists(), f"{name_of(path)} names {page}"
        for heading, page in re.findall(r"'([A-Z][\w ]+)' in (docs/[\w-]+\.md)", text_of(path)):
            assert heading in HEADING.findall(text_of(ROOT / page)), heading


@every_page
def test_no_page_names_the_machine_it_was_written_on(page: Path) -> None:
    for place in ("/" + "work/", "/" + "root/", "pypi" + ".org"):
        assert place not in text_of(page)


# -- invariants -------------------------------------------------------------------------------------------------------


def invariants() -> dict[int, str]:
    parts = re.split(r"^## (\d+)\. .+$", text_of(ROOT / "docs/invariants.md"), flags=re.MULTILINE)[1:]
    return {int(number): text for number, text in zip(parts[::2], parts[1::2], strict=True)}


def test_every_invariant_has_lines_that_enforce_it_and_tests_that_guard_it() -> None:
    assert list(invariants()) == list(range(1, INVARIANTS + 1))
    for number, text in invariants().items():
        enforced, guarded = text.split("Enforced by:")[1].split("Guarded by:")
        assert NAMED.search(enforced), number
        assert all(mark == "::" for _, mark, _ in NAMED.findall(guarded)), number
        assert NAMED.search(guarded), number


def test_every_invariant_that_code_cites_has_an_entry_and_every_entry_is_cited() -> None:
    cited: set[int] = set()
    for path in [*SOURCES, *ROOT.glob("agent/**/*.sql")]:
        for numbers in re.findall(r"[Ii]nvariants? ((?:\d+(?:, | and )?)+)", text_of(path)):
            cited.update(int(number) for number in re.findall(r"\d+", numbers))
    assert cited == set(range(1, INVARIANTS + 1))


# -- codes ------------------------------------------------------------------------------------------------------------


def codes() -> list[tuple[str, str]]:
    """(code, class name) of every class with a code of its own."""
    found = []
    for node in chain.from_iterable(ast.walk(tree_of(path)) for path in SOURCES):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code)))
                    | ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code)))
                ):
                    found.append((code, node.name))
    return found


def test_no_two_classes_share_a_code() -> None:
    assert codes()
    assert [code for code, count in Counter(code for code, _ in codes()).items() if count > 1] == []


def test_every_code_has_exactly_one_entry_in_order() -> None:
    entries = re.findall(r"^### (KPR-\d{3}) (\w+)$", text_of(ROOT / "docs/errors.md"), re.MULTILINE)
    assert entries == sorted(codes())


@every_page
def test_no_page_names_a_code_that_is_not_there(page: Path) -> None:
    assert set(CODE.findall(text_of(page))) <= {code for code, _ in codes()}


# -- words ------------------------------------------------------------------------------------------------------------


def test_every_word_of_the_glossary_is_ascii_and_occurs_in_code() -> None:
    official = text_of(ROOT / "docs/glossary.md").split("## Our own words")[0]
    words = [
        word
        for line in official.splitlines()
        if line.startswith("| ") and not line.startswith(("| word", "|---"))
        for word in line.split("|")[1].strip().split(", ")
    ]
    code = "\n".join(text_of(path) for path in [*SOURCES, *ROOT.glob("agent/**/*.xsd")]).lower()
    assert len(words) > 40
    assert [word for word in words if not word.isascii()] == []
    assert [word for word in words if not re.search(rf"\b{re.escape(word.lower())}\b", code)] == []


# -- events of the log ------------------------------------------------------------------------------------------------


def texts_in(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from texts_in(one)
            yield from texts_in(other)


def methods_in(node: ast.expr) -> Iterator[str]:
    """What a call calls: `log.alarm`, `tell` (a name for one of two), `(log.error if .. else log.warning)`."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            yield name
        case ast.IfExp(body=one, orelse=other):
            yield from methods_in(one)
            yield from methods_in(other)


def events(*methods: str) -> set[str]:
    """The event names that the code logs through these methods."""
    found: set[str] = set()
    for path in SOURCES:
        if path.is_relative_to(ROOT / "agent/demo"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and node.args and set(methods_in(node.func)) & set(methods):
                found.update(text for text in texts_in(node.args[0]) if re.fullmatch(r"[a-z][a-z0-9_]+", text))
    return found


def test_every_alarm_has_its_line_in_operations_and_no_line_is_about_none() -> None:
    told = {
        event
        for line in section("docs/operations.md", "## Logs").splitlines()
        if line.startswith("| `")
        for event in SPAN.findall(line.split("|")[1])
    }
    assert told == events("alarm", "tell", "error") | {alarm.value for alarm in Alarm}


def test_every_other_event_is_named_in_operations() -> None:
    told = set(SPAN.findall(section("docs/operations.md", "## Logs")))
    assert events("info") - told == set()


# -- decisions --------------------------------------------------------------------------------------------------------


def test_decisions_are_numbered_and_listed() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        assert text_of(page).startswith(f"# {page.name[:4]} ")
        assert f"decisions/{page.name}" in text_of(ROOT / "docs/architecture.md")
