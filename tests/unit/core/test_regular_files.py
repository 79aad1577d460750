"""What may leave this computer with a folder that somebody downloaded: its own files, and nothing that links name."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.regular_files import files_below, open_regular, read_small


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "secret").write_text("a secret")
    return tmp_path / "model"


def link_twice(folder: Path) -> None:
    (folder / "x").symlink_to("y")
    (folder / "y").symlink_to("../secret")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to a secret": (lambda f: (f / "x").symlink_to("../secret"), "leads out of the folder, to "),
    "a link to a system file": (lambda f: (f / "x").symlink_to("/etc/shadow"), "leads out of the folder, to /etc/shad"),
    "a link to a device": (lambda f: (f / "x").symlink_to("/dev/zero"), "leads out of the folder, to /dev/zero"),
    "a link to another folder": (lambda f: (f / "x").symlink_to(".."), "leads out of the folder, to "),
    "a link to a link": (
        link_twice,
        "leads out of the folder, to ",
    ),
    "a link to itself": (lambda f: (f / "x").symlink_to("x"), "cannot be read (Too many levels of symbolic links)"),
    "a link to nowhere": (lambda f: (f / "x").symlink_to("y"), "cannot be read (No such file or directory)"),
    "a folder that holds itself": (lambda f: (f / "x").symlink_to("."), "is a link to a folder that is there already"),
    "a pipe": (lambda f: os.mkfifo(f / "x"), "is not a regular file; take it out of the folder"),
    "a socket": (lambda f: make_socket(f / "x"), "is not a regular file; take it out of the folder"),
    "a name that moves the cursor": (lambda f: (f / "\x1b[2Jx").touch(), "has control characters in its name; rename"),
    "a folder that moves the cursor": (lambda f: (f / "\x1b[2Jx").mkdir(), "has control characters in its name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    """A folder once took /etc/shadow and .state/ca along, and 3 GB of /dev/zero."""
    make, words = REFUSED[name]
    make(folder)
    with pytest.raises(ConfigError) as caught:
        list(files_below(folder))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.json").symlink_to("../config.json")
    assert sorted(files_below(folder)) == ["config.json", "sub/a.json"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of the hub's cache: its files are links to blobs beside it."""
    cache = tmp_path / "models--acme--base"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "ab12").write_text("{}")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("secret")
    snapshot = cache / "snapshots" / "0123"
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/ab12")
    (snapshot / "sub" / "a.json").symlink_to("../../../blobs/ab12")
    return snapshot


def test_a_snapshot_of_the_hubs_cache_has_its_blobs(snapshot: Path, tmp_path: Path) -> None:
    assert sorted(files_below(snapshot)) == ["config.json", "sub/a.json"]
    (tmp_path / "link").symlink_to(snapshot)
    assert sorted(files_below(tmp_path / "link")) == ["config.json", "sub/a.json"]


def test_a_snapshot_has_nothing_else_of_the_cache(snapshot: Path) -> None:
    (snapshot / "x").symlink_to("../../refs/main")
    with pytest.raises(ConfigError, match="leads out of the folder"):
        list(files_below(snapshot))


def test_a_folder_that_is_only_named_like_a_snapshot_has_no_blobs(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "x").touch()
    (tmp_path / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "snapshots" / "1" / "x").symlink_to("../../blobs/x")
    with pytest.raises(ConfigError, match="leads out of the folder"):
        list(files_below(tmp_path / "snapshots" / "1"))


def test_a_device_is_not_read() -> None:
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_small(Path("/dev/zero"))


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a regular file"):
        open_regular(tmp_path / "pipe")


def test_a_link_that_came_after_the_look_is_refused_when_it_is_opened(folder: Path) -> None:
    """Between a check and a read somebody may put a link in the file's place."""
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("../secret")
    with pytest.raises(ConfigError, match="leads out of the folder"):
        open_regular(folder / "config.json", within=folder)
    with pytest.raises(OSError, match="Too many levels"):
        open_regular(folder / "config.json", follow=False)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(ConfigError, match="has more than 4 MiB"):
        read_small(tmp_path / "large")
