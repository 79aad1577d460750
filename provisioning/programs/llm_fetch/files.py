"""One file of a source, and what tells that its content is right."""

from __future__ import annotations

import hashlib

from .errors import FetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

BLOCK_BYTES = 1 << 20

MAX_NAME_BYTES = 240
"""File systems take 255, and a file has `.part` behind its name until it is whole."""


class File:
    """A file whose SHA-256 the source gives, and the stack file maybe too."""

    def __init__(self, name: str, size: int, sha256: str, *, giver: str, pin: str = "") -> None:
        self.name = safe_name(name)
        self.size = size
        self.sha256 = sha256
        """As `giver` has it; empty where that knows another checksum only."""
        self.pin = pin
        """SHA-256 that the stack file pins; empty: none."""
        self._giver = giver

    def problem(self, path: Path) -> str:
        """Return what is wrong with the content of `path`; empty when it is this file."""
        found = digest_of(path, hashlib.sha256())
        if self.pin and found != self.pin:
            return f"its SHA-256 is {found}, not {self.pin}, which the stack file pins"
        return "" if self.is_given(path, found) else f"its checksum is not the one that {self._giver} gives"

    def is_given(self, path: Path, sha256: str) -> bool:  # noqa: ARG002  # what a source without SHA-256 looks at
        """Return whether the content of `path`, with this SHA-256, is what the source gives."""
        return sha256 == self.sha256


def safe_name(name: str) -> str:
    """Return `name`. Raises FetchError when it leads out of the folder."""
    if not name or any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or not name.isprintable():
        raise FetchError(f"the source has a file with the name {name!a}, which leads elsewhere")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in name.split("/")):
        raise FetchError(f"the source has a file with the name {name[:40]}..., too long for a file system")
    return name


def digest_of(path: Path, digest: Any) -> str:
    """Return the checksum of a file's content after what `digest` has been fed already."""
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
    return str(digest.hexdigest())
