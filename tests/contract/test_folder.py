"""The folder connector: the contract of a Sender, and what only files have."""

import os
import stat
from pathlib import Path

import pytest

from connectors.folder import FolderSender, FolderSettings
from connectors.sender import SenderRefused, SenderUnavailable, Verdict
from tests.contract.sender_behaviour import Delivered, SenderBehaviour, message


class TestFolder(SenderBehaviour):
    keeps_order = False
    copies_of_a_repeated_id = 1

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "out" / "messages"

    def make_sender(self) -> FolderSender:
        return FolderSender(FolderSettings(path=self.path))

    async def take_delivered(self, count: int) -> list[Delivered]:
        files = sorted(self.path.iterdir())
        assert len(files) == count
        return [Delivered(file.name, file.read_bytes()) for file in files]

    async def test_file_and_directory_are_for_their_owner_only(self) -> None:
        self.path.mkdir(parents=True, mode=0o755)
        before = os.umask(0)
        try:
            async with self.make_sender() as sender:
                await sender.send(message(file_name="000001.xml"))
        finally:
            os.umask(before)
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((self.path / "000001.xml").stat().st_mode) == 0o600

    @pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", "a\\b", "..", ".hidden", "a\0b"])
    async def test_a_name_that_is_not_plain_is_refused(self, name: str) -> None:
        async with self.make_sender() as sender:
            outcome = await sender.send(message(file_name=name))
        assert outcome.verdict is Verdict.IMPOSSIBLE
        assert name not in outcome.text
        assert list(self.path.iterdir()) == []

    async def test_a_file_left_half_written_is_no_obstacle(self) -> None:
        self.path.mkdir(parents=True)
        (self.path / ".000001.xml.part").write_bytes(b"half")
        async with self.make_sender() as sender:
            assert (await sender.send(message(file_name="000001.xml"))).verdict is Verdict.ACCEPTED
        assert [file.name for file in self.path.iterdir()] == ["000001.xml"]

    async def test_a_file_that_cannot_be_written_is_an_outcome(self) -> None:
        async with self.make_sender() as sender:
            outcome = await sender.send(message(file_name="x" * 300))
        assert outcome.verdict is Verdict.UNAVAILABLE

    async def test_a_file_in_the_place_of_the_directory_is_unavailable(self) -> None:
        self.path.parent.mkdir(parents=True)
        self.path.write_text("")
        with pytest.raises(SenderUnavailable):
            async with self.make_sender():
                pass

    async def test_a_directory_that_cannot_be_made_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)  # root, who runs tests in containers, may do everything
        with pytest.raises(SenderRefused):
            async with self.make_sender():
                pass
