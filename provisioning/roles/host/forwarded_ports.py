"""Ports of a host's loopback that sshd lets people forward: metrics, and the pages of the monitoring."""

from core.ports import ALERTMANAGER_PORT, GRAFANA_PORT, PROMETHEUS_PORT, SCREEN_PORTS
from provisioning.roles.host.nvidia import METRICS_PORT as GPU_METRICS_PORT
from serving.spec.models import GatewaySpec
from serving.spec.rules import METRICS_PORT

PAGES = {
    METRICS_PORT: "/metrics",
    GPU_METRICS_PORT: "/metrics",
    PROMETHEUS_PORT: "/classic/alerts",
    ALERTMANAGER_PORT: "/api/v2/alerts",
    GRAFANA_PORT: "/",
}
"""What to open at each port. The distributions' Prometheus has its pages below /classic alone, and their Alertmanager
has none."""

NEEDS = {
    PROMETHEUS_PORT: "gateway.monitoring",
    ALERTMANAGER_PORT: "gateway.monitoring",
    GRAFANA_PORT: "gateway.monitoring.grafana",
}
"""The keys of the stack file without which nothing is at these ports."""

OF_GATEWAY = (METRICS_PORT, *NEEDS)
"""In a stack with several hosts, the gateway's host is the one that people mean."""


def forwarded_ports(gateway: GatewaySpec) -> tuple[int, ...]:
    """Return the ports that sshd lets people forward on hosts that were made for this stack."""
    screens = (*(SCREEN_PORTS if gateway.monitoring else ()), *((GRAFANA_PORT,) if gateway.grafana else ()))
    return (METRICS_PORT, GPU_METRICS_PORT, *screens)
