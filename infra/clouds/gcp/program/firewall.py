"""Who may reach the hosts: SSH and the gateway, each from its own networks. Outgoing traffic is open.

If the gateway has its own machine, that machine has its own service account. The machines with engines then accept
nothing from clients, and two ports from that account only.

Rules apply to the stack's service accounts, so in an existing network they do not affect other machines. An existing
network has rules for every machine in it: the rules of GCP's `default` network allow SSH from everywhere. The stack's
rules come before most of them, and the last one refuses the rest. Preflight reports rules that come before them
(foreign_rules.py). The engines' ports are never open; nftables on the host has the same rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from core.ports import DOOR_PORTS, SSH_PORT
from infra.clouds.gcp.program import priorities
from infra.config.rules.network_limits import EVERYWHERE_V4, EVERYWHERE_V6

EVERYWHERE = (EVERYWHERE_V4, EVERYWHERE_V6)

CLIENTS = "web"
"""In the names of the rules for clients."""


@dataclass(frozen=True, kw_only=True)
class FirewallArgs:
    """Arguments of `Firewall`."""

    physical_name: str
    network_id: pulumi.Input[str]
    account_email: pulumi.Input[str]
    """Of the machines with engines."""
    gateway_email: pulumi.Input[str] | None
    """Of the gateway's own machine. None: the gateway is on the machines with engines."""
    ssh_cidrs: tuple[str, ...]
    client_cidrs: tuple[str, ...]
    clients_from_anywhere: bool
    gateway_port: int


@dataclass(frozen=True)
class Opening:
    """One port, open to networks of one IP version: GCP accepts no rule with both."""

    name: str
    port: int
    cidrs: tuple[str, ...]
    is_for_clients: bool


class Firewall(pulumi.ComponentResource):
    """The rules of a stack."""

    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:gcp:Firewall", name, None, opts)
        everywhere = [args.account_email, *([args.gateway_email] if args.gateway_email is not None else [])]
        clients = [args.account_email if args.gateway_email is None else args.gateway_email]
        for opening in openings(args):
            gcp.compute.Firewall(
                f"{name}-{opening.name}",
                name=f"{args.physical_name}-{opening.name}",
                network=args.network_id,
                direction="INGRESS",
                source_ranges=list(opening.cidrs),
                target_service_accounts=clients if opening.is_for_clients else everywhere,
                allows=[{"protocol": "tcp", "ports": [str(opening.port)]}],
                priority=priorities.ALLOW,
                opts=pulumi.ResourceOptions(parent=self),
            )
        if args.gateway_email is not None:
            gcp.compute.Firewall(
                f"{name}-engine",
                name=f"{args.physical_name}-engine",
                network=args.network_id,
                direction="INGRESS",
                source_service_accounts=[args.gateway_email],
                target_service_accounts=[args.account_email],
                allows=[{"protocol": "tcp", "ports": [str(port) for port in DOOR_PORTS]}],
                priority=priorities.ALLOW,
                opts=pulumi.ResourceOptions(parent=self),
            )
        for version, everyone in zip(("v4", "v6"), EVERYWHERE, strict=True):
            gcp.compute.Firewall(
                f"{name}-rest-{version}",
                name=f"{args.physical_name}-rest-{version}",
                network=args.network_id,
                direction="INGRESS",
                source_ranges=[everyone],
                target_service_accounts=everywhere,
                denies=[{"protocol": "all"}],
                priority=priorities.DENY,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})


def openings(args: FirewallArgs) -> Iterator[Opening]:
    """Yield every open port."""
    clients = EVERYWHERE if args.clients_from_anywhere else args.client_cidrs
    for name, port, cidrs in (("ssh", SSH_PORT, args.ssh_cidrs), (CLIENTS, args.gateway_port, clients)):
        for version, is_ipv6 in (("v4", False), ("v6", True)):
            of_version = tuple(cidr for cidr in cidrs if (":" in cidr) == is_ipv6)
            if of_version:
                yield Opening(f"{name}-{version}", port, of_version, name == CLIENTS)
