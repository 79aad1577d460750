"""What the commands need of GCP around the engine; the functions that infra/rented.py names."""

from infra.gcp import api
from infra.gcp.hints import hint_for
from infra.gcp.leftovers import find_things, remove_things
from infra.gcp.settle import candidates, out_of_stock
from infra.gcp.standing import replaced, runs
from infra.gcp.waking import await_ends, wake
from infra.lease import Lease
from infra.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.things import Found, Thing

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
    return api.provider_environment(str(lease.project))


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
