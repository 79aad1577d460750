"""Which roles each host has: all of them, a part behind a gateway host, or one end of a tunnel."""

from collections.abc import Mapping, Set
from typing import Any

import pytest

from provisioning.hosts.topology import HostRole, Topology
from tests.unit.provisioning.records import host_values, stack

SERVER = {"base", "engine", "gateway"}
ENGINE_END = {"base", "engine", "tunnel client"}
GATEWAY_END = {"base", "gateway", "tunnel server"}

BEHIND_DOOR = {"base", "engine", "door"}
GATEWAY_ALONE = {"base", "gateway"}

CASES: Mapping[str, tuple[dict[str, Any], dict[str, Set[str]]]] = {
    "one host": ({}, {"a": SERVER}),
    "two hosts that serve the same": ({}, {"a": SERVER, "b": SERVER}),
    "a gateway host in front of two": (
        {"gateway_host": "b"},
        {"a": BEHIND_DOOR, "b": GATEWAY_ALONE, "c": BEHIND_DOOR},
    ),
    "an engine behind NAT": ({"tunnel": {"engine": "a", "gateway": "b"}}, {"a": ENGINE_END, "b": GATEWAY_END}),
    "the gateway listed first": ({"tunnel": {"engine": "b", "gateway": "a"}}, {"a": GATEWAY_END, "b": ENGINE_END}),
    "the gateway at another address": (
        {"tunnel": {"engine": "a", "gateway": "b", "address": "198.51.100.9", "port": 2222}},
        {"a": ENGINE_END, "b": GATEWAY_END},
    ),
}


@pytest.mark.parametrize(("keys", "roles"), CASES.values(), ids=CASES)
def test_roles_of_each_host(keys: dict[str, Any], roles: dict[str, Set[str]]) -> None:
    hosts = [host_values(name, address=f"203.0.113.{number}") for number, name in enumerate(roles, start=1)]
    outputs = stack(*hosts, **keys)
    topology = Topology(outputs)
    assert {host.name: topology.roles_of(host) for host in outputs.hosts} == roles
    for role in HostRole:
        assert [host.name for host in topology.hosts_with(role)] == [name for name in roles if role in roles[name]]
