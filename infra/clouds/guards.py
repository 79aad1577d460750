"""Rules that every cloud resource keeps, checked when it is registered: a resource that breaks one is never made.

A transform of the whole program, so that no component can forget it. First it lets the cloud add tags or labels.
Looks at what is known when the program runs; what only the cloud knows, such as an account's settings, it leaves alone.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.errors import ConfigError
from core.ports import ENGINE_PORTS, SSH_PORT
from infra.clouds.aws.program import guard_rules as aws
from infra.clouds.gcp.program import guard_rules as gcp
from infra.config.models.cidr import WIDEST_PREFIX

Props = Mapping[str, Any]
Rule = Callable[[str, Props], Iterator[str]]
"""Type kind and inputs, by the names of the provider -> what is wrong."""


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


RULES: tuple[Rule, ...] = (no_world_open_ssh, *aws.RULES, *gcp.RULES)
"""Rules that need nothing but the resource; the one on engine ports needs the ports, too."""


def _open_ports(kind: str, props: Props) -> Iterator[tuple[int, int]]:
    """Yield the ranges of TCP ports that a resource opens to the outside."""
    yield from aws.open_ports(kind, props)
    yield from gcp.open_ports(kind, props)


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
