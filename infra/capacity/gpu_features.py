"""What a GPU or CPU supports: engines, types of weights, quantisations.

Sizes are in infra/capacity/memory_need.py. Knows no host.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.reading.rules import Problem
from serving.spec.models import ServingSpec

Capability = tuple[int, int]


class Computes(Protocol):
    """A GPU: a row of the GPU table, or a chip that is not in it."""

    @property
    def name(self) -> str:
        """Name of the GPU."""

    @property
    def compute_capability(self) -> Capability:
        """NVIDIA's compute capability."""


@dataclass(frozen=True)
class Chip:
    """A GPU that may not be in the table."""

    name: str
    compute_capability: Capability


VLLM_CAPABILITY: Capability = (7, 5)
"""PyTorch's builds for CUDA 13 have no code for GPUs before Turing (pytorch/pytorch issues 172352 and 190385)."""

OLLAMA_CAPABILITY: Capability = (5, 0)
"""With an older GPU, Ollama uses the CPU. Source: docs/gpu.mdx of ollama/ollama."""

BFLOAT16_CAPABILITY: Capability = (8, 0)

QUANTIZATION_CAPABILITY: dict[str, Capability] = {"awq": (7, 5), "gptq": (7, 5), "fp8": (7, 5)}
"""GPUs compute in FP8 from 8.9 on. Older ones only store weights in it.

Source: docs.vllm.ai, Quantization (table of hardware, v0.15.1) and FP8 W8A8 (v0.32.0).
"""


def unfit(serving: ServingSpec, gpu: Computes, name: str, other: str) -> Iterator[Problem]:
    """Yield a problem for each key that asks for more than `gpu` supports.

    `name` is the GPU's machine. `other` ends each hint with a way to get another GPU.
    """
    if serving.engine != "vllm":
        if gpu.compute_capability < OLLAMA_CAPABILITY:
            yield Problem("serving.engine", _needs("ollama", OLLAMA_CAPABILITY, gpu, name), other)
        return
    dtype, quantization = serving.model.dtype, serving.model.quantization
    if gpu.compute_capability < VLLM_CAPABILITY:
        yield Problem("serving.engine", _needs("vllm", VLLM_CAPABILITY, gpu, name), f"write ollama, or {other}")
    if dtype == "bfloat16" and gpu.compute_capability < BFLOAT16_CAPABILITY:
        yield Problem(
            "serving.model.dtype", _needs(dtype, BFLOAT16_CAPABILITY, gpu, name), f"write float16, or {other}"
        )
    needed = QUANTIZATION_CAPABILITY.get(quantization or "", VLLM_CAPABILITY)
    if quantization is not None and gpu.compute_capability < needed:
        yield Problem(
            "serving.model.quantization", _needs(quantization, needed, gpu, name), f"leave it out, or {other}"
        )


def unfit_on_cpu(serving: ServingSpec, name: str) -> Iterator[Problem]:
    """Yield a problem for each key that needs a GPU; `name` is the machine without one."""
    if serving.model.quantization == "fp8":
        yield Problem(
            "serving.model.quantization", f"fp8 needs a GPU, and {name} has none", "leave it out, or write awq or gptq"
        )


def _needs(what: str, needed: Capability, gpu: Computes, name: str) -> str:
    has, wants = (".".join(map(str, capability)) for capability in (gpu.compute_capability, needed))
    return f"{what} needs compute capability {wants}, and the {gpu.name} of {name} has {has}"
