"""Lists and removes the resources of one stack, in the same way in every cloud."""

from collections.abc import Callable

from core.console import say
from infra.clouds.cloud import Cloud
from infra.clouds.resources.kinds import CloudResource, Found
from infra.clouds.resources.queries import NOT_KNOWN, that_matter
from infra.contract.stack_placement import Placement


def find(cloud: Cloud, placement: Placement) -> list[str]:
    """Return a line for each resource of a placement that still exists, without those that the stack file keeps.

    A kind that could not be listed, and that the stack may have, is a line that begins with NOT_KNOWN.
    """
    found = found_of(cloud, placement)
    unasked = [f"{NOT_KNOWN}{each}" for each in that_matter(found.unasked, placement.parts)]
    return [*(str(resource) for resource in found if not resource.keep), *unasked]


def kept(cloud: Cloud, placement: Placement) -> list[str]:
    """Return a line for each resource of a placement that the stack file keeps, with its cost."""
    return [f"{resource}: {cloud.cost(resource)}" for resource in found_of(cloud, placement) if resource.keep]


def remove(cloud: Cloud, placement: Placement, deadline_s: float) -> None:
    """Remove what `find` lists. Raises DeployError if something remains."""
    resources = [resource for resource in found_of(cloud, placement) if not resource.keep]
    cloud.remove_resources(resources, deadline_s=deadline_s)


def remove_orphans(
    cloud: Cloud,
    placement: Placement,
    known: set[str],
    deadline_s: float,
    *,
    refuse: Callable[[list[CloudResource]], None] = lambda _orphans: None,
) -> list[str]:
    """Remove orphans of a placement: resources with its id that are not in `known`. Return them, a line each.

    A kind that cannot be listed is a warning. `refuse` may raise before anything is removed.
    """
    found = found_of(cloud, placement)
    for each in that_matter(found.unasked, placement.parts):
        say(f"  ! could not list {each}; orphans of this kind may remain, cost money and block `up`")
    orphans = [resource for resource in found if not resource.keep and not cloud.is_known(resource, known)]
    refuse(orphans)
    cloud.remove_resources(orphans, deadline_s=deadline_s)
    return [str(resource) for resource in orphans]


def found_of(cloud: Cloud, placement: Placement) -> Found:
    """Return the resources of a placement. Raises UsageError for a login that cannot see them."""
    cloud.refuse_other_login(placement)
    return cloud.resources(placement)
