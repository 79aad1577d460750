"""What the commands need of AWS around the engine; the functions that infra/rented.py names."""

from infra.aws.account import refuse_other_login
from infra.aws.leftovers import find_things, remove_things
from infra.aws.settle import candidates, out_of_stock
from infra.lease import Lease
from infra.prices import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.things import Thing

__all__ = [
    "candidates",
    "cost",
    "is_known",
    "out_of_stock",
    "refuse_other_login",
    "remove_things",
    "things",
]


def things(lease: Lease) -> list[Thing]:
    """Return what AWS has of a lease, in the order in which it can be removed."""
    return find_things(lease.region, lease.id)


def is_known(thing: Thing, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or by its name, or as part of another that it has."""
    names = {thing.id}
    if thing.kind == "budget":
        names.add(f"{thing.detail['AccountId']}:{thing.id}")
    attached = {each.get("InstanceId") for each in thing.detail.get("Attachments", [])}
    return bool((names | attached) & known)  # a root disk belongs to its instance


def cost(thing: Thing) -> str:
    """Return in words what it costs to keep a volume or a bucket."""
    item = (DISK_ITEM if thing.kind == "volume" else BUCKET_ITEM)["aws"]
    return keeping_cost("aws", thing.region, item, thing.size_gib)
