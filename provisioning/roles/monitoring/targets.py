"""What Prometheus reads: the metrics of each host of a stack, and how it reaches them."""

from collections.abc import Iterator
from dataclasses import dataclass

from core.ports import (
    ACCESS_METRICS_PORT,
    ALERTMANAGER_PORT,
    NODE_EXPORTER_PORT,
    OVERFLOW_METRICS_PORT,
    PROMETHEUS_PORT,
    WATCH_METRICS_PORT,
)
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.gateway import metrics_paths
from provisioning.roles.gateway.pools import engines_behind
from provisioning.roles.host.nvidia import METRICS_PORT as GPU_METRICS_PORT
from serving.spec.models import GatewaySpec
from serving.spec.rules import METRICS_PORT


@dataclass(frozen=True, kw_only=True)
class Target:
    """Metrics at one address."""

    job: str
    host: str
    """The host that the metrics are about."""
    address: str
    path: str = "/metrics"


def targets(outputs: StackOutputs, host: HostRecord) -> tuple[Target, ...]:
    """Return what the Prometheus of `host`, which has a gateway, reads."""
    behind = engines_behind(outputs, host) if host.name == outputs.gateway_host else ()
    return (*_on_loopback(outputs, outputs.gateway, host), *(each for far in behind for each in _at_door(outputs, far)))


def _on_loopback(outputs: StackOutputs, gateway: GatewaySpec, host: HostRecord) -> Iterator[Target]:
    def local(job: str, port: int, path: str = "/metrics") -> Target:
        return Target(job=job, host=host.name, address=f"127.0.0.1:{port}", path=path)

    yield local("haproxy", METRICS_PORT)
    yield local("queue", METRICS_PORT, metrics_paths.QUEUE)
    if outputs.gateway_host is None and outputs.serving_of(host).engine == "vllm":
        (engine,) = engines_behind(outputs, host)
        yield Target(job="engine", host=engine.name, address=f"127.0.0.1:{METRICS_PORT}", path=metrics_paths.ENGINE)
    if HostRole.ENGINE in Topology(outputs).roles_of(host):
        yield local("watch", WATCH_METRICS_PORT)
    if gateway.overflow is not None:
        yield local("overflow", OVERFLOW_METRICS_PORT)
    yield local("access", ACCESS_METRICS_PORT)
    yield local("node", NODE_EXPORTER_PORT)
    if _has_gpu_exporter(host):
        yield local("gpu", GPU_METRICS_PORT)
    yield local("prometheus", PROMETHEUS_PORT)
    if gateway.alerts is not None:
        yield local("alertmanager", ALERTMANAGER_PORT)


def _at_door(outputs: StackOutputs, host: HostRecord) -> Iterator[Target]:
    """Yield the metrics of a host behind the gateway's. HAProxy passes them on, as only it has the key of the door."""
    paths = {"watch": metrics_paths.WATCH, "node": metrics_paths.NODE}
    if outputs.serving_of(host).engine == "vllm":
        paths |= {"engine": metrics_paths.ENGINE, "access": metrics_paths.LINES}
    if _has_gpu_exporter(host):
        paths["gpu"] = metrics_paths.GPU
    for job, path in paths.items():
        yield Target(job=job, host=host.name, address=f"127.0.0.1:{METRICS_PORT}", path=f"{path}/{host.name}")


def _has_gpu_exporter(host: HostRecord) -> bool:
    """Return whether the engine's role installs dcgm-exporter there."""
    return host.gpu is not None and host.virtualization != "container"
