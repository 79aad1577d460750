"""The network of a stack: its own VPC with one subnet in its region, or an existing subnet.

A subnet of GCP spans all zones of its region. The firewall decides who may reach a host.
"""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Arguments of `Network`."""

    physical_name: str
    project: str
    region: str
    cidr: str
    existing_id: str | None = None
    existing_subnet: str | None = None


class Network(pulumi.ComponentResource):
    """A network with a subnet."""

    network_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]
    has_ipv6: bool

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:gcp:Network", name, None, opts)
        if args.existing_id is not None:
            subnet = f"projects/{args.project}/regions/{args.region}/subnetworks/{args.existing_subnet}"
            self.network_id = pulumi.Output.from_input(f"projects/{args.project}/global/networks/{args.existing_id}")
            self.subnet_id = pulumi.Output.from_input(subnet)
            self.has_ipv6 = False  # the owner decides whether the subnet has IPv6
        else:
            self._make(name, args)
        self.register_outputs({"network_id": self.network_id})

    def _make(self, name: str, args: NetworkArgs) -> None:
        mine = pulumi.ResourceOptions(parent=self)
        network = gcp.compute.Network(
            name, name=args.physical_name, auto_create_subnetworks=False, routing_mode="REGIONAL", opts=mine
        )
        subnet = gcp.compute.Subnetwork(
            name,
            name=args.physical_name,
            network=network.id,
            region=args.region,
            ip_cidr_range=args.cidr,
            stack_type="IPV4_IPV6",
            ipv6_access_type="EXTERNAL",
            private_ip_google_access=True,  # traffic to buckets stays in Google's network
            opts=mine,
        )
        self.network_id = network.id
        self.subnet_id = subnet.id
        self.has_ipv6 = True
