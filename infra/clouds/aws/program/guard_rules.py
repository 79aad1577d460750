"""Rules for resources on AWS, beside the rules for every cloud; infra/clouds/program/guards.py applies them."""

import json
from collections.abc import Iterator
from typing import Any

from infra.clouds.aws.api.tags import STACK, TAGGED
from infra.clouds.program.guards import Guards, Props

INSTANCE = "aws:ec2/instance:Instance"
SPOT_REQUESTS = ("aws:ec2/spotFleetRequest:SpotFleetRequest", "aws:ec2/spotInstanceRequest:SpotInstanceRequest")
PORT_RULES = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
)
GROUPS = ("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")

HOP_LIMIT = 1
LAST_PORT = 65535


def encrypted(kind: str, props: Props) -> Iterator[str]:
    """Disks are encrypted."""
    if kind == "aws:ebs/volume:Volume" and props.get("encrypted") is not True:
        yield "encryption on: the volume is not encrypted"
    if kind == INSTANCE:
        disks = [props.get("rootBlockDevice") or {}, *(props.get("ebsBlockDevices") or [])]
        if any(disk.get("encrypted") is not True for disk in disks):
            yield "encryption on: a disk of the instance is not encrypted"


def tagged(kind: str, props: Props) -> Iterator[str]:
    """Every resource can be found again."""
    if kind in TAGGED and STACK not in (props.get("tags") or {}):
        yield f"tags present: the tag {STACK} is missing"


def no_persistent_spot(kind: str, props: Props) -> Iterator[str]:
    """A spot request ends with its machine: a persistent one starts new machines after `down`."""
    if kind in SPOT_REQUESTS:
        yield "no persistent spot request: ask for spot machines through the instance"
    market = props.get("instanceMarketOptions") or {}
    if kind == INSTANCE and market.get("marketType") == "spot":
        options = market.get("spotOptions") or {}
        if options.get("spotInstanceType") != "one-time":
            yield "no persistent spot request: write spotInstanceType one-time"
        if options.get("instanceInterruptionBehavior") != "terminate":
            yield "no persistent spot request: write instanceInterruptionBehavior terminate"


def no_public_bucket(kind: str, props: Props) -> Iterator[str]:
    """Buckets are private."""
    switches = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    if kind == "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":
        off = [switch for switch in switches if props.get(switch) is not True]
        if off:
            yield f"no public bucket: {', '.join(off)} must be true"
    if kind == "aws:s3/bucketPolicy:BucketPolicy" and _lets_strangers_in(props.get("policy")):
        yield "no public bucket: its policy allows something to everyone"
    if kind.startswith("aws:s3/bucket") and str(props.get("acl") or "private").startswith(("public", "authenticated")):
        yield "no public bucket: its ACL gives public access"


def metadata_guarded(kind: str, props: Props) -> Iterator[str]:
    """Only the host itself can read its metadata, which has its user data and credentials."""
    options = props.get("metadataOptions") or {}
    if kind == INSTANCE and (
        options.get("httpTokens") != "required" or options.get("httpPutResponseHopLimit") != HOP_LIMIT
    ):
        yield "metadata guarded: write httpTokens required and httpPutResponseHopLimit 1"


def open_ports(kind: str, props: Props) -> Iterator[tuple[int, int]]:
    """Yield the ranges of TCP ports that a resource opens to the outside."""
    if kind in PORT_RULES and props.get("type", "ingress") == "ingress":
        yield _range(props.get("ipProtocol", props.get("protocol")), props)
    elif kind in GROUPS:
        for rule in props.get("ingress") or []:
            yield _range(rule.get("protocol"), rule)


def _range(protocol: Any, rule: Props) -> tuple[int, int]:
    if str(protocol) == "-1":
        return 0, LAST_PORT
    return int(rule.get("fromPort", 0)), int(rule.get("toPort", LAST_PORT))


def _lets_strangers_in(policy: Any) -> bool:
    """Return whether a bucket's policy allows anything to everyone; a policy that is not known yet counts as closed."""
    try:
        statements = json.loads(policy)["Statement"]
    except (TypeError, ValueError, KeyError):
        return False
    return any(each.get("Effect") == "Allow" and each.get("Principal") in ("*", {"AWS": "*"}) for each in statements)


GUARDS = Guards(
    rules=(
        encrypted,
        tagged,
        no_persistent_spot,
        no_public_bucket,
        metadata_guarded,
    ),
    open_ports=open_ports,
)
