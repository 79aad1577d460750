"""Whether hosts can go into an existing network on AWS: its subnets, their free addresses, their routes."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.clouds.aws.api.client import call, pages
from infra.clouds.aws.api.tags import ID
from infra.clouds.finding import Finding
from infra.config import DeploymentConfig
from infra.config.rules.network_limits import EVERYWHERE_V4
from infra.contract.stack_placement import Placement

Route = Mapping[str, Any]

UNSEEN = "if that is a firewall or gateway, make it return answers by the same route"


def subnet_findings(config: DeploymentConfig, placement: Placement | None) -> Iterator[Finding]:
    """Yield subnets that do not exist, are in another network or are full, and zones without a subnet."""
    if config.network.id is None:
        return
    seen = _subnets(config)
    spanned = sorted({str(each["AvailabilityZone"]) for each in seen.values()})
    for index, zone in enumerate(config.zones):
        if spanned and zone not in spanned:  # Empty: no subnet exists, and each has its own line below.
            what, hint = f"no subnet of network.subnets is in {zone}", f"write one of their zones: {', '.join(spanned)}"
            yield Finding("error", f"zones[{index}]", what, hint)
    for index, subnet in enumerate(config.network.subnets):
        key = f"network.subnets[{index}]"
        if subnet not in seen:
            yield Finding("error", key, f"{subnet} does not exist in {config.region}", "write an existing one")
        elif (network := str(seen[subnet]["VpcId"])) != config.network.id:
            yield Finding("error", key, f"{subnet} belongs to {network}", f"write a subnet of {config.network.id}")
        elif seen[subnet].get("AvailableIpAddressCount", config.host_count) < config.host_count:
            yield from _no_room(config, placement, key, seen[subnet])
    yield from _twice_in_a_zone(config, {subnet: str(each["AvailabilityZone"]) for subnet, each in seen.items()})


def _twice_in_a_zone(config: DeploymentConfig, zones: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the subnets that get no host, because the file names another subnet of their zone first.

    infra/clouds/aws/placing/candidates.py chooses that one. `zones`: the zone of each subnet.
    """
    first: dict[str, str] = {}
    for index, subnet in enumerate(config.network.subnets):
        zone = zones.get(subnet)
        if zone is not None and first.setdefault(zone, subnet) != subnet:
            what = f"{subnet} is in {zone}, like {first[zone]}; a stack uses only the first subnet named for a zone"
            hint = "leave it out; an existing stack keeps its subnet"
            yield Finding("warning", f"network.subnets[{index}]", what, hint)


def _no_room(
    config: DeploymentConfig, placement: Placement | None, key: str, subnet: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield a subnet with too few addresses for the machines. The addresses of the stack's own hosts count as free."""
    free, own = int(subnet["AvailableIpAddressCount"]), 0
    if placement is not None:
        mine = [
            {"Name": f"tag:{ID}", "Values": [placement.id]},
            {"Name": "subnet-id", "Values": [str(subnet["SubnetId"])]},
        ]
        own = len(pages("ec2", str(config.region), "describe_network_interfaces", "NetworkInterfaces", Filters=mine))
    if free + own < config.host_count:
        what = f"{subnet['SubnetId']} has {free} addresses free, and the stack needs {config.host_count}"
        yield Finding("error", key, what, "write a larger subnet, or fewer machines")


def route_findings(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield subnets whose hosts would not answer at their public addresses, and those where that cannot be known."""
    network = config.network
    if network.id is None:
        return
    routes = _routes(config)
    there = _subnets(config)
    networks = [*network.ssh_cidrs, *network.client_cidrs, *([EVERYWHERE_V4] if network.clients_from_anywhere else [])]
    wanted = [ipaddress.IPv4Network(each) for each in networks if ":" not in each]
    for index, subnet in enumerate(network.subnets):
        if subnet in there and there[subnet]["VpcId"] == network.id:
            yield from _ways_out(f"network.subnets[{index}]", subnet, routes.get(subnet, routes.get("")), wanted)


def _ways_out(
    key: str, subnet: str, routes: Sequence[Route] | None, wanted: Sequence[ipaddress.IPv4Network]
) -> Iterator[Finding]:
    """Yield the faults of one subnet's routes: no route out, a broken one, or one that changes the sender."""
    already_said: set[str] = set()
    for network in wanted:
        level, what, hint = verdict(route_to(network, routes or ()))
        if level != "ok" and what not in already_said:
            already_said.add(what)
            yield Finding(level, key, f"{subnet} {what}", hint)


def route_to(network: ipaddress.IPv4Network, routes: Sequence[Route]) -> Route | None:
    """Return the route for a network: the narrowest that covers it; None if no route does.

    A prefix list may cover any address: its route is taken if no other covers the network.
    """
    covering = [
        (ipaddress.IPv4Network(each["DestinationCidrBlock"]).prefixlen, index)
        for index, each in enumerate(routes)
        if "DestinationCidrBlock" in each and network.subnet_of(ipaddress.IPv4Network(each["DestinationCidrBlock"]))
    ]
    if covering:
        return routes[max(covering)[1]]
    by_list = [each for each in routes if "DestinationPrefixListId" in each and _is_way_out(each)]
    return by_list[0] if by_list else None


def verdict(route: Route | None) -> tuple[Any, str, str]:
    """Return what a route means for a host's public address: level, text and hint of a finding.

    Through an internet gateway, answers arrive. NAT and egress-only gateways change the sender, so that the client
    rejects it. Other targets (a firewall's endpoint, a transit gateway, an appliance) may return answers or not.
    """
    name_public = "write a public subnet, or add the route"
    if route is None:
        what = "has no route to an internet gateway: its hosts' public addresses would not answer"
        return "error", what, name_public
    target = next((str(route[each]) for each in _TARGETS if route.get(each)), "")
    where = route.get("DestinationCidrBlock") or route.get("DestinationPrefixListId")
    if route.get("State") == "blackhole":
        return "error", f"sends {where} to {target}, which no longer exists (blackhole)", "repair the route"
    if target.startswith("igw-") or (target == "local" and where != EVERYWHERE_V4):
        return "ok", "", ""
    if target.startswith(("nat-", "eigw-")):
        what = f"sends {where} through {target}: its hosts' public addresses would not answer"
        return "error", what, name_public
    return "warning", f"sends {where} through {target}: preflight cannot see whether answers return", UNSEEN


_TARGETS = (
    "GatewayId", "NatGatewayId", "EgressOnlyInternetGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId",
    "LocalGatewayId", "CarrierGatewayId", "VpcPeeringConnectionId", "CoreNetworkArn", "OdbNetworkArn",
)  # fmt: skip
"""EC2's keys for the target of a route. A firewall's or load balancer's endpoint (vpce-) is a GatewayId."""


def _is_way_out(route: Route) -> bool:
    """Return whether a route may lead out of AWS. A route to a gateway endpoint leads to one service, such as S3."""
    return not str(route.get("GatewayId", "")).startswith("vpce-")


def _subnets(config: DeploymentConfig) -> dict[str, Any]:
    wanted = [{"Name": "subnet-id", "Values": list(config.network.subnets)}]
    seen = call("ec2", str(config.region), "describe_subnets", Filters=wanted)["Subnets"]
    return {str(each["SubnetId"]): each for each in seen}


def _routes(config: DeploymentConfig) -> dict[str, Sequence[Route]]:
    """Return the routes by subnet. The key "" has those of the main table, which all other subnets use."""
    inside = [{"Name": "vpc-id", "Values": [str(config.network.id)]}]
    found: dict[str, Sequence[Route]] = {}
    for table in pages("ec2", str(config.region), "describe_route_tables", "RouteTables", Filters=inside):
        for tie in table["Associations"]:
            found["" if tie.get("Main") else str(tie.get("SubnetId"))] = table["Routes"]
    return found
