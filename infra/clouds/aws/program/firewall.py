"""Who may reach the hosts: SSH and the gateway, each from its own networks. Outgoing traffic is open.

The engines' ports are never open. nftables on the host has the same rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from core.ports import SSH_PORT
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
    """A security group with its rules."""

    group_id: pulumi.Output[str]

    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Firewall", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name,
            name=args.physical_name,  # A name from the stack's name only could begin with sg-, which AWS refuses.
            vpc_id=args.vpc_id,
            description="SSH and the gateway of an llm-deploy stack",
            # Groups of earlier releases have a name from Pulumi; another name would replace the group.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["name"]),
        )
        for opening in openings(args):
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
        self.group_id = group.id
        self.register_outputs({"group_id": group.id})


def openings(args: FirewallArgs) -> Iterator[Opening]:
    """Yield every open port. Names come from the network, so that a change of one does not replace the others."""
    for cidr in args.ssh_cidrs:
        yield Opening(f"ssh-{_slug(cidr)}", SSH_PORT, cidr)
    clients = (EVERYWHERE_V4, EVERYWHERE_V6) if args.clients_from_anywhere else args.client_cidrs
    for cidr in clients:
        yield Opening(f"clients-{_slug(cidr)}", args.gateway_port, cidr)


def _slug(cidr: str) -> str:
    """Return a network as part of a resource's name."""
    return cidr.replace(":", "-").replace("/", "_")
