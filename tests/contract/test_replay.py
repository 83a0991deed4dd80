"""The replay source: the contract, and what is its own: forms of a line, a file that grows, a file that changed."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from connectors.replay import ReplaySettings, ReplaySource, read_records
from connectors.source import Change, Ignored, Position, PositionLost, SourceRefused, SourceUnavailable, Unreadable
from tests.contract.source_behaviour import CAPTURE, HISTORY, WANTED, SourceBehaviour, Written, read_all

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "debezium"


def event(change: Written, lsn: int) -> dict[str, object]:
    schema, _, table = change.table.partition(".")
    row = {"tjeneste_id": change.key, "status": change.status, "start_dato": 20468}
    return {
        "topic": f"prove.{change.table}",
        "key": {"tjeneste_id": change.key},
        "value": {
            "before": None,
            "after": None if change.status is None else row,
            "source": {
                "connector": "postgresql", "db": "prove", "schema": schema, "table": table, "lsn": lsn,
                "snapshot": "false", "ts_ms": 1767225600000,
            },
            "op": "d" if change.status is None else "c",
        },
    }  # fmt: skip


class FileStage:
    start: Position | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lsn = 100

    def write(self, changes: Sequence[Written]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for change in changes:
                self._lsn += 8
                file.write(json.dumps(event(change, self._lsn), ensure_ascii=False) + "\n")

    def open(self, position: Position | None) -> ReplaySource:
        return ReplaySource(ReplaySettings(path=self.path), CAPTURE, position)

    def exchange(self) -> None:
        self.path.unlink()
        self.write([Written(99, "annen"), *HISTORY])

    def remove(self) -> None:
        self.path.unlink()


@pytest.fixture
def stage(tmp_path: Path) -> FileStage:
    return FileStage(tmp_path / "changes.jsonl")


class TestReplay(SourceBehaviour):
    pass


def write_lines(path: Path, lines: Iterable[object]) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


A = event(Written(1, "a"), 8)
B = event(Written(2, "b"), 16)


@pytest.mark.parametrize(
    "line",
    [
        A,
        {**A, "partition": 0, "offset": 5, "headers": [["a", "b"]]},
        {"topic": A["topic"], "key": json.dumps(A["key"]), "value": json.dumps(A["value"])},
        {"topic": A["topic"], "key": json.dumps(A["key"]), "payload": json.dumps(A["value"]), "ts": 1},
        {"key": A["key"], "value": A["value"]},
        {"key": {"schema": {"type": "struct"}, "payload": A["key"]}, "value": {"schema": None, "payload": A["value"]}},
        {"key": None, "value": A["value"]},
    ],
    ids=["objects", "other fields", "json text", "kcat", "no topic", "wrapped", "null key"],
)
def test_forms_of_a_line(tmp_path: Path, line: object) -> None:
    ((_, record),) = read_records(write_lines(tmp_path / "x", [line]), CAPTURE)
    assert isinstance(record, Change)
    assert record.table == WANTED
    assert record.key == {"tjeneste_id": 1}
    assert record.row is not None
    assert record.row["status"] == "a"


def test_blank_lines_are_skipped_and_counted_in_places(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", ["", A, "   ", "{", B])
    records = [record for _, record in read_records(path, CAPTURE)]
    assert [type(record) for record in records] == [Change, Unreadable, Change]
    assert isinstance(records[1], Unreadable)
    assert records[1].place == "line 4"
    assert records[1].raw == b"{\n"


def test_progress_ends_at_the_files_size(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [A, B])
    sizes = [size for size, _ in read_records(path, CAPTURE)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == path.stat().st_size


def test_a_line_without_its_end_a_byte_order_mark_and_windows_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(A).encode() + b"\r\n" + json.dumps(B).encode())
    assert [type(record) for _, record in read_records(path, CAPTURE)] == [Change, Change]


def test_a_line_that_is_too_long_is_cut_off_and_the_next_one_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [A, {"key": None, "value": "x" * 200_000}, B])
    records = [record for _, record in read_records(path, CAPTURE, largest_line_bytes=100_000)]
    assert [type(record) for record in records] == [Change, Unreadable, Change]
    assert isinstance(records[1], Unreadable)
    assert len(records[1].raw) == 64 * 1024


@pytest.mark.parametrize(
    "line", ["[]", "3", '{"key": 1}', '{"value": 5}', '{"value": {"op": "c", "after": null, "source": {}}}']
)
def test_lines_that_are_no_events_are_unreadable(tmp_path: Path, line: str) -> None:
    ((_, record),) = read_records(write_lines(tmp_path / "x", [line]), CAPTURE)
    assert isinstance(record, Unreadable)


async def test_a_last_line_without_its_end_is_not_read_twice_when_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps(A))
    source = ReplaySource(ReplaySettings(path=path), CAPTURE, None)
    position = (await read_all(source)).position
    with path.open("a") as file:
        file.write("\n" + json.dumps(B) + "\n{\n")
    seen = await read_all(ReplaySource(ReplaySettings(path=path), CAPTURE, position))
    assert seen.told == [(2, "b")]
    unreadable = seen.transactions[1].records[0]
    assert isinstance(unreadable, Unreadable)
    assert unreadable.place == "line 3"


async def test_a_last_line_that_has_become_longer_is_a_lost_position(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(f"{json.dumps(A)}\n{json.dumps(B)}")
    position = (await read_all(ReplaySource(ReplaySettings(path=path), CAPTURE, None))).position
    with path.open("a") as file:
        file.write("}\n")
    with pytest.raises(PositionLost):
        await read_all(ReplaySource(ReplaySettings(path=path), CAPTURE, position))


@pytest.mark.parametrize(
    "content", [[A], [A, A], [A, event(Written(3, "c"), 16), B]], ids=["shorter", "other", "other, longer"]
)
async def test_a_file_rewritten_where_it_was_read_is_a_lost_position(tmp_path: Path, content: list[object]) -> None:
    path = write_lines(tmp_path / "x", [A, B])
    position = (await read_all(ReplaySource(ReplaySettings(path=path), CAPTURE, None))).position
    write_lines(path, content)
    with pytest.raises(PositionLost):
        await read_all(ReplaySource(ReplaySettings(path=path), CAPTURE, position))


async def test_an_empty_file_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (end,) = (await read_all(ReplaySource(ReplaySettings(path=tmp_path / "x"), CAPTURE, None))).transactions
    assert end.records == ()


async def test_no_file_is_unavailable_and_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        await read_all(ReplaySource(ReplaySettings(path=tmp_path / "x"), CAPTURE, None))
    with pytest.raises(SourceRefused):
        await read_all(ReplaySource(ReplaySettings(path=tmp_path), CAPTURE, None))
    with pytest.raises(SourceUnavailable):
        list(read_records(tmp_path / "x", CAPTURE))


def test_settings_come_from_json_with_text_for_paths() -> None:
    assert ReplaySettings.model_validate_json('{"path": "a.jsonl"}').path == Path("a.jsonl")


@pytest.mark.parametrize("recording", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_our_recordings_read(recording: Path) -> None:
    records = [record for _, record in read_records(recording, CAPTURE)]
    assert records
    assert all(isinstance(record, Change | Ignored) for record in records)
