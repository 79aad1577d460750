"""Asking a rented cloud for all kinds of things, each kind apart: one that may not be asked hides no other."""

import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from core.errors import DeployError, UsageError
from infra.clouds.refusals import DeniedError
from infra.clouds.resources import CloudResource, Found, ResourceKind, Unasked

NOT_KNOWN = "not known: "
"""Begins the line of a kind that could not be asked for."""

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
"""Kinds that only some stacks have -> the part of a stack file that makes them (infra/lifecycle/optional_parts.py)."""


def that_matter(unasked: Iterable[Unasked], parts: Iterable[str] | None) -> list[Unasked]:
    """Return the kinds of which a stack with these `parts` may have something; None: it may have all parts."""
    return [each for each in unasked if parts is None or PARTS.get(each.kind, "") in ("", *parts)]


def ask_for(kinds: Iterable[ResourceKind], place: str, placement_id: str | None) -> Found:
    """Return what is there of one lease, or of all of them. Raises UsageError when no kind takes the login."""
    wanted = list(kinds)
    if not wanted:
        return Found()
    with ThreadPoolExecutor(len(wanted)) as pool:  # a cloud that does not answer holds up all kinds at once
        answers = list(pool.map(lambda kind: _ask(kind, place, placement_id), wanted))
    found = Found()
    for resources, unasked in answers:
        found += [resource for resource in resources if placement_id in (None, resource.placement_id)]
        found.unasked += [unasked] if unasked else []
    if len(found.unasked) == len(wanted) and all(isinstance(each.error, UsageError) for each in found.unasked):
        raise found.unasked[0].error
    return found


def _ask(kind: ResourceKind, place: str, placement_id: str | None) -> tuple[list[CloudResource], Unasked | None]:
    """Return what is there of a kind; by another way where listing it is denied, which may not find everything."""
    resources: list[CloudResource] = []
    try:
        resources.extend(kind.find(place, placement_id))
    except DeployError as error:
        if isinstance(error, DeniedError) and kind.otherwise is not None:
            with contextlib.suppress(DeployError):  # the first refusal says enough
                resources.extend(kind.otherwise(place, placement_id))
        return resources, Unasked(kind.name, place, error)
    return resources, None
