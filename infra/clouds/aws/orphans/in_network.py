"""Resources of other people and AWS services in a stack's own network: AWS deletes the network only after them.

They are not removed: each is reported with its creator and the command that removes it. Only those of GuardDuty are
removed, see guard_duty.py.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from catalog.aws_partitions import partition_of
from core.errors import DeployError
from infra.clouds.aws.api.client import pages
from infra.clouds.aws.api.tags import ID
from infra.clouds.aws.orphans.resources import GONE_STATES
from infra.clouds.resources.kinds import CloudResource

REGION_OF_ZONE = re.compile(r"[a-z]+(-[a-z]+)+-[0-9]+")
"""The region in the name of a zone: `us-west-2` in `us-west-2b` and in the local zone `us-west-2-lax-1a`."""


@dataclass(frozen=True)
class Look:
    """How one kind of other people's resources is listed, and described in one line."""

    method: str
    key: str
    words: Callable[[Mapping[str, Any]], str]
    """Returns the line; empty for a resource that does not block the network."""
    named_by: str = "vpc-id"
    """The filter for the network's id; empty if EC2 has none, then `Attachments` name the network."""
    filters: str = "Filters"
    """The argument that takes the filter."""

    def lines(self, network: CloudResource) -> list[str]:
        """Return a line for each of them. Raises the errors of `pages`."""
        inside = {self.filters: [{"Name": self.named_by, "Values": [network.id]}]} if self.named_by else {}
        found = pages("ec2", network.region, self.method, self.key, **inside)
        if not self.named_by:
            found = [each for each in found if network.id in (tie["VpcId"] for tie in each.get("Attachments", []))]
        return [line for each in found if not _is_own(each) and (line := self.words(each))]


def others_in(network: CloudResource) -> list[str]:
    """Return a line for each resource of others in a network: what it is, who made it, and what removes it.

    A kind that cannot be listed gives a line with the reason; the other kinds are still listed.
    """
    return _all_lines([partial(look.lines, network) for look in LOOKS])


def users_of(group: CloudResource) -> list[str]:
    """Return a line for each user of a security group: network interfaces, and groups whose rules name it."""

    def interfaces() -> list[str]:
        uses = [{"Name": "group-id", "Values": [group.id]}]
        seen = pages("ec2", group.region, "describe_network_interfaces", "NetworkInterfaces", Filters=uses)
        return [
            _interface(each) or f"network interface {each['NetworkInterfaceId']}" for each in seen if not _is_own(each)
        ]

    def rules(direction: str) -> list[str]:
        names = [{"Name": f"{direction}.group-id", "Values": [group.id]}]
        seen = pages("ec2", group.region, "describe_security_groups", "SecurityGroups", Filters=names)
        return [
            f"a rule of security group {each['GroupId']} ({each['GroupName']}) names it; remove the rule"
            for each in seen
            if not _is_own(each)
        ]

    return _all_lines([interfaces, lambda: rules("ip-permission"), lambda: rules("egress.ip-permission")])


def _all_lines(looks: Sequence[Callable[[], list[str]]]) -> list[str]:
    """Return the lines of all lookups in order. They run in parallel, so that a slow one does not delay the others."""

    def lines(look: Callable[[], list[str]]) -> list[str]:
        try:
            return look()
        except DeployError as error:
            return [f"not known: {error}"]

    with ThreadPoolExecutor(len(looks)) as pool:
        return [line for answer in pool.map(lines, looks) for line in answer]


def _is_own(resource: Mapping[str, Any]) -> bool:
    return any(each["Key"] == ID for each in resource.get("Tags") or resource.get("TagSet") or [])


def _endpoint(each: Mapping[str, Any]) -> str:
    if str(each.get("State", "")).lower() in GONE_STATES:
        return ""
    who = "a service" if each.get("RequesterManaged") else f"account {each.get('OwnerId', '?')}"
    identity = each["VpcEndpointId"]
    return (
        f"endpoint {identity} to {each.get('ServiceName')}, made by {who};"
        f" `aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {identity}`"
    )


def _interface(each: Mapping[str, Any]) -> str:
    kind, text = each.get("InterfaceType", "interface"), str(each.get("Description", ""))
    if kind in ("vpc_endpoint", "nat_gateway", "transit_gateway"):
        return ""  # deleted with its endpoint, gateway or attachment, which has its own line
    identity, who = each["NetworkInterfaceId"], each.get("RequesterId") or each.get("OwnerId", "?")
    removes = f"`aws ec2 delete-network-interface --network-interface-id {identity}`"
    if text.startswith("ELB "):
        removes = _deletion_of_balancer(each, text.removeprefix("ELB "))
    elif each.get("RequesterManaged"):
        removes = "delete the service that uses it, which removes it"
    elif each.get("Attachment", {}).get("InstanceId"):
        removes = f"terminate instance {each['Attachment']['InstanceId']}"
    return f"network interface {identity} ({text or kind}), made by {who}; {removes}"


def _deletion_of_balancer(interface: Mapping[str, Any], name: str) -> str:
    """Return the command that deletes the load balancer of this interface; the interface's description names it."""
    if "/" not in name:  # a Classic Load Balancer
        return f"delete the load balancer {name}: `aws elb delete-load-balancer --load-balancer-name {name}`"
    zone, account = str(interface.get("AvailabilityZone", "")), interface.get("OwnerId", "ACCOUNT")
    begin = REGION_OF_ZONE.match(zone)
    region = begin[0] if begin else "REGION"
    arn = f"arn:{partition_of(region)}:elasticloadbalancing:{region}:{account}:loadbalancer/{name}"
    return f"delete the load balancer {name}: `aws elbv2 delete-load-balancer --load-balancer-arn {arn}`"


def _group(each: Mapping[str, Any]) -> str:
    if each["GroupName"] == "default":
        return ""  # deleted with its network
    identity, text = each["GroupId"], f"{each['GroupName']}: {each.get('Description', '')}"
    return (
        f"security group {identity} ({text}), made by account {each.get('OwnerId', '?')};"
        f" `aws ec2 delete-security-group --group-id {identity}`"
    )


def _nat(each: Mapping[str, Any]) -> str:
    identity = each["NatGatewayId"]
    is_gone = str(each.get("State", "")).lower() in GONE_STATES
    return "" if is_gone else f"NAT gateway {identity}; `aws ec2 delete-nat-gateway --nat-gateway-id {identity}`"


def _subnet(each: Mapping[str, Any]) -> str:
    identity, who = each["SubnetId"], each.get("OwnerId", "?")
    return f"subnet {identity}, made by account {who}; `aws ec2 delete-subnet --subnet-id {identity}`"


def _route_table(each: Mapping[str, Any]) -> str:
    if any(tie.get("Main") for tie in each.get("Associations", [])):
        return ""  # deleted with its network
    identity = each["RouteTableId"]
    return f"route table {identity}; `aws ec2 delete-route-table --route-table-id {identity}`"


def _acl(each: Mapping[str, Any]) -> str:
    if each.get("IsDefault"):
        return ""  # deleted with its network
    identity, who = each["NetworkAclId"], each.get("OwnerId", "?")
    return f"network ACL {identity}, made by account {who}; `aws ec2 delete-network-acl --network-acl-id {identity}`"


def _attached(each: Mapping[str, Any], noun: str, verb: str, option: str, key: str) -> str:
    """Return the line of a gateway that is attached to one network: detaching it is enough."""
    ties = each.get("VpcAttachments") or each.get("Attachments") or []
    held = [tie for tie in ties if str(tie.get("State", "")).lower() not in DETACHED_STATES]
    if str(each.get("State", "")).lower() in GONE_STATES or not held:
        return ""
    return f"{noun} {each[key]}; `aws ec2 {verb} --{option} {each[key]} --vpc-id {held[0]['VpcId']}`"


def _internet_gateway(each: Mapping[str, Any]) -> str:
    return _attached(each, "internet gateway", "detach-internet-gateway", "internet-gateway-id", "InternetGatewayId")


def _vpn_gateway(each: Mapping[str, Any]) -> str:
    return _attached(each, "VPN gateway", "detach-vpn-gateway", "vpn-gateway-id", "VpnGatewayId")


def _egress_only_gateway(each: Mapping[str, Any]) -> str:
    identity, option = each["EgressOnlyInternetGatewayId"], "--egress-only-internet-gateway-id"
    return f"egress-only internet gateway {identity}; `aws ec2 delete-egress-only-internet-gateway {option} {identity}`"


def _carrier_gateway(each: Mapping[str, Any]) -> str:
    identity, is_gone = each["CarrierGatewayId"], str(each.get("State", "")).lower() in GONE_STATES
    removes = f"`aws ec2 delete-carrier-gateway --carrier-gateway-id {identity}`"
    return "" if is_gone else f"carrier gateway {identity}, made by account {each.get('OwnerId', '?')}; {removes}"


def _peering(each: Mapping[str, Any]) -> str:
    if str(each.get("Status", {}).get("Code", "")).lower() in (*GONE_STATES, *NEVER_MADE_STATES):
        return ""
    identity, asks, takes = each["VpcPeeringConnectionId"], each["RequesterVpcInfo"], each["AccepterVpcInfo"]
    sides = " and ".join(f"{side.get('VpcId', '?')} of account {side.get('OwnerId', '?')}" for side in (asks, takes))
    removes = f"`aws ec2 delete-vpc-peering-connection --vpc-peering-connection-id {identity}`"
    return f"peering connection {identity} between {sides}; {removes}"


def _transit_attachment(each: Mapping[str, Any]) -> str:
    if str(each.get("State", "")).lower() in (*GONE_STATES, *NEVER_MADE_STATES):
        return ""
    identity = each["TransitGatewayAttachmentId"]
    removes = f"`aws ec2 delete-transit-gateway-vpc-attachment --transit-gateway-attachment-id {identity}`"
    return f"attachment {identity} of transit gateway {each.get('TransitGatewayId', '?')}; {removes}"


DETACHED_STATES = ("detached", "detaching")
"""States of a gateway's attachment to a network."""

NEVER_MADE_STATES = ("failed", "failing", "rejected", "rejecting", "expired")
"""States of peering connections and attachments that do not block a network."""

LOOKS = (
    Look("describe_vpc_endpoints", "VpcEndpoints", _endpoint),
    Look("describe_network_interfaces", "NetworkInterfaces", _interface),
    Look("describe_nat_gateways", "NatGateways", _nat, filters="Filter"),
    Look("describe_internet_gateways", "InternetGateways", _internet_gateway, "attachment.vpc-id"),
    Look("describe_egress_only_internet_gateways", "EgressOnlyInternetGateways", _egress_only_gateway, named_by=""),
    Look("describe_carrier_gateways", "CarrierGateways", _carrier_gateway),
    Look("describe_vpn_gateways", "VpnGateways", _vpn_gateway, "attachment.vpc-id"),
    Look("describe_transit_gateway_vpc_attachments", "TransitGatewayVpcAttachments", _transit_attachment),
    Look("describe_vpc_peering_connections", "VpcPeeringConnections", _peering, "requester-vpc-info.vpc-id"),
    Look("describe_vpc_peering_connections", "VpcPeeringConnections", _peering, "accepter-vpc-info.vpc-id"),
    Look("describe_security_groups", "SecurityGroups", _group),
    Look("describe_subnets", "Subnets", _subnet),
    Look("describe_route_tables", "RouteTables", _route_table),
    Look("describe_network_acls", "NetworkAcls", _acl),
)
