"""One file of a source, and how its content is verified."""

from __future__ import annotations

import hashlib

from .errors import FetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

BLOCK_BYTES = 1 << 20

MAX_NAME_BYTES = 240
"""File systems allow 255. The suffix `.part` of an incomplete file takes some."""


class File:
    """A file whose SHA-256 the source gives, and perhaps the stack file too."""

    def __init__(self, name: str, size: int, sha256: str, *, giver: str, pin: str = "") -> None:
        self.name = safe_name(name)
        self.size = size
        self.sha256 = sha256
        """SHA-256 by `giver`; empty if it has only another checksum."""
        self.pin = pin
        """SHA-256 that the stack file pins; empty if it pins none."""
        self._giver = giver

    def problem(self, path: Path) -> str:
        """Return what is wrong with the content of `path`; empty if it is correct."""
        found = digest_of(path, hashlib.sha256())
        if self.pin and found != self.pin:
            return f"its SHA-256 is {found}, not {self.pin}, which the stack file pins"
        return "" if self.is_given(path, found) else f"its checksum is not the one that {self._giver} gives"

    def is_given(self, path: Path, sha256: str) -> bool:  # noqa: ARG002  # for sources without SHA-256
        """Return whether the content of `path`, with this SHA-256, matches the source."""
        return sha256 == self.sha256


def safe_name(name: str) -> str:
    """Return `name`. Raises FetchError if it leads out of the folder."""
    if not name or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise FetchError(f"the source has a file with the name {name!a}, which leads elsewhere")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in name.split("/")):
        raise FetchError(f"the source has a file with the name {name[:40]}..., too long for a file system")
    return name


def digest_of(path: Path, digest: Any) -> str:
    """Update `digest` with a file's content and return the checksum."""
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
    return str(digest.hexdigest())
