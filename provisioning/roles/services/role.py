"""The role `services`: which of our services a host runs."""

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Resource
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.services.engine_watch import engine_watch


def services(host: HostRecord, outputs: StackOutputs) -> list[Resource]:
    """Return the resources of all services of `host`, in working order."""
    roles = Topology(outputs).roles_of(host)
    return engine_watch(host, outputs) if HostRole.ENGINE in roles else []
