"""Removing what an interrupted or failed command created and did not write to the state."""

from functools import partial
from typing import TYPE_CHECKING

from catalog.clouds import RENTED
from core.console import say, step
from infra.clouds.registry import holder_of
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S
from infra.clouds.stack_resources import remove_orphans
from infra.lifecycle.placement.lost_state import refuse_half_lost_state
from infra.lifecycle.placement.previous import known_placement

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def recover(cloud: str, stack: str, held: "Stack", deadline_s: float = REMOVE_DEADLINE_S) -> None:
    """Remove the orphans of an interrupted command: their names and addresses would block the next one.

    Raises DeployError if they remain. Removes nothing of a complete stack whose state is empty: then the state is
    missing (it is in another backend, for example), and everything would look like an orphan. Removes nothing either if
    the state lacks hosts or disks that no command was creating.
    """
    if cloud not in RENTED or not held.interrupted:
        return
    held.read_again()  # what the state lacks is removed, and another checkout may have changed it since the last read
    placement = known_placement(cloud, stack, held)
    holder = holder_of(cloud, placement)
    known = held.known_ids() if holder else set()
    if holder and placement is not None and (known or not placement.is_complete):
        with step("find what the previous command created and did not record"):
            refuse = partial(refuse_half_lost_state, stack, placement, held)
            for line in remove_orphans(*holder, known, deadline_s, refuse=refuse):
                say(f"  - removed {line}")
