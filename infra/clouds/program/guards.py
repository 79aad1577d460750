"""Rules for every cloud resource, checked when it is registered: a resource that breaks one is never made.

A transform of the whole Pulumi program, so no component can forget it. Before the rules are checked, the cloud adds
tags or labels. It checks only what is known when the program runs, not settings of an account. Rules of one cloud are
in its `program/`.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from core.ports import ENGINE_PORTS, SSH_PORT
from infra.config.models.cidr import WIDEST_PREFIX

Props = Mapping[str, Any]
Rule = Callable[[str, Props], Iterator[str]]
"""Takes a resource's type and its inputs by the provider's names; yields a text for each broken rule."""


@dataclass(frozen=True)
class ClosedPorts:
    """Ports of one stack that its resources may not open."""

    of_engine: tuple[int, ...] = ()
    """Beside ENGINE_PORTS; open to nobody."""
    of_gateway_machine: tuple[int, ...] = ()
    """Open to machines by group or account, never to a network."""


NO_MORE = ClosedPorts()


@dataclass(frozen=True)
class Guards:
    """The rules of one cloud's resources, beside those that hold in every cloud."""

    rules: tuple[Rule, ...]
    """Rules that look at one resource alone."""
    open_ports: Callable[[str, Props], Iterator[tuple[int, int]]]
    """Yields the ranges of TCP ports that a resource opens to the outside."""

    def install(self, complete: Callable[[str, str, Props], Mapping[str, Any]], ports: ClosedPorts = NO_MORE) -> None:
        """Check every resource from now on, after `complete` (type, name, inputs) has added tags or labels."""
        import pulumi

        def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult:
            props = complete(args.type_, args.name, args.props)
            self.refuse_violations(args.type_, args.name, props, ports)
            return pulumi.ResourceTransformResult(props=dict(props), opts=args.opts)

        pulumi.runtime.register_resource_transform(transform)

    def refuse_violations(self, kind: str, name: str, props: Props, ports: ClosedPorts = NO_MORE) -> None:
        """Raise ConfigError with the resource and each rule that it breaks; do nothing if it breaks none."""
        broken = list(self.violations(kind, props, ports))
        if broken:
            raise ConfigError("; ".join(broken), where=f"{name} ({kind})")

    def violations(self, kind: str, props: Props, ports: ClosedPorts = NO_MORE) -> Iterator[str]:
        """Yield the rules that a resource breaks, in words."""
        opened = list(self.open_ports(kind, props))
        if any(low <= SSH_PORT <= high for low, high in opened) and any(map(_is_world, _from(props))):
            yield "no world-open SSH: port 22 is open to everyone, or nearly; name your own address"
        for rule in self.rules:
            yield from rule(kind, props)
        for low, high in opened:
            for port in sorted({*ENGINE_PORTS, *ports.of_engine}):
                if low <= port <= high:
                    yield f"no engine port is open: {port} is the engine's, and clients use the gateway"
            for port in ports.of_gateway_machine if any(_from(props)) else ():
                if low <= port <= high:
                    yield f"no network reaches an engine's machine: {port} is for the gateway's machine only"


def _from(props: Props) -> Iterator[str]:
    """Yield the networks that a rule lets in, as far as they are known."""
    for source in (props, *(rule for rule in props.get("ingress") or [])):
        values = [source.get("cidrIpv4"), source.get("cidrIpv6")]
        for key in ("cidrBlocks", "ipv6CidrBlocks", "sourceRanges"):
            values += source.get(key) or []
        yield from (value for value in values if isinstance(value, str))


def _is_world(cidr: str) -> bool:
    """Return whether a network is the whole internet, or nearly."""
    network = ipaddress.ip_network(cidr, strict=False)
    return network.prefixlen < WIDEST_PREFIX[network.version]
