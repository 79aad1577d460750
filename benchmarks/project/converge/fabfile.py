"""Our way of bringing a host to the benchmark's resources: the task that people run, step by step as in the real one.

Inventory, greeting, connection, agent, narration and the result's file are the real thing.
"""

from typing import Any

from core.console import say
from provisioning.cli.task import fab_task
from provisioning.hosts.target import Target


@fab_task({"inventory": "File of the hosts."})
def provision(_: Any, *, inventory: str = "") -> int:
    """Bring the hosts of an inventory to the benchmark's resources."""
    target = Target(inventory=inventory)
    say(f"→ provision {target.name}")
    from provisioning.hosts.prefetch import begin

    greeted = begin(target, ())
    from benchmarks.project.converge.program import provision

    return provision(target, names=(), roles=(), at_once=1, greeted=greeted)
