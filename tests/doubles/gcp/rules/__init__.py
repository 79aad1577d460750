"""What the API refuses, and how creating or removing one resource changes others."""

from typing import TYPE_CHECKING, Any

from tests.doubles.gcp.rules import disks, instances, names, networks, quotas, stock, ties

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store

Body = dict[str, Any]

_CHECKS = {
    "instances": (instances.check, stock.check, quotas.check_instance),
    "disks": (disks.check, quotas.check_disk),
    "addresses": (quotas.check_address,),
    "subnetworks": (networks.check_subnet,),
    "firewalls": (networks.check_firewall,),
}


def check(store: "Store", path: str, body: Body) -> None:
    """Raise Refusal for a resource that the API does not accept."""
    names.check(path, body)
    for rule in _CHECKS.get(path.split("/")[-2], ()):
        rule(store, path, body)


settle, loosen, refuse_deletion = ties.settle, ties.loosen, ties.refuse_deletion
