"""Finding and removing what AWS still has of ours, service by service. Never looks at the Pulumi state.

What carries tags is found by them; the rest by its name, `llm-<stack>-<id>`. An answer from the tagging service would
be one call, but it still lists what was deleted minutes ago.
"""

import time
from collections.abc import Callable, Iterable

from infra.aws.api import call
from infra.aws.leftover_kinds import KINDS
from infra.things import REMOVE_DEADLINE_S, Thing, remove_until_gone


def find_things(region: str, lease_id: str | None = None, *, once: bool = True) -> list[Thing]:
    """Return what is there of one lease, or of all of them, in the order in which it can be removed.

    `once`: also what services have that answer the same in every region.
    """
    things = [thing for kind in KINDS if once or not kind.everywhere for thing in kind.find(region, lease_id)]
    return [thing for thing in things if lease_id in (None, thing.lease_id)]


def remove_things(
    things: Iterable[Thing],
    *,
    deadline_s: float = REMOVE_DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Remove things and wait until they are gone. Raises DeployError with what AWS said when they do not go."""

    def look(left: list[Thing]) -> set[Thing]:
        return {each for place in {(thing.region, thing.lease_id) for thing in left} for each in find_things(*place)}

    remove_until_gone(things, KINDS, look, deadline_s=deadline_s, clock=clock, sleep=sleep)


def places() -> list[str]:
    """Return where to look: the regions that the account has enabled."""
    seen = call("ec2", "us-east-1", "describe_regions")["Regions"]
    return sorted(str(each["RegionName"]) for each in seen)
