"""Rules of a serving spec that concern Ollama. They are part of rules.SERVING_RULES."""

from collections.abc import Iterator

from core.reading.rules import Problem
from serving.spec.fields import ServingFields
from serving.spec.licences import is_exaone

OLLAMA_ONLY = ("ollama", "gguf")
"""Kinds of model source that only Ollama reads."""

ADAPTER_SHAPES = ("llama",)
"""Shapes of tiny models whose adapters Ollama loads. Of real models: Llama, Mistral, Gemma (docs.ollama.com/import)."""


def sources_fit_engine(spec: ServingFields) -> Iterator[Problem]:
    """The engine can read the source."""
    kind = spec.model.source.kind
    if kind in OLLAMA_ONLY and spec.engine != "ollama":
        yield Problem("model.source.kind", f"{kind} is for engine ollama", "write hub or folder, or engine: ollama")
    if kind in OLLAMA_ONLY and spec.ollama.quantize is not None:
        yield Problem(
            "ollama.quantize", f"is for safetensors, and the weights of {kind} are quantised already", "leave it out"
        )


def ollama_converts_it(spec: ServingFields) -> Iterator[Problem]:
    """`ollama create` can convert the architecture of the safetensors."""
    if spec.engine == "ollama" and is_exaone(spec.model.source) and spec.model.source.kind not in OLLAMA_ONLY:
        yield Problem("model.source.kind", "Ollama cannot convert EXAONE from safetensors", "write gguf or ollama")


def adapters_fit_ollama(spec: ServingFields) -> Iterator[Problem]:
    """Ollama can load adapters of this architecture, and only `provision` moves its aliases."""
    if spec.engine != "ollama" or not spec.adapters:
        return
    base = spec.model.source
    if is_exaone(base) or (base.kind == "tiny" and base.name not in ADAPTER_SHAPES):
        yield Problem("adapters", "cannot be loaded onto an EXAONE model by Ollama", "write engine: vllm")
    if spec.aliases_by == "promote":
        yield Problem("aliases_by", "promote is for engine vllm", "leave it out, and write promoted: true or false")


OLLAMA_RULES = (sources_fit_engine, ollama_converts_it, adapters_fit_ollama)
