"""Compares the memory and processors of this computer with what a stack's file needs.

Counts all memory, also what other programs use now: machines seldom reach their limits, and not all at once.
"""

import os
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.machine import MachineSpec

GIB = 2**30


def host_memory_gib() -> float:
    """Return the memory of this computer."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def more_than_there_is(machine: MachineSpec, *, memory_gib: float, cpus: int) -> Iterator[Problem]:
    """Yield a problem if all machines together need too much memory, or one machine too many processors.

    Machines share processors, so each may use all of them. They cannot share memory.
    """
    asked_gib = machine.memory_gib * machine.count
    if asked_gib > memory_gib:
        what = f"{machine.memory_gib:g} GiB" + (f" x {machine.count} machines" if machine.count > 1 else "")
        most_gib = int(memory_gib / machine.count * 10) / 10
        yield Problem(
            "machine.memory_gib",
            f"{what} is more than the {memory_gib:.1f} GiB of this computer",
            f"write at most {most_gib:g}",
        )
    if machine.cpus > cpus:
        what = f"{machine.cpus:g} is more than the {cpus} processors of this computer"
        yield Problem("machine.cpus", what, f"write at most {cpus}")
