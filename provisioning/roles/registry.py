"""The roles: on which hosts each applies, and what builds its list of resources.

To add a role, write its file and add a row here.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Resource
from provisioning.hosts.topology import HostRole
from provisioning.roles.engine.role import engine
from provisioning.roles.gateway.door import DoorSecrets, door
from provisioning.roles.gateway.gateway import gateway
from provisioning.roles.gateway.pools import pools_of
from provisioning.roles.gateway.tunnel import tunnel
from provisioning.roles.host.base import base
from provisioning.roles.inputs import RoleInputs
from provisioning.roles.monitoring.role import monitoring
from provisioning.roles.services.overflow import overflow, without_overflow
from provisioning.roles.services.role import services
from serving.spec.gateway_size import reserved_alone_mib, reserved_mib


@dataclass(frozen=True)
class Role:
    """One row of the registry."""

    option: str
    """The word of `--roles` that selects this role; provisioning/roles/__init__.py lists all words."""
    hosts: Set[HostRole]
    """The role applies to a host that has one of these host roles."""
    build: Callable[[HostRecord, RoleInputs], list[Resource]]
    """Returns the resources that the role needs on a host, in an order that works."""


def _base(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    gateway_host = inputs.topology.gateway_host if inputs.topology.has(host, HostRole.DOOR) else None
    return base(host, inputs.outputs.gateway, gateway_host)


def _engine(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    return engine(
        host, inputs.outputs.serving_of(host), inputs.sources_of(host), allow_downgrade=inputs.allow_downgrade
    )


def _tunnel(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    keys, far_end = inputs.tunnel_keys, inputs.dialled_end
    assert keys is not None  # noqa: S101 (the host is an end of a tunnel)
    assert far_end is not None  # noqa: S101
    return tunnel(inputs.outputs, host, keys, far_end)


def _services(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    return services(host, inputs.outputs)


def _overflow(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    if not inputs.topology.has(host, HostRole.GATEWAY):
        return without_overflow()
    pools = pools_of(inputs.outputs, host, inputs.names)
    return overflow(host, inputs.outputs, pools, inputs.overflow_keys)


def _gateway(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    alone = host.name == inputs.outputs.gateway_host
    spec, memory_gib = inputs.outputs.gateway, host.memory_gib
    reserved = reserved_alone_mib(memory_gib, spec) if alone else reserved_mib(memory_gib, gpu=host.gpu is not None)
    pools = pools_of(inputs.outputs, host, inputs.names)
    cas = inputs.door_cas if alone else ""
    return gateway(pools, spec, inputs.credentials[host.name], reserved, cas)


def _door(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    key, outputs = inputs.engine_key, inputs.outputs
    assert key is not None  # noqa: S101 (the host is behind a gateway's host)
    reserved = reserved_mib(host.memory_gib, gpu=host.gpu is not None)
    secrets = DoorSecrets(certificate=inputs.door_certificate(host), key=key)
    return door(host, outputs.serving_of(host), outputs.gateway, secrets, reserved)


def _monitoring(host: HostRecord, inputs: RoleInputs) -> list[Resource]:
    return monitoring(inputs.outputs, host)


REGISTRY: Mapping[str, Role] = {
    "base": Role("base", {HostRole.BASE}, _base),
    "engine": Role("engine", {HostRole.ENGINE}, _engine),
    "services": Role("services", {HostRole.ENGINE}, _services),
    "overflow": Role("services", {HostRole.GATEWAY, HostRole.DOOR}, _overflow),
    "tunnel": Role("gateway", {HostRole.TUNNEL_CLIENT, HostRole.TUNNEL_SERVER}, _tunnel),
    "door": Role("gateway", {HostRole.DOOR}, _door),
    "gateway": Role("gateway", {HostRole.GATEWAY}, _gateway),
    "monitoring": Role("monitoring", {HostRole.GATEWAY, HostRole.DOOR}, _monitoring),
}
"""By name, in the order in which a host gets them. The gateway opens when the engine answers."""


def applicable(host_roles: Set[HostRole], options: Sequence[str]) -> list[str]:
    """Return the names of the roles that `options` select for a host with `host_roles`, in the registry's order."""
    return [name for name, role in REGISTRY.items() if role.option in options and role.hosts & host_roles]
