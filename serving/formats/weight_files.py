"""Choose the files of a repository that engines read, by name: those of the index, else those in the root.

A repository has many files that no engine reads: checkpoints of the training in subfolders, the same weights for other
programs, states of the optimiser.
"""

from __future__ import annotations

import fnmatch
import itertools
import re

from .json_text import FormatError, read_json, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
CONFIG = "config.json"

SAFETENSORS = ("*.safetensors", "*.safetensors.index.json")
CODE = ("*.py",)

NEVER = (
    "consolidated*", "optimizer*", "scheduler*.pt", "scaler*.pt", "rng_state*", "training_args.bin",
    "trainer_state.json",
    "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.gguf", "*.ggml", "*.part", "*.tflite", "*.ot",
    "*.mlmodel", "*.npz",
    "*.pt", "*.pth", "*.zip", "*.tar", "*.gz", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.mp4", "*.pdf", ".*",
)  # fmt: skip
"""Files of the root that are never read: weights for other programs, files of the training, pictures, hidden files."""

PART = re.compile(r"(.+)-([0-9]{1,9})-of-([0-9]{1,9})(\.safetensors|\.bin)")
"""Names of the files into which transformers splits weights."""

MAX_INDEX_BYTES = 32 << 20


def wanted(names: Iterable[str]) -> list[str]:
    """Return the files of a repository that an engine reads: those of the root, with one format of the weights.

    A folder below the root is for another program (original/, onnx/) or another model (checkpoint-500/), except for
    Python code of the model.
    """
    names = list(names)
    order = {name: place for place, name in enumerate(names)}
    root = [name for name in names if "/" not in name and not is_like(name, NEVER)]
    code = [name for name in names if "/" in name and not name.startswith(".") and is_like(name, CODE)]
    return sorted([*_one_format(root), *code], key=order.__getitem__)


def _one_format(root: list[str]) -> list[str]:
    """Return the files with only one format of the weights, and without a model that is beside an adapter."""
    if ADAPTER_CONFIG in root and CONFIG not in root:
        root = [name for name in root if not is_like(name, ("model*.safetensors", "model*.safetensors.index.json"))]
    if any(is_like(name, SAFETENSORS[:1]) for name in root):
        return [name for name in root if not is_like(name, ("*.bin", "*.bin.index.json"))]
    return root


def is_like(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches one of the patterns with `*` and `?`."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def shards_of(content: bytes) -> dict[str, str]:
    """Return the file of each tensor from the text of an index. Raises FormatError if it has none."""
    if len(content) > MAX_INDEX_BYTES:
        raise FormatError("is too large for an index", "get it again")
    index = read_json(content)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise FormatError("names no weights", "get it again")
    for tensor, file in shards.items():
        if not isinstance(file, str) or "/" in file or file in ("", ".", "..") or not file.isprintable():
            raise FormatError(f"has {shown(file)} as the file of {shown(tensor)}", "get it again")
    return shards


def missing_part(names: Iterable[str]) -> str:
    """Return the first missing file of numbered weights (model-00001-of-00003); empty if none is missing.

    Also empty if there are other weights beside them: without an index, nobody knows which ones count.
    """
    found: dict[tuple[str, ...], dict[int, int]] = {}
    for name in names:
        part = PART.fullmatch(name)
        if part is None:
            return ""
        found.setdefault((part[1], part[3], part[4]), {})[int(part[2])] = len(part[2])
    if len(found) != 1:
        return ""
    ((stem, of, suffix), numbers), *_ = found.items()
    if len(numbers) >= int(of):
        return ""
    missing = next(number for number in itertools.count(0 if 0 in numbers else 1) if number not in numbers)
    return f"{stem}-{missing:0{max(numbers.values())}}-of-{of}{suffix}"


def missing_shard(shards: dict[str, str], names: Iterable[str]) -> str:
    """Return the first file of the index that is not in `names`; empty if all are there."""
    return next(iter(sorted(set(shards.values()) - set(names))), "")
