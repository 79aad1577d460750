"""Address ranges, and which key takes which of them. One function per rule, without network access."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator

WIDEST_PREFIX = {4: 8, 6: 20}
"""Smallest prefix length by IP version. Two halves of the internet would pass every check for 0.0.0.0/0."""

OWN_PREFIXES = (16, 24)
"""Smallest and largest prefix length of a new network: those of AWS, with room for subnets."""

PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
"""RFC 1918 and RFC 6598. `is_private` of the standard library accepts more, e.g. documentation ranges."""

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as IPv6 (RFC 4291)."""

EXAMPLE = "203.0.113.7/32"

FOR_EVERYBODY = "write clients_from_anywhere: true (aws, gcp) or leave client_cidrs out (local)"
"""The rule of one field does not know the cloud, so it names both ways. Without client_cidrs, a local machine answers
every client."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_cidr(text: str) -> Network:
    """Return the range. IPv4 in IPv6 notation (`::ffff:198.51.100.7/128`) becomes IPv4.

    Raises ValueError with what to write instead.
    """
    return _plain(_parsed(text))


def _plain(network: Network) -> Network:
    """Return a range of IPv4-mapped addresses as an IPv4 range: no packet has a mapped source address."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        address = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((address, network.prefixlen - MAPPED.prefixlen))
    return network


def _parsed(text: str) -> Network:
    if "%" in text:
        raise ValueError(f"names a network interface; leave {text[text.index('%') :].partition('/')[0]} out")
    if "/" not in text:
        try:
            bits = ipaddress.ip_address(text).max_prefixlen
        except ValueError:
            raise ValueError(f"is not an address range; write one like {EXAMPLE}") from None
        raise ValueError(f"lacks the prefix length; write {text}/{bits} for this one address")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"is not an address range; write one like {EXAMPLE}") from None
    address = text.partition("/")[0]
    raise ValueError(f"is an address inside a range; write {network} or {address}/{network.max_prefixlen}")


def _ssh_cidr(text: str) -> str:
    """Return the range if SSH may be opened to it, in the clouds' notation: any other always shows as a change."""
    network = parse_cidr(text)
    if network.prefixlen == 0:
        raise ValueError(f"opens port 22 to everyone; write your own address, e.g. {EXAMPLE}")
    widest = WIDEST_PREFIX[network.version]
    if network.prefixlen < widest:
        raise ValueError(f"opens port 22 to more than a /{widest}; write your own address, e.g. {EXAMPLE}")
    return str(network)


def _client_cidr(text: str) -> str:
    """Return the range in the clouds' notation if the gateway may be opened to it; never the whole internet."""
    network = parse_cidr(text)
    if network.prefixlen == 0:
        raise ValueError(f"is the whole internet; if you mean it, {FOR_EVERYBODY}")
    widest = WIDEST_PREFIX[network.version]
    if network.prefixlen < widest:
        raise ValueError(f"is wider than a /{widest}; write a narrower one, or for the whole internet {FOR_EVERYBODY}")
    return str(network)


def _own_cidr(text: str) -> str:
    """Return the range in the clouds' notation if a new network can have it."""
    network = parse_cidr(text)
    low, high = OWN_PREFIXES
    if not isinstance(network, ipaddress.IPv4Network):
        raise ValueError("is an IPv6 range; write an IPv4 one, e.g. 10.83.0.0/16")
    if not low <= network.prefixlen <= high:
        raise ValueError(f"has the wrong size; write a range from /{low} to /{high}, e.g. 10.83.0.0/16")
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise ValueError("is a public range; write a private one, e.g. 10.83.0.0/16")
    return str(network)


SshCidr = Annotated[str, AfterValidator(_ssh_cidr)]
ClientCidr = Annotated[str, AfterValidator(_client_cidr)]
OwnCidr = Annotated[str, AfterValidator(_own_cidr)]
