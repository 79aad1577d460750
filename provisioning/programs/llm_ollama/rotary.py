"""Adapters of Llama's kind, rewritten so that what Ollama makes of them is what they were trained to be.

GGUF files keep the rows of q_proj and k_proj in another order than Hugging Face's checkpoints, so an adapter's
lora_B needs its rows in that order too. Ollama's converter (convert/convert_llama_adapter.go, the same text in 0.24.0
and 0.32.7) leaves lora_B as it is and reorders lora_A instead: the answers are wrong, and nothing says so. Here
lora_B gets the order of GGUF, and lora_A the one that Ollama's reordering turns into the original.

Reads no tensor into numbers: whole rows move, whatever their type.
"""

from __future__ import annotations

import json
import struct
from typing import IO

from .store import ModelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

LLAMA = "llama"
CONVERTED = (LLAMA, "gemma2")
"""Architectures whose adapters Ollama converts. Gemma's queries and keys keep their order in a GGUF file."""

QUERY, KEY = "q_proj", "k_proj"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


class Heads:
    """How many heads the base model's queries and keys have, as its metadata say."""

    def __init__(self, architecture: str, queries: int, keys: int) -> None:
        self.architecture = architecture
        self.queries = queries
        self.keys = keys or queries

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> Heads:
        """Return those of a model from the metadata of its GGUF file."""
        architecture = str(metadata.get("general.architecture", ""))
        queries, keys = (
            metadata.get(architecture + ".attention." + name) or 0 for name in ("head_count", "head_count_kv")
        )
        return cls(architecture, int(queries), int(keys))


def rewrite(folder: Path, target: Path, heads: Heads) -> bool:
    """Write into `target` the weights that Ollama is to convert; return False when those in `folder` can stay.

    Raises ModelError for an adapter that Ollama would convert wrongly whatever the order of its rows.
    """
    source = folder / WEIGHTS
    if not source.is_file():
        raise ModelError(f"{folder} has no {WEIGHTS}, the only form of an adapter that is served")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("use_rslora"):
        raise ModelError(f"{folder / CONFIG}: use_rslora is not known to Ollama, which would scale it wrongly")
    with source.open("rb") as stream:
        header, start = _header(stream)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in tensors.items():
            _check_shape(source, name, entry["shape"])
        moved = [name for name in tensors if _part(name) is not None]
        if heads.architecture != LLAMA or not moved:
            return False
        # What a config says of heads of keys, Ollama takes for lora_A of k_proj; by default those of the queries.
        keys_of_a = int(config.get("num_key_value_heads") or heads.queries)
        with target.open("wb") as out:
            encoded = json.dumps(header).encode()
            out.write(struct.pack("<Q", len(encoded)) + encoded)
            for name, entry in sorted(tensors.items(), key=lambda item: int(item[1]["data_offsets"][0])):
                begin, end = entry["data_offsets"]
                stream.seek(start + begin)
                data = stream.read(end - begin)
                out.write(_reordered(name, entry["shape"], data, heads, keys_of_a))
    return True


def _header(stream: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its data begins."""
    (size,) = struct.unpack("<Q", stream.read(8))
    return dict(json.loads(stream.read(size))), 8 + size


def _part(name: str) -> tuple[str, str] | None:
    """Return the module and the matrix (A or B) of a tensor of a query or key; None for any other."""
    words = name.split(".")
    module = next((each for each in (QUERY, KEY) if each in words), None)
    matrix = next((each for each in ("A", "B") if "lora_" + each in words), None)
    return (module, matrix) if module and matrix else None


def _check_shape(source: Path, name: str, shape: list[int]) -> None:
    """Raise ModelError for a matrix that Ollama takes for its own transpose."""
    is_a, is_b = ("lora_" + each in name.split(".") for each in "AB")
    if len(shape) != 2:  # noqa: PLR2004
        return
    if (is_a and shape[0] > shape[1]) or (is_b and shape[0] < shape[1]):
        raise ModelError(
            f"{source}: {name}: its rank is above the width of its module, and Ollama would take it for its transpose"
        )


def _reordered(name: str, shape: list[int], data: bytes, heads: Heads, keys_of_a: int) -> bytes:
    part = _part(name)
    if part is None:
        return data
    module, matrix = part
    rows, columns = shape
    item = len(data) // (rows * columns)
    if matrix == "B":
        count, size = (heads.queries if module == QUERY else heads.keys), columns * item
    else:
        # Ollama reads the matrix as if it had as many rows as its columns, and moves those.
        rows, size = columns, rows * item
        count = heads.queries if module == QUERY else keys_of_a
    if not count or rows % (2 * count):
        raise ModelError(f"{name} has {rows} rows, which do not go into {count} heads")
    order = gguf_order(rows, count)
    pieces: list[bytes] = [b""] * rows
    for place, taken in enumerate(order):
        # lora_A in the opposite way: Ollama puts into `place` what lies at `taken`.
        target, origin = (place, taken) if matrix == "B" else (taken, place)
        pieces[target] = data[origin * size : (origin + 1) * size]
    return b"".join(pieces)


def gguf_order(rows: int, heads: int) -> list[int]:
    """Return for each row of a GGUF file which row of the checkpoint it is: halves of a head become pairs."""
    half = rows // heads // 2
    return [(head * 2 + side) * half + row for head in range(heads) for row in range(half) for side in (0, 1)]
