"""The network of a stack: its own small VPC, or subnets of an existing one.

Every subnet is public: a host has a public address. A NAT gateway would cost more than most of the machines. The
firewall decides who may reach a host.
"""

import ipaddress
from dataclasses import dataclass
from functools import partial

import pulumi
import pulumi_aws as aws

from infra.config.rules.network_limits import EVERYWHERE_V4, EVERYWHERE_V6, SUBNET_BITS


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Arguments of `Network`."""

    region: str
    cidr: str
    zones: tuple[str, ...]
    existing_id: str | None = None
    existing_subnets: dict[str, str]
    """Subnets of the existing network by zone; empty if a network is created."""


class Network(pulumi.ComponentResource):
    """A network with a public subnet in every zone."""

    vpc_id: pulumi.Output[str]
    subnet_ids: dict[str, pulumi.Output[str]]
    """By zone."""
    has_ipv6: bool

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Network", name, None, opts)
        if args.existing_id is not None:
            self.vpc_id = pulumi.Output.from_input(args.existing_id)
            self.subnet_ids = {zone: pulumi.Output.from_input(each) for zone, each in args.existing_subnets.items()}
            self.has_ipv6 = False  # The owner of an existing network decides whether its subnets have IPv6.
        else:
            self._make(name, args)
        self.register_outputs({"vpc_id": self.vpc_id})

    def _make(self, name: str, args: NetworkArgs) -> None:
        mine = pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.cidr,
            assign_generated_ipv6_cidr_block=True,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            opts=mine,
        )
        aws.ec2.DefaultSecurityGroup(f"{name}-default", vpc_id=vpc.id, opts=mine)  # adopted; its rules are removed
        table = aws.ec2.RouteTable(name, vpc_id=vpc.id, opts=mine)
        ways_out = self._ways_out(name, vpc, table)
        aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id],
            opts=mine,
        )
        self.vpc_id = vpc.id
        self.has_ipv6 = True
        self.subnet_ids = {}
        for zone in args.zones:
            subnet, tie = self._public_subnet(f"{name}-{zone[-1]}", zone, args.cidr, vpc, table)
            # What uses the subnet is created after its routes and deleted before them: AWS does not detach a gateway
            # while public addresses are mapped.
            whole = pulumi.Output.all(subnet.id, tie.id, *(way.id for way in ways_out))
            self.subnet_ids[zone] = whole.apply(lambda ids: str(ids[0]))

    def _ways_out(self, name: str, vpc: aws.ec2.Vpc, table: aws.ec2.RouteTable) -> tuple[aws.ec2.Route, aws.ec2.Route]:
        """Return the routes of a table to an internet gateway of the network, for IPv4 and IPv6."""
        mine = pulumi.ResourceOptions(parent=self)
        gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, opts=mine)
        return (
            aws.ec2.Route(
                f"{name}-v4",
                route_table_id=table.id,
                gateway_id=gateway.id,
                destination_cidr_block=EVERYWHERE_V4,
                opts=mine,
            ),
            aws.ec2.Route(
                f"{name}-v6",
                route_table_id=table.id,
                gateway_id=gateway.id,
                destination_ipv6_cidr_block=EVERYWHERE_V6,
                opts=mine,
            ),
        )

    def _public_subnet(
        self, name: str, zone: str, cidr: str, vpc: aws.ec2.Vpc, table: aws.ec2.RouteTable
    ) -> tuple[aws.ec2.Subnet, aws.ec2.RouteTableAssociation]:
        """Return the subnet of a zone, and its association with the route table."""
        mine = pulumi.ResourceOptions(parent=self)
        subnet = aws.ec2.Subnet(
            name,
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=subnet_cidr(cidr, zone),
            ipv6_cidr_block=vpc.ipv6_cidr_block.apply(partial(subnet_ipv6_cidr, zone)),
            map_public_ip_on_launch=False,  # each host gets an address that outlives it
            opts=mine,
        )
        return subnet, aws.ec2.RouteTableAssociation(name, subnet_id=subnet.id, route_table_id=table.id, opts=mine)


def subnet_cidr(cidr: str, zone: str) -> str:
    """Return the part of the network that belongs to a zone; it does not depend on the other zones."""
    network = ipaddress.IPv4Network(cidr)
    return str(list(network.subnets(prefixlen_diff=SUBNET_BITS["aws"]))[_place(zone)])


def subnet_ipv6_cidr(zone: str, cidr: str) -> str:
    """Return the /64 of a zone in the /56 that AWS assigned to the network."""
    network = ipaddress.IPv6Network(cidr)
    return str(list(network.subnets(new_prefix=64))[_place(zone)])


def _place(zone: str) -> int:
    """Return the index of a zone's letter in the alphabet."""
    return ord(zone[-1]) - ord("a")
