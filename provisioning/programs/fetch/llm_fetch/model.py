"""Checks that a source has a complete base model for the stack's settings, before its weights are fetched."""

from __future__ import annotations

import contextlib
from functools import partial

from .errors import FetchError
from .json_text import MAX_CONFIG_BYTES, FormatError
from .listed import Listed
from .model_config import CONFIG, read_model_config
from .model_settings import check_settings
from .web import content_of
from .weight_files import INDEX, MAX_INDEX_BYTES, missing_part, missing_shard, shards_of
from .weight_heads import SUFFIX, read_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .files import File
    from .model_config import ModelConfig
    from .tensors import Folder
    from .transfer import Source

POINTER_BYTES = 1024
"""Smaller files are Git LFS pointers, which have some 130 bytes."""


def check_model(source: Source, files: Sequence[File], context_tokens: int, engine: str = "") -> None:
    """Raise FetchError unless `files` of `source` are a complete model that accepts texts of `context_tokens`.

    `engine` will serve it; empty means any engine.
    """
    names = [file.name for file in files]
    if CONFIG not in names:
        raise FetchError(f"{source.name} has no {CONFIG}; name the folder or repository of a model")
    config = _read(source, CONFIG, MAX_CONFIG_BYTES, partial(read_model_config, engine=engine))
    longest = config.context_tokens
    if longest is not None and context_tokens > longest:
        raise FetchError(
            f"{CONFIG} of {source.name} allows {longest} tokens, fewer than the {context_tokens} of "
            f"model.context_tokens; write context_tokens: {longest} or less"
        )
    _check_index(source, names)
    check_settings(names, partial(_read, source), has_processor=config.has_processor)
    for file in files:
        # The hub has complete files, or small pointers. A list may have the checksums of incomplete files.
        if file.name.endswith(SUFFIX) and (isinstance(source, Listed) or file.size < POINTER_BYTES):
            _check_head(source, file)


def too_short(folder: Folder, name: str, context_tokens: int) -> str:
    """Return why the model `name` in a folder of this host does not accept texts of `context_tokens`; empty if it does.

    Raises FetchError for an unreadable config.
    """
    return _too_short(_read(folder, CONFIG, MAX_CONFIG_BYTES, read_model_config), name, context_tokens)


def _too_short(config: ModelConfig, name: str, context_tokens: int) -> str:
    longest = config.context_tokens
    if longest is None or context_tokens <= longest:
        return ""
    return (
        f"{CONFIG} of {name} allows {longest} tokens, fewer than the {context_tokens} of model.context_tokens; "
        f"write context_tokens: {longest} or less"
    )


def _check_index(source: Source, names: Sequence[str]) -> None:
    """Raise FetchError if there are no weights, or if weights of the index are missing."""
    if INDEX in names:
        missing = missing_shard(_read(source, INDEX, MAX_INDEX_BYTES, shards_of), names)
        if missing:
            raise FetchError(f"{source.name} has no {missing}, which its {INDEX} names; look up the right revision")
        return
    weights = [name for name in names if name.endswith((SUFFIX, ".bin"))]
    if not weights:
        raise FetchError(f"{source.name} has no weights; name one with {SUFFIX} files")
    missing = missing_part(weights)
    if missing:
        raise FetchError(f"{source.name} has no {missing}, but its other weights are numbered with it; get it again")


def _check_head(source: Source, file: File) -> None:
    with contextlib.closing(source.open(file.name, 0)) as answer:
        try:
            read_head(answer, file.size)
        except FormatError as error:
            raise FetchError(f"{file.name} of {source.name} {error}") from None


def _read(source: Source | Folder, name: str, limit: int, read: Callable[[bytes], Any]) -> Any:
    """Return the result of `read` for a file of `source`; it gets at most `limit` + 1 bytes."""
    try:
        return read(content_of(lambda: source.open(name, 0), limit, f"{source.name}: "))
    except FormatError as error:
        raise FetchError(f"{name} of {source.name} {error}") from None
