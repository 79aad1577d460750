"""What the commands need of GCP around the engine; the functions that infra/clouds/cloud.py names."""

from infra.clouds.gcp.api import client
from infra.clouds.gcp.api.hints import hint_for
from infra.clouds.gcp.orphans.search import find_things, remove_things
from infra.clouds.gcp.placing.candidates import candidates, out_of_stock
from infra.clouds.gcp.placing.replacements import replaced, runs
from infra.clouds.gcp.stopped_hosts import await_ends, wake
from infra.clouds.resources import Found, Thing
from infra.clouds.stack_price import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.contract.stack_placement import Lease

__all__ = [
    "await_ends",
    "candidates",
    "cost",
    "hint_for",
    "is_known",
    "out_of_stock",
    "provider_environment",
    "refuse_other_login",
    "remove_things",
    "replaced",
    "runs",
    "things",
    "wake",
]


def refuse_other_login(_lease: Lease) -> None:
    """Leave that to GCP: every call names the lease's project, and a login that may not see it is refused."""


def provider_environment(lease: Lease) -> dict[str, str]:
    """Return the variables that name the stack's project to APIs that want one of a personal login."""
    return client.provider_environment(str(lease.project))


def things(lease: Lease) -> Found:
    """Return what GCP has of a lease, in the order in which it can be removed."""
    return find_things(str(lease.project), lease.id)


def is_known(thing: Thing, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or as the root disk of an instance that it has."""
    return bool({thing.id, *thing.detail.get("users", ())} & known)


def cost(thing: Thing) -> str:
    """Return in words what it costs to keep a disk or a bucket."""
    region = thing.region.rpartition("-")[0] if thing.kind == "disk" else thing.region
    return keeping_cost("gcp", region, (DISK_ITEM if thing.kind == "disk" else BUCKET_ITEM)["gcp"], thing.size_gib)
