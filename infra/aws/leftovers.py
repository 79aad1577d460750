"""Finding and removing what AWS still has of ours, service by service. Never looks at the Pulumi state.

What carries tags is found by them; the rest by its name, `llm-<stack>-<id>`. An answer from the tagging service would
be one call, but it still lists what was deleted minutes ago.
"""

import time
from collections.abc import Callable, Iterable

from infra.aws.api import call
from infra.aws.leftover_kinds import KINDS
from infra.things import REMOVE_DEADLINE_S, Thing, remove_until_gone

HOME = "us-east-1"
"""Where services are asked that answer the same in every region."""

ALONE = {kind.name: kind for kind in KINDS if kind.everywhere}
"""Kinds of those services."""


def find_things(region: str, lease_id: str | None = None) -> list[Thing]:
    """Return what is there of one lease, or of all of them, in the order in which it can be removed."""
    things = [thing for kind in KINDS for thing in kind.find(region, lease_id)]
    return [thing for thing in things if lease_id in (None, thing.lease_id)]


def find_in(place: str) -> list[Thing]:
    """Return what one of `places` has, of all leases, in the order in which it can be removed."""
    if place in ALONE:
        return list(ALONE[place].find(HOME, None))
    return [thing for kind in KINDS if not kind.everywhere for thing in kind.find(place, None)]


def remove_things(
    things: Iterable[Thing],
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove things and wait until they are gone. Raises DeployError with what AWS said when they do not go."""

    def look(left: list[Thing]) -> set[Thing]:
        asked = {(thing.kind, thing.region, thing.lease_id) for thing in left}
        kinds = {kind.name: kind for kind in KINDS}
        return {each for name, region, lease_id in asked for each in kinds[name].find(region, lease_id)}

    remove_until_gone(things, KINDS, look, deadline_s=deadline_s, clock=clock, sleep=sleep)


def places() -> list[str]:
    """Return where to look: the regions that the account has enabled, and each kind that is in none of them.

    Such a kind is a place of its own, so that a region or service that may not be asked hides no other.
    """
    seen = call("ec2", HOME, "describe_regions")["Regions"]
    return [*sorted(str(each["RegionName"]) for each in seen), *ALONE]
