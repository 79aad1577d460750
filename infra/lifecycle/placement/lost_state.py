"""Refuses to create a stack's machines a second time: the state is empty, and the cloud still has the resources.

The state is in another backend, or was lost. The Pulumi engine would start from nothing: the running machines would
cost money in addition to the new ones, and the next `up` would remove them as orphans, with their data.
"""

from core.console import say
from core.errors import DeployError
from infra.automation.stack import Stack
from infra.clouds.cloud import Cloud
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import CloudResource
from infra.clouds.resources.queries import that_matter
from infra.clouds.stack_resources import found_of
from infra.contract.stack_placement import KnownPlacement, Progress
from infra.lifecycle.placement.known import State

HOLDING = ("instance", "volume", "disk")
"""Kinds of resources that serve, or have data."""


def refuse_lost_state(cloud: Cloud, stack: str, placement: KnownPlacement, state: State) -> KnownPlacement:
    """Raise DeployError if the cloud has resources of a complete stack, and the stack's state has none.

    Otherwise return the placement. If the cloud confirms that it has nothing, the stack was destroyed and only its note
    remained. The placement then says that the stack holds nothing. Resources that are kept on purpose, and kinds that
    could not be queried, are warnings.
    """
    if not placement.is_complete or state.known_ids():
        return placement
    try:
        found = found_of(cloud, placement)
    except DeniedError as error:
        say(f"  ! could not check whether the cloud still has machines of this stack: {error}")
        return placement
    for each in that_matter(found.unasked, placement.parts):
        say(f"  ! the state of this stack is empty, and the cloud could not be queried for: {each}")
    for kept in (resource for resource in found if resource.keep):
        say(f"  ! {kept} was kept, is not in the state of this stack, and is not used again")
    there = [f"  {resource}" for resource in found if not resource.keep]
    if there:
        raise DeployError(
            f"its state in {state.backend.shown} is empty, but the cloud has {len(there)} resource(s) of it",
            where=f"stack {stack}",
            hint=(
                "set PULUMI_BACKEND_URL, or `pulumi login`, to where the state is;"
                f" if it is lost, remove these resources: make down STACK={stack}"
            ),
            detail="\n".join(there),
        )
    is_gone = not found and not that_matter(found.unasked, placement.parts)
    return KnownPlacement.of(placement, Progress(holds_nothing=True)) if is_gone else placement


def refuse_half_lost_state(stack: str, placement: KnownPlacement, held: Stack, orphans: list[CloudResource]) -> None:
    """Raise DeployError if hosts or disks of a complete stack would count as orphans without a reason.

    If a command was interrupted while it created them, the state says so. Otherwise the state may be an older copy, and
    the hosts that it lacks may be the ones that serve.
    """
    there = [f"  {resource}" for resource in orphans if resource.kind in HOLDING]
    if not placement.is_complete or not there or held.has_creations_in_flight():
        return
    raise DeployError(
        f"its state in {held.backend.shown} lacks {len(there)} host(s) or disk(s) that the cloud has, and no command"
        " was interrupted while it created them; nothing was removed",
        where=f"stack {stack}",
        hint=(
            "restore the newest state if this is an older copy;"
            f" otherwise remove these resources by hand, or the whole stack: make down STACK={stack}"
        ),
        detail="\n".join(there),
    )
