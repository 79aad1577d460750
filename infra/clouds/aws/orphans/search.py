"""Finding and removing the resources of stacks on AWS, service by service. Never reads the Pulumi state.

Resources with tags are found by tag, the others by name, `llm-<stack>-<id>`. The tagging service would need one call
only, but it still lists resources that were deleted minutes ago.
"""

import time
from collections.abc import Callable, Iterable

from core.console import say
from infra.clouds.aws.api.client import HOME, call
from infra.clouds.aws.api.known_regions import DEFAULT_REGIONS, regions_of_stacks
from infra.clouds.aws.orphans.resource_kinds import KINDS
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import REMOVE_DEADLINE_S, CloudResource, Found
from infra.clouds.resources.queries import ask_again, ask_for
from infra.clouds.resources.removal import remove_until_gone

ALONE = {kind.name: kind for kind in KINDS if kind.everywhere}
"""Kinds of services that answer the same in every region; the calls go to HOME."""

OTHER_REGIONS = "regions that were enabled beside these"
"""A place that cannot be searched if the list of regions is denied."""


def find_resources(region: str, placement_id: str | None = None) -> Found:
    """Return the resources of one placement, or of all, in the order in which they can be removed."""
    return ask_for(KINDS, region, placement_id)


def find_in(place: str) -> Found:
    """Return the resources of all stacks in one of `places`, in the order in which they can be removed."""
    if place == OTHER_REGIONS:
        _enabled_regions()  # raises the error that says why they are not known
        return Found()
    if place in ALONE:
        return ask_for([ALONE[place]], HOME, None)
    return ask_for((kind for kind in KINDS if not kind.everywhere), place, None)


def remove_resources(
    resources: Iterable[CloudResource],
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove resources and wait until they no longer exist. Raises DeployError with AWS's text if they remain."""

    def look(left: list[CloudResource]) -> Found:
        return ask_again(KINDS, left, lambda resource: resource.region)

    remove_until_gone(resources, KINDS, look, deadline_s=deadline_s, clock=clock, sleep=sleep)


def places() -> list[str]:
    """Return where to look: the regions that the account has enabled, and each kind without a region.

    Such a kind is a separate place, so that a region or service that denies the call does not hide others. If the list
    of regions is denied, it is those that every account has and those that this checkout's stacks name.
    """
    try:
        return [*sorted(_enabled_regions()), *ALONE]
    except DeniedError as error:
        regions = {*DEFAULT_REGIONS, *regions_of_stacks()}
        say(f"  ! {error}; searching the {len(regions)} regions that every account has or a stack here is in")
        return [*sorted(regions), OTHER_REGIONS, *ALONE]


def _enabled_regions() -> set[str]:
    return {str(each["RegionName"]) for each in call("ec2", HOME, "describe_regions")["Regions"]}
