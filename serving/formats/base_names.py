"""Whether two names mean the same base model: repositories are renamed, mirrored, and published quantised.

An adapter names its base as it was called where it was trained. Only names are compared here, no files.
"""

from __future__ import annotations

import re

COPIES = frozenset(
    [
        "4bit",
        "8bit",
        "16bit",
        "bnb",
        "nf4",
        "int4",
        "int8",
        "fp8",
        "fp4",
        "w4a16",
        "w8a8",
        "w8a16",
        "awq",
        "gptq",
        "gptqmodel",
        "autoawq",
        "autogptq",
        "autoround",
        "marlin",
        "dynamic",
        "quantized",
        "quant",
        "g128",
        "128g",
        "hf",
        "unsloth",
        "mlx",
        "bf16",
        "fp16",
        "bfloat16",
        "float16",
        "safetensors",
        "gguf",
        "original",
        "mirror",
    ]
)
"""Words of a repository's name that say how the same weights are stored, or who stored them."""

OWNERS = ("meta", "mistralai", "google", "microsoft", "lgai")
"""Words that owners put before a model's name in some repositories and left out in others."""

CACHED = re.compile(r"(?:^|/)models--([\w.-]+?)--([\w.-]+?)(?:/|$)")
"""How the hub's cache names the folder of a repository."""


def repository(name: str) -> str:
    """Return the repository that an adapter names as its base; empty for a path on the machine that trained it."""
    cached = CACHED.search(name)
    if cached:
        return f"{cached[1]}/{cached[2]}"
    bare = name.split("@", maxsplit=1)[0]
    return bare if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", bare) else ""


def same_model(one: str, other: str) -> bool:
    """Return whether two repositories hold the same model, as far as their names tell: owner and storage aside.

    meta-llama/Meta-Llama-3.1-8B-Instruct is meta-llama/Llama-3.1-8B-Instruct and
    unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit, but neither Llama-3.1-8B nor Llama-3-8B-Instruct.
    """
    return one.lower() == other.lower() or (_words(one) == _words(other) != ())


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a model's name that tell it from another model."""
    words = [word for word in re.split(r"[-_]", name.lower().rpartition("/")[2]) if word]
    if len(words) > 1 and words[0] in OWNERS:
        words = words[1:]
    return tuple(word for word in words if not set(word.split(".")) <= COPIES)
