"""What the commands need of AWS around the engine; the functions that infra/clouds/cloud.py names."""

from infra.clouds.aws.api.account import refuse_other_login
from infra.clouds.aws.api.hints import hint_for
from infra.clouds.aws.orphans.guard_duty import GUARD_DUTY_ENDPOINT, GUARD_DUTY_GROUP
from infra.clouds.aws.orphans.search import find_things, remove_things
from infra.clouds.aws.placing.candidates import candidates, out_of_stock
from infra.clouds.aws.stopped_hosts import await_ends, hosts, wake
from infra.clouds.candidates import made_anew_for
from infra.clouds.resources import Found, Thing
from infra.clouds.stack_price import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.config import DeploymentConfig
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

BLANK = "their data volumes, too, are made anew, and empty"
"""A volume cannot leave its zone."""


def provider_environment(_lease: Lease) -> dict[str, str]:
    """Return nothing: a login at AWS is all that the plugin needs."""
    return {}


def runs(lease: Lease) -> bool:
    """Return whether a host of a lease runs, or is about to."""
    return bool(hosts(lease, "pending", "running"))


def replaced(_config: DeploymentConfig, previous: Lease, first: Lease) -> list[str]:
    """Return the hosts that an `up` to the lease `first` takes down and makes anew, each with what for.

    Those for which the two leases tell it; what else the plugin does not change in place, a preview tells.
    """
    why = made_anew_for(previous, first)
    if not why:
        return []
    volumes = f"; {BLANK}" if previous.zone != first.zone else ""
    return [f"the hosts are made anew for {', '.join(why)}{volumes}"]


def things(lease: Lease) -> Found:
    """Return what AWS has of a lease, in the order in which it can be removed."""
    return find_things(lease.region, lease.id)


def is_known(thing: Thing, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or by its name, or as part of another that it has.

    What GuardDuty manages in a network is none of the stack's business before its network goes.
    """
    if thing.kind in (GUARD_DUTY_ENDPOINT.name, GUARD_DUTY_GROUP.name):
        return True
    if thing.kind == "volume" and "Attachments" not in thing.detail:
        return True  # found by its tags alone: it may be the root disk of a host that the state has
    names = {thing.id}
    if thing.kind == "budget":
        names.add(f"{thing.detail['AccountId']}:{thing.id}")
    attached = {each.get("InstanceId") for each in thing.detail.get("Attachments", [])}
    return bool((names | attached) & known)  # a root disk belongs to its instance


def cost(thing: Thing) -> str:
    """Return in words what it costs to keep a volume or a bucket."""
    item = (DISK_ITEM if thing.kind == "volume" else BUCKET_ITEM)["aws"]
    return keeping_cost("aws", thing.region, item, thing.size_gib)
