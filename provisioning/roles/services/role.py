"""The role `services`: which of our services a host runs."""

from catalog.clouds import RENTED
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Resource
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.services.engine_watch import engine_watch
from provisioning.roles.services.spot_notice import spot_notice


def services(host: HostRecord, outputs: StackOutputs) -> list[Resource]:
    """Return the resources of all services of `host`, in working order."""
    if HostRole.ENGINE not in Topology(outputs).roles_of(host):
        return []
    on_spot = host.market == "spot" and host.cloud in RENTED
    # The files that both share come once: `joined` of the host's list keeps the first of two equal resources.
    return [*engine_watch(host, outputs), *(spot_notice(host, outputs) if on_spot else [])]
