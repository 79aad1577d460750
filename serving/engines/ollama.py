"""From what is served to Ollama's environment and to the models that it is to have. Pure: looks at no file.

Does not know where files lie beyond the paths that it is given, nor systemd.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.spec.models import ServingSpec

NO_PENALTY = 1.0
MODELS_IN_MEMORY = 1
"""Ollama keeps one copy of the base's weights whatever the adapter: it loads them anew for another one."""


def ollama_environment(spec: ServingSpec, *, store: str, home: str) -> dict[str, str]:
    """Return all settings that Ollama serves `spec` with; none is left to its defaults, which change with releases."""
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
        # The store is not the engine's to change, and no question leaves the host for a model of Ollama's cloud.
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "NO_COLOR": "1",
        "GIN_MODE": "release",
    }


def ollama_models(spec: ServingSpec, base: Mapping[str, str], adapters: Sequence[str]) -> list[dict[str, Any]]:
    """Return the models to make, as programs/ollama_models.py wants them: the base, then each version of an adapter.

    `base` says what the base is made from, `adapters` where the files of each version lie, in the order of the spec.
    """
    base_name = spec.with_tag(spec.model.name)
    models: list[dict[str, Any]] = [{"names": [base_name], "from": dict(base), "settings": _settings(spec)}]
    for adapter, folder in zip(spec.adapters, adapters, strict=True):
        names = [spec.immutable_name_of(adapter), *([spec.alias_of(adapter)] if adapter.promoted else [])]
        models.append({"names": names, "from": {"model": base_name}, "adapter": folder})
    return models


def _settings(spec: ServingSpec) -> dict[str, Any]:
    """Return what a Modelfile would say; an adapter inherits it from the base."""
    texts = {"system": spec.ollama.system, "template": spec.ollama.template, "quantize": spec.ollama.quantize}
    said = spec.ollama.parameters.model_dump(exclude_none=True)
    # Without a limit Ollama goes on for ten times the context, forgetting the beginning as it goes.
    parameters = {"num_predict": spec.model.context_tokens, **said, "num_ctx": spec.model.context_tokens}
    # Ollama's own default is 1.1, with which a model does not answer as it does elsewhere. A registry's model may bring
    # a value of its own.
    if spec.model.source.kind != "ollama":
        parameters.setdefault("repeat_penalty", NO_PENALTY)
    if not spec.ollama.parameters.stop:
        del parameters["stop"]
    return {**{name: text for name, text in texts.items() if text is not None}, "parameters": parameters}
