"""A tree of files goes whole, and nothing that its links point to."""

import os
from pathlib import Path

import pytest

from infra.clouds.local.parts.removal import remove_tree


def test_nested_folders_odd_names_and_links_go(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(40):
        folder = root / f"package{number}" / "deep" / "deeper"
        folder.mkdir(parents=True)
        (folder / "file").touch()
        (folder.parent / "loop").symlink_to(root)
    (root / "fifo\nwith a line end").mkdir()
    os.mkfifo(root / "fifo\nwith a line end" / "pipe")
    Path(os.fsdecode(os.fsencode(root) + b"/no-utf8-\xff")).touch()
    (root / "locked").mkdir(mode=0o555)
    remove_tree(root)
    assert list(tmp_path.iterdir()) == []


def test_what_links_point_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("mine")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(kept)
    (root / "file").symlink_to(kept / "file")
    remove_tree(root)
    assert (kept / "file").read_text() == "mine"
    assert not root.exists()


def test_what_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "file")
    assert (tmp_path / "file").exists()
