"""What the commands need of AWS around the engine; the functions that infra/renting.py names."""

from infra.aws.account import refuse_other_login
from infra.aws.leftovers import find_things, remove_things
from infra.aws.settle import candidates, out_of_stock
from infra.lease import Lease
from infra.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.things import Thing

__all__ = ["candidates", "find", "kept", "out_of_stock", "refuse_other_login", "remove", "remove_adrift"]


def find(lease: Lease) -> list[str]:
    """Return what AWS still has of a lease, a line each, without what is kept on purpose."""
    return [str(thing) for thing in _unwanted(lease)]


def kept(lease: Lease) -> list[str]:
    """Return what is kept of a lease on purpose, with what it costs, a line each."""
    return [f"{thing}: {_cost(thing)}" for thing in _things(lease) if thing.keep]


def remove(lease: Lease, deadline_s: float) -> None:
    """Remove all that AWS still has of a lease, without what is kept on purpose. Raises DeployError when it stays."""
    remove_things(_unwanted(lease), deadline_s=deadline_s)


def remove_adrift(lease: Lease, known: set[str], deadline_s: float) -> list[str]:
    """Remove what carries the lease's id and is none of the `known` ids; return what that was, a line each."""
    adrift = [thing for thing in _things(lease) if not thing.keep and not _is_known(thing, known)]
    remove_things(adrift, deadline_s=deadline_s)
    return [str(thing) for thing in adrift]


def _unwanted(lease: Lease) -> list[Thing]:
    return [thing for thing in _things(lease) if not thing.keep]


def _things(lease: Lease) -> list[Thing]:
    refuse_other_login(lease)
    return find_things(lease.region, lease.id)


def _is_known(thing: Thing, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or by its name, or as part of another that it has."""
    names = {thing.id}
    if thing.kind == "budget":
        names.add(f"{thing.detail['AccountId']}:{thing.id}")
    attached = {each.get("InstanceId") for each in thing.detail.get("Attachments", [])}
    return bool((names | attached) & known)  # a root disk belongs to its instance


def _cost(thing: Thing) -> str:
    item = (DISK_ITEM if thing.kind == "volume" else BUCKET_ITEM)["aws"]
    return keeping_cost("aws", thing.region, item, thing.size_gib)
