"""Subnets and firewall rules."""

import ipaddress
from typing import TYPE_CHECKING, Any

from tests.doubles.gcp.refusal import Refusal, invalid

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store


def check_subnet(store: "Store", _path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for an invalid range, or one that another subnet of the network has."""
    network = store.get(body["network"])
    own = ipaddress.IPv4Network(body["ipCidrRange"])
    for other in store.of("subnetworks").values():
        if other["network"] == body["network"] and own.overlaps(ipaddress.IPv4Network(other["ipCidrRange"])):
            raise Refusal(400, "invalid", f"Invalid IPCidrRange: {own} conflicts with existing subnetwork.")
    if body.get("stackType") == "IPV4_IPV6" and network["autoCreateSubnetworks"]:
        raise Refusal(400, "invalid", "IPv6 is only supported for subnets of custom mode networks.")


def check_firewall(store: "Store", _path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for a rule without a network, with both IP versions, two kinds of target, or that says both."""
    store.get(body["network"])
    versions = {ipaddress.ip_network(each).version for each in body.get("sourceRanges") or []}
    if len(versions) > 1:
        raise invalid("resource.sourceRanges", "a rule cannot have both IPv4 and IPv6 source ranges.")
    accounts = [*(body.get("targetServiceAccounts") or []), *(body.get("sourceServiceAccounts") or [])]
    if body.get("targetTags") and accounts:
        raise Refusal(400, "invalid", "Tags and service accounts cannot be mixed in one rule.")
    if body.get("direction") == "INGRESS" and not (body.get("sourceRanges") or body.get("sourceServiceAccounts")):
        raise invalid("resource.sourceRanges", "an ingress rule needs a source.")
    if body.get("allowed") and body.get("denied"):
        raise Refusal(400, "invalid", "Only one of allowed and denied can be specified.")
    for rule in body.get("allowed") or []:
        for port in rule.get("ports") or []:
            low, _dash, high = port.partition("-")
            if not (low.isdigit() and (high or low).isdigit()):
                raise invalid("resource.allowed[0].ports[0]", f"'{port}'. Ports must be an integer or a range.")
