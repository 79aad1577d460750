"""The gateway: HAProxy in front of the engine, from the distribution's package.

Does not make certificates or keys (provisioning/access/credentials.py) or open the firewall (base role).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from core.errors import ConfigError
from provisioning.access.credentials import Credentials
from provisioning.converge.resources import File, Resource
from provisioning.roles.engine.engine import HEALTH_PATH as ENGINE_HEALTH_PATH
from provisioning.roles.gateway import metrics_paths
from provisioning.roles.gateway.answers import waited_or_down
from provisioning.roles.gateway.policy import OWNER, lua_files
from provisioning.roles.gateway.pools import LOOPBACK, Pool
from provisioning.roles.gateway.process import Limits, Places, Process, haproxy, process_values
from provisioning.templates.render import render
from serving.spec.gateway_size import CPU_HOST_MIB, too_large
from serving.spec.models import GatewaySpec

HEALTH_PATH = "/health"

Paths = Mapping[str, tuple[str, ...]]
"""Whole paths by method."""

OPENAI_PATHS: Paths = {
    "GET": (HEALTH_PATH, "/v1/models"),
    "POST": ("/v1/chat/completions", "/v1/completions", "/v1/responses"),
}

VLLM_PATHS: Paths = {"POST": ("/v1/messages", "/v1/messages/count_tokens")}
"""Anthropic's API, as vLLM has it."""

OLLAMA_V1_PATHS: Paths = {"POST": ("/v1/embeddings", "/v1/messages")}
"""Paths of OpenAI's and Anthropic's API that Ollama adds; below /v1/models also each served name."""

OLLAMA_PATHS: Paths = {"GET": ("/api/tags",), "POST": ("/api/chat", "/api/generate")}

KEY_HEADERS = ("x-api-key", "api-key")
"""Headers that may carry the key in place of Authorization: older clients of Anthropic's API, and Azure's."""

EXPOSED_HEADERS = ("X-Request-Id", "Retry-After", "X-Degraded", "X-Served-By")
"""Headers of an answer that a page of another origin may read."""

TEXT_HEADERS = ("accept", "content-type", "traceparent", "tracestate", "user-agent")
"""Headers passed on unchanged if they are printable ASCII."""

PASSED_HEADERS = (*TEXT_HEADERS, "content-length", "host", "x-request-id")
"""All other headers are dropped, because engines react to some of them: vLLM picks a replica by X-data-parallel-rank,
Ollama refuses requests by Origin and Host. The gateway sets Host itself."""


@dataclass(frozen=True, kw_only=True)
class NoHost:
    """The server of a pool that answers 503 when no host is left: HAProxy itself. No host has its name."""

    name: str = "_none"
    id: int = 9999


NO_HOST = NoHost()

LOG_FIELDS = {
    "time": '"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]"',
    "request_id": '"%[var(txn.request_id)]"',
    "client": '"%[var(txn.client)]"',
    "address": '"%[src,regsub(^::ffff:,)]"',
    "method": '"%HM"',
    "path": '"%[var(txn.path),bytes(0,200),regsub(sk-[A-Za-z0-9_-]+,sk-***,g),regsub([^A-Za-z0-9/._~%@:*-],_,g)]"',
    "model": '"%[var(txn.model)]"',
    "adapter": '"%[var(txn.adapter)]"',
    "class": '"%[var(txn.class)]"',
    "data": '"%[var(txn.data)]"',
    "pool": '"%[var(txn.pool)]"',
    "host": '"%s"',
    "decision": '"%[var(txn.decision)]"',
    "reason": '"%[var(txn.reason)]"',
    "degraded": '"%[var(txn.degraded)]"',
    "status": "%ST",
    "request_bytes": "%U",
    "response_bytes": "%B",
    "receive_ms": "%TR",
    "queue_ms": "%Tw",
    "first_byte_ms": "%Tr",
    "first_token_ms": '"%[var(txn.first_token_ms)]"',
    "total_ms": "%Ta",
    "queued_before": "%bq",
    "waited": '"%[var(txn.number),lua.ended]"',
    "retries": '"%rc"',
    "ended": '"%ts"',
    "tls": '"%sslv"',
}
"""Fields of a line of the access log, in HAProxy's terms; `time` is the end of the answer.

-1 means never, for the first token `-`."""


def gateway(
    pools: Sequence[Pool],
    gateway: GatewaySpec,
    credentials: Credentials,
    reserved: int = CPU_HOST_MIB,
    door_cas: str = "",
) -> list[Resource]:
    """Return the resources of a gateway in front of `pools` that may use `reserved` MiB, in working order.

    `door_cas`: PEMs of the CAs that signed the certificates of hosts behind the gateway's. Raises ConfigError if
    `gateway` asks for more than that memory holds.
    """
    _check_memory(gateway, pools, reserved)
    places = Places()
    trusted = (File(path=places.ca, content=door_cas),) if door_cas else ()
    return haproxy(
        Process(
            port=gateway.port,
            config=haproxy_config(pools, gateway, places, reserved),
            certificate=credentials.certificate,
            files=(
                File(path=places.keys, content=keys_map(credentials), mode=0o600),
                *lua_files(places.lua, pools, gateway),
                *trusted,
            ),
            needs_engine_key=any(map(_has_key, pools)),
            drain_s=max(pool.serving.drain_s for pool in pools),
            memory_max_mib=reserved,
        ),
        places,
    )


def haproxy_config(pools: Sequence[Pool], gateway: GatewaySpec, places: Places, reserved: int = CPU_HOST_MIB) -> str:
    """Return haproxy.cfg. HAProxy reads the engine's key from its environment."""
    # A host has one engine at most.
    here = next((pool for pool in pools if pool.serving.engine == "vllm" and not pool.behind_doors), None)
    behind = [server for pool in pools if pool.behind_doors for server in pool.servers]
    doors = behind if gateway.monitoring is not None else []
    return render(
        "haproxy.cfg.j2",
        **process_values(gateway, places, Limits.of(gateway, _places(pools), reserved, len(pools))),
        pools=[_pool_values(pool) for pool in pools],
        waited_or_down=waited_or_down(),
        no_host=NO_HOST,
        paths=passed_paths(pools),
        models=own_models(pools),
        key_headers=KEY_HEADERS,
        exposed_headers=EXPOSED_HEADERS,
        health_path=HEALTH_PATH,
        queue_metrics_path=metrics_paths.QUEUE,
        engine_metrics=here,
        door_metrics=doors,
        metrics_paths=[
            *([metrics_paths.ENGINE] if here else ()),
            *(f"{path}/{door.name}" for door in doors for path in metrics_paths.AT_DOOR),
        ],
        overflow_address=places.overflow_address,
        passed_headers=PASSED_HEADERS,
        text_headers=TEXT_HEADERS,
        log_format="{" + ",".join(f'"{name}":{value}' for name, value in LOG_FIELDS.items()) + "}",
    )


def _pool_values(pool: Pool) -> dict[str, Any]:
    """Return what the template needs of a pool."""
    serving = pool.serving
    return {
        "name": pool.name,
        "servers": pool.servers,
        "places": pool.places,
        "engine_host": f"{LOOPBACK}:{serving.port}",
        "behind_doors": pool.behind_doors,
        "engine_key": "${VLLM_API_KEY}" if _has_key(pool) else "",
        "health_path": HEALTH_PATH if pool.behind_doors else ENGINE_HEALTH_PATH[serving.engine],
    }


def passed_paths(pools: Sequence[Pool]) -> Paths:
    """Return the exact paths that reach an engine. A pattern would also let new paths of a later release through."""
    passed = [OPENAI_PATHS]
    passed += [VLLM_PATHS] if any(pool.serving.engine == "vllm" for pool in pools) else []
    for serving in (pool.serving for pool in pools if pool.serving.engine == "ollama"):
        passed += [OLLAMA_V1_PATHS]
        if len(pools) == 1:  # of several pools, HAProxy answers: own_models
            passed += [{"GET": tuple(path for name in _spellings(serving.served_names) for path in _model_paths(name))}]
        passed += [OLLAMA_PATHS] if serving.ollama.native_api else []
    return {
        method: tuple(dict.fromkeys(path for paths in passed for path in paths.get(method, ())))
        for method in OPENAI_PATHS
    }


def own_models(pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """Return what GET /v1/models/NAME answers, with the spellings of that path.

    Ollama answers it, unless there are several pools: the path does not tell HAProxy which of them to ask.
    """
    asked = [pool for pool in pools if pool.serving.engine == "vllm" or len(pools) > 1]
    owners = {
        name: OWNER[pool.serving.engine]
        for pool in asked
        for server in pool.servers
        for name in _spellings(server.names)
    }
    return [{"paths": _model_paths(name), "body": _model_body(name, owner)} for name, owner in owners.items()]


def _spellings(names: Sequence[str]) -> Iterator[str]:
    """Yield the names as clients may write them: Ollama takes one without its tag `:latest` too."""
    yield from dict.fromkeys(each for name in names for each in (name, name.removesuffix(":latest")))


def _model_body(name: str, owner: str) -> str:
    # vLLM gives the time of the request as `created`: 0 says that nobody knows when the model was made.
    return json.dumps({"id": name, "object": "model", "created": 0, "owned_by": owner}, separators=(",", ":"))


def _model_paths(name: str) -> tuple[str, ...]:
    """Return the path of a model as clients write it: `@` and `:` as they are, or escaped."""
    escaped = quote(name, safe="")
    return tuple(dict.fromkeys(f"/v1/models/{each}" for each in (name, escaped, escaped.replace("%3A", "%3a"))))


def _has_key(pool: Pool) -> bool:
    """Return whether a request needs the engine's key: for vLLM, and for every door."""
    return pool.behind_doors or pool.serving.engine == "vllm"


def _places(pools: Sequence[Pool]) -> int:
    """Return the requests that all engines get at the same time."""
    return sum(pool.places for pool in pools)


def keys_map(credentials: Credentials) -> str:
    """Return the file that maps the SHA-256 of a key to its client's name."""
    return "".join(f"{sha256} {client}\n" for client, sha256 in credentials.key_hashes)


def _check_memory(gateway: GatewaySpec, pools: Sequence[Pool], reserved: int) -> None:
    """Raise ConfigError if HAProxy could need more than `reserved` MiB."""
    problem = too_large(gateway, _places(pools), reserved, "the host", len(pools))
    if problem is not None:
        raise ConfigError(problem.what, where=problem.key, hint=problem.hint)
