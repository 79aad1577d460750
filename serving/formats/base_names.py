"""Whether two names mean the same base model, although repositories are renamed, mirrored and quantised.

An adapter has the name that its base model had at its training. Compares only names, no files.
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
"""Words in a repository's name about the storage of the same weights."""

OWNERS = ("meta", "mistralai", "google", "microsoft", "lgai")
"""Words that owners add in front of a model's name in some of their repositories."""

CACHED = re.compile(r"(?:^|/)models--([\w.-]+?)--([\w.-]+?)(?:/|$)")
"""Folder of a repository in the hub's cache."""


def repository(name: str) -> str:
    """Return the repository in an adapter's name of its base; empty if the name is a path."""
    cached = CACHED.search(name)
    if cached:
        return f"{cached[1]}/{cached[2]}"
    bare = name.split("@", maxsplit=1)[0]
    return bare if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", bare) else ""


def same_model(one: str, other: str) -> bool:
    """Return whether two repositories have the same model by their names, without owner and storage.

    meta-llama/Meta-Llama-3.1-8B-Instruct is meta-llama/Llama-3.1-8B-Instruct and
    unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit, but neither Llama-3.1-8B nor Llama-3-8B-Instruct.
    """
    return one.lower() == other.lower() or (_words(one) == _words(other) != ())


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a model's name that distinguish it from other models."""
    words = [word for word in re.split(r"[-_]", name.lower().rpartition("/")[2]) if word]
    if len(words) > 1 and words[0] in OWNERS:
        words = words[1:]
    return tuple(word for word in words if not set(word.split(".")) <= COPIES)
