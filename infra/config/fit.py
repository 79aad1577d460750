"""Rules between what is served and the machine it is served on: GPU features, memory, disk, ports.

Sizes come from the model's name where it tells one; nothing is said about a model of unknown size.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.rules import Problem
from infra.machines import Machine, find_machine
from serving.weights import loaded_gib, parameters_billion, stored_gib

if TYPE_CHECKING:
    from infra.config.deployment import DeploymentConfig

DATA_HEADROOM_GIB = 10
"""Room on the data volume beside the weights: adapters, the engine's environment, a download in progress."""

SYSTEM_GIB = 1.5
"""Memory of a CPU machine that the system and the engine's program take."""


def gpu_can_compute(config: "DeploymentConfig") -> Iterator[Problem]:
    """Types and quantisations are ones that the GPU has, on every machine type that may be tried."""
    model = config.serving.model
    for machine in _candidates(config):
        gpu = machine.gpu
        if gpu is None:
            continue
        if model.dtype == "bfloat16" and not gpu.bf16:
            capability = ".".join(map(str, gpu.compute_capability))
            yield Problem(
                "serving.model.dtype",
                f"bfloat16 needs compute capability 8.0, and the {gpu.name} of {machine.type} has {capability}",
                "write float16, or another machine type",
            )
        if model.quantization == "fp8" and not gpu.fp8:
            capability = ".".join(map(str, gpu.compute_capability))
            yield Problem(
                "serving.model.quantization",
                f"fp8 needs compute capability 8.9, and the {gpu.name} of {machine.type} has {capability}",
                "write awq or gptq with such a model, or another machine type",
            )


def options_fit_processor(config: "DeploymentConfig") -> Iterator[Problem]:
    """Options of GPUs are written for machines with one only, and the other way round."""
    serving = config.serving
    written = serving.vllm.model_fields_set
    if serving.engine != "vllm" or not (config.cloud == "local" or _candidates(config)):
        return
    name = config.machine.type or "a local machine"
    if any(machine.gpu for machine in _candidates(config)):
        if "kv_cache_gib" in written:
            yield Problem(
                "serving.vllm.kv_cache_gib",
                f"is for CPU machines, and {name} has a GPU",
                "leave it out; gpu_memory_fraction sets the cache",
            )
        return
    if "gpu_memory_fraction" in written:
        yield Problem("serving.vllm.gpu_memory_fraction", f"is for GPUs, and {name} has none", "leave it out")
    if serving.model.quantization == "fp8":
        yield Problem(
            "serving.model.quantization", f"fp8 needs a GPU, and {name} has none", "leave it out, or write awq or gptq"
        )


def weights_fit_memory(config: "DeploymentConfig") -> Iterator[Problem]:
    """Weights and KV cache fit into the memory, where the model's size is known."""
    serving = config.serving
    weights = loaded_gib(serving.model)
    billion = parameters_billion(serving.model.source.repo) if serving.model.source.kind == "hub" else None
    sizes = [(m.type, m.memory_gib, m.vram_gib) for m in _candidates(config)]
    if config.cloud == "local":
        sizes = [("machine.memory_gib", config.machine.memory_gib, 0.0)]
    for name, memory_gib, vram_gib in sizes:
        limit = memory_gib if serving.vllm.memory_max_gib is None else min(memory_gib, serving.vllm.memory_max_gib)
        cache = serving.vllm.kv_cache_gib if serving.engine == "vllm" and not vram_gib else 0.0
        if serving.engine == "vllm" and (serving.vllm.memory_max_gib or 0) > memory_gib:
            yield Problem(
                "serving.vllm.memory_max_gib",
                f"is more than the {memory_gib:g} GiB of {name}",
                "write less or leave it out",
            )
        if vram_gib and weights and serving.engine == "vllm" and weights > vram_gib * serving.vllm.gpu_memory_fraction:
            share = serving.vllm.gpu_memory_fraction
            yield Problem(
                "serving.model",
                f"{billion:g} billion parameters are {weights:.1f} GiB of weights, and {name} has {vram_gib:g} GiB of "
                f"VRAM x {share:g}",
                "take a larger machine type, a smaller model or a quantised one",
            )
        if not vram_gib and serving.engine == "vllm" and (weights or 0) + cache + SYSTEM_GIB > limit:
            told = f"{weights:.1f} GiB of weights + " if weights else ""
            yield Problem(
                "serving.model" if weights else "serving.vllm.kv_cache_gib",
                f"{told}{cache:g} GiB of KV cache + {SYSTEM_GIB:g} GiB for the system are more than the "
                f"{limit:g} GiB of {name}",
                "take more memory, a smaller model or a smaller cache",
            )


def weights_fit_disk(config: "DeploymentConfig") -> Iterator[Problem]:
    """The data volume holds the weights, where their size is known."""
    asked, stored = config.storage.data_gib, stored_gib(config.serving.model)
    if asked is not None and stored is not None and stored + DATA_HEADROOM_GIB > asked:
        yield Problem(
            "storage.data_gib",
            f"{asked} GiB do not hold {stored:.1f} GiB of weights and {DATA_HEADROOM_GIB} GiB beside them",
            f"write at least {int(stored + DATA_HEADROOM_GIB) + 1}, or leave it out",
        )


def ports_differ(config: "DeploymentConfig") -> Iterator[Problem]:
    """Gateway and engine do not want the same port."""
    if config.gateway.port == config.serving.port:
        yield Problem(
            "gateway.port",
            f"{config.gateway.port} is the engine's port already",
            "write 443, or give the engine another",
        )


def _candidates(config: "DeploymentConfig") -> list[Machine]:
    """Return the known machine types that may be made, in order."""
    names = (config.machine.type or "", *config.machine.fallbacks)
    return [row for name in names if (row := find_machine(config.cloud, name))]


FIT_RULES = (gpu_can_compute, options_fit_processor, weights_fit_memory, weights_fit_disk, ports_differ)
