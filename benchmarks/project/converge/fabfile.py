"""The benchmark's resources for this repository's own tool: a copy of the `provision` task, step by step.

Inventory, prefetch, connection, agent, progress and result file are the real ones.
"""

import sys
from typing import Any

from fabric import main

from core.console import say
from provisioning.cli.fab_program import leave_at_once
from provisioning.cli.task import fab_task
from provisioning.hosts.target import Target

sys.dont_write_bytecode = False
"""As in provisioning/fabfile.py: fab stops Python from keeping compiled modules."""


@fab_task({"inventory": "File of the hosts."})
def provision(_: Any, *, inventory: str = "") -> int:
    """Apply the benchmark's resources to the hosts of an inventory."""
    target = Target(inventory=inventory)
    say(f"→ provision {target.name}")
    from provisioning.hosts.prefetch import begin

    greeted = begin(target, ())
    from benchmarks.project.converge.program import provision

    return provision(target, names=(), roles=(), at_once=1, greeted=greeted)


leave_at_once(main.program)
