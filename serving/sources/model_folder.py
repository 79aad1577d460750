"""Check that a folder has a complete model that engines can read. Reads only the headers of weights."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from core.errors import ConfigError
from core.reading.regular_files import open_regular
from serving.formats.json_text import FormatError
from serving.formats.model_config import CONFIG, read_model_config
from serving.formats.model_settings import check_settings
from serving.formats.weight_files import INDEX, MAX_INDEX_BYTES, is_like, missing_part, missing_shard, shards_of
from serving.formats.weight_heads import LFS_START, read_head

WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
NO_MODEL = ("training_args.bin", "optimizer*", "adapter_model.*", "consolidated*")
"""Files with names like weights that no engine loads."""

Result = TypeVar("Result")


def check_model(folder: Path, *, where: str, context_tokens: int | None = None, engine: str = "") -> None:
    """Raise ConfigError unless `folder` has a config, complete weights and a tokenizer; `where` is its key.

    `context_tokens` is the context of the stack; if None, it is not compared. `engine` will serve the model; if empty,
    any engine may.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder} has no {CONFIG}", where=where, hint="write the folder that contains it")
    config = _read(folder, CONFIG, MAX_INDEX_BYTES, partial(read_model_config, engine=engine), where=where)
    longest = config.context_tokens
    weights = [path for pattern in WEIGHTS for path in sorted(folder.glob(pattern)) if not is_like(path.name, NO_MODEL)]
    if not weights:
        raise ConfigError(f"{folder} has no weights", where=where, hint=f"put the {WEIGHTS[0]} files beside {CONFIG}")
    part = missing_part([path.name for path in weights])
    if (folder / INDEX).exists():
        shards = _read(folder, INDEX, MAX_INDEX_BYTES, shards_of, where=where)
        missing = missing_shard(shards, [path.name for path in weights])
        if missing:
            raise ConfigError(f"{folder} has no {missing}, which its {INDEX} lists", where=where, hint="get it again")
    elif part:
        raise ConfigError(
            f"{folder} has no {part}, which the names of its other weights imply", where=where, hint="get it again"
        )
    for path in weights:
        _check_weights(path, where)
    tokenizers = [name for name in TOKENIZERS if (folder / name).is_file()]
    if not tokenizers:
        raise ConfigError(f"{folder} has no tokenizer", where=where, hint=f"put {TOKENIZERS[0]} beside {CONFIG}")
    for name in tokenizers:
        _refuse_pointer(folder / name, where)
    names = {path.name for path in folder.iterdir() if path.is_file()}
    check_settings(names, partial(_read, folder, where=where), has_processor=config.has_processor)
    if longest is not None and context_tokens is not None and context_tokens > longest:
        raise ConfigError(
            f"{folder}/{CONFIG} allows {longest} tokens, fewer than the {context_tokens} of model.context_tokens",
            where=where,
            hint=f"write context_tokens: {longest} or less",
        )


def _read(folder: Path, name: str, limit: int, read: Callable[[bytes], Result], *, where: str) -> Result:
    """Return the result of `read` for a file in `folder`. `read` gets at most `limit` + 1 bytes."""
    path = folder / name
    try:
        with open_regular(path) as stream:
            return read(stream.read(limit + 1))
    except FormatError as error:
        _refuse_pointer(path, where)
        raise ConfigError(f"{path} {error.what}", where=where, hint=error.hint) from None
    except OSError as error:
        raise _unreadable(path, error, where) from None


def _check_weights(path: Path, where: str) -> None:
    """Raise ConfigError if weights are incomplete or a Git LFS pointer."""
    _refuse_pointer(path, where)
    if path.suffix != ".safetensors":
        return
    try:
        with open_regular(path) as stream:
            read_head(stream, os.fstat(stream.fileno()).st_size)
    except FormatError as error:
        raise ConfigError(f"{path} {error.what}", where=where, hint=error.hint) from None


def _refuse_pointer(path: Path, where: str) -> None:
    """Raise ConfigError if a file is a Git LFS pointer or cannot be read."""
    try:
        with open_regular(path) as stream:
            start = stream.read(len(LFS_START))
    except OSError as error:
        raise _unreadable(path, error, where) from None
    if start == LFS_START:
        what = f"{path} is a Git LFS pointer, not the file"
        raise ConfigError(what, where=where, hint=f"run `git lfs pull` in {path.parent}")


def _unreadable(path: Path, error: OSError, where: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read ({error.strerror})", where=where, hint="let your user read it")
