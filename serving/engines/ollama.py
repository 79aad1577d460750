"""Turn a serving spec into Ollama's environment and its list of models. Pure: reads no file.

All paths are arguments; does not know systemd.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.spec.models import ServingSpec

NO_PENALTY = 1.0
MODELS_IN_MEMORY = 1
"""Ollama keeps one copy of the base model's weights, and loads them again for another adapter."""


def ollama_environment(spec: ServingSpec, *, store: str, home: str) -> dict[str, str]:
    """Return all settings for `spec`. None is left to Ollama's defaults, which change between releases."""
    return {
        "HOME": home,
        "OLLAMA_HOST": f"127.0.0.1:{spec.ollama.port}",
        "OLLAMA_MODELS": store,
        "OLLAMA_NUM_PARALLEL": str(spec.ollama.num_parallel),
        "OLLAMA_MAX_QUEUE": str(spec.ollama.max_queue),
        "OLLAMA_MAX_LOADED_MODELS": str(MODELS_IN_MEMORY),
        "OLLAMA_CONTEXT_LENGTH": str(spec.model.context_tokens),
        "OLLAMA_KEEP_ALIVE": spec.ollama.keep_alive,
        "OLLAMA_LOAD_TIMEOUT": f"{spec.ready_timeout_s}s",
        # The engine may not change the store, and no request may go to a model in Ollama's cloud.
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "NO_COLOR": "1",
        "GIN_MODE": "release",
    }


def ollama_models(
    spec: ServingSpec, base: Mapping[str, str], adapters: Sequence[str], *, threads: int | None = None
) -> list[dict[str, Any]]:
    """Return the models to create, as programs/ollama/ollama_models.py reads them: the base, then each adapter version.

    `base` is the source of the base model. `adapters` has the folder of each version, in the order of the spec.
    `threads`: number of compute threads. None: Ollama chooses.
    """
    base_name = spec.with_tag(spec.model.name)
    models: list[dict[str, Any]] = [{"names": [base_name], "from": dict(base), "settings": _settings(spec, threads)}]
    for adapter, folder in zip(spec.adapters, adapters, strict=True):
        names = [spec.immutable_name_of(adapter), *([spec.alias_of(adapter)] if adapter.promoted else [])]
        models.append({"names": names, "from": {"model": base_name}, "adapter": folder})
    return models


def _settings(spec: ServingSpec, threads: int | None) -> dict[str, Any]:
    """Return the settings of a Modelfile. An adapter inherits them from the base model."""
    texts = {"system": spec.ollama.system, "template": spec.ollama.template, "quantize": spec.ollama.quantize}
    said = spec.ollama.parameters.model_dump(exclude_none=True)
    # Without a limit, Ollama generates up to ten times the context and drops its beginning.
    parameters = {"num_predict": spec.model.context_tokens, **said, "num_ctx": spec.model.context_tokens}
    # Ollama's default is 1.1, which makes answers differ from other engines'. A registry model may have its own value.
    if spec.model.source.kind != "ollama":
        parameters.setdefault("repeat_penalty", NO_PENALTY)
    if not spec.ollama.parameters.stop:
        del parameters["stop"]
    if threads is not None:
        parameters["num_thread"] = threads
    return {**{name: text for name, text in texts.items() if text is not None}, "parameters": parameters}
