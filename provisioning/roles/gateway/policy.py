"""The tables that HAProxy's Lua decides by, and the Lua itself.

Does not decide: lua/decide.lua does, for each request.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provisioning.converge.resources import Directory, File
from provisioning.roles.gateway.answers import RETRY_AFTER_S
from provisioning.roles.gateway.pools import Pool
from serving.spec.gateway_classes import LONGEST_ORDER_S
from serving.spec.gateway_clients import ClientSpec, without_version
from serving.spec.gateway_overflow import OverflowSpec
from serving.spec.models import GatewaySpec

POLICY = "policy.lua"

OVERFLOW_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
"""Paths of requests that providers can answer."""

OWNER = {"vllm": "vllm", "ollama": "library"}
"""What each engine says in /v1/models as `owned_by`."""

SCRIPTS = (
    "answers.lua",
    "decide.lua",
    "degrade.lua",
    "json_bytes.lua",
    "json_text.lua",
    "json_tokens.lua",
    "leave.lua",
    "limits.lua",
    "models.lua",
    "places.lua",
    "queue.lua",
    "strict_json.lua",
    "text.map",
    "waits.lua",
)
"""The Lua that is the same on every host, and the pattern that it matches bodies with."""


def lua_files(folder: str, pools: Sequence[Pool], gateway: GatewaySpec) -> tuple[Directory | File, ...]:
    """Return the files that HAProxy loads from `folder`."""
    texts = scripts() | {POLICY: policy_text(pools, gateway)}
    within = (f"directory:{folder}",)
    return (
        Directory(path=folder, mode=0o700),
        *(File(path=f"{folder}/{name}", content=text, after=within) for name, text in texts.items()),
    )


def scripts() -> dict[str, str]:
    """Return the text of each file in SCRIPTS, by name."""
    return {name: (Path(__file__).parent / "lua" / name).read_text(encoding="utf-8") for name in SCRIPTS}


def policy_text(pools: Sequence[Pool], gateway: GatewaySpec) -> str:
    """Return policy.lua: which pool and which hosts serve each name, and the limits."""
    models = _models(pools)
    policy = {
        "pools": [_pool(pool) for pool in pools],
        "models": models,
        "names": list(dict.fromkeys(name for pool in pools for name in _served(pool))),
        "clients": {client.name: _client(client, gateway, models) for client in gateway.clients},
        "deadlines_s": gateway.deadlines_s,
        "aging_s": gateway.aging_s,
        "degrade": {each.model: each.model_dump(exclude={"model"}) for each in gateway.degrade},
        "several": len(gateway.clients) if len(gateway.clients) > 1 else None,
        "fair_ms": 1000 * max(0, min(60, LONGEST_ORDER_S - gateway.queue_timeout_s - gateway.aging_s)),
        "data": {client.name: client.data for client in gateway.clients},
        "overflow": None if gateway.overflow is None else _overflow(gateway.overflow, gateway, models),
        "max_queue": gateway.max_queue,
        "longest_queue": gateway.longest_queue,
        "no_engine_wait_s": gateway.no_engine_wait_s,
        "queue_timeout_s": gateway.queue_timeout_s,
        "retry_after_s": RETRY_AFTER_S,
    }
    return f"-- Written by llm-deploy (gateway role); edits are lost.\nreturn {lua(policy)}\n"


def _overflow(overflow: OverflowSpec, gateway: GatewaySpec, spellings: Iterable[str]) -> dict[str, Any]:
    """Return what may go to providers: which names, clients, classes of data and paths."""
    aliases = {_bare(model.alias) for provider in overflow.providers for model in provider.models}
    return {
        "models": dict.fromkeys((name for name in spellings if _bare(name) in aliases), True),
        "clients": dict.fromkeys(overflow.allowed(gateway.clients), True),
        "classes": dict.fromkeys(("public", "internal") if overflow.internal else ("public",), True),
        "paths": dict.fromkeys(OVERFLOW_PATHS, True),
        "max_requests": overflow.max_requests,
    }


def _client(client: ClientSpec, gateway: GatewaySpec, spellings: Iterable[str]) -> dict[str, Any]:
    """Return the rights of a client. `caps_of` has each name that has caps of its own."""
    capped = dict.fromkeys(_bare(name) for name in spellings if without_version(name) in client.model_caps)
    return {
        "class": client.service_class,
        "share": gateway.shares[client.name],
        "requests_per_minute": client.requests_per_minute,
        "tokens_per_minute": client.tokens_per_minute,
        "max_concurrency": client.max_concurrency,
        **client.caps.model_dump(),
        "caps_of": {name: client.caps_of(name).model_dump() for name in capped} or None,
        "models": dict.fromkeys(map(_bare, client.models), True) or None,
    }


def _pool(pool: Pool) -> dict[str, Any]:
    servers = [
        {"name": each.name, "places": each.places, "names": dict.fromkeys(map(_bare, each.names), True)}
        for each in pool.servers
    ]
    serving = pool.serving
    return {
        "name": pool.name,
        "engine": serving.engine,
        "owned_by": OWNER[serving.engine],
        "native_api": serving.engine == "ollama" and serving.ollama.native_api,
        "context_tokens": serving.model.context_tokens,
        "places": pool.places,
        "servers": servers,
    }


def _models(pools: Sequence[Pool]) -> dict[str, dict[str, Any]]:
    """Return what each name means. Raises AssertionError if one means two pools: the config refuses that."""
    models: dict[str, dict[str, Any]] = {}
    for number, pool in enumerate(pools, 1):
        own = {name: _model(pool, name, number) for name in _spellings(pool)}
        assert models.keys().isdisjoint(own), f"a name of {pool.name} is also one of another pool"  # noqa: S101
        models |= own
    return models


def _model(pool: Pool, name: str, number: int) -> dict[str, Any]:
    """Return what `name` means: its pool's number, its bare name, and the adapter: empty for the base model."""
    bare = _bare(name)
    return {"pool": number, "name": bare, "adapter": "" if bare == _bare(pool.serving.model.name) else bare}


def _served(pool: Pool) -> list[str]:
    """Return the names that a host of the pool serves."""
    return list(dict.fromkeys(name for server in pool.servers for name in server.names))


def _spellings(pool: Pool) -> list[str]:
    """Return the names that clients may write. Ollama takes one without its tag `:latest` too."""
    return list(dict.fromkeys(each for name in _served(pool) for each in (name, _bare(name))))


def _bare(name: str) -> str:
    return name.removesuffix(":latest")


def lua(value: Any, indent: str = "") -> str:
    """Return `value` as a Lua expression."""
    deeper = indent + "  "
    if isinstance(value, Mapping):
        rows = [f"[{lua(key)}] = {lua(each, deeper)}" for key, each in value.items() if each is not None]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [lua(each, deeper) for each in value]
    elif isinstance(value, bool):
        return str(value).lower()
    elif isinstance(value, int | float):
        return repr(value)
    else:
        return '"' + "".join(_letter(byte) for byte in str(value).encode()) + '"'
    return "{\n" + "".join(f"{deeper}{row},\n" for row in rows) + indent + "}" if rows else "{}"


def _letter(byte: int) -> str:
    """Return a byte of a string in Lua's syntax."""
    return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03d}"  # noqa: PLR2004 (ASCII)
