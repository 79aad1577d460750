"""Finding and removing our resources on AWS, service by service. Never reads the Pulumi state.

What carries tags is found by them; the rest by its name, `llm-<stack>-<id>`. An answer from the tagging service would
be one call, but it still lists what was deleted minutes ago.
"""

import time
from collections.abc import Callable, Iterable

from core.console import say
from infra.clouds.aws.api.client import HOME, call
from infra.clouds.aws.api.known_regions import DEFAULT_REGIONS, regions_of_stacks
from infra.clouds.aws.orphans.resource_kinds import KINDS
from infra.clouds.denied_calls import DeniedError
from infra.clouds.queries import ask_for
from infra.clouds.removal import remove_until_gone
from infra.clouds.resources import REMOVE_DEADLINE_S, CloudResource, Found

ALONE = {kind.name: kind for kind in KINDS if kind.everywhere}
"""Kinds of services that answer the same in every region; they are asked in HOME."""

OTHER_REGIONS = "regions that were enabled beside these"
"""A place that nobody can look at where the list of regions is denied."""


def find_resources(region: str, placement_id: str | None = None) -> Found:
    """Return the resources of one placement, or of all, in the order in which they can be removed."""
    return ask_for(KINDS, region, placement_id)


def find_in(place: str) -> Found:
    """Return what one of `places` has of all stacks, in the order in which it can be removed."""
    if place == OTHER_REGIONS:
        _enabled_regions()  # raises what says why they are not known
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
    """Remove things and wait until they are gone. Raises DeployError with what AWS said when they do not go."""

    def look(left: list[CloudResource]) -> Found:
        found = Found()
        for region, placement_id in {(resource.region, resource.placement_id) for resource in left}:
            names = {
                resource.kind for resource in left if (resource.region, resource.placement_id) == (region, placement_id)
            }
            answer = ask_for((kind for kind in KINDS if kind.name in names), region, placement_id)
            found += answer
            found.unasked += answer.unasked
        return found

    remove_until_gone(resources, KINDS, look, deadline_s=deadline_s, clock=clock, sleep=sleep)


def places() -> list[str]:
    """Return where to look: the regions that the account has enabled, and each kind that is in none of them.

    Such a kind is a place of its own, so that a region or service that may not be asked hides no other. Where the list
    of regions is denied, they are those that every account has and those that this checkout's stacks name.
    """
    try:
        return [*sorted(_enabled_regions()), *ALONE]
    except DeniedError as error:
        regions = {*DEFAULT_REGIONS, *regions_of_stacks()}
        say(f"  ! {error}; looking at the {len(regions)} regions that every account has or a stack here names")
        return [*sorted(regions), OTHER_REGIONS, *ALONE]


def _enabled_regions() -> set[str]:
    return {str(each["RegionName"]) for each in call("ec2", HOME, "describe_regions")["Regions"]}
