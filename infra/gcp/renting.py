"""What the commands need of GCP around the engine; the functions that infra/renting.py names."""

from infra.gcp.leftovers import find_things, remove_things
from infra.gcp.settle import candidates, out_of_stock
from infra.lease import Lease
from infra.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.things import Thing

__all__ = ["candidates", "find", "kept", "out_of_stock", "refuse_other_login", "remove", "remove_adrift"]


def refuse_other_login(_lease: Lease) -> None:
    """Leave that to GCP: every call names the lease's project, and a login that may not see it is refused."""


def find(lease: Lease) -> list[str]:
    """Return what GCP still has of a lease, a line each, without what is kept on purpose."""
    return [str(thing) for thing in _things(lease) if not thing.keep]


def kept(lease: Lease) -> list[str]:
    """Return what is kept of a lease on purpose, with what it costs, a line each."""
    return [f"{thing}: {_cost(thing)}" for thing in _things(lease) if thing.keep]


def remove(lease: Lease, deadline_s: float) -> None:
    """Remove all that GCP still has of a lease, without what is kept on purpose. Raises DeployError when it stays."""
    remove_things((thing for thing in _things(lease) if not thing.keep), deadline_s=deadline_s)


def remove_adrift(lease: Lease, known: set[str], deadline_s: float) -> list[str]:
    """Remove what carries the lease's id and is none of the `known` ids; return what that was, a line each."""
    adrift = [thing for thing in _things(lease) if not thing.keep and not _is_known(thing, known)]
    remove_things(adrift, deadline_s=deadline_s)
    return [str(thing) for thing in adrift]


def _things(lease: Lease) -> list[Thing]:
    return find_things(str(lease.project), lease.id)


def _is_known(thing: Thing, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or as the root disk of an instance that it has."""
    return bool({thing.id, *thing.detail.get("users", ())} & known)


def _cost(thing: Thing) -> str:
    region = thing.region.rpartition("-")[0] if thing.kind == "disk" else thing.region
    return keeping_cost("gcp", region, (DISK_ITEM if thing.kind == "disk" else BUCKET_ITEM)["gcp"], thing.size_gib)
