"""What is left of a stack, by asking the host or the cloud itself and never the Pulumi state.

`find` changes nothing. `remove` ends what the state does not know of: what a killed engine made and could not note.
"""

from catalog.clouds import RENTED
from infra.clouds import stack_resources
from infra.clouds.cloud import Cloud
from infra.clouds.registry import cloud_of, holder_of
from infra.contract.stack_placement import Placement, read_placement


def hosts_stay(cloud: str) -> bool:
    """Return whether the hosts of a stack are not ours to remove: they go on serving after a teardown."""
    return cloud_of(cloud).hosts_stay


def find(cloud: str, stack: str) -> list[str]:
    """Return what is left of this checkout's `stack`, a line each; empty when nothing is."""
    if cloud not in RENTED:
        return cloud_of(cloud).remaining(stack)
    asked = _rented(cloud, stack)
    return stack_resources.find(*asked) if asked else []


def kept(cloud: str, stack: str) -> list[str]:
    """Return what was left in place because the stack's file says so, with what it costs, a line each."""
    asked = _rented(cloud, stack)
    return stack_resources.kept(*asked) if asked else []


def remove(cloud: str, stack: str, deadline_s: float) -> None:
    """Remove what `find` would name. Raises DeployError when it cannot, or a cloud takes longer than `deadline_s`."""
    cloud_of(cloud).remove_remaining(stack)
    asked = _rented(cloud, stack)
    if asked:
        stack_resources.remove(*asked, deadline_s)


def _rented(cloud: str, stack: str) -> tuple[Cloud, Placement] | None:
    """Return whom to ask about what this checkout noted."""
    return holder_of(cloud, read_placement(stack))
