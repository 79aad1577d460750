"""The Pulumi program of cloud `local`: equal machines for each pool, and one for the gateway if asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from core.paths import state_dir
from infra.clouds.local.machine_component import LocalMachine, LocalMachineArgs
from infra.clouds.local.parts.record import machine_name
from infra.clouds.program.naming import gateway_name
from infra.clouds.program.ssh_key import stack_key_pair
from infra.config import DeploymentConfig
from infra.config.models.gateway import GatewayMachineSpec
from infra.config.models.machine import MachineSpec
from infra.config.models.network import NetworkSpec
from infra.contract.deployment import Deployment
from serving.spec.pool_name import MAIN

MIB_PER_GIB = 1024


def deploy_machines(config: DeploymentConfig) -> Deployment:
    """Declare the machines."""
    stack = pulumi.get_stack()
    keys = stack_key_pair(stack)
    pools = {
        machine_name(stack, number, pool): pool
        for pool, machine in config.machines.items()
        for number in range(1, machine.count + 1)
    }
    sizes: dict[str, MachineSpec | GatewayMachineSpec] = {name: config.machines[pool] for name, pool in pools.items()}
    gateway_host = None
    if config.gateway.machine is not None:
        gateway_host = gateway_name(stack)
        sizes[gateway_host] = config.gateway.machine
    machines = [
        LocalMachine(
            LocalMachineArgs(
                name=name,
                stack=stack,
                owner=str(state_dir().resolve()),
                memory_mib=round(size.memory_gib * MIB_PER_GIB),
                cpus=size.cpus,
                disk_gib=size.disk_gib,
                public_keys=(keys.public,),
            )
        )
        for name, size in sizes.items()
    ]
    hosts = pulumi.Output.all(*(machine.host for machine in machines))
    return Deployment(
        hosts=hosts.apply(lambda made: with_networks(made, config.network, pools)), gateway_host=gateway_host
    )


def with_networks(
    hosts: Sequence[dict[str, Any] | None], network: NetworkSpec, pools: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return `hosts` with the networks that may reach them, and with their pools by host.

    Leaves out hosts that a preview does not know yet.
    """
    networks = {"ssh_cidrs": list(network.ssh_cidrs), "client_cidrs": list(network.client_cidrs)}
    written = {key: cidrs for key, cidrs in networks.items() if cidrs}
    return [{**host, **written, **_pool(pools.get(host["name"], MAIN))} for host in hosts if host]


def _pool(name: str) -> dict[str, str]:
    return {} if name == MAIN else {"pool": name}
