"""What AWS services and other people have put into a stack's own network, which cannot go before that does.

Only what GuardDuty manages is removed: it makes an endpoint and a security group in every VPC that has instances and
leaves both when the VPC is to go. They serve nothing but this VPC's hosts, which are gone by then. The vendor's
Terraform provider removes them, too (hashicorp/terraform-provider-aws#46953). Everything else belongs to somebody: it
is named with who made it and what removes it, and stays.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import DeployError
from infra.aws.api import call, pages
from infra.aws.tags import ID
from infra.aws.things import GONE_STATES, owner_by_tags, tag_filter
from infra.things import Kind, Thing

GUARD_DUTY = [{"Name": "tag:GuardDutyManaged", "Values": ["true"]}]
"""The tag that GuardDuty gives what it manages."""


def delete_endpoint(thing: Thing) -> None:
    """Delete a VPC endpoint. Raises DeployError: EC2 answers with success, and names inside what it did not delete."""
    answer = call("ec2", thing.region, "delete_vpc_endpoints", VpcEndpointIds=[thing.id])
    for each in answer.get("Unsuccessful", []):
        error = each.get("Error", {})
        raise DeployError(f"{error.get('Code')}: {error.get('Message')}", where=thing.id)


def _guard_duty_endpoints(region: str, lease_id: str | None) -> Iterator[Thing]:
    for vpc, owner in _networks(region, lease_id).items():
        inside = [*GUARD_DUTY, {"Name": "vpc-id", "Values": [vpc]}]
        for each in pages("ec2", region, "describe_vpc_endpoints", "VpcEndpoints", Filters=inside):
            if str(each.get("State", "")).lower() not in GONE_STATES:
                yield Thing("GuardDuty endpoint", str(each["VpcEndpointId"]), region, **owner)


def _guard_duty_groups(region: str, lease_id: str | None) -> Iterator[Thing]:
    for vpc, owner in _networks(region, lease_id).items():
        inside = [*GUARD_DUTY, {"Name": "vpc-id", "Values": [vpc]}]
        for each in pages("ec2", region, "describe_security_groups", "SecurityGroups", Filters=inside):
            yield Thing("GuardDuty security group", str(each["GroupId"]), region, **owner)


def _networks(region: str, lease_id: str | None) -> dict[str, dict[str, Any]]:
    """Return the networks of stacks by id, each with whose it is."""
    seen = pages("ec2", region, "describe_vpcs", "Vpcs", Filters=tag_filter(lease_id))
    return {str(each["VpcId"]): owner_by_tags(each.get("Tags", [])) for each in seen}


def _delete_group(thing: Thing) -> None:
    call("ec2", thing.region, "delete_security_group", GroupId=thing.id)


GUARD_DUTY_ENDPOINT = Kind("GuardDuty endpoint", _guard_duty_endpoints, delete_endpoint)
GUARD_DUTY_GROUP = Kind("GuardDuty security group", _guard_duty_groups, _delete_group)


def others_in(network: Thing) -> list[str]:
    """Return what others have in a network, a line each: what it is, who made it, and what removes it."""
    inside = [{"Name": "vpc-id", "Values": [network.id]}]
    lines: list[str] = []
    for method, key, words in LOOKS:
        try:
            found = pages("ec2", network.region, method, key, Filters=inside)
        except DeployError as error:
            lines.append(f"not known: {error}")
            continue
        lines += [words(each) for each in found if not _is_own(each) and words(each)]
    return lines


def users_of(group: Thing) -> list[str]:
    """Return what others have that uses a security group, a line each: interfaces, and groups whose rules name it."""
    uses = [{"Name": "group-id", "Values": [group.id]}]
    seen = pages("ec2", group.region, "describe_network_interfaces", "NetworkInterfaces", Filters=uses)
    lines = [
        _interface(each) or f"network interface {each['NetworkInterfaceId']}" for each in seen if not _is_own(each)
    ]
    for direction in ("ip-permission", "egress.ip-permission"):
        names = [{"Name": f"{direction}.group-id", "Values": [group.id]}]
        for each in pages("ec2", group.region, "describe_security_groups", "SecurityGroups", Filters=names):
            if not _is_own(each):
                lines.append(
                    f"a rule of security group {each['GroupId']} ({each['GroupName']}) names it; remove the rule"
                )
    return lines


def _is_own(thing: Mapping[str, Any]) -> bool:
    return any(each["Key"] == ID for each in thing.get("Tags") or thing.get("TagSet") or [])


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
    if kind in ("vpc_endpoint", "nat_gateway"):
        return ""  # goes with its endpoint or gateway, which has a line of its own
    identity, who = each["NetworkInterfaceId"], each.get("RequesterId") or each.get("OwnerId", "?")
    removes = f"`aws ec2 delete-network-interface --network-interface-id {identity}`"
    if text.startswith("ELB "):
        removes = f"delete the load balancer {text.removeprefix('ELB ')}"
    elif each.get("RequesterManaged"):
        removes = "delete what it serves there, as only that removes it"
    elif each.get("Attachment", {}).get("InstanceId"):
        removes = f"terminate instance {each['Attachment']['InstanceId']}"
    return f"network interface {identity} ({text or kind}), made by {who}; {removes}"


def _group(each: Mapping[str, Any]) -> str:
    if each["GroupName"] == "default":
        return ""  # goes with its network
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
        return ""  # goes with its network
    identity = each["RouteTableId"]
    return f"route table {identity}; `aws ec2 delete-route-table --route-table-id {identity}`"


def _acl(each: Mapping[str, Any]) -> str:
    if each.get("IsDefault"):
        return ""  # goes with its network
    identity, who = each["NetworkAclId"], each.get("OwnerId", "?")
    return f"network ACL {identity}, made by account {who}; `aws ec2 delete-network-acl --network-acl-id {identity}`"


LOOKS = (
    ("describe_vpc_endpoints", "VpcEndpoints", _endpoint),
    ("describe_network_interfaces", "NetworkInterfaces", _interface),
    ("describe_nat_gateways", "NatGateways", _nat),
    ("describe_security_groups", "SecurityGroups", _group),
    ("describe_subnets", "Subnets", _subnet),
    ("describe_route_tables", "RouteTables", _route_table),
    ("describe_network_acls", "NetworkAcls", _acl),
)
"""How what others have in a network is listed, and told in a line; an empty line is none."""
