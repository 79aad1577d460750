"""Whether a model fits on a machine: weights + KV cache + overhead against VRAM or RAM, with the sum in words.

It is a lower bound: one request of full length, and what every engine needs. So a refused model cannot work, but an
accepted one may still be slow. Unknown sizes count as 0. Sizes are in GiB.
"""

import re
from dataclasses import dataclass
from functools import cache

from catalog.machines import Machine
from catalog.tables import rows
from core.paths import full_path
from serving.sources.weights import loaded_gib, parameters_billion, stored_gib
from serving.spec.fields import HubSource
from serving.spec.models import ServingSpec
from serving.spec.ollama import GgufSource, OllamaSource

SYSTEM_GIB = 1.5
"""Memory of the system and the engine's program on a machine without a GPU."""

VLLM_ON_CPU_GIB = 2.6
"""The same with vLLM: 1.6 GiB without cache and weights, and 1 GiB that the unit's limit leaves to the system.

Measured on 2026-11-21 on a local machine with vLLM 0.32.0, a tiny model and 0.5 GiB of cache: its control group had
2.1 GiB of anonymous memory (`total_rss`), and 0.3 GiB of mapped files that do not count here.
"""

GPU_OVERHEAD_GIB = 0.8
"""Least memory of CUDA, activations and graphs on each GPU, beside weights and cache."""

CACHE_BYTES = 2
"""Size of one value of the KV cache: 16 bits."""

OLLAMA_BYTES = {
    "q2_k": 0.417, "q3_k_s": 0.433, "q3_k_m": 0.481, "q3_k_l": 0.523, "q4_0": 0.5625, "q4_1": 0.625, "q4_k_s": 0.566,
    "q4_k_m": 0.6, "q5_0": 0.6875, "q5_1": 0.75, "q5_k_s": 0.6875, "q5_k_m": 0.706, "q6_k": 0.82, "q8_0": 1.0625,
    "f16": 2.0, "fp16": 2.0, "bf16": 2.0,
}  # fmt: skip
"""Bytes per parameter by quantisation. For block formats, from their layout with scales; for mixtures, the lowest value
in llama.cpp's README (examples/quantize: bits per weight of Llama 2 7B, 13B and 70B)."""

OTHER_QUANTISATION = re.compile(r"(?<![a-z0-9])(i?q\d|tq\d|mxfp\d)")
"""Start of the name of any quantisation."""

OLLAMA_DEFAULT = "q4_k_m"
"""Quantisation in Ollama's library if the name has none."""

_GIB = 2**30


@dataclass(frozen=True)
class Need:
    """Memory that a model needs on one machine, part by part."""

    weights: float
    cache: float
    overhead: float
    has: float
    """Memory of the machine: VRAM without what the engine leaves free, or RAM."""
    words: str
    """The same as text, for messages."""
    overhead_for: str = "the engine"

    @property
    def total(self) -> float:
        """All parts together."""
        return self.weights + self.cache + self.overhead

    @property
    def fits(self) -> bool:
        """Whether the machine has enough."""
        return self.total <= self.has

    def __str__(self) -> str:
        parts = [
            f"{self.weights:.1f} GiB of weights" if self.weights else "",
            f"{self.cache:.2g} GiB of KV cache" if self.cache else "",
            f"{self.overhead:.1f} GiB for {self.overhead_for}",
        ]
        total = f"{' + '.join(filter(None, parts))} are {self.total:.1f} GiB"
        return total if self.fits else f"{total}, more than {self.words}"


def need(serving: ServingSpec, machine: Machine) -> Need:
    """Return the memory that the model needs on the machine, and the memory that the machine has."""
    weights = weights_gib(serving) or 0.0
    if machine.gpu is not None:
        share = serving.vllm.gpu_memory_fraction if serving.engine == "vllm" else 1.0
        has = machine.vram_gib * share
        words = f"the {machine.vram_gib:g} GiB of VRAM{f' x {share:g}' if share < 1 else ''} of {machine.type}"
        return Need(weights, cache_gib(serving), GPU_OVERHEAD_GIB * machine.gpu_count, has, words)
    return need_in_ram(serving, machine.memory_gib, machine.type)


def need_in_ram(serving: ServingSpec, memory_gib: float, name: str) -> Need:
    """Return the memory that the model needs on a machine without a GPU. For vLLM the stack file sets the cache."""
    on_vllm = serving.engine == "vllm"
    cache = serving.vllm.kv_cache_gib if on_vllm else cache_gib(serving)
    overhead, what_for = (VLLM_ON_CPU_GIB, "the system and vLLM") if on_vllm else (SYSTEM_GIB, "the system")
    return Need(weights_gib(serving) or 0.0, cache, overhead, memory_gib, f"the {memory_gib:g} GiB of {name}", what_for)


def weights_gib(serving: ServingSpec) -> float | None:
    """Return the size of the weights in memory; None if the model's name does not contain it."""
    if serving.engine == "vllm":
        return loaded_gib(serving.model)
    if isinstance(serving.model.source, GgufSource):
        path = full_path(serving.model.source.path)
        return path.stat().st_size / _GIB if path.is_file() else None
    billion, quantisation = parameters_billion(_name(serving)), _quantisation(serving)
    if billion is None or quantisation is None:
        return None
    return billion * 1e9 * OLLAMA_BYTES[quantisation] / _GIB


def disk_gib(serving: ServingSpec) -> float | None:
    """Return the size of the published weights on disk; None if the model's name does not contain it."""
    return stored_gib(serving.model) or weights_gib(serving)


def cache_gib(serving: ServingSpec) -> float:
    """Return the size of the KV cache for one request of full length; 0 for a model that is not in the table."""
    shape = _shape(_name(serving))
    if shape is None:
        return 0.0
    layers, kv_heads, head_dim = shape
    requests = serving.ollama.num_parallel if serving.engine == "ollama" else 1
    return 2 * layers * kv_heads * head_dim * CACHE_BYTES * serving.model.context_tokens * requests / _GIB


def _name(serving: ServingSpec) -> str:
    """Return the name that may contain the model's size; empty for a model from this computer."""
    source = serving.model.source
    if isinstance(source, HubSource):
        return source.repo
    return source.name if isinstance(source, OllamaSource) else ""


def _quantisation(serving: ServingSpec) -> str | None:
    """Return the quantisation of the weights in Ollama: from the stack file, or from the registry's name.

    None if the name has a quantisation that is not in the table.
    """
    if isinstance(serving.model.source, HubSource):
        return serving.ollama.quantize or "f16"
    text = f"{_name(serving)} {serving.model.name}".lower()
    found = [name for name in OLLAMA_BYTES if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", text)]
    if not found and OTHER_QUANTISATION.search(text):
        return None
    return max(found, key=len, default=OLLAMA_DEFAULT)


def _shape(repo: str) -> tuple[int, int, int] | None:
    """Return layers, KV heads and head size of a model, by family and size in its name.

    Hyphens are ignored: what the hub calls `Llama-3.1-8B` is `llama3.1:8b` in Ollama's registry.
    """
    billion, name = parameters_billion(repo), repo.lower().replace("-", "")
    for (family, size), shape in _shapes().items():
        if size == billion and family.replace("-", "") in name:
            return shape
    return None


@cache
def _shapes() -> dict[tuple[str, float], tuple[int, int, int]]:
    return {
        (row["family"], float(row["billion"])): (int(row["layers"]), int(row["kv_heads"]), int(row["head_dim"]))
        for row in rows("model_shapes.csv")
    }
