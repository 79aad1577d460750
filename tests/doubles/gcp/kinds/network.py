"""Networks, subnets, firewall rules, addresses."""

from typing import Any

from tests.doubles.gcp.client import Gcp
from tests.doubles.provider.kind import Kind, Rules
from tests.doubles.provider.values import Properties

URL = "https://www.googleapis.com/compute/v1/"


class Network(Kind[Gcp]):
    token = "gcp:compute/network:Network"
    rules = Rules(immutable=frozenset({"name", "autoCreateSubnetworks", "project", "description"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/global/networks/{inputs['name']}"
        routing = {"routingMode": inputs.get("routingMode", "REGIONAL")}
        body = {"autoCreateSubnetworks": inputs.get("autoCreateSubnetworks", True), "routingConfig": routing}
        cloud.insert(path, body, "Network")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {
            "name": seen["name"],
            "autoCreateSubnetworks": seen["autoCreateSubnetworks"],
            "routingMode": seen["routingConfig"]["routingMode"],
            "selfLink": URL + identity,
            "project": cloud.project,
        }

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "Network")


class Subnetwork(Kind[Gcp]):
    token = "gcp:compute/subnetwork:Subnetwork"
    rules = Rules(immutable=frozenset({"name", "network", "region", "project", "ipv6AccessType"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/regions/{inputs.get('region', cloud.region)}/subnetworks/{inputs['name']}"
        keys = ("network", "ipCidrRange", "stackType", "ipv6AccessType", "privateIpGoogleAccess")
        cloud.insert(path, {key: inputs[key] for key in keys if key in inputs}, "Subnetwork")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        kept = ("name", "network", "ipCidrRange", "stackType", "ipv6AccessType", "privateIpGoogleAccess")
        return seen and {**{key: seen[key] for key in kept if key in seen}, "selfLink": URL + identity}

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        keys = ("ipCidrRange", "stackType", "privateIpGoogleAccess")
        changed = {key: new[key] for key in keys if key in new}
        cloud.change(identity, "patch", lambda body: body.update(changed), "Subnetwork")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "Subnetwork")


class Firewall(Kind[Gcp]):
    token = "gcp:compute/firewall:Firewall"
    rules = Rules(immutable=frozenset({"name", "network", "direction", "project"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/global/firewalls/{inputs['name']}"
        cloud.insert(path, {"network": inputs["network"], **_rule(inputs)}, "Firewall")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {
            "name": seen["name"],
            "network": seen["network"],
            "direction": seen["direction"],
            "sourceRanges": seen["sourceRanges"],
            "sourceServiceAccounts": seen["sourceServiceAccounts"],
            "targetServiceAccounts": seen["targetServiceAccounts"],
            "priority": seen["priority"],
            "allows": _by_sdk(seen["allowed"]),
            "denies": _by_sdk(seen["denied"]),
            "selfLink": URL + identity,
        }

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        cloud.change(identity, "patch", lambda body: body.update(_rule(new)), "Firewall")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "Firewall")


class Address(Kind[Gcp]):
    token = "gcp:compute/address:Address"
    rules = Rules(
        immutable=frozenset({"name", "region", "addressType", "networkTier", "address", "project"}), delete_first=True
    )

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/regions/{inputs.get('region', cloud.region)}/addresses/{inputs['name']}"
        keys = ("addressType", "networkTier", "labels")
        cloud.insert(path, {key: inputs[key] for key in keys if key in inputs}, "Address")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        kept = ("name", "address", "addressType", "networkTier", "labels", "users")
        return seen and {**{key: seen[key] for key in kept if key in seen}, "selfLink": URL + identity}

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        cloud.change(identity, "setLabels", lambda body: body.update(labels=new.get("labels", {})), "Address")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "Address")


def _rule(inputs: Properties) -> dict[str, Any]:
    """Return a firewall rule with the API's names."""
    return {
        "direction": inputs.get("direction", "INGRESS"),
        "priority": inputs.get("priority", 1000),
        "sourceRanges": inputs.get("sourceRanges", []),
        "sourceServiceAccounts": inputs.get("sourceServiceAccounts", []),
        "targetServiceAccounts": inputs.get("targetServiceAccounts", []),
        "targetTags": inputs.get("targetTags", []),
        "allowed": _by_api(inputs.get("allows", [])),
        "denied": _by_api(inputs.get("denies", [])),
    }


def _by_api(openings: list[Properties]) -> list[dict[str, Any]]:
    return [{"IPProtocol": each["protocol"], **_ports(each)} for each in openings]


def _by_sdk(openings: list[dict[str, Any]]) -> list[Properties]:
    return [{"protocol": each["IPProtocol"], **_ports(each)} for each in openings]


def _ports(opening: dict[str, Any]) -> dict[str, Any]:
    return {"ports": opening["ports"]} if "ports" in opening else {}
