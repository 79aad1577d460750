"""Compares the memory and processors of this computer with what a stack's file needs.

Counts all memory, also what other programs use now: machines seldom reach their limits, and not all at once.
"""

import os
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

GIB = 2**30


def host_memory_gib() -> float:
    """Return the memory of this computer."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def more_than_there_is(config: DeploymentConfig, *, memory_gib: float, cpus: int) -> Iterator[Problem]:
    """Yield a problem if all machines together need too much memory, or one machine too many processors.

    Machines share processors, so each may use all of them. They cannot share memory.
    """
    machine, gateway = config.machine, config.gateway.machine
    pools = {f"pools.{name}.machine": pool.machine for name, pool in config.pools.items()}
    pools_gib = sum(each.memory_gib * each.count for each in pools.values())
    gateway_gib = gateway.memory_gib if gateway is not None else 0.0
    left_gib = memory_gib - gateway_gib - pools_gib
    if pools and left_gib < machine.count:
        what = (
            f"{pools_gib:g} GiB for all pools leave too little memory on this computer, which has {memory_gib:.1f} GiB"
        )
        yield Problem("pools", what, "write a smaller machine.memory_gib for them")
    elif gateway is not None and left_gib < machine.count:
        what = f"{gateway_gib:g} GiB leaves no memory for engines on this computer, which has {memory_gib:.1f} GiB"
        yield Problem("gateway.machine.memory_gib", what, "write less")
    elif machine.memory_gib * machine.count > left_gib:
        what = f"{machine.memory_gib:g} GiB" + (f" x {machine.count} machines" if machine.count > 1 else "")
        what += f", {pools_gib:g} GiB for pools" if pools else ""
        what += f" and {gateway_gib:g} GiB for the gateway's" if gateway is not None else ""
        most_gib = int(left_gib / machine.count * 10) / 10
        yield Problem(
            "machine.memory_gib",
            f"{what} is more than the {memory_gib:.1f} GiB of this computer",
            f"write at most {most_gib:g}",
        )
    asked = {"machine.cpus": machine.cpus, "gateway.machine.cpus": gateway.cpus if gateway is not None else 0.0}
    asked |= {f"{key}.cpus": each.cpus for key, each in pools.items()}
    for key, number in asked.items():
        if number > cpus:
            what = f"{number:g} is more than the {cpus} processors of this computer"
            yield Problem(key, what, f"write at most {cpus}")
