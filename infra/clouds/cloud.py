"""What a rented cloud still has of a stack: found, told and removed in the same way in all of them.

Knows clouds by name only: what only one of them knows, it offers in a module of its own (`CLOUDS`).
"""

import importlib
from collections.abc import Callable, Iterable
from typing import Protocol, cast

from core.console import say
from infra.automation.sdk import ensure_sdk
from infra.clouds.candidates import Candidate
from infra.clouds.queries import NOT_KNOWN, that_matter
from infra.clouds.resources import CloudResource, Found
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement

CLOUDS = {"aws": "infra.clouds.aws.cloud", "gcp": "infra.clouds.gcp.cloud"}
"""The module of each rented cloud."""


class Cloud(Protocol):
    """What the module of a rented cloud offers."""

    def candidates(self, config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        """Return the leases that may be tried, best first."""
        ...

    def out_of_stock(self, text: str) -> str | None:
        """Return the cloud's words when an error only means that a place has no machine."""
        ...

    def hint_for(self, text: str) -> str:
        """Return what to do about an error that the engine repeats; nothing when its own words say it."""
        ...

    def refuse_other_login(self, placement: Placement) -> None:
        """Raise UsageError for a login that would be told that nothing of a lease is there."""
        ...

    def provider_environment(self, project: str | None) -> dict[str, str]:
        """Return environment variables that the engine's provider plugin needs for this login."""
        ...

    def await_ends(self, placement: Placement) -> None:
        """Wait until no host of a lease is about to stop or end. Raises DeployError when that takes too long."""
        ...

    def wake(self, placement: Placement) -> list[str]:
        """Start what of a lease is stopped, where the engine does not; return what that was, a line each."""
        ...

    def runs(self, placement: Placement) -> bool:
        """Return whether a host of a lease runs, or is about to."""
        ...

    def replaced(self, config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
        """Return the hosts that an `up` to the lease `first` takes down and makes anew, each with what for."""
        ...

    def resources(self, placement: Placement) -> Found:
        """Return what the cloud has of a lease, in the order in which it can be removed, and what it did not tell."""
        ...

    def is_known(self, resource: CloudResource, known: set[str]) -> bool:
        """Return whether a state with the `known` ids has a thing, by itself or as part of another."""
        ...

    def cost(self, resource: CloudResource) -> str:
        """Return in words what it costs to keep a thing."""
        ...

    def remove_resources(self, resources: Iterable[CloudResource], *, deadline_s: float) -> None:
        """Remove things and wait until they are gone. Raises DeployError when they do not go."""
        ...


def rented_cloud(name: str) -> Cloud | None:
    """Return what a cloud offers, with its SDKs installed; None for clouds where nothing is rented."""
    if name not in CLOUDS:
        return None
    ensure_sdk(name)
    return cast(Cloud, importlib.import_module(CLOUDS[name]))


def holder_of(cloud: str, placement: Placement | None) -> tuple[Cloud, Placement] | None:
    """Return whom to ask and about what; None, with no SDK looked for, when nothing was rented."""
    found = rented_cloud(cloud) if placement else None
    return (found, placement) if found and placement else None


def find(cloud: Cloud, placement: Placement) -> list[str]:
    """Return what the cloud still has of a lease, a line each, without what is kept on purpose.

    A kind that could not be asked for, and of which the stack may have something, is a line that begins with NOT_KNOWN.
    """
    found = found_of(cloud, placement)
    unasked = [f"{NOT_KNOWN}{each}" for each in that_matter(found.unasked, placement.parts)]
    return [*(str(resource) for resource in found if not resource.keep), *unasked]


def kept(cloud: Cloud, placement: Placement) -> list[str]:
    """Return what is kept of a lease on purpose, with what it costs, a line each."""
    return [f"{resource}: {cloud.cost(resource)}" for resource in found_of(cloud, placement) if resource.keep]


def remove(cloud: Cloud, placement: Placement, deadline_s: float) -> None:
    """Remove what `find` names. Raises DeployError when it stays."""
    resources = [resource for resource in found_of(cloud, placement) if not resource.keep]
    cloud.remove_resources(resources, deadline_s=deadline_s)


def remove_adrift(
    cloud: Cloud,
    placement: Placement,
    known: set[str],
    deadline_s: float,
    *,
    refuse: Callable[[list[CloudResource]], None] = lambda _adrift: None,
) -> list[str]:
    """Remove what carries the lease's id and is none of the `known` ids; return what that was, a line each.

    A kind that cannot be asked for is told, and stops nothing. `refuse` raises before anything is removed.
    """
    found = found_of(cloud, placement)
    for each in that_matter(found.unasked, placement.parts):
        say(f"  ! could not be listed, so what was left of it may stay, cost and be in the way: {each}")
    adrift = [resource for resource in found if not resource.keep and not cloud.is_known(resource, known)]
    refuse(adrift)
    cloud.remove_resources(adrift, deadline_s=deadline_s)
    return [str(resource) for resource in adrift]


def found_of(cloud: Cloud, placement: Placement) -> Found:
    """Return what the cloud has of a lease. Raises UsageError for a login that would be told that nothing is there."""
    cloud.refuse_other_login(placement)
    return cloud.resources(placement)
