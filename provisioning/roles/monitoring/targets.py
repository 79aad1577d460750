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
from provisioning.roles.gateway.gateway import ENGINE_METRICS_PATH
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
    return tuple(_on_loopback(outputs, outputs.gateway, host))


def _on_loopback(outputs: StackOutputs, gateway: GatewaySpec, host: HostRecord) -> Iterator[Target]:
    def local(job: str, port: int, path: str = "/metrics") -> Target:
        return Target(job=job, host=host.name, address=f"127.0.0.1:{port}", path=path)

    yield local("haproxy", METRICS_PORT)
    if outputs.gateway_host is None and outputs.serving.engine == "vllm":
        (engine,) = engines_behind(outputs, host)
        yield Target(job="engine", host=engine.name, address=f"127.0.0.1:{METRICS_PORT}", path=ENGINE_METRICS_PATH)
    if HostRole.ENGINE in Topology(outputs).roles_of(host):
        yield local("watch", WATCH_METRICS_PORT)
    if gateway.overflow is not None:
        yield local("overflow", OVERFLOW_METRICS_PORT)
    yield local("access", ACCESS_METRICS_PORT)
    yield local("node", NODE_EXPORTER_PORT)
    if host.gpu is not None and host.virtualization != "container":
        yield local("gpu", GPU_METRICS_PORT)
    yield local("prometheus", PROMETHEUS_PORT)
    if gateway.alerts is not None:
        yield local("alertmanager", ALERTMANAGER_PORT)
