"""Who may reach the hosts: SSH and the gateway, each from its own networks. Outgoing traffic is open.

If the gateway has its own machine, that machine has its own group. The machines with engines then accept nothing from
clients, and two ports from that group only. The engines' ports are never open. nftables on the host has the same rules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from core.ports import DOOR_PORTS, SSH_PORT
from infra.clouds.program.naming import GATEWAY_SUFFIX
from infra.config.rules.network_limits import EVERYWHERE_V4, EVERYWHERE_V6


@dataclass(frozen=True, kw_only=True)
class FirewallArgs:
    """Arguments of `Firewall`."""

    physical_name: str
    vpc_id: pulumi.Input[str]
    ssh_cidrs: tuple[str, ...]
    client_cidrs: tuple[str, ...]
    clients_from_anywhere: bool
    gateway_port: int
    own_gateway: bool
    """Whether the gateway has its own machine."""


@dataclass(frozen=True)
class Opening:
    """One port that is open to one network."""

    name: str
    port: int
    cidr: str

    @property
    def is_ipv6(self) -> bool:
        """Whether the network is IPv6."""
        return ":" in self.cidr


class Firewall(pulumi.ComponentResource):
    """The security group of the machines with engines, and that of the gateway's own machine, with their rules."""

    group_id: pulumi.Output[str]
    gateway_group_id: pulumi.Output[str] | None
    """None: the gateway is on the machines with engines."""

    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Firewall", name, None, opts)
        # Another description would replace the group of an existing stack, so both kinds of stack have this one.
        described = "SSH and the gateway of an llm-deploy stack"
        ssh, clients = list(ssh_openings(args)), list(client_openings(args))
        self.gateway_group_id = None
        if not args.own_gateway:
            self.group_id = self._group(name, args.physical_name, described, args, [*ssh, *clients])
        else:
            self.group_id = self._group(name, args.physical_name, described, args, ssh)
            gateway, physical = f"{name}{GATEWAY_SUFFIX}", f"{args.physical_name}{GATEWAY_SUFFIX}"
            described = "The gateway machine of an llm-deploy stack"
            self.gateway_group_id = self._group(gateway, physical, described, args, [*ssh, *clients])
            self._let_in_gateway(name, self.group_id, self.gateway_group_id)
        self.register_outputs({"group_id": self.group_id})

    def _group(
        self, name: str, physical_name: str, described: str, args: FirewallArgs, opened: Sequence[Opening]
    ) -> pulumi.Output[str]:
        """Return the id of a group that lets in what is `opened`."""
        mine = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name,
            name=physical_name,  # A name from the stack's name only could begin with sg-, which AWS refuses.
            vpc_id=args.vpc_id,
            description=described,
            # Groups of earlier releases have a name from Pulumi; another name would replace the group.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["name"]),
        )
        for opening in opened:
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-{opening.name}",
                security_group_id=group.id,
                description=opening.name,
                ip_protocol="tcp",
                from_port=opening.port,
                to_port=opening.port,
                cidr_ipv4=None if opening.is_ipv6 else opening.cidr,
                cidr_ipv6=opening.cidr if opening.is_ipv6 else None,
                opts=mine,
            )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-out-v4", security_group_id=group.id, ip_protocol="-1", cidr_ipv4=EVERYWHERE_V4, opts=mine
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-out-v6", security_group_id=group.id, ip_protocol="-1", cidr_ipv6=EVERYWHERE_V6, opts=mine
        )
        group_id: pulumi.Output[str] = group.id
        return group_id

    def _let_in_gateway(self, name: str, engines: pulumi.Output[str], gateway: pulumi.Output[str]) -> None:
        """Let the gateway's machine send requests to the machines with engines, and ask their agents."""
        for port in DOOR_PORTS:
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-engine-{port}",
                security_group_id=engines,
                description=f"engine-{port}",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                referenced_security_group_id=gateway,
                opts=pulumi.ResourceOptions(parent=self),
            )


def ssh_openings(args: FirewallArgs) -> Iterator[Opening]:
    """Yield the ports of SSH. Names come from the network, so that a change of one does not replace the others."""
    for cidr in args.ssh_cidrs:
        yield Opening(f"ssh-{_slug(cidr)}", SSH_PORT, cidr)


def client_openings(args: FirewallArgs) -> Iterator[Opening]:
    """Yield the ports of clients, named like those of SSH."""
    clients = (EVERYWHERE_V4, EVERYWHERE_V6) if args.clients_from_anywhere else args.client_cidrs
    for cidr in clients:
        yield Opening(f"clients-{_slug(cidr)}", args.gateway_port, cidr)


def _slug(cidr: str) -> str:
    """Return a network as part of a resource's name."""
    return cidr.replace(":", "-").replace("/", "_")
