"""Limits of connections and buffers that keep HAProxy within the memory that a host keeps for it.

Does not know HAProxy's configuration: provisioning/roles/gateway/gateway.py writes it.
"""

from dataclasses import dataclass

from core.reading.rules import Problem
from serving.spec.models import GatewaySpec

MIB = 1024**2

CPU_HOST_MIB = 512
"""Half of the 1 GiB that the engine's memory limit leaves to the system on a host without a GPU."""

GPU_HOST_SHARE = 1 / 8
"""Share of the memory of a GPU host, where the engine has no memory limit."""

ALONE_SHARE = 1 / 2
"""Largest share of the memory of a host that has the gateway and no engine."""

ALONE_REST_MIB = 1152
"""What such a host keeps for all else: Prometheus, Alertmanager and exporters (up to 900 MiB), overflow, the system.

So two pools with the default queues fit on a machine of 2 GiB."""

GRAFANA_MIB = 768
"""Grafana's memory limit, which such a host keeps too if it has Grafana. Its documentation recommends 512 MiB or more;
not measured here."""

HEADER_BYTES = 32 * 1024
"""Largest request head."""

CONNECTION_BYTES = 128 * 1024
"""Memory of a connection beside its buffers, mostly TLS: 70 KiB measured with HAProxy 2.6 on 2026-11-29."""

PROGRAM_MIB = 64
"""Master, and one worker without connections: 25 MiB measured. The rest is for workers that are ending."""

OLD_PROCESSES = 8
"""Reloads after which an old worker ends, even if it still answers. Each old worker takes 4.7 MiB (HAProxy 2.6 on
2026-11-29), so 8 of them fit into PROGRAM_MIB."""

SPARE_CONNECTIONS = 256
SPARE_CONNECTIONS_MIN = 64
"""Connections beside those of running and waiting requests: refused requests, health checks, idle clients."""

SPARE_BUFFERS = 16
"""Connections for the metrics, the admin socket and HAProxy's own reserve."""


@dataclass(frozen=True, kw_only=True)
class GatewaySize:
    """Limits of HAProxy."""

    connections: int
    connections_per_client: int
    body_bytes: int
    buffer_bytes: int
    """Size of one buffer: the head and the body of a request."""
    buffers: int
    memory_mib: int
    """Largest memory of all of them together."""


def reserved_mib(memory_gib: float, *, gpu: bool) -> int:
    """Return the MiB that a host with `memory_gib` of memory and an engine keeps for HAProxy."""
    return max(CPU_HOST_MIB, int(memory_gib * 1024 * GPU_HOST_SHARE) if gpu else 0)


def reserved_alone_mib(memory_gib: float, gateway: GatewaySpec) -> int:
    """Return the MiB that a host with the gateway and without an engine keeps for HAProxy."""
    memory_mib = memory_gib * 1024
    return max(CPU_HOST_MIB, int(min(memory_mib * ALONE_SHARE, memory_mib - _rest_mib(gateway))))


def _rest_mib(gateway: GatewaySpec) -> int:
    return ALONE_REST_MIB + (0 if gateway.grafana is None else GRAFANA_MIB)


def alone_gib(gateway: GatewaySpec, places: int, queues: int) -> int:
    """Return the GiB of memory that a host with the gateway and no engine needs at least."""
    needed_mib = _size(gateway, places, SPARE_CONNECTIONS_MIN, queues).memory_mib
    return -(-max(int(needed_mib / ALONE_SHARE), needed_mib + _rest_mib(gateway)) // 1024)


def gateway_size(gateway: GatewaySpec, places: int, reserved: int = CPU_HOST_MIB, queues: int = 1) -> GatewaySize:
    """Return limits within `reserved` MiB, with as many spare connections as fit, 64 to 256.

    `places`: requests that all engines behind it get at the same time. `queues`: pools, each with a queue.

    Even 64 may be too many: compare `memory_mib` with `reserved`.
    """
    spare = SPARE_CONNECTIONS
    while spare > SPARE_CONNECTIONS_MIN and _size(gateway, places, spare, queues).memory_mib > reserved:
        spare -= 1
    return _size(gateway, places, spare, queues)


def most_waiting(gateway: GatewaySpec, places: int, reserved: int, queues: int = 1) -> int:
    """Return the largest `max_queue` that fits into `reserved` MiB; negative if none does."""
    none_waits = _size(gateway.model_copy(update={"max_queue": 0}), places, SPARE_CONNECTIONS_MIN, queues)
    free_bytes = (reserved - none_waits.memory_mib) * MIB
    most = free_bytes // (none_waits.buffer_bytes + CONNECTION_BYTES)
    return most // queues // (2 if len(gateway.clients) > 1 else 1)


def too_large(gateway: GatewaySpec, places: int, reserved: int, machine: str, queues: int = 1) -> Problem | None:
    """Return a problem if HAProxy could need more than the `reserved` MiB of `machine`, else None."""
    size = gateway_size(gateway, places, reserved, queues)
    if size.memory_mib <= reserved:
        return None
    requests = f"{gateway.max_queue * queues} waiting and {places} running requests"
    if _leaving(gateway):
        requests += f", and {_leaving(gateway)} at providers (overflow.max_requests),"
    what = f"{requests} may need {size.memory_mib} MiB in HAProxy, but {machine} reserves {reserved} MiB for it"
    most = most_waiting(gateway, places, reserved, queues)
    if most >= 0:
        return Problem("gateway.max_queue", what, f"write at most {most}, or a smaller max_body_kib")
    without = gateway.model_copy(update={"max_queue": 0, "overflow": None})
    fits_without = gateway_size(without, places, reserved, queues).memory_mib <= reserved
    key = "gateway.overflow.max_requests" if _leaving(gateway) and fits_without else "gateway.max_concurrency"
    return Problem(key, what, "write less, or a smaller max_body_kib")


def _leaving(gateway: GatewaySpec) -> int:
    """Return the requests that may be at providers at the same time."""
    return gateway.overflow.max_requests if gateway.overflow else 0


def _size(gateway: GatewaySpec, places: int, spare: int, queues: int) -> GatewaySize:
    """Return the limits with `spare` connections beside those of requests."""
    requests = places + gateway.longest_queue * queues
    body_bytes = gateway.max_body_kib * 1024
    buffer_bytes = body_bytes + 2 * HEADER_BYTES
    leaving = _leaving(gateway)
    connections = requests + leaving + spare
    # A request at a provider has none but that of its connection while it waits there.
    # A running request may use three more buffers: one towards the engine, one for a second try, one for the answer.
    buffers = connections + 3 * places + SPARE_BUFFERS
    held_bytes = buffers * buffer_bytes + connections * CONNECTION_BYTES
    return GatewaySize(
        connections=connections,
        connections_per_client=requests + leaving + spare // 2,
        body_bytes=body_bytes,
        buffer_bytes=buffer_bytes,
        buffers=buffers,
        memory_mib=PROGRAM_MIB + -(-held_bytes // MIB),
    )
