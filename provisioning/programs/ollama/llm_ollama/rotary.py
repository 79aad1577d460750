"""Llama-type adapters, rewritten so that Ollama's converter gives the trained weights.

GGUF files keep the rows of q_proj and k_proj in another order than Hugging Face's checkpoints, so an adapter's
lora_B needs its rows in that order too. Ollama's converter (convert/convert_llama_adapter.go, the same text in 0.24.0
and 0.32.7) leaves lora_B as it is and reorders lora_A instead. The answers are then wrong, and no error is reported.
Here lora_B gets GGUF's order, and lora_A the order that Ollama's reordering turns back into the original.

Does not decode tensors: it moves whole rows of any type.
"""

from __future__ import annotations

import json
import os
import struct
from typing import IO

from .store import ModelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

LLAMA = "llama"
"""The architecture whose rows are reordered. Gemma 2, which Ollama also converts, keeps its order in a GGUF file."""

QUERY, KEY = "q_proj", "k_proj"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

DAMAGE = (struct.error, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors from reading a file that violates its format."""


class Heads:
    """Numbers of query and key heads of the base model, from its metadata."""

    def __init__(self, architecture: str, queries: int, keys: int) -> None:
        self.architecture = architecture
        self.queries = queries
        self.keys = keys or queries

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Heads:
        """Return a model's numbers from the metadata of its GGUF file."""
        architecture = str(metadata.get("general.architecture", ""))
        found = (metadata.get(architecture + ".attention." + name) for name in ("head_count", "head_count_kv"))
        # A model with different layers has a list here.
        queries, keys = (each if isinstance(each, int) else 0 for each in found)
        return cls(architecture, queries, keys)


def rewrite(folder: Path, target: Path, heads: Heads) -> bool:
    """Write the weights for Ollama's converter into `target`; return False if those in `folder` need no change.

    Raises ModelError for a damaged adapter, and for one that Ollama would convert wrongly in any order of rows.
    """
    source = folder / WEIGHTS
    if not source.is_file():
        raise ModelError(f"{folder} has no {WEIGHTS}, the only supported format of an adapter")
    config = _config(folder / CONFIG)
    if config.get("use_rslora"):
        raise ModelError(f"{folder / CONFIG}: Ollama does not support use_rslora and would scale the adapter wrongly")
    # Ollama uses the config's number of key heads for lora_A of k_proj; by default the number of query heads.
    keys_of_a = config.get("num_key_value_heads") or heads.queries
    if not isinstance(keys_of_a, int):
        raise ModelError(f"{folder / CONFIG}: num_key_value_heads is not a number; get the adapter again")
    try:
        return _rewrite(source, target, heads, keys_of_a)
    except DAMAGE as error:
        raise ModelError(f"{source} is damaged ({type(error).__name__}: {error}); get the adapter again") from error


def _config(path: Path) -> dict[str, Any]:
    """Return an adapter's config. Raises ModelError if it cannot be read."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); get the adapter again") from error
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ModelError(f"{path} is damaged: it is not a JSON object; get the adapter again")
    return config


def _rewrite(source: Path, target: Path, heads: Heads, keys_of_a: int) -> bool:
    with source.open("rb") as stream:
        header, start = _header(stream)
        size = os.fstat(stream.fileno()).st_size - start
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in tensors.items():
            _check_shape(source, name, entry["shape"])
        moved = [name for name in tensors if _part(name) is not None]
        if heads.architecture != LLAMA or not moved:
            return False
        with target.open("wb") as out:
            encoded = json.dumps(header).encode()
            out.write(struct.pack("<Q", len(encoded)) + encoded)
            for name, entry in sorted(tensors.items(), key=lambda item: int(item[1]["data_offsets"][0])):
                begin, end = entry["data_offsets"]
                if not 0 <= begin <= end <= size:
                    raise ValueError(f"{name} is cut off")
                stream.seek(start + begin)
                data = stream.read(end - begin)
                out.write(_reordered(name, entry["shape"], data, heads, keys_of_a))
    return True


def _header(stream: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the offset of its data."""
    (size,) = struct.unpack("<Q", stream.read(8))
    if size > os.fstat(stream.fileno()).st_size:
        raise ValueError("its header is longer than the file")
    return dict(json.loads(stream.read(size))), 8 + size


def _part(name: str) -> tuple[str, str] | None:
    """Return module and matrix (A or B) of a query's or key's tensor; None for any other tensor."""
    words = name.split(".")
    module = next((each for each in (QUERY, KEY) if each in words), None)
    matrix = next((each for each in ("A", "B") if "lora_" + each in words), None)
    return (module, matrix) if module and matrix else None


def _check_shape(source: Path, name: str, shape: list[int]) -> None:
    """Raise ModelError for a matrix that Ollama would mistake for its transpose."""
    is_a, is_b = ("lora_" + each in name.split(".") for each in "AB")
    if len(shape) != 2:  # noqa: PLR2004
        return
    if (is_a and shape[0] > shape[1]) or (is_b and shape[0] < shape[1]):
        raise ModelError(
            f"{source}: {name}: its rank is above the width of its module, and Ollama would mistake it for its "
            "transpose"
        )


def _reordered(name: str, shape: list[int], data: bytes, heads: Heads, keys_of_a: int) -> bytes:
    part = _part(name)
    if part is None:
        return data
    module, matrix = part
    rows, columns = shape
    item, rest = divmod(len(data), rows * columns)
    if rest or not item:
        raise ValueError(f"{name} does not have the bytes that its sizes need")
    if matrix == "B":
        count, size = (heads.queries if module == QUERY else heads.keys), columns * item
    else:
        # Ollama uses the number of columns as the number of rows, and moves those rows.
        rows, size = columns, rows * item
        count = heads.queries if module == QUERY else keys_of_a
    if count < 1 or rows % (2 * count):
        raise ModelError(f"{name} has {rows} rows, which cannot be divided into {count} heads")
    order = gguf_order(rows, count)
    pieces: list[bytes] = [b""] * rows
    for place, taken in enumerate(order):
        # lora_A the opposite way: Ollama moves row `taken` to `place`.
        target, origin = (place, taken) if matrix == "B" else (taken, place)
        pieces[target] = data[origin * size : (origin + 1) * size]
    return b"".join(pieces)


def gguf_order(rows: int, heads: int) -> list[int]:
    """Return for each row of a GGUF file its row in the checkpoint: the halves of a head become pairs."""
    half = rows // heads // 2
    return [(head * 2 + side) * half + row for head in range(heads) for row in range(half) for side in (0, 1)]
