"""Listing all kinds of resources in a cloud. Each kind is queried separately: a denied one hides no other."""

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from core.errors import DeployError, UsageError
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import CloudResource, Found, ResourceKind, Unasked

NOT_KNOWN = "not known: "
"""Start of the line about a kind that could not be listed."""

PARTS = {
    "bucket": "bucket",
    "budget": "budget",
    "notification channel": "budget",
    "spot request": "spot",
    "schedule": "weekly",
    "network": "network",
    "subnet": "network",
    "route table": "network",
    "internet gateway": "network",
    "endpoint": "network",
    "GuardDuty endpoint": "network",
    "GuardDuty security group": "network",
}
"""Kinds that only some stacks have, and the part of a stack file that creates them (lifecycle/placement)."""


def that_matter(unasked: Iterable[Unasked], parts: Iterable[str] | None) -> list[Unasked]:
    """Return the kinds that a stack with these `parts` may have. None: it may have all parts."""
    return [each for each in unasked if parts is None or PARTS.get(each.kind, "") in ("", *parts)]


def ask_for(kinds: Iterable[ResourceKind], place: str, placement_id: str | None) -> Found:
    """Return the resources of one placement, or of all. Raises UsageError if every kind refuses the login."""
    wanted = list(kinds)
    if not wanted:
        return Found()
    with ThreadPoolExecutor(len(wanted)) as pool:  # so a cloud that does not answer delays all kinds by one timeout
        answers = list(pool.map(lambda kind: _ask(kind, place, placement_id), wanted))
    found = Found()
    for resources, unasked in answers:
        found += [resource for resource in resources if placement_id in (None, resource.placement_id)]
        found.unasked += [unasked] if unasked else []
    if len(found.unasked) == len(wanted) and all(isinstance(each.error, UsageError) for each in found.unasked):
        raise found.unasked[0].error
    return found


def ask_again(
    kinds: Iterable[ResourceKind], left: Iterable[CloudResource], place_of: Callable[[CloudResource], str]
) -> Found:
    """Query the cloud again, only for the kinds, places and placements of the resources in `left`."""
    kinds, names = list(kinds), dict[tuple[str, str], set[str]]()
    for resource in left:
        names.setdefault((place_of(resource), resource.placement_id), set()).add(resource.kind)
    found = Found()
    for (place, placement_id), wanted in names.items():
        answer = ask_for((kind for kind in kinds if kind.name in wanted), place, placement_id)
        found += answer
        found.unasked += answer.unasked
    return found


def _ask(kind: ResourceKind, place: str, placement_id: str | None) -> tuple[list[CloudResource], Unasked | None]:
    """Return the resources of a kind. If listing is denied, find them through other resources, which may miss some."""
    resources: list[CloudResource] = []
    try:
        resources.extend(kind.find(place, placement_id))
    except DeployError as error:
        if isinstance(error, DeniedError) and kind.otherwise is not None:
            with contextlib.suppress(DeployError):  # the error of the list is the one to report
                resources.extend(kind.otherwise(place, placement_id))
        return resources, Unasked(kind.name, place, error)
    return resources, None
