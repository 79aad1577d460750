"""Resources of GuardDuty in a stack's own network: they are removed with the network.

GuardDuty creates an endpoint and a security group in every VPC that has instances, and both keep the VPC from being
deleted. They only serve the hosts of this VPC, which are already deleted then. The Terraform provider of AWS removes
them too (hashicorp/terraform-provider-aws#46953).
"""

from collections.abc import Iterator
from typing import Any

from core.errors import DeployError
from infra.clouds.aws.api.client import call, pages
from infra.clouds.aws.orphans.resources import GONE_STATES, owner_by_tags, tag_filter
from infra.clouds.resources.kinds import CloudResource, ResourceKind

GUARD_DUTY = [{"Name": "tag:GuardDutyManaged", "Values": ["true"]}]
"""The tag that GuardDuty puts on its resources."""


def delete_endpoint(resource: CloudResource) -> None:
    """Delete a VPC endpoint. Raises DeployError: EC2 answers 200 and lists in the body what it did not delete."""
    answer = call("ec2", resource.region, "delete_vpc_endpoints", VpcEndpointIds=[resource.id])
    for each in answer.get("Unsuccessful", []):
        error = each.get("Error", {})
        raise DeployError(f"{error.get('Code')}: {error.get('Message')}", where=resource.id)


def _guard_duty_endpoints(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    for vpc, owner in _networks(region, placement_id).items():
        inside = [*GUARD_DUTY, {"Name": "vpc-id", "Values": [vpc]}]
        for each in pages("ec2", region, "describe_vpc_endpoints", "VpcEndpoints", Filters=inside):
            if str(each.get("State", "")).lower() not in GONE_STATES:
                yield CloudResource("GuardDuty endpoint", str(each["VpcEndpointId"]), region, **owner)


def _guard_duty_groups(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    for vpc, owner in _networks(region, placement_id).items():
        inside = [*GUARD_DUTY, {"Name": "vpc-id", "Values": [vpc]}]
        for each in pages("ec2", region, "describe_security_groups", "SecurityGroups", Filters=inside):
            yield CloudResource("GuardDuty security group", str(each["GroupId"]), region, **owner)


def _networks(region: str, placement_id: str | None) -> dict[str, dict[str, Any]]:
    """Return the networks of stacks by id, each with its owner."""
    seen = pages("ec2", region, "describe_vpcs", "Vpcs", Filters=tag_filter(placement_id))
    return {str(each["VpcId"]): owner_by_tags(each.get("Tags", [])) for each in seen}


def _delete_group(resource: CloudResource) -> None:
    call("ec2", resource.region, "delete_security_group", GroupId=resource.id)


GUARD_DUTY_ENDPOINT = ResourceKind("GuardDuty endpoint", _guard_duty_endpoints, delete_endpoint)
GUARD_DUTY_GROUP = ResourceKind("GuardDuty security group", _guard_duty_groups, _delete_group)
