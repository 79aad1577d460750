"""Rules about the limits of a network: addresses for the machines, rules of the firewall."""

import ipaddress
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.cidr import OWN_PREFIXES
from infra.config.models.deployment import DeploymentConfig

SUBNET_BITS = {"aws": 4, "gcp": 0}
"""On AWS each subnet is a sixteenth of the network, so that every zone gets one. A GCP subnet spans all zones."""

EVERYWHERE_V4 = "0.0.0.0/0"
EVERYWHERE_V6 = "::/0"

RESERVED = {"aws": 5, "gcp": 4}
"""Addresses of a subnet that the cloud keeps (docs: Amazon VPC, subnet sizing; Google Cloud VPC, subnets)."""

MAX_RULES = 60
"""Inbound rules of a security group, for IPv4 and for IPv6 each (docs.aws.amazon.com: Amazon VPC quotas)."""

DOOR_RULES = 2
"""Rules that let the gateway's own machine reach the engines. AWS counts a rule that names a group in both versions."""

MAX_RANGES = 5000
"""Source ranges of a firewall rule of GCP, each rule of one IP version (cloud.google.com/firewall/docs/quotas)."""


def addresses_for_machines(config: DeploymentConfig) -> Iterator[Problem]:
    """All machines are in one subnet of the new network, each with its own address."""
    cloud, count = config.cloud, config.host_count
    if cloud not in SUBNET_BITS or config.network.id is not None:
        return
    prefix = ipaddress.IPv4Network(config.network.cidr).prefixlen
    has = usable_addresses(cloud, prefix)
    if has >= count:
        return
    largest, smallest = OWN_PREFIXES
    enough = max(each for each in range(largest, smallest + 1) if usable_addresses(cloud, each) >= count)
    yield Problem(
        "network.cidr",
        f"{config.network.cidr} leaves {has} addresses for the machines, and {_counted(config)}",
        f"write a range of /{enough} or wider, e.g. 10.83.0.0/{enough}",
    )


def _counted(config: DeploymentConfig) -> str:
    """Return in words how many machines the stack has."""
    count, others = f"machine.count is {config.machine.count}", ["pools"] if config.pools else []
    others += [] if config.gateway.machine is None else ["gateway.machine"]
    return count if not others else f"{count}, with {' and '.join(others)} {config.host_count}"


def usable_addresses(cloud: str, prefix: int) -> int:
    """Return how many machines fit into a subnet of a network with this prefix length."""
    return int(2 ** (32 - prefix - SUBNET_BITS[cloud])) - RESERVED[cloud]


def rules_fit_firewall(config: DeploymentConfig) -> Iterator[Problem]:
    """The allowed networks fit into the cloud's limit of firewall rules."""
    network = config.network
    anywhere = (EVERYWHERE_V4, EVERYWHERE_V6) if network.clients_from_anywhere else ()
    clients = (*network.client_cidrs, *anywhere)
    for version, is_ipv6 in (("IPv4", False), ("IPv6", True)):
        ssh_rules = sum((":" in each) == is_ipv6 for each in network.ssh_cidrs)
        client_rules = sum((":" in each) == is_ipv6 for each in clients)
        if config.cloud == "aws" and ssh_rules + client_rules > MAX_RULES:
            what = (
                f"{ssh_rules} ranges of {version} for SSH and {client_rules} for clients make "
                f"{ssh_rules + client_rules} rules, and a security group allows {MAX_RULES}"
            )
            yield Problem("network", what, "write fewer, wider ranges")
        elif config.cloud == "aws" and config.gateway.machine is not None and ssh_rules + DOOR_RULES > MAX_RULES:
            what = (
                f"has {ssh_rules} ranges of {version}, and the security group of the engines allows "
                f"{MAX_RULES - DOOR_RULES} beside the rules for gateway.machine"
            )
            yield Problem("network.ssh_cidrs", what, "write fewer, wider ranges")
        for key, count in (("ssh_cidrs", ssh_rules), ("client_cidrs", client_rules)):
            if config.cloud == "gcp" and count > MAX_RANGES:
                what = f"has {count} ranges of {version}, and a firewall rule allows {MAX_RANGES}"
                yield Problem(f"network.{key}", what, "write fewer, wider ranges")


NETWORK_RULES = (addresses_for_machines, rules_fit_firewall)
