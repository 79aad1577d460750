"""The gateway: HAProxy in front of the engine, from the distribution's package.

Does not make certificates or keys (provisioning/access/credentials.py) or open the firewall (base role).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from provisioning.access.credentials import Credentials
from provisioning.converge.resources import Command, Directory, File, GeneratedSecret, Packages, Resource, Unit
from provisioning.programs import program
from provisioning.roles.engine.engine import HEALTH_PATH as ENGINE_HEALTH_PATH
from provisioning.roles.gateway.answers import ANSWERS, LATER_ERRORS, OWN_ERRORS, waited_or_down
from provisioning.roles.gateway.pools import LOOPBACK, Pool
from provisioning.roles.host.layout import (
    CONFIG_DIR,
    ENGINE_ENV,
    ENGINE_ENV_TEMPLATE,
    GATEWAY_RUNTIME_DIRECTORY,
    GATEWAY_UNIT,
    GATEWAY_USER,
    HAPROXY_ADMIN_SOCKET,
    LIB_DIR,
)
from provisioning.templates.render import render
from serving.spec.gateway_size import CPU_HOST_MIB, HEADER_BYTES, OLD_PROCESSES, gateway_size, too_large
from serving.spec.models import GatewaySpec
from serving.spec.rules import METRICS_PORT

GATEWAY_DIR = f"{CONFIG_DIR}/gateway"
"""Not /etc/haproxy: a changed conffile of the package would hold back its security updates."""

DROP_IN = f"/etc/systemd/system/{GATEWAY_UNIT}.d/50-llm-deploy.conf"

CHECK_PORT = f"{LIB_DIR}/check-port"

HEALTH_PATH = "/health"

Paths = Mapping[str, tuple[str, ...]]
"""Whole paths by method."""

OPENAI_PATHS: Paths = {"GET": (HEALTH_PATH, "/v1/models"), "POST": ("/v1/chat/completions", "/v1/completions")}

OLLAMA_OPENAI_PATHS: Paths = {"POST": ("/v1/embeddings", "/v1/responses")}
"""Paths of OpenAI's API that Ollama adds; below /v1/models also each served name."""

OLLAMA_PATHS: Paths = {"GET": ("/api/tags",), "POST": ("/api/chat", "/api/generate")}

TEXT_HEADERS = ("accept", "content-type", "traceparent", "tracestate", "user-agent")
"""Headers passed on unchanged if they are printable ASCII."""

PASSED_HEADERS = (*TEXT_HEADERS, "content-length", "host", "x-request-id")
"""All other headers are dropped, because engines react to some of them: vLLM picks a replica by X-data-parallel-rank,
Ollama refuses requests by Origin and Host. The gateway sets Host itself."""

# Mozilla's intermediate list, without the finite-field ciphers (https://ssl-config.mozilla.org, version 5.7).
TLS12_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
TLS13_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

LOG_FIELDS = {
    "time": '"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]"',
    "request_id": '"%[var(txn.request_id)]"',
    "client": '"%[var(txn.client)]"',
    "address": '"%[src,regsub(^::ffff:,)]"',
    "method": '"%HM"',
    "path": '"%[var(txn.path),bytes(0,200),regsub(sk-[A-Za-z0-9_-]+,sk-***,g),regsub([^A-Za-z0-9/._~%@:*-],_,g)]"',
    "status": "%ST",
    "request_bytes": "%U",
    "response_bytes": "%B",
    "receive_ms": "%TR",
    "queue_ms": "%Tw",
    "first_byte_ms": "%Tr",
    "total_ms": "%Ta",
    "queued_before": "%bq",
    "ended": '"%ts"',
    "tls": '"%sslv"',
}
"""Fields of a line of the access log, in HAProxy's terms; `time` is the end of the answer, -1 means never."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Paths of the gateway's files and sockets. Tests use other paths."""

    config: str = f"{GATEWAY_DIR}/haproxy.cfg"
    certificate: str = f"{GATEWAY_DIR}/server.pem"
    keys: str = f"{GATEWAY_DIR}/keys.map"
    admin_socket: str = HAPROXY_ADMIN_SOCKET
    address: str = "::"
    """Both IPv6 and IPv4."""
    metrics_address: str = f"127.0.0.1:{METRICS_PORT}"
    user: str = GATEWAY_USER
    """The user that HAProxy switches to after its start; None: it does not switch."""
    chroot: str = "/var/lib/haproxy"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes and times: some follow from the spec, the others are fixed."""

    connections: int
    connections_per_client: int
    body_bytes: int
    buffered_body_bytes: int
    """Largest body that is read whole before the request enters the queue, and the largest chunked body, in bytes."""
    buffer_bytes: int
    buffers: int
    old_process_s: int
    old_processes: int = OLD_PROCESSES
    header_bytes: int = HEADER_BYTES
    header_s: int = 10
    body_s: int = 30
    silent_client_s: int = 15
    """How long a client may be inactive while HAProxy waits for it to send or read."""
    keepalive_idle_s: int = 30
    keepalive_interval_s: int = 10
    keepalive_count: int = 6
    """A peer that vanished without closing is noticed after 90 s."""
    threads: int = 4
    operator_connections: int = 64

    @classmethod
    def of(cls, gateway: GatewaySpec, reserved: int = CPU_HOST_MIB) -> "Limits":
        """Return the limits for `gateway` on a host that reserves `reserved` MiB for HAProxy."""
        size = gateway_size(gateway, reserved)
        return cls(
            connections=size.connections,
            connections_per_client=size.connections_per_client,
            body_bytes=size.body_bytes,
            buffered_body_bytes=size.buffered_body_bytes,
            buffer_bytes=size.buffer_bytes,
            buffers=size.buffers,
            old_process_s=max(3600, 2 * gateway.request_timeout_s),
        )


def gateway(
    pools: Sequence[Pool], gateway: GatewaySpec, credentials: Credentials, reserved: int = CPU_HOST_MIB
) -> list[Resource]:
    """Return the resources of a gateway in front of `pools` that may use `reserved` MiB, in working order.

    Raises ConfigError if `gateway` asks for more than that memory holds.
    """
    _check_memory(gateway, reserved)
    places = Places()
    # The engine's role returns the same resource; each role also works without the other.
    engine_key = [GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)] if _has_vllm(pools) else []
    restart_on = (f"file:{DROP_IN}", *(key.id for key in engine_key))
    reload_on = tuple(f"file:{path}" for path in (places.certificate, places.keys, places.config))
    port_check = (CHECK_PORT, str(gateway.port), GATEWAY_UNIT)
    return [
        # Before the package, so that its first start uses this configuration or fails.
        File(path=DROP_IN, content=_drop_in(pools, places, reserved)),
        *engine_key,
        Packages(name="gateway", present=("haproxy", "iproute2"), after=(f"file:{DROP_IN}",)),
        # Before the configuration, so that a port in use leaves the old configuration in place.
        File(path=CHECK_PORT, content=program("gateway/check_port"), mode=0o755),
        Command(
            name="gateway-port",
            argv=port_check,
            check=port_check,
            after=("packages:gateway", f"file:{CHECK_PORT}"),
        ),
        Directory(path=GATEWAY_DIR, mode=0o700),
        File(path=places.certificate, content=credentials.certificate, mode=0o600, after=(f"directory:{GATEWAY_DIR}",)),
        File(path=places.keys, content=keys_map(credentials), mode=0o600, after=(f"directory:{GATEWAY_DIR}",)),
        File(
            path=places.config,
            content=haproxy_config(pools, gateway, places, reserved),
            mode=0o640,  # it holds no secret; a plan shows no diff of a file that only its owner may read
            check=("haproxy", "-c", "-q", "-f", "{path}"),
            after=("command:gateway-port", f"file:{places.certificate}", f"file:{places.keys}"),
        ),
        Unit(
            name=GATEWAY_UNIT,
            restart_on=restart_on,
            reload_on=reload_on,
            after=(*restart_on, *reload_on),
        ),
    ]


def haproxy_config(pools: Sequence[Pool], gateway: GatewaySpec, places: Places, reserved: int = CPU_HOST_MIB) -> str:
    """Return haproxy.cfg. HAProxy reads the engine's key from its environment."""
    return render(
        "haproxy.cfg.j2",
        places=places,
        gateway=gateway,
        limits=Limits.of(gateway, reserved),
        answers=ANSWERS,
        own_errors=OWN_ERRORS,
        later_errors=LATER_ERRORS,
        pools=[_pool_values(pool) for pool in pools],
        paths=passed_paths(pools),
        health_path=HEALTH_PATH,
        passed_headers=PASSED_HEADERS,
        text_headers=TEXT_HEADERS,
        log_format="{" + ",".join(f'"{name}":{value}' for name, value in LOG_FIELDS.items()) + "}",
        tls12_ciphers=TLS12_CIPHERS,
        tls13_ciphers=TLS13_CIPHERS,
    )


def _pool_values(pool: Pool) -> dict[str, Any]:
    """Return what the template needs of a pool."""
    serving = pool.serving
    # In the old process after a reload nbsrv is 0, though servers are up.
    is_up = f"srv_is_up({pool.name}/{pool.servers[0].name})" if len(pool.servers) == 1 else f"nbsrv({pool.name})"
    return {
        "name": pool.name,
        "servers": pool.servers,
        "places": pool.places,
        "engine_host": f"{LOOPBACK}:{serving.port}",
        "engine_key": "${VLLM_API_KEY}" if serving.engine == "vllm" else "",
        "health_path": ENGINE_HEALTH_PATH[serving.engine],
        "waited_or_down": waited_or_down(is_up),
        "is_up": is_up,
    }


def passed_paths(pools: Sequence[Pool]) -> Paths:
    """Return the exact paths that reach an engine. A pattern would also let new paths of a later release through."""
    passed = [OPENAI_PATHS]
    for serving in (pool.serving for pool in pools if pool.serving.engine == "ollama"):
        names = dict.fromkeys(each for name in serving.served_names for each in (name, name.removesuffix(":latest")))
        passed += [OLLAMA_OPENAI_PATHS, {"GET": tuple(f"/v1/models/{name}" for name in names)}]
        passed += [OLLAMA_PATHS] if serving.ollama.native_api else []
    return {
        method: tuple(dict.fromkeys(path for paths in passed for path in paths.get(method, ())))
        for method in OPENAI_PATHS
    }


def _has_vllm(pools: Sequence[Pool]) -> bool:
    """Return whether an engine is vLLM: only vLLM has a key."""
    return any(pool.serving.engine == "vllm" for pool in pools)


def keys_map(credentials: Credentials) -> str:
    """Return the file that maps the SHA-256 of a key to its client's name."""
    return "".join(f"{sha256} {client}\n" for client, sha256 in credentials.key_hashes)


def _check_memory(gateway: GatewaySpec, reserved: int) -> None:
    """Raise ConfigError if HAProxy could need more than `reserved` MiB."""
    problem = too_large(gateway, reserved, "the host")
    if problem is not None:
        raise ConfigError(problem.what, where=problem.key, hint=problem.hint)


def _drop_in(pools: Sequence[Pool], places: Places, reserved: int) -> str:
    """Return what the distribution's unit lacks: configuration path, engine key, drain, sandbox."""
    return render(
        "haproxy-drop-in.conf.j2",
        config=places.config,
        engine_env=ENGINE_ENV if _has_vllm(pools) else "",
        drain_s=max(pool.serving.drain_s for pool in pools),
        memory_max_mib=reserved,
        runtime_directory=GATEWAY_RUNTIME_DIRECTORY,
    )
