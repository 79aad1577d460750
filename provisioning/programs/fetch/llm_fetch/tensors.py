"""Names and sizes of the tensors of a source or a folder, from the headers of its safetensors files."""

from __future__ import annotations

import contextlib

from .errors import FetchError
from .json_text import MAX_CONFIG_BYTES, FormatError
from .lora_tensors import Base
from .model_config import CONFIG, read_model_config
from .web import content_of
from .weight_files import INDEX, MAX_INDEX_BYTES, shards_of
from .weight_heads import SUFFIX, Tensor, read_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from .transfer import Source


class Folder:
    """A folder of this host, read like a source."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def names(self) -> list[str]:
        """Return its files; empty if the folder does not exist."""
        return sorted(each.name for each in self._path.glob("*"))

    def open(self, name: str, _start: int) -> Any:
        """Return the stream of a file."""
        return (self._path / name).open("rb")


def heads_of(source: Source | Folder, names: Iterable[str]) -> dict[str, Tensor]:
    """Return all tensors of the files `names`. For many files on a server, reads only their names, from the index."""
    if INDEX in names and not isinstance(source, Folder):
        content = content_of(lambda: source.open(INDEX, 0), MAX_INDEX_BYTES, f"{source.name}: ")
        try:
            return {name: Tensor("", None) for name in shards_of(content)}
        except FormatError as error:
            raise FetchError(f"{INDEX} of {source.name} {error}") from None
    files = [name for name in names if name.endswith(SUFFIX) and "/" not in name]
    return {name: tensor for each in files for name, tensor in head(source, each).items()}


def base_in(path: Path) -> Base:
    """Return the base model in a folder of this host; without tensors if the folder has no model."""
    folder = Folder(path)
    try:
        with folder.open(CONFIG, 0) as stream:
            architecture = read_model_config(stream.read(MAX_CONFIG_BYTES + 1)).architecture
    except (OSError, FormatError):
        architecture = ""
    return Base(heads_of(folder, folder.names()), architecture)


def head(source: Source | Folder, name: str) -> dict[str, Tensor]:
    """Return the tensors of one file. Raises FetchError for a file of another format."""
    with contextlib.closing(source.open(name, 0)) as answer:
        try:
            return read_head(answer)
        except FormatError as error:
            raise FetchError(f"{name} of {source.name} {error}") from None
