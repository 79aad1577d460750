"""What the commands need of AWS around the engine; the functions that infra/clouds/cloud.py names."""

from infra.clouds.aws.api.account import refuse_other_login
from infra.clouds.aws.api.hints import hint_for
from infra.clouds.aws.orphans.guard_duty import GUARD_DUTY_ENDPOINT, GUARD_DUTY_GROUP
from infra.clouds.aws.orphans.search import find_resources, remove_resources
from infra.clouds.aws.placing.candidates import candidates, out_of_stock
from infra.clouds.aws.stopped_hosts import await_ends, hosts, wake
from infra.clouds.candidates import made_anew_for
from infra.clouds.resources import CloudResource, Found
from infra.clouds.stack_price import BUCKET_ITEM, DISK_ITEM, keeping_cost
from infra.config import DeploymentConfig
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

BLANK = "their data volumes, too, are made anew, and empty"
"""A volume cannot leave its zone."""


def provider_environment(_project: str | None) -> dict[str, str]:
    """Return nothing: a login at AWS is all that the plugin needs."""
    return {}


def runs(placement: Placement) -> bool:
    """Return whether a host of a lease runs, or is about to."""
    return bool(hosts(placement, "pending", "running"))


def replaced(_config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
    """Return the hosts that an `up` to the lease `first` takes down and makes anew, each with what for.

    Those for which the two leases tell it; what else the plugin does not change in place, a preview tells.
    """
    why = made_anew_for(previous, first)
    if not why:
        return []
    volumes = f"; {BLANK}" if previous.zone != first.zone else ""
    return [f"the hosts are made anew for {', '.join(why)}{volumes}"]


def resources(placement: Placement) -> Found:
    """Return what AWS has of a lease, in the order in which it can be removed."""
    return find_resources(placement.region, placement.id)


def is_known(resource: CloudResource, known: set[str]) -> bool:
    """Return whether the state has a thing: by its id, or by its name, or as part of another that it has.

    What GuardDuty manages in a network is none of the stack's business before its network goes.
    """
    if resource.kind in (GUARD_DUTY_ENDPOINT.name, GUARD_DUTY_GROUP.name):
        return True
    if resource.kind == "volume" and "Attachments" not in resource.detail:
        return True  # found by its tags alone: it may be the root disk of a host that the state has
    names = {resource.id}
    if resource.kind == "budget":
        names.add(f"{resource.detail['AccountId']}:{resource.id}")
    attached = {each.get("InstanceId") for each in resource.detail.get("Attachments", [])}
    return bool((names | attached) & known)  # a root disk belongs to its instance


def cost(resource: CloudResource) -> str:
    """Return in words what it costs to keep a volume or a bucket."""
    item = (DISK_ITEM if resource.kind == "volume" else BUCKET_ITEM)["aws"]
    return keeping_cost("aws", resource.region, item, resource.size_gib)
