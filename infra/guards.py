"""Rules that every cloud resource keeps, checked when it is registered: a resource that breaks one is never made.

A transform of the whole program, so that no component can forget it. First it lets the cloud add tags or labels.
Looks at what is known when the program runs; what only the cloud knows, such as an account's settings, it leaves alone.
"""

import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.errors import ConfigError
from core.ports import SSH_PORT
from infra.config.cidr import WIDEST_PREFIX
from infra.gcp import guard_rules

Props = Mapping[str, Any]
Rule = Callable[[str, Props], Iterator[str]]
"""Type kind and inputs, by the names of the provider -> what is wrong."""

ENGINE_PORTS = (8000, 11434)
"""Where vLLM and Ollama listen on loopback unless the stack file says otherwise."""

TAG_STACK_AWS = "llm-deploy:stack"
HOP_LIMIT = 1


def install(complete: Callable[[str, str, Props], Mapping[str, Any]], engine_ports: tuple[int, ...] = ()) -> None:
    """Check every resource from now on, after `complete` (type, name, inputs) has added what all of them carry."""
    import pulumi

    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult:
        props = complete(args.type_, args.name, args.props)
        refuse_violations(args.type_, args.name, props, engine_ports)
        return pulumi.ResourceTransformResult(props=dict(props), opts=args.opts)

    pulumi.runtime.register_resource_transform(transform)


def refuse_violations(kind: str, name: str, props: Props, engine_ports: tuple[int, ...] = ()) -> None:
    """Raise ConfigError that names the resource and each rule that it breaks; nothing happens when it keeps all."""
    broken = list(violations(kind, props, engine_ports))
    if broken:
        raise ConfigError("; ".join(broken), where=f"{name} ({kind})")


def violations(kind: str, props: Props, engine_ports: tuple[int, ...] = ()) -> Iterator[str]:
    """Yield the rules that a resource breaks, in words."""
    for rule in RULES:
        yield from rule(kind, props)
    for low, high in _open_ports(kind, props):
        for port in sorted({*ENGINE_PORTS, *engine_ports}):
            if low <= port <= high:
                yield f"no engine port is open: {port} is the engine's, and clients use the gateway"


def no_world_open_ssh(kind: str, props: Props) -> Iterator[str]:
    """SSH is never open to everyone."""
    if any(low <= SSH_PORT <= high for low, high in _open_ports(kind, props)) and any(map(_is_world, _from(props))):
        yield "no world-open SSH: port 22 is open to everyone, or nearly; name your own address"


def encrypted(kind: str, props: Props) -> Iterator[str]:
    """Disks are encrypted (GCP encrypts all of them)."""
    if kind == "aws:ebs/volume:Volume" and props.get("encrypted") is not True:
        yield "encryption on: the volume is not encrypted"
    if kind == "aws:ec2/instance:Instance":
        disks = [props.get("rootBlockDevice") or {}, *(props.get("ebsBlockDevices") or [])]
        if any(disk.get("encrypted") is not True for disk in disks):
            yield "encryption on: a disk of the instance is not encrypted"


def tagged(kind: str, props: Props) -> Iterator[str]:
    """Everything can be found again."""
    from infra.aws.tags import TAGGED
    from infra.gcp.labels import LABELLED, STACK

    if kind in TAGGED and TAG_STACK_AWS not in (props.get("tags") or {}):
        yield f"tags present: the tag {TAG_STACK_AWS} is missing"
    if kind in LABELLED and STACK not in (props.get("labels") or {}):
        yield f"labels present: the label {STACK} is missing"


def no_persistent_spot(kind: str, props: Props) -> Iterator[str]:
    """A spot request ends with its machine: a persistent one makes new machines after `down`."""
    if kind in ("aws:ec2/spotFleetRequest:SpotFleetRequest", "aws:ec2/spotInstanceRequest:SpotInstanceRequest"):
        yield "no persistent spot request: ask for spot machines through the instance"
    market = props.get("instanceMarketOptions") or {}
    if kind == "aws:ec2/instance:Instance" and market.get("marketType") == "spot":
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
        yield "no public bucket: its ACL lets strangers in"
    if kind == "gcp:storage/bucket:Bucket":
        if props.get("publicAccessPrevention") != "enforced":
            yield "no public bucket: write publicAccessPrevention enforced"
        if props.get("uniformBucketLevelAccess") is not True:
            yield "no public bucket: write uniformBucketLevelAccess true"
    members = [props.get("member"), *(props.get("members") or [])]
    if kind.startswith("gcp:storage/bucketIAM") and {"allUsers", "allAuthenticatedUsers"} & set(map(str, members)):
        yield "no public bucket: strangers are given a role on it"


def metadata_guarded(kind: str, props: Props) -> Iterator[str]:
    """A host's metadata, with its user data and credentials, is for the host alone."""
    options = props.get("metadataOptions") or {}
    if kind == "aws:ec2/instance:Instance" and (
        options.get("httpTokens") != "required" or options.get("httpPutResponseHopLimit") != HOP_LIMIT
    ):
        yield "metadata guarded: write httpTokens required and httpPutResponseHopLimit 1"


RULES: tuple[Rule, ...] = (
    no_world_open_ssh,
    encrypted,
    tagged,
    no_persistent_spot,
    no_public_bucket,
    metadata_guarded,
    *guard_rules.RULES,
)
"""Rules that need nothing but the resource; the one on engine ports needs the ports, too."""

_AWS_RULES = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
)
_AWS_GROUPS = ("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
_ALL_PORTS = (0, 65535)


def _open_ports(kind: str, props: Props) -> Iterator[tuple[int, int]]:
    """Yield the ranges of TCP ports that a resource opens to the outside."""
    if kind in _AWS_RULES:
        if props.get("type", "ingress") == "ingress":
            yield _range(props.get("ipProtocol", props.get("protocol")), props)
    elif kind in _AWS_GROUPS:
        for rule in props.get("ingress") or []:
            yield _range(rule.get("protocol"), rule)
    elif kind == "gcp:compute/firewall:Firewall" and props.get("direction", "INGRESS") == "INGRESS":
        for rule in props.get("allows") or []:
            yield from _gcp_ranges(rule)


def _range(protocol: Any, rule: Props) -> tuple[int, int]:
    if str(protocol) == "-1":
        return _ALL_PORTS
    return int(rule.get("fromPort", 0)), int(rule.get("toPort", _ALL_PORTS[1]))


def _gcp_ranges(rule: Props) -> Iterator[tuple[int, int]]:
    """Yield the ports of one `allows` of GCP; none named means all of them. A protocol may be a number, too."""
    if rule.get("protocol") not in ("tcp", "6", "all"):
        return
    ports = rule.get("ports")
    if not ports:
        yield _ALL_PORTS
    for port in ports or []:
        low, _dash, high = str(port).partition("-")
        yield int(low), int(high or low)


def _from(props: Props) -> Iterator[str]:
    """Yield the networks that a rule lets in, as far as they are known."""
    for source in (props, *(rule for rule in props.get("ingress") or [])):
        values = [source.get("cidrIpv4"), source.get("cidrIpv6")]
        for key in ("cidrBlocks", "ipv6CidrBlocks", "sourceRanges"):
            values += source.get(key) or []
        yield from (value for value in values if isinstance(value, str))


def _is_world(cidr: str) -> bool:
    """Return whether a network is everyone, or so wide that it might as well be."""
    network = ipaddress.ip_network(cidr, strict=False)
    return network.prefixlen < WIDEST_PREFIX[network.version]


def _lets_strangers_in(policy: Any) -> bool:
    """Return whether a bucket's policy allows anything to everyone; one that is not known yet counts as closed."""
    try:
        statements = json.loads(policy)["Statement"]
    except (TypeError, ValueError, KeyError):
        return False
    return any(each.get("Effect") == "Allow" and each.get("Principal") in ("*", {"AWS": "*"}) for each in statements)
