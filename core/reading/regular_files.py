"""Safe reading of files that are sent to a host: regular files only, and nothing from outside the given folder.

A downloaded folder may contain links to secrets, pipes and devices. Links inside the folder are followed, and so are
links from a hub cache's snapshot to that cache's blobs. Each file is checked again after it was opened.
"""

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from core.errors import ConfigError

MAX_SMALL_BYTES = 4 << 20
"""Limit for a file that is read into memory: a config, a certificate, a list of checksums."""

_LINK_HINT = "replace the link with the file itself"


def is_small_file(path: Path) -> bool:
    """Return whether `path` is a regular file (links are followed) of at most MAX_SMALL_BYTES."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(seen.st_mode) and seen.st_size <= MAX_SMALL_BYTES


def read_small(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError, and ConfigError for a pipe, a device or a large file."""
    with open_regular(path) as stream:
        content = stream.read(MAX_SMALL_BYTES + 1)
    if len(content) > MAX_SMALL_BYTES:
        raise ConfigError(
            f"has more than {MAX_SMALL_BYTES >> 20} MiB", where=str(path), hint="check that it is the right file"
        )
    return content


def open_regular(path: Path, *, within: Path | None = None, follow: bool = True) -> BufferedReader:
    """Open `path` for reading. Without `follow`, a link is an OSError.

    Raises ConfigError if it is not a regular file or, with `within`, lies outside that folder; OSError if it cannot be
    opened.
    """
    # O_NONBLOCK: without it, opening a pipe waits for a writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise ConfigError("is not a regular file", where=str(path), hint="put a regular file there")
        if within is not None:
            _check_place(path, _opened_path(descriptor, path), _roots(within))
        return open(descriptor, "rb")  # noqa: PTH123  # of a descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _opened_path(descriptor: int, path: Path) -> Path:
    """Return the path of the opened file, from the kernel if possible: `path` may point elsewhere by now."""
    try:
        return Path(str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)"))
    except OSError:
        return Path(os.path.realpath(path))


def _roots(folder: Path) -> list[Path]:
    """Return the folders that may contain the files of `folder`: itself and, for a hub cache's snapshot, the blobs."""
    real = Path(os.path.realpath(folder))
    in_cache = real.parent.name == "snapshots" and real.parent.parent.name.startswith(("models--", "datasets--"))
    return [real, *([real.parent.parent / "blobs"] if in_cache else [])]


def check_below(folder: Path) -> None:
    """Raise ConfigError if `files_below` would."""
    for _ in files_below(folder):
        pass


def files_below(folder: Path, *, links_out: bool = False) -> Iterator[str]:
    """Yield the relative paths, with `/`, of all files below `folder` except hidden ones.

    Hidden files in a model's folder come from tools: the hub's cache, git, an editor. `links_out` allows links out of
    the folder: this project made them, to files that the user named.

    Raises ConfigError for a link out of the folder or to nothing, a pipe, a device, a socket, a folder that contains
    itself, and a name with control characters.
    """
    roots, seen = [Path("/")] if links_out else _roots(folder), {os.path.realpath(folder)}
    for parent, folders, leaves in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            path = Path(parent, name)
            real = _checked(path, roots)
            if real in seen:
                raise ConfigError("links to a folder that was already read", where=str(path), hint=_LINK_HINT)
            seen.add(real)
        for leaf in leaves:
            path = Path(parent, leaf)
            if not leaf.startswith("."):
                _checked(path, roots)
                _check_kind(path)
                yield path.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _checked(path: Path, roots: list[Path]) -> str:
    """Return the real path of `path`. Raises ConfigError if it lies outside `roots` or has control characters."""
    if not path.name.isprintable():
        raise ConfigError("has control characters in its name", where=ascii(str(path)), hint="rename it")
    real = os.path.realpath(path)
    _check_place(path, Path(real), roots)
    return real


def _check_place(path: Path, real: Path, roots: list[Path]) -> None:
    if not any(real.is_relative_to(root) for root in roots):
        raise ConfigError(f"links to {real}, outside the folder", where=str(path), hint=_LINK_HINT)


def _check_kind(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        hint = "make it readable for your user, or remove it from the folder"
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None
    if not stat.S_ISREG(mode):
        raise ConfigError("is not a regular file", where=str(path), hint="remove it from the folder")
