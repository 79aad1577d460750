"""Atomic writes, and the check for files that other users can read."""

import errno
import os
from pathlib import Path

import pytest

from core.files import others_can_read, write_atomically


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_a_file_has_the_given_content_and_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "new/folder/file"
    write_atomically(path, "größer\n", mode=mode)
    assert path.read_bytes() == "größer\n".encode()
    assert path.stat().st_mode & 0o777 == mode


def test_bytes_are_written_unchanged(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"\x00\xff\r\n")
    assert (tmp_path / "file").read_bytes() == b"\x00\xff\r\n"


def test_an_old_file_and_its_mode_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old", mode=0o644)
    write_atomically(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old", mode=0o600)

    def disk_is_full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new", mode=0o644)
    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(folder, "new")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("mode", "exposed"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o620, True)]
)
def test_others_can_read(tmp_path: Path, mode: int, exposed: bool) -> None:
    write_atomically(tmp_path / "file", "secret", mode=mode)
    assert others_can_read(tmp_path / "file") is exposed
