"""Files on the controlling machine: atomic writes, hashes, and a check that other users cannot read a secret."""

import hashlib
import os
import tempfile
from pathlib import Path

OTHERS = 0o077
"""The permission bits that a file with a secret must not have."""


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write `content` to a temporary file in the same folder, then rename it to `path` with `mode`.

    Raises OSError (disk full, no permission). The old file then stays as it was, and the temporary file is removed.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def only_link(folder: Path, name: str, target: Path) -> None:
    """Make `folder` hold the link `name` to `target`, so that one file is sent like any folder."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / name
    if not link.is_symlink() or link.readlink() != target.resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())


def others_can_read(path: Path) -> bool:
    """Return whether anybody but the owner may read or write the file. Raises OSError."""
    return bool(path.stat().st_mode & OTHERS)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's content. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
