"""How much a model's weights take, read from the repository's name; nothing is fetched.

A name without a size, or a folder, gives no answer: rules built on this one say nothing then.
"""

import re

from serving.spec.fields import HubSource, ModelSpec

_BILLIONS = re.compile(r"(?:^|[-_/:])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)
"""`-2.4B-` is 2.4 billion parameters; `8x7B` eight experts of seven, an upper bound as they share some."""

_STORED_BYTES = ((re.compile(r"awq|gptq|int4|4bit", re.I), 0.6), (re.compile(r"fp8|int8|8bit", re.I), 1.05))
"""Bytes a parameter takes on disk, with the scales that go with it."""

_PLAIN_BYTES = 2.0
"""bfloat16 or float16, as most models are published."""

_GIB_PER_BILLION_BYTES = 1e9 / 2**30


def parameters_billion(repo: str) -> float | None:
    """Return the billions of parameters that the name of a repository tells; none when it does not."""
    found = _BILLIONS.search(repo)
    return int(found[1] or 1) * float(found[2]) if found else None


def stored_gib(model: ModelSpec) -> float | None:
    """Return the GiB that the weights take on disk; none when the name does not tell."""
    if not isinstance(model.source, HubSource):
        return None
    billion = parameters_billion(model.source.repo)
    if billion is None:
        return None
    bytes_each = next((each for name, each in _STORED_BYTES if name.search(model.source.repo)), _PLAIN_BYTES)
    return billion * bytes_each * _GIB_PER_BILLION_BYTES


def loaded_gib(model: ModelSpec) -> float | None:
    """Return the GiB that the weights take in memory; none when the name does not tell."""
    stored = stored_gib(model)
    if stored is None or not isinstance(model.source, HubSource):
        return None
    billion = parameters_billion(model.source.repo) or 0.0
    if model.dtype == "float32":
        return billion * 4 * _GIB_PER_BILLION_BYTES
    if model.quantization == "fp8":
        return min(stored, billion * 1.05 * _GIB_PER_BILLION_BYTES)
    return stored
