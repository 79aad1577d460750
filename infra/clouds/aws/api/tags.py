"""The tags that find the resources of a stack again, and the types of resources that take tags."""

from collections.abc import Mapping
from typing import Any

STACK = "llm-deploy:stack"
ID = "llm-deploy:id"
HOST = "llm-deploy:host"
ENDS_AT = "llm-deploy:ends-at"
DATA_VOLUME = "llm-deploy:data-volume"
KEEP = "llm-deploy:keep"
"""On resources that the stack file tells `down` to keep."""

TAGGED = frozenset(
    {
        "aws:budgets/budget:Budget",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:ebs/volume:Volume",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/eip:Eip",
        "aws:ec2/instance:Instance",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/keyPair:KeyPair",
        "aws:ec2/networkInterface:NetworkInterface",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:iam/instanceProfile:InstanceProfile",
        "aws:iam/role:Role",
        "aws:s3/bucket:Bucket",
        "aws:scheduler/scheduleGroup:ScheduleGroup",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
)
"""Types that a stack creates and that take tags; a test compares this list with the SDK."""

NESTED = {"aws:ec2/instance:Instance": ("rootBlockDevice",)}
"""Inputs that create a further resource with its own tags: the root disk."""


def own_tags(stack: str, identity: str) -> dict[str, str]:
    """Return the tags of all resources of a stack."""
    return {STACK: stack, ID: identity}


def with_tags(kind: str, name: str, props: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Return a resource's inputs with `tags` and a Name added, unless its type has no tags. Its own tags are kept."""
    if kind not in TAGGED:
        return dict(props)
    everywhere = {"Name": name, **tags}
    tagged = {**props, "tags": {**everywhere, **(props.get("tags") or {})}}
    for key in NESTED.get(kind, ()):
        inner = props.get(key) or {}
        tagged[key] = {**inner, "tags": {**everywhere, **(inner.get("tags") or {})}}
    return tagged
