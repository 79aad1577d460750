"""What this computer or the cloud still has of a stack. Queries them, and never the Pulumi state.

`find` changes nothing. `remove` also removes what a killed Pulumi engine created and did not record.
"""

from catalog.clouds import RENTED
from infra.clouds import stack_resources
from infra.clouds.cloud import Cloud
from infra.clouds.registry import cloud_of, holder_of
from infra.contract.stack_placement import Placement, read_placement


def hosts_stay(cloud: str) -> bool:
    """Return whether the hosts of a stack keep serving after `down`, because we did not create them."""
    return cloud_of(cloud).hosts_stay


def find(cloud: str, stack: str) -> list[str]:
    """Return what remains of this checkout's `stack`, a line each."""
    if cloud not in RENTED:
        return cloud_of(cloud).remaining(stack)
    asked = _rented(cloud, stack)
    return stack_resources.find(*asked) if asked else []


def kept(cloud: str, stack: str) -> list[str]:
    """Return what the stack's file says to keep, with its cost, a line each."""
    asked = _rented(cloud, stack)
    return stack_resources.kept(*asked) if asked else []


def remove(cloud: str, stack: str, deadline_s: float) -> None:
    """Remove what `find` returns. Raises DeployError if it fails or takes longer than `deadline_s`."""
    cloud_of(cloud).remove_remaining(stack)
    asked = _rented(cloud, stack)
    if asked:
        stack_resources.remove(*asked, deadline_s)


def _rented(cloud: str, stack: str) -> tuple[Cloud, Placement] | None:
    """Return the cloud and the placement that this checkout noted."""
    return holder_of(cloud, read_placement(stack))
