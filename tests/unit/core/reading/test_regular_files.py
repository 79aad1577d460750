"""Which files of a downloaded folder may be sent to a host: its own, and nothing behind a link out of it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.reading.regular_files import files_below, open_regular, read_small


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
    "a link to a secret": (lambda f: (f / "x").symlink_to("../secret"), ", outside the folder"),
    "a link to a system file": (
        lambda f: (f / "x").symlink_to("/etc/shadow"),
        "links to /etc/shadow, outside the folder",
    ),
    "a link to a device": (lambda f: (f / "x").symlink_to("/dev/zero"), "links to /dev/zero, outside the folder"),
    "a link to another folder": (lambda f: (f / "x").symlink_to(".."), ", outside the folder"),
    "a link to a link": (link_twice, ", outside the folder"),
    "a link to itself": (lambda f: (f / "x").symlink_to("x"), "cannot be read (Too many levels of symbolic links)"),
    "a link to nowhere": (lambda f: (f / "x").symlink_to("y"), "cannot be read (No such file or directory)"),
    "a folder that contains itself": (lambda f: (f / "x").symlink_to("."), "links to a folder that was already read"),
    "a pipe": (lambda f: os.mkfifo(f / "x"), "is not a regular file; remove it from the folder"),
    "a socket": (lambda f: make_socket(f / "x"), "is not a regular file; remove it from the folder"),
    "a name that moves the cursor": (lambda f: (f / "\x1b[2Jx").touch(), "has control characters in its name; rename"),
    "a folder that moves the cursor": (lambda f: (f / "\x1b[2Jx").mkdir(), "has control characters in its name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_links_out_and_special_files(folder: Path, name: str) -> None:
    """A folder once sent /etc/shadow, .state/ca and 3 GB of /dev/zero."""
    make, words = REFUSED[name]
    make(folder)
    with pytest.raises(ConfigError) as caught:
        list(files_below(folder))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_follows_links_inside_the_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.json").symlink_to("../config.json")
    assert sorted(files_below(folder)) == ["config.json", "sub/a.json"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot in a hub cache: its files are links to blobs."""
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


def test_a_snapshot_in_a_hub_cache_includes_its_blobs(snapshot: Path, tmp_path: Path) -> None:
    assert sorted(files_below(snapshot)) == ["config.json", "sub/a.json"]
    (tmp_path / "link").symlink_to(snapshot)
    assert sorted(files_below(tmp_path / "link")) == ["config.json", "sub/a.json"]


def test_a_snapshot_includes_nothing_else_of_the_cache(snapshot: Path) -> None:
    (snapshot / "x").symlink_to("../../refs/main")
    with pytest.raises(ConfigError, match=", outside the folder"):
        list(files_below(snapshot))


def test_a_folder_outside_a_hub_cache_has_no_blobs(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "x").touch()
    (tmp_path / "snapshots" / "1").mkdir(parents=True)
    (tmp_path / "snapshots" / "1" / "x").symlink_to("../../blobs/x")
    with pytest.raises(ConfigError, match=", outside the folder"):
        list(files_below(tmp_path / "snapshots" / "1"))


def test_a_device_is_not_read() -> None:
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_small(Path("/dev/zero"))


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a regular file"):
        open_regular(tmp_path / "pipe")


def test_a_link_that_replaced_a_checked_file_is_refused(folder: Path) -> None:
    """Another process may replace the file with a link between the check and the read."""
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("../secret")
    with pytest.raises(ConfigError, match=", outside the folder"):
        open_regular(folder / "config.json", within=folder)
    with pytest.raises(OSError, match="Too many levels"):
        open_regular(folder / "config.json", follow=False)


def test_a_large_file_is_not_read_completely(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(ConfigError, match="has more than 4 MiB"):
        read_small(tmp_path / "large")
