"""Strict YAML: what two readers understand in two ways is refused, with its line."""

from pathlib import Path

import pytest

from agent.settings.yaml_reading import SIZE_LIMIT_BYTES, read_yaml


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key is here twice, first in line 1"),
        ("a:\n  b: {c: 1, c: 2}\n", 2, "twice"),
        ("a: &x 1\n", 1, "anchors"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("a: {<<: {b: 1}}\n", 1, "merge keys"),
        ("a: !!str 1\n", 1, "tags"),
        ("%YAML 1.1\n---\na: 1\n", 1, "directives"),
        ("a: 1\n---\nb: 2\n", 3, "several documents"),
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "keys and values"),
        ("a:\n\tb: 1\n", 2, "a tab"),
        ("a: [1, 2\n", 2, "not YAML"),
        ("a: 1\nb\nc: 2\n", 2, "indented wrongly"),
        ("a: NO\n", 1, 'write "NO"'),
        ("a: off\n", 1, 'write "off"'),
        ("a: True\n", 1, "or true"),
        ("a: 0301\n", 1, 'write "0301"'),
        ("a: 1_000\n", 1, 'write "1_000"'),
        ("a: 0x1F\n", 1, 'write "0x1F"'),
        ("a: 12:30:00\n", 1, 'write "12:30:00"'),
        ("a: 1e3\n", 1, 'write "1e3"'),
        ("a: .inf\n", 1, 'write ".inf"'),
        ("a: +5\n", 1, 'write "+5"'),
        ("a: 123456789012345678901\n", 1, "put the value in double quotes"),
        ("17: a\n", 1, 'write "17"'),
        ("no: a\n", 1, 'write "no"'),
        ("? [a, b]\n: c\n", 1, "a key must be text"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    faults = read_yaml(file).faults
    assert any(fault.line == line and says in fault.text for fault in faults), faults


def test_plain_values_keys_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "\ufeffa: 1\nb: \"1\"\nc: [true, x, 2020-01-01]\nd:\ne: {f: -0.5, g: 'NO', h: 0}\n", encoding="utf-8"
    )
    document = read_yaml(file)
    assert document.faults == []
    assert document.data == {
        "a": 1,
        "b": "1",
        "c": [True, "x", "2020-01-01"],
        "d": None,
        "e": {"f": -0.5, "g": "NO", "h": 0},
    }
    assert document.line(("c", 2)) == 3
    assert document.line(("e", "missing")) == 5


def test_what_cannot_be_opened_decoded_or_is_too_large_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read" in read_yaml(tmp_path / "none.yaml").faults[0].text
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: Bø\n".encode("latin-1"))
    (fault,) = read_yaml(latin).faults
    assert fault.line == 2
    assert "UTF-8" in fault.text
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (SIZE_LIMIT_BYTES + 1))
    assert "larger than" in read_yaml(large).faults[0].text


def test_depth_and_nested_aliases_end_as_faults(tmp_path: Path) -> None:
    deep = tmp_path / "deep.yaml"
    deep.write_text("a: " + "[" * 5000 + "]" * 5000, encoding="utf-8")
    assert read_yaml(deep).faults
    deeper = tmp_path / "deeper.yaml"
    deeper.write_text("a: " + "[" * 60 + "]" * 60, encoding="utf-8")
    assert "levels" in read_yaml(deeper).faults[0].text
    circle = tmp_path / "circle.yaml"
    circle.write_text("a: &a [*a, *a]\n", encoding="utf-8")
    assert any("aliases" in fault.text for fault in read_yaml(circle).faults)
