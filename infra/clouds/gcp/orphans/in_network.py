"""Resources of other people and services in a stack's own network: GCP deletes the network only after them.

They are not removed: each is reported with its creator, as far as GCP shows it, and the command that removes it.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.errors import DeployError
from infra.clouds.gcp.api.client import DisabledError, ask, everywhere, listed, pages
from infra.clouds.gcp.api.names import owner_by_name
from infra.clouds.resources.kinds import CloudResource

ZONE = re.compile(r".*[0-9]-[a-z]")
"""The name of a zone is its region's name and a letter."""

DEFAULT_ROUTES = "default-route-"
"""Prefix of the routes that GCP creates with a network and its subnets, and removes with them."""

VPN_GATEWAYS = (
    ("VpnGateways", "vpn_gateways", "vpnGateways"),
    ("TargetVpnGateways", "target_vpn_gateways", "targetVpnGateways"),
)
"""Kinds of VPN gateways: Google's client, the key of its answer, and the collection in a path."""

SERVICES = {
    "gke-": "GKE",
    "k8s-": "GKE",
    "aet-": "Serverless VPC Access",
    "servicenetworking": "Service Networking",
}
"""Name prefixes of the resources of Google services, and the service."""


def others_in(network: CloudResource) -> list[str]:
    """Return a line for each resource of others in a network, or the reason if a kind cannot be listed."""
    project, name = str(network.detail["project"]), network.id.rpartition("/")[2]

    def lines(look: Callable[[str, str], Iterator[str]]) -> list[str]:
        try:
            return list(look(project, name))
        except DeployError as error:
            return [f"not known: {error}"]

    with ThreadPoolExecutor(len(LOOKS)) as pool:  # in parallel: a slow call would delay those after it
        return [line for answer in pool.map(lines, LOOKS) for line in answer]


def _firewall_rules(project: str, network: str) -> Iterator[str]:
    for each in listed("Firewalls", project=project):
        if _is_others(each) and _is_in(each.network, network):
            yield _line("firewall rule", each, f"gcloud compute firewall-rules delete {each.name}", project)


def _peerings(project: str, network: str) -> Iterator[str]:
    for each in ask("Networks", "get", project=project, network=network).peerings:
        command = f"gcloud compute networks peerings delete {each.name} --network {network}"
        yield _line(f"peering with {str(each.network).rpartition('/projects/')[2]}", each, command, project)


def _routes(project: str, network: str) -> Iterator[str]:
    """Yield static routes. GCP removes default routes and those of subnets and peerings itself."""
    for each in listed("Routes", project=project):
        goes_along = str(each.name).startswith(DEFAULT_ROUTES) or each.next_hop_network or each.next_hop_peering
        if not goes_along and _is_others(each) and _is_in(each.network, network):
            yield _line("route", each, f"gcloud compute routes delete {each.name}", project)


def _tunnels(project: str, network: str) -> Iterator[str]:
    """Yield VPN tunnels, which block their gateways. A tunnel names its gateway; only the gateway names the network."""
    gateways = {
        f"/{collection}/{each.name}@{place}"
        for client, key, collection in VPN_GATEWAYS
        for place, each in everywhere(client, project, key)
        if _is_in(each.network, network)
    }
    for place, each in everywhere("VpnTunnels", project, "vpn_tunnels"):
        parts = str(each.vpn_gateway or each.target_vpn_gateway).split("/")
        if _is_others(each) and f"/{'/'.join(parts[-2:])}@{place}" in gateways:
            yield _line("VPN tunnel", each, f"gcloud compute vpn-tunnels delete {each.name} --region {place}", project)


def _interconnect_attachments(project: str, network: str) -> Iterator[str]:
    """Yield VLAN attachments, which block their router; only the router names the network."""
    routers = {
        (place, str(each.name))
        for place, each in everywhere("Routers", project, "routers")
        if _is_in(each.network, network)
    }
    for place, each in everywhere("InterconnectAttachments", project, "interconnect_attachments"):
        if _is_others(each) and (place, str(each.router).rpartition("/")[2]) in routers:
            command = f"gcloud compute interconnects attachments delete {each.name} --region {place}"
            yield _line("VLAN attachment", each, command, project)


def _connectors(project: str, network: str) -> Iterator[str]:
    """Yield connectors of Serverless VPC Access; nothing if its API is not enabled."""
    try:
        found = pages("vpcaccess", f"/v1/projects/{project}/locations/-/connectors", "connectors")
    except DisabledError:
        return
    for each in found:
        *_before, place, _collection, name = str(each["name"]).split("/")
        if str(each.get("network", "")).rpartition("/")[2] == network and each.get("state") != "DELETING":
            removes = f"gcloud compute networks vpc-access connectors delete {name} --region {place}"
            yield f"VPC connector {name} (of others); `{removes} --project {project}`"


def _located(noun: str, client: str, key: str, command: str) -> Callable[[str, str], Iterator[str]]:
    """Return the lookup for a kind in zones or regions that names its network."""

    def look(project: str, network: str) -> Iterator[str]:
        for place, each in everywhere(client, project, key):
            networks = [each.network] if hasattr(each, "network") else [i.network for i in each.network_interfaces]
            if _is_others(each) and any(_is_in(link, network) for link in networks):
                yield _line(noun, each, f"gcloud compute {command} delete {each.name} {_option(place)}", project)

    return look


def _option(place: str) -> str:
    """Return gcloud's option for a zone, a region, or `global`."""
    if place == "global":
        return "--global"
    return f"--zone {place}" if ZONE.fullmatch(place) else f"--region {place}"


def _line(noun: str, each: Any, command: str, project: str) -> str:
    name = str(each.name)
    service = next((service for start, service in SERVICES.items() if name.startswith(start)), None)
    said = str(getattr(each, "description", "") or "")
    who = f"made by {service}" if service else f"“{said}”" if said else "of others"
    return f"{noun} {name} ({who}); `{command} --project {project}`"


def _is_others(each: Any) -> bool:
    return owner_by_name(str(each.name)) is None


def _is_in(link: object, network: str) -> bool:
    return str(link).rpartition("/networks/")[2] == network


LOOKS = (
    _firewall_rules,
    _located("instance", "Instances", "instances", "instances"),
    _located("forwarding rule", "ForwardingRules", "forwarding_rules", "forwarding-rules"),
    _located("network endpoint group", "NetworkEndpointGroups", "network_endpoint_groups", "network-endpoint-groups"),
    _located("address", "Addresses", "addresses", "addresses"),
    _tunnels,
    _located("VPN gateway", "VpnGateways", "vpn_gateways", "vpn-gateways"),
    _located("Classic VPN gateway", "TargetVpnGateways", "target_vpn_gateways", "target-vpn-gateways"),
    _interconnect_attachments,
    _located("router", "Routers", "routers", "routers"),
    _connectors,
    _routes,
    _located("subnet", "Subnetworks", "subnetworks", "networks subnets"),
    _peerings,
)
"""The lookups of all kinds. A kind that blocks another comes before it."""
