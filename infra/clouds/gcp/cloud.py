"""What the commands need of GCP around the engine; the functions that infra/clouds/cloud.py names."""

from infra.clouds.gcp.api import client
from infra.clouds.gcp.api.hints import hint_for
from infra.clouds.gcp.orphans.search import find_resources, remove_resources
from infra.clouds.gcp.placing.candidates import candidates, out_of_stock
from infra.clouds.gcp.placing.replacements import replaced, runs
from infra.clouds.gcp.stopped_hosts import await_ends, wake
from infra.clouds.resources import CloudResource, Found
from infra.clouds.stack_price import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.contract.stack_placement import Placement

__all__ = [
    "await_ends",
    "candidates",
    "cost",
    "hint_for",
    "is_known",
    "out_of_stock",
    "provider_environment",
    "refuse_other_login",
    "remove_resources",
    "replaced",
    "resources",
    "runs",
    "wake",
]


def refuse_other_login(_placement: Placement) -> None:
    """Leave that to GCP: every call names the lease's project, and a login that may not see it is refused."""


def provider_environment(project: str | None) -> dict[str, str]:
    """Return the variables that name the stack's project to APIs that want one of a personal login."""
    return client.provider_environment(str(project))


def resources(placement: Placement) -> Found:
    """Return what GCP has of a lease, in the order in which it can be removed."""
    return find_resources(str(placement.project), placement.id)


def is_known(resource: CloudResource, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or as the root disk of an instance that it has."""
    return bool({resource.id, *resource.detail.get("users", ())} & known)


def cost(resource: CloudResource) -> str:
    """Return in words what it costs to keep a disk or a bucket."""
    region = resource.region.rpartition("-")[0] if resource.kind == "disk" else resource.region
    return keeping_cost(
        "gcp", region, (DISK_ITEM if resource.kind == "disk" else BUCKET_ITEM)["gcp"], resource.size_gib
    )
