"""Size of a model's weights, from the name of its repository. Fetches nothing.

The size is None for a folder, or for a name without a size. Rules then accept the model.
"""

import re

from serving.spec.fields import HubSource, ModelSpec

_BILLIONS = re.compile(r"(?:^|[-_/:])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)
"""`-2.4B-` is 2.4 billion parameters; `8x7B` eight experts of seven billion, an upper bound because they share some."""

_STORED_BYTES = ((re.compile(r"awq|gptq|int4|4bit", re.I), 0.6), (re.compile(r"fp8|int8|8bit", re.I), 1.05))
"""Bytes of a parameter on disk, with its scales."""

_PLAIN_BYTES = 2.0
"""Bytes of a parameter in bfloat16 or float16, as in most published models."""

_GIB_PER_BILLION_BYTES = 1e9 / 2**30


def parameters_billion(repo: str) -> float | None:
    """Return the billions of parameters in the name of a repository; None if it has none."""
    found = _BILLIONS.search(repo)
    return int(found[1] or 1) * float(found[2]) if found else None


def stored_gib(model: ModelSpec) -> float | None:
    """Return the size of the weights on disk in GiB; None if the name does not contain it."""
    if not isinstance(model.source, HubSource):
        return None
    billion = parameters_billion(model.source.repo)
    if billion is None:
        return None
    bytes_each = next((each for name, each in _STORED_BYTES if name.search(model.source.repo)), _PLAIN_BYTES)
    return billion * bytes_each * _GIB_PER_BILLION_BYTES


def loaded_gib(model: ModelSpec) -> float | None:
    """Return the size of the weights in memory in GiB; None if the name does not contain it."""
    stored = stored_gib(model)
    if stored is None or not isinstance(model.source, HubSource):
        return None
    billion = parameters_billion(model.source.repo) or 0.0
    if model.dtype == "float32":
        return billion * 4 * _GIB_PER_BILLION_BYTES
    if model.quantization == "fp8":
        return min(stored, billion * 1.05 * _GIB_PER_BILLION_BYTES)
    return stored
