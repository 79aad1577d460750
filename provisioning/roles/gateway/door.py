"""The door: HAProxy on an engine's host, for the gateway of another host alone. It passes requests to the engine.

Does not make the certificate or the key (provisioning/access), or open the firewall (base role). Knows no client.
"""

import hashlib
from dataclasses import dataclass

from core.ports import ACCESS_METRICS_PORT, DOOR_PORT, NODE_EXPORTER_PORT, WATCH_METRICS_PORT
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import File, Resource, Secret
from provisioning.roles.engine.engine import HEALTH_PATH as ENGINE_HEALTH_PATH
from provisioning.roles.gateway import metrics_paths
from provisioning.roles.gateway.gateway import HEALTH_PATH, LOG_FIELDS, passed_paths
from provisioning.roles.gateway.pools import Pool, loopback_pool
from provisioning.roles.gateway.process import Limits, Places, Process, haproxy, process_values
from provisioning.roles.host.nvidia import METRICS_PORT as GPU_METRICS_PORT
from provisioning.templates.render import render
from serving.spec.gateway_size import CPU_HOST_MIB
from serving.spec.models import GatewaySpec, ServingSpec

KEEP_ALIVE_S = 3600
"""How long an idle connection of the gateway stays open. The gateway closes its own after seconds."""

LOG = ("time", "request_id", "method", "path", "status", "queue_ms", "first_byte_ms", "total_ms", "ended")
"""Fields of the gateway's access log that a door writes too. The gateway's line has the client."""


@dataclass(frozen=True, kw_only=True)
class DoorSecrets:
    """The secrets that a host behind the gateway's needs."""

    certificate: Secret
    """PEM: certificate and private key of this host, which the gateway verifies."""
    key: Secret
    """The engine key, which the gateway sends."""


def door(
    host: HostRecord, serving: ServingSpec, gateway: GatewaySpec, secrets: DoorSecrets, reserved: int = CPU_HOST_MIB
) -> list[Resource]:
    """Return the resources of the door of `host`, which may use `reserved` MiB, in working order."""
    places = Places()
    pool = loopback_pool(host.pool, host.name, serving, gateway)
    return haproxy(
        Process(
            port=DOOR_PORT,
            way_out=(": the gateway's host connects to this port",),
            config=door_config(pool, gateway, places, secrets.key, reserved=reserved),
            certificate=secrets.certificate,
            # A host that had a gateway of its own has a file with the hashes of clients' keys.
            files=(File(path=places.keys, content=None),),
            needs_engine_key=serving.engine == "vllm",
            drain_s=serving.drain_s,
            memory_max_mib=reserved,
        ),
        places,
    )


def door_config(
    pool: Pool,
    gateway: GatewaySpec,
    places: Places,
    key: Secret,
    *,
    reserved: int = CPU_HOST_MIB,
    port: int = DOOR_PORT,
) -> str:
    """Return haproxy.cfg of a door to the one engine of `pool`. It has a hash of the gateway's key.

    HAProxy reads the key for the engine, the same, from its environment.
    """
    # Requests wait at the gateway, and only those that have a place come here.
    sizes = gateway.model_copy(update={"max_queue": 0})
    engine = pool.serving.engine
    return render(
        "haproxy-door.cfg.j2",
        **process_values(gateway, places, Limits.of(sizes, pool.places, reserved)),
        port=port,
        keep_alive_s=KEEP_ALIVE_S,
        log_format="{" + ",".join(f'"{name}":{LOG_FIELDS[name]}' for name in LOG) + "}",
        key_sha256=hashlib.sha256(f"Bearer {key.value}".encode()).hexdigest(),
        paths=passed_paths((pool,)),
        health_path=HEALTH_PATH,
        pool=pool.name,
        server=pool.servers[0],
        engine_health_path=ENGINE_HEALTH_PATH[engine],
        engine_key="${VLLM_API_KEY}" if engine == "vllm" else "",
        engine_metrics_path=metrics_paths.ENGINE,
        metrics=_metrics(pool.serving, gateway),
    )


def _metrics(serving: ServingSpec, gateway: GatewaySpec) -> dict[str, int]:
    """Return the ports whose metrics the gateway's host reads, by the door's path."""
    if gateway.monitoring is None:
        return {}
    ports = {
        metrics_paths.WATCH: WATCH_METRICS_PORT,
        metrics_paths.NODE: NODE_EXPORTER_PORT,
        metrics_paths.GPU: GPU_METRICS_PORT,
    }
    if serving.engine == "vllm":
        ports |= {metrics_paths.ENGINE: serving.port, metrics_paths.LINES: ACCESS_METRICS_PORT}
    return ports
