"""Refusing to make a stack's machines a second time: its state has nothing, and the cloud still has what it made.

The state lies in another backend, or was lost. The engine would start from nothing: the machines that run would cost on
beside the new ones, and the next `up` would take them for left over and remove them with their data.
"""

from core.console import say
from core.errors import DeployError
from infra.asked import that_matter
from infra.lease import Lease
from infra.refusals import DeniedError
from infra.rented import Cloud, found_of
from infra.stack import Stack


def refuse_lost_state(cloud: Cloud, stack: str, lease: Lease | None, held: Stack) -> None:
    """Raise DeployError when the cloud has things of a lease that stands, and the stack's state has none at all.

    Things that are kept on purpose, and kinds that could not be asked for, are a warning.
    """
    if lease is None or not lease.stands or held.known_ids():
        return
    try:
        found = found_of(cloud, lease)
    except DeniedError as error:
        say(f"  ! whether the cloud still has machines of this stack could not be asked: {error}")
        return
    for each in that_matter(found.unasked, lease.parts):
        say(f"  ! the state of this stack is empty, and what the cloud has of it could not be asked: {each}")
    for kept in (thing for thing in found if thing.keep):
        say(f"  ! {kept} was kept, is not in the state of this stack, and is not used again")
    there = [f"  {thing}" for thing in found if not thing.keep]
    if there:
        raise DeployError(
            f"its state in {held.backend.shown} is empty, but the cloud has {len(there)} thing(s) that it made",
            where=f"stack {stack}",
            hint=(
                "set PULUMI_BACKEND_URL, or `pulumi login`, to where the state is;"
                f" if it is lost, remove these things: make down STACK={stack}"
            ),
            detail="\n".join(there),
        )
