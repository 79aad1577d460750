"""Our way of bringing a host to the benchmark's resources: the task that people run, step by step as in the real one.

Inventory, greeting, connection, agent, narration and the result's file are the real thing.
"""

from typing import Any

from fabric import task

from core.console import say
from provisioning import fabfile
from provisioning.target import Target
from provisioning.task_end import end


@task  # type: ignore[untyped-decorator]  # fabric ships no types
def provision(_: Any, *, inventory: str) -> None:
    """Bring the hosts of an inventory to the benchmark's resources."""

    def run() -> int:
        target = Target(inventory=inventory)
        say(f"→ provision {target.name}")
        fabfile._greet(target, ())
        from benchmarks.converge.program import provision

        return provision(target, names=(), roles=(), at_once=1)

    end(run)
