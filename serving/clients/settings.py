"""Which provider to ask, where, with which key: from the environment, or from what `provision` wrote for a stack."""

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from serving.clients.answer import LLMSettingsError

OUTPUTS = "outputs.json"
"""What `up` writes beside endpoint.json, which `provision` writes."""

OUTSIDE = ("claude", "openai")
"""Providers that are not on our own hosts."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where to ask, and as who."""

    provider: str
    model: str
    url: str
    key: str = field(repr=False)
    ca: Path | None = None
    """PEM file with the only CA to trust; None: those of the system."""

    @classmethod
    def from_env(
        cls, provider: str | None = None, *, stack: str | None = None, env: Mapping[str, str] = os.environ
    ) -> Self:
        """Return the settings of `provider` (default: LLM_PROVIDER). Raises LLMSettingsError if one is missing.

        `stack` names the stack of provider gateway, in place of GATEWAY_STACK.
        """
        name = provider or env.get("LLM_PROVIDER", "")
        if name not in _READERS:
            near = difflib.get_close_matches(name, _READERS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(_READERS)}"
            what = f"provider {name} is unknown" if name else "LLM_PROVIDER is not set"
            raise LLMSettingsError(what, hint=hint)
        chosen = {**env, "GATEWAY_STACK": stack} if stack else env
        return cls(provider=name, **_READERS[name](chosen))


def _required(env: Mapping[str, str], name: str, example: str) -> str:
    value = env.get(name, "")
    if not value:
        raise LLMSettingsError(f"{name} is not set", hint=f"write e.g. {name}={example}")
    return value


def _url(text: str, variable: str, *, port: int | None = None) -> str:
    """Return a host's URL with /v1. As for Ollama itself, scheme and port may be missing."""
    scheme, found, rest = text.rpartition("://")
    scheme = scheme if found else "http"
    host, slash, path = rest.rstrip("/").partition("/")
    if scheme not in ("http", "https") or not host or any(mark in text for mark in "@?# "):
        # Without the text, which may contain a password.
        raise LLMSettingsError(
            "not a URL of a host", where=variable, hint=f"write e.g. {variable}=http://localhost:8000"
        )
    if port and not host.rpartition("]")[2].count(":"):
        host = f"{host}:{port}" if scheme == "http" else host
    host = host.replace("0.0.0.0", "127.0.0.1", 1) if host.startswith("0.0.0.0") else host  # noqa: S104
    path = f"{slash}{path}"
    return f"{scheme}://{host}{path}" if path.endswith("/v1") else f"{scheme}://{host}{path}/v1"


def _claude(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": _required(env, "CLAUDE_API_KEY", "sk-ant-…"),
        "model": _required(env, "CLAUDE_MODEL", "claude-sonnet-5-5"),
        "url": env.get("CLAUDE_BASE_URL") or "https://api.anthropic.com",
    }


def _openai(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": _required(env, "OPENAI_API_KEY", "sk-…"),
        "model": _required(env, "OPENAI_MODEL", "gpt-5.4-mini"),
        "url": env.get("OPENAI_BASE_URL") or "https://api.openai.com/v1",
    }


def _ollama(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": env.get("OLLAMA_API_KEY", ""),
        "model": _required(env, "OLLAMA_MODEL", "qwen2.5:7b"),
        "url": _url(env.get("OLLAMA_HOST") or "localhost", "OLLAMA_HOST", port=11434),
    }


def _vllm(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": env.get("VLLM_API_KEY", ""),
        "model": _required(env, "VLLM_MODEL", "Qwen/Qwen2.5-7B-Instruct"),
        "url": _url(env.get("VLLM_HOST") or "localhost", "VLLM_HOST", port=8000),
    }


def _gateway(env: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a gateway: those that `provision` wrote for a stack, then those of the environment."""
    stack = env.get("GATEWAY_STACK", "")
    found = _of_stack(stack, env) if stack else {}
    url = env.get("GATEWAY_URL") or found.get("url") or ""
    if not url:
        hint = "write e.g. GATEWAY_STACK=local, or GATEWAY_URL=https://…"
        raise LLMSettingsError("GATEWAY_STACK is not set", hint=hint)
    ca = env.get("GATEWAY_CA") or found.get("ca")
    return {
        "key": env.get("GATEWAY_API_KEY") or found.get("key") or _required(env, "GATEWAY_API_KEY", "sk-…"),
        "model": env.get("GATEWAY_MODEL") or found.get("model") or _required(env, "GATEWAY_MODEL", "contract"),
        "url": _url(url, "GATEWAY_URL"),
        "ca": Path(ca) if ca else None,
    }


def _of_stack(stack: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return what .state/stacks/<stack>/endpoint.json and the file of keys that it names say."""
    if "/" in stack or stack.startswith("."):
        raise LLMSettingsError(f"not the name of a stack: {stack}", where="GATEWAY_STACK", hint="write e.g. local")
    state = Path(env.get("LLM_DEPLOY_STATE") or Path(__file__).resolve().parents[2] / ".state")
    path = state / "stacks" / stack / "endpoint.json"
    if not path.exists() and not path.with_name(OUTPUTS).exists():
        raise LLMSettingsError("has no machines yet", where=f"stack {stack}", hint=f"make up STACK={stack}")
    endpoint = _json(path, stack)
    missing = {"url", "ca", "models", "keys_file", "client"} - endpoint.keys()
    if missing or not endpoint["models"]:
        lacking = ", ".join(sorted(missing or {"models"}))
        raise LLMSettingsError(f"has no {lacking}", where=str(path), hint=f"make provision STACK={stack}")
    client = env.get("GATEWAY_CLIENT") or endpoint["client"]
    keys_file = Path(endpoint["keys_file"])
    keys = _json(keys_file, stack)
    key = keys.get(client)
    if not key and not env.get("GATEWAY_API_KEY"):
        near = difflib.get_close_matches(client, keys, n=1)
        known = f"it has {', '.join(sorted(keys))}; make provision STACK={stack} adds a new client"
        hint = f"did you mean {near[0]}?" if near else known
        raise LLMSettingsError(f"contains no key of {client}", where=str(keys_file), hint=hint)
    return {"url": endpoint["url"], "ca": endpoint["ca"], "model": endpoint["models"][0], "key": key}


def _json(path: Path, stack: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        hint = f"make provision STACK={stack}"
        raise LLMSettingsError(f"cannot be read ({reason})", where=str(path), hint=hint) from None
    return value if isinstance(value, dict) else {}


_READERS: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "claude": _claude,
    "openai": _openai,
    "ollama": _ollama,
    "vllm": _vllm,
    "gateway": _gateway,
}
