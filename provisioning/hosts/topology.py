"""Which roles each host of a stack has. Reads the stack's outputs alone: no file, no host."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from infra.contract.outputs import HostRecord, StackOutputs


class HostRole(StrEnum):
    """The role of a host in its stack."""

    BASE = "base"
    """Every host has it."""
    ENGINE = "engine"
    """An engine computes here."""
    GATEWAY = "gateway"
    """Clients connect here."""
    DOOR = "door"
    """An engine computes here, and the gateway of another host sends it the requests."""
    TUNNEL_CLIENT = "tunnel client"
    """The engine's host behind NAT: its ssh dials the gateway's host."""
    TUNNEL_SERVER = "tunnel server"
    """The gateway's host: its sshd answers the engine's host."""


@dataclass(frozen=True)
class Topology:
    """The hosts of a stack, and what each of them does.

    Every host has an engine and a gateway, with two exceptions. With a tunnel there are two hosts: one has the engine,
    the other has the gateway. With a gateway host, that host has the gateway, and all others have an engine.
    """

    outputs: StackOutputs

    def roles_of(self, host: HostRecord) -> Set[HostRole]:
        """Return the roles of `host`."""
        tunnel = self.outputs.tunnel
        if self.outputs.gateway_host is not None:
            if host.name == self.outputs.gateway_host:
                return {HostRole.BASE, HostRole.GATEWAY}
            return {HostRole.BASE, HostRole.ENGINE, HostRole.DOOR}
        if tunnel is None:
            return {HostRole.BASE, HostRole.ENGINE, HostRole.GATEWAY}
        if host.name == tunnel.engine:
            return {HostRole.BASE, HostRole.ENGINE, HostRole.TUNNEL_CLIENT}
        return {HostRole.BASE, HostRole.GATEWAY, HostRole.TUNNEL_SERVER}

    @property
    def gateway_host(self) -> HostRecord | None:
        """The host with the gateway in front of all others; None if there is none."""
        return next((host for host in self.outputs.hosts if host.name == self.outputs.gateway_host), None)

    def has(self, host: HostRecord, role: HostRole) -> bool:
        """Return whether `host` has `role`."""
        return role in self.roles_of(host)

    def hosts_with(self, role: HostRole) -> tuple[HostRecord, ...]:
        """Return the hosts with `role`, in the order of the outputs."""
        return tuple(host for host in self.outputs.hosts if self.has(host, role))
