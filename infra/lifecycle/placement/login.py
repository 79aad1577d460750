"""The login to a cloud: the variables that the Pulumi provider needs for it, and whether it is the stack's login."""

from typing import TYPE_CHECKING

from infra.clouds.registry import holder_of, rented_cloud
from infra.contract.stack_placement import Placement

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def provider_environment(cloud: str, project: str | None) -> dict[str, str]:
    """Return the environment variables that the Pulumi provider needs for this login."""
    rented = rented_cloud(cloud)
    return rented.provider_environment(project) if rented else {}


def hand_provider_environment(cloud: str, placement: Placement, held: "Stack") -> None:
    """Put the variables that the provider needs for this login into the Pulumi engine's environment."""
    for name, value in provider_environment(cloud, placement.project).items():
        held.hand_over(name, value)


def refuse_other_login(cloud: str, placement: Placement | None) -> None:
    """Raise UsageError for a login that cannot see the resources: the Pulumi engine would take them for deleted."""
    holder = holder_of(cloud, placement)
    if holder:
        rented, held_placement = holder
        rented.refuse_other_login(held_placement)
