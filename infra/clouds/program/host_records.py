"""The hosts of a stack in the shape of infra.contract.outputs.HostRecord, the same for AWS and GCP."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pulumi

from catalog.machines import Machine
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement
from serving.spec.pool_name import MAIN

LOGIN_USER = "ubuntu"
DATA_DIR = "/var/lib/llm"


class Node(Protocol):
    """The values of a host that are known only after its creation."""

    machine: Machine
    address: pulumi.Output[str]
    private_address: pulumi.Output[str]
    host_public_key: pulumi.Output[str]


def host_records(
    config: DeploymentConfig,
    identity_file: Path,
    ends_at: str,
    nodes: Mapping[str, Node],
    *,
    pools: Mapping[str, str],
    private: bool,
    notices: pulumi.Output[dict[str, Any]] | None = None,
) -> pulumi.Output[list[dict[str, Any]]]:
    """Return the records of all hosts; `nodes` has the values of each host by name.

    `pools`: the pool of each host with an engine, by name; the gateway's own machine has none. `private`: with their
    private addresses, which the gateway's own machine connects to. `notices`: the folder of a bucket for the last
    records of spot machines.
    """
    hosts, machines = [], config.machines
    for name, node in nodes.items():
        host = {**_common(config, node.machine, str(identity_file), ends_at), "name": name}
        machine = machines[pools[name]] if name in pools else None
        if pools.get(name, MAIN) != MAIN:
            host["pool"] = pools[name]
        is_spot = machine is not None and machine.market == "spot"
        if machine is not None and is_spot:
            host |= {"market": "spot", "drain_on_rebalance": machine.drain_on_rebalance}
        values = [node.address, node.host_public_key, *([node.private_address] if private else [])]
        record = pulumi.Output.all(*values).apply(partial(_with_addresses, host))
        hosts.append(
            record if notices is None or not is_spot else pulumi.Output.all(record, notices).apply(_with_notices)
        )
    return pulumi.Output.all(*hosts)


def proved(placement: KnownPlacement, instance_ids: Sequence[pulumi.Output[str]]) -> pulumi.Output[dict[str, Any]]:
    """Return the placement that a stack exports, only after all its machines are made.

    A state without a placement means that the stack was never complete. If the placement did not wait for the machines,
    a failed `up` would export it or not, depending on timing.
    """
    dumped = placement.placement.model_dump(mode="json")
    return pulumi.Output.all(*instance_ids).apply(lambda _ids: dumped)


def _common(config: DeploymentConfig, machine: Machine, identity_file: str, ends_at: str) -> dict[str, Any]:
    """Return the fields that hosts with the same machine type share."""
    network = config.network
    host: dict[str, Any] = {
        "user": LOGIN_USER,
        "identity_file": identity_file,
        "cloud": config.cloud,
        "virtualization": "vm",
        "cpu_count": machine.vcpus,
        "memory_gib": machine.memory_gib,
        "data_dir": DATA_DIR,
        "ssh_cidrs": list(network.ssh_cidrs),
        "client_cidrs": [] if network.clients_from_anywhere else list(network.client_cidrs),
        "ends_at": ends_at,
    }
    if machine.gpu is not None:
        host["gpu"] = {"model": machine.gpu.name, "count": machine.gpu_count, "vram_gib": machine.vram_gib_per_gpu}
    return host


def _with_notices(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a host's record with the folder for its last records."""
    return {**parts[0], "notice_folder": parts[1]}


def _with_addresses(host: dict[str, Any], seen: list[Any]) -> dict[str, Any]:
    """Return a host with its addresses and host key, which are known only after it is made."""
    address, public_key, *private = seen
    return {
        **host,
        "address": address,
        "host_keys": [public_key],
        **({"private_address": private[0]} if private else {}),
    }
