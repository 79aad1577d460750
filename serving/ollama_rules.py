"""Rules of a serving spec that concern Ollama. Parts of spec_rules.SERVING_RULES."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.rules import Problem

if TYPE_CHECKING:
    from serving.spec import ServingSpec

OLLAMA_ONLY = ("ollama", "gguf")
"""Kinds of model source that vLLM does not read."""

ADAPTER_SHAPES = ("llama",)
"""Shapes of tiny model whose adapters Ollama loads; of the real ones Llama, Mistral, Gemma (docs.ollama.com/import)."""


def sources_fit_engine(spec: "ServingSpec") -> Iterator[Problem]:
    """A source is one that the engine reads."""
    kind = spec.model.source.kind
    if kind in OLLAMA_ONLY and spec.engine != "ollama":
        yield Problem("model.source.kind", f"{kind} is for engine ollama", "write hub or folder, or engine: ollama")
    if kind in OLLAMA_ONLY and spec.ollama.quantize is not None:
        yield Problem("ollama.quantize", f"is for safetensors, and {kind} brings finished weights", "leave it out")


def ollama_converts_it(spec: "ServingSpec") -> Iterator[Problem]:
    """Safetensors are of an architecture that `ollama create` converts."""
    if spec.engine == "ollama" and _is_exaone(spec) and spec.model.source.kind not in OLLAMA_ONLY:
        yield Problem("model.source.kind", "Ollama converts no EXAONE from safetensors", "write gguf or ollama")


def adapters_fit_ollama(spec: "ServingSpec") -> Iterator[Problem]:
    """Ollama loads adapters of a few architectures only, and moves no alias without a provision."""
    if spec.engine != "ollama" or not spec.adapters:
        return
    base = spec.model.source
    if _is_exaone(spec) or (base.kind == "tiny" and base.name not in ADAPTER_SHAPES):
        yield Problem("adapters", "cannot be loaded onto an EXAONE model by Ollama", "write engine: vllm")
    if spec.aliases_by == "promote":
        yield Problem("aliases_by", "promote is for engine vllm", "leave it out, and write promoted: true or false")


def registry_licence_accepted(spec: "ServingSpec") -> Iterator[Problem]:
    """A licence that forbids commercial use is named by whoever deploys the model, wherever it comes from."""
    if spec.model.source.kind == "ollama" and _is_exaone(spec) and spec.model.accept_licence is None:
        yield Problem(
            "model.accept_licence",
            "is missing",
            "read the model's licence (non-commercial use only) and write exaone-1.1-nc, say, if you accept it",
        )


def _is_exaone(spec: "ServingSpec") -> bool:
    """Return whether the source's name says so."""
    source = spec.model.source
    return source.kind != "folder" and "exaone" in str(getattr(source, "repo", getattr(source, "name", ""))).lower()


OLLAMA_RULES = (sources_fit_engine, ollama_converts_it, adapters_fit_ollama, registry_licence_accepted)
