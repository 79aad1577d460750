"""Names and sizes of the tensors in safetensors files, from their heads: no weight is read."""

from __future__ import annotations

import contextlib
import json
import struct

from .errors import FetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from .transfer import Source

    Shapes = dict[str, list[int]]
    """Sizes by name; none where only the name is known."""

SUFFIX = ".safetensors"
INDEX = "model.safetensors.index.json"
MAX_HEAD_BYTES = 100 << 20
"""Limit of the format itself; a larger number means that this is no such file."""


class Folder:
    """A folder of this host, read as a source is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def names(self) -> list[str]:
        """Return the files in it; none when there is no such folder."""
        return sorted(each.name for each in self._path.glob("*"))

    def open(self, name: str, _start: int) -> Any:
        """Return the stream of a file."""
        return (self._path / name).open("rb")


def shapes_of(source: Source | Folder, names: Iterable[str]) -> Shapes:
    """Return all tensors of the files `names`. An index has their names alone, and stands for many files elsewhere."""
    if INDEX in names and not isinstance(source, Folder):
        with source.open(INDEX, 0) as answer:
            return {name: [] for name in json.load(answer)["weight_map"]}
    files = [name for name in names if name.endswith(SUFFIX) and "/" not in name]
    return {name: shape for each in files for name, shape in head(source, each).items()}


def head(source: Source | Folder, name: str) -> Shapes:
    """Return the tensors of one file. Raises FetchError for a file of another kind."""
    with contextlib.closing(source.open(name, 0)) as answer:
        try:
            (length,) = struct.unpack("<Q", answer.read(8))
            if length > MAX_HEAD_BYTES:
                raise ValueError("the head is too long")
            content = json.loads(answer.read(length))
            content.pop("__metadata__", None)
            return {tensor: list(entry["shape"]) for tensor, entry in content.items()}
        except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(f"{name} of {source.name} is no safetensors file; export it again") from error
