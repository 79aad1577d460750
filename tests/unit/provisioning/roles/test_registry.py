"""Which roles a host gets, in which order, and that the command line knows them all."""

from collections.abc import Sequence, Set

import pytest

from provisioning.hosts.topology import HostRole
from provisioning.roles import ROLES
from provisioning.roles.registry import REGISTRY, applicable

SERVER = {HostRole.BASE, HostRole.ENGINE, HostRole.GATEWAY}
ENGINE_END = {HostRole.BASE, HostRole.ENGINE, HostRole.TUNNEL_CLIENT}
GATEWAY_END = {HostRole.BASE, HostRole.GATEWAY, HostRole.TUNNEL_SERVER}
BEHIND_DOOR = {HostRole.BASE, HostRole.ENGINE, HostRole.DOOR}
GATEWAY_ALONE = {HostRole.BASE, HostRole.GATEWAY}

CASES = {
    "all on one host": (SERVER, ROLES, ["base", "engine", "services", "overflow", "gateway", "monitoring"]),
    "the order of the command line does not matter": (SERVER, ("gateway", "base"), ["base", "gateway"]),
    "one role": (SERVER, ("engine",), ["engine"]),
    "nothing chosen": (SERVER, (), []),
    "the engine's end of a tunnel": (ENGINE_END, ROLES, ["base", "engine", "services", "tunnel"]),
    "the gateway's end of a tunnel": (GATEWAY_END, ROLES, ["base", "overflow", "tunnel", "gateway", "monitoring"]),
    "the tunnel comes with the gateway": (ENGINE_END, ("gateway",), ["tunnel"]),
    "no tunnel without the gateway": (ENGINE_END, ("base", "engine"), ["base", "engine"]),
    "behind a gateway's host": (BEHIND_DOOR, ROLES, ["base", "engine", "services", "overflow", "door", "monitoring"]),
    "the door comes with the gateway": (BEHIND_DOOR, ("gateway",), ["door"]),
    "a gateway's host": (GATEWAY_ALONE, ROLES, ["base", "overflow", "gateway", "monitoring"]),
    "a role of other hosts": (GATEWAY_END, ("engine",), []),
}


@pytest.mark.parametrize(("host_roles", "options", "names"), CASES.values(), ids=CASES)
def test_roles_that_apply(host_roles: Set[HostRole], options: Sequence[str], names: list[str]) -> None:
    assert applicable(host_roles, options) == names


def test_the_command_line_offers_the_registrys_roles() -> None:
    assert tuple(dict.fromkeys(role.option for role in REGISTRY.values())) == ROLES
