"""Refusing to make a stack's machines a second time: its state has nothing, and the cloud still has what it made.

The state lies in another backend, or was lost. The engine would start from nothing: the machines that run would cost on
beside the new ones, and the next `up` would take them for left over and remove them with their data.
"""

from core.console import say
from core.errors import DeployError
from infra.automation.stack import Stack
from infra.clouds.cloud import Cloud
from infra.clouds.queries import that_matter
from infra.clouds.refusals import DeniedError
from infra.clouds.resources import CloudResource
from infra.clouds.stack_resources import found_of
from infra.contract.stack_placement import KnownPlacement, Progress
from infra.lifecycle.known_placement import State

HOLDING = ("instance", "volume", "disk")
"""Kinds of things that serve, or hold data."""


def refuse_lost_state(cloud: Cloud, stack: str, placement: KnownPlacement, state: State) -> KnownPlacement:
    """Raise DeployError when the cloud has things of a lease that stands, and the stack's state has none at all.

    Else return the lease; as that of a stack that does not stand, when the cloud confirms that it has nothing of it:
    the stack was destroyed, and the lease outlived it. Things that are kept on purpose, and kinds that could not be
    asked for, are a warning.
    """
    if not placement.is_complete or state.known_ids():
        return placement
    try:
        found = found_of(cloud, placement)
    except DeniedError as error:
        say(f"  ! whether the cloud still has machines of this stack could not be asked: {error}")
        return placement
    for each in that_matter(found.unasked, placement.parts):
        say(f"  ! the state of this stack is empty, and what the cloud has of it could not be asked: {each}")
    for kept in (resource for resource in found if resource.keep):
        say(f"  ! {kept} was kept, is not in the state of this stack, and is not used again")
    there = [f"  {resource}" for resource in found if not resource.keep]
    if there:
        raise DeployError(
            f"its state in {state.backend.shown} is empty, but the cloud has {len(there)} thing(s) that it made",
            where=f"stack {stack}",
            hint=(
                "set PULUMI_BACKEND_URL, or `pulumi login`, to where the state is;"
                f" if it is lost, remove these things: make down STACK={stack}"
            ),
            detail="\n".join(there),
        )
    is_gone = not found and not that_matter(found.unasked, placement.parts)
    return KnownPlacement.of(placement, Progress(holds_nothing=True)) if is_gone else placement


def refuse_half_lost_state(stack: str, placement: KnownPlacement, held: Stack, adrift: list[CloudResource]) -> None:
    """Raise DeployError when hosts or disks of a stack that stands would count as left over without a reason.

    A command that was cut off while it made them has left that in the state. Where the state says nothing of it, it is
    an older copy, perhaps, and what it lacks may be what serves.
    """
    there = [f"  {resource}" for resource in adrift if resource.kind in HOLDING]
    if not placement.is_complete or not there or held.has_creations_in_flight():
        return
    raise DeployError(
        f"its state in {held.backend.shown} lacks {len(there)} host(s) or disk(s) that the cloud has, and no command"
        " was cut off while it made them; nothing was removed",
        where=f"stack {stack}",
        hint=(
            "put the newest state back if this is an older copy;"
            f" else remove what is listed by hand, or the whole stack: make down STACK={stack}"
        ),
        detail="\n".join(there),
    )
