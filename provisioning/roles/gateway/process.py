"""HAProxy as a process on a host: package, unit, limits, and what all its configurations share.

Does not know what it passes where: gateway.py and its template do.
"""

from dataclasses import dataclass, replace
from typing import Any

from core.ports import OVERFLOW_PORT
from provisioning.converge.resources import (
    Command,
    Directory,
    File,
    GeneratedSecret,
    Packages,
    Resource,
    Secret,
    Unit,
)
from provisioning.programs import program
from provisioning.roles.gateway.answers import ANSWERS, LATER_ERRORS, OWN_ERRORS
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
from serving.spec.gateway_size import CPU_HOST_MIB, HEADER_BYTES, OLD_PROCESSES, gateway_size
from serving.spec.models import GatewaySpec
from serving.spec.rules import METRICS_PORT

GATEWAY_DIR = f"{CONFIG_DIR}/gateway"
"""Not /etc/haproxy: a changed conffile of the package would hold back its security updates."""

DROP_IN = f"/etc/systemd/system/{GATEWAY_UNIT}.d/50-llm-deploy.conf"

CHECK_PORT = f"{LIB_DIR}/check-port"

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


MALLOC = {"MALLOC_MMAP_THRESHOLD_": 32 * 1024**2, "MALLOC_TRIM_THRESHOLD_": 128 * 1024**2}
"""Settings of glibc's malloc, in bytes. A buffer holds a whole body. Without them the kernel maps, clears and unmaps
each one: half of HAProxy's computing time (0.85 ms a request, 0.50 ms with them; HAProxy 2.6 on 2026-11-30). A worker
that ends after a reload gives its memory back all the same."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Paths of the gateway's files and sockets. Tests use other paths."""

    config: str = f"{GATEWAY_DIR}/haproxy.cfg"
    certificate: str = f"{GATEWAY_DIR}/server.pem"
    keys: str = f"{GATEWAY_DIR}/keys.map"
    lua: str = f"{GATEWAY_DIR}/lua"
    ca: str = f"{GATEWAY_DIR}/door-ca.pem"
    admin_socket: str = HAPROXY_ADMIN_SOCKET
    address: str = "::"
    """Both IPv6 and IPv4."""
    overflow_address: str = f"127.0.0.1:{OVERFLOW_PORT}"
    """Of the service that sends requests to providers."""
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
    """Largest body. It is read whole before the request enters the queue."""
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
    """A client that vanished without closing is noticed after 90 s."""
    server_keepalive_idle_s: int = 5
    server_keepalive_interval_s: int = 2
    server_keepalive_count: int = 3
    vanished_s: int = 10
    """A host that vanished without closing, as one without power does, is noticed this long after its last packet."""
    threads: int = 1
    """One thread sees exact counters, and gives no place away twice."""
    operator_connections: int = 64

    @classmethod
    def of(cls, gateway: GatewaySpec, places: int, reserved: int = CPU_HOST_MIB, queues: int = 1) -> "Limits":
        """Return the limits for `gateway` before `places` places on a host that reserves `reserved` MiB for HAProxy.

        `queues`: the pools behind it.
        """
        size = gateway_size(gateway, places, reserved, queues)
        return cls(
            connections=size.connections,
            connections_per_client=size.connections_per_client,
            body_bytes=size.body_bytes,
            buffer_bytes=size.buffer_bytes,
            buffers=size.buffers,
            old_process_s=max(3600, 2 * gateway.request_timeout_s),
        )


@dataclass(frozen=True, kw_only=True)
class Process:
    """HAProxy on one host, as the agent brings it there."""

    port: int
    """Where it listens for requests."""
    way_out: tuple[str, ...] = ()
    """What helps, besides ending it, if another program has that port. Empty: another `gateway.port`."""
    config: str
    """Text of haproxy.cfg."""
    certificate: Secret
    """PEM: certificate, chain and private key."""
    files: tuple[File | Directory, ...] = ()
    """Other files that the configuration names, and their folders; a change reloads it."""
    needs_engine_key: bool
    """Whether the configuration takes the engine's key from the environment."""
    drain_s: int
    memory_max_mib: int


def haproxy(process: Process, places: Places) -> list[Resource]:
    """Return the resources of HAProxy, in working order."""
    # The engine's role returns the same resource; each role also works without the other.
    engine_key = [GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)] if process.needs_engine_key else []
    in_folder = (f"directory:{GATEWAY_DIR}",)
    files = (File(path=places.certificate, content=process.certificate, mode=0o600), *process.files)
    restart_on = (f"file:{DROP_IN}", *(key.id for key in engine_key))
    reload_on = (*(file.id for file in files), f"file:{places.config}")
    port_check = (CHECK_PORT, str(process.port), GATEWAY_UNIT, *process.way_out)
    return [
        # Before the package, so that its first start uses this configuration or fails.
        File(path=DROP_IN, content=_drop_in(process, places)),
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
        *(replace(file, after=(*file.after, *in_folder)) for file in files),
        File(
            path=places.config,
            content=process.config,
            mode=0o640,  # it holds no secret; a plan shows no diff of a file that only its owner may read
            check=("haproxy", "-c", "-q", "-f", "{path}"),
            after=("command:gateway-port", *(file.id for file in files)),
        ),
        Unit(
            name=GATEWAY_UNIT,
            restart_on=restart_on,
            reload_on=reload_on,
            after=(*restart_on, *reload_on),
        ),
    ]


def process_values(gateway: GatewaySpec, places: Places, limits: Limits) -> dict[str, Any]:
    """Return what haproxy-process.cfg.j2 needs, and the answers that every configuration gives."""
    return {
        "places": places,
        "gateway": gateway,
        "limits": limits,
        "answers": ANSWERS,
        "own_errors": OWN_ERRORS,
        "later_errors": LATER_ERRORS,
        "tls12_ciphers": TLS12_CIPHERS,
        "tls13_ciphers": TLS13_CIPHERS,
    }


def _drop_in(process: Process, places: Places) -> str:
    """Return what the distribution's unit lacks: configuration path, engine key, drain, sandbox."""
    return render(
        "haproxy-drop-in.conf.j2",
        malloc=MALLOC,
        config=places.config,
        engine_env=ENGINE_ENV if process.needs_engine_key else "",
        drain_s=process.drain_s,
        memory_max_mib=process.memory_max_mib,
        runtime_directory=GATEWAY_RUNTIME_DIRECTORY,
    )
