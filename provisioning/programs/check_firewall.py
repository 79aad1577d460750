#!/usr/bin/env python3
"""Check new firewall rules before they take the place of the old ones. Loads nothing.

    check-firewall RULES [CIDR…]

Fails when nft refuses RULES, or when SSH sessions are open and none of them comes from one of the CIDRs: rules that
shut out everyone who is connected now are a mistake. Without CIDRs everyone may connect.
"""

from __future__ import annotations

import ipaddress
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def far_ends(listing: str) -> set[Address]:
    """Return the addresses that sshd's connections in `listing`, the output of ss, come from."""
    ends = (line.split()[3] for line in listing.splitlines() if '"sshd' in line)
    return {plain(ipaddress.ip_address(end.rpartition(":")[0].strip("[]").partition("%")[0])) for end in ends}


def plain(address: Address) -> Address:
    """Return an IPv4 address that an IPv6 socket reports as what it is."""
    return getattr(address, "ipv4_mapped", None) or address


def shut_out(peers: Iterable[Address], networks: Iterable[Network]) -> bool:
    """Return whether there are `peers` and not one of them lies in one of `networks`."""
    peers, networks = list(peers), list(networks)
    return bool(peers and networks) and not any(peer in network for peer in peers for network in networks)


def main(rules: str, *cidrs: str) -> int:
    """Check both; return the exit status."""
    status = subprocess.run(["nft", "-c", "-f", rules], check=False).returncode
    if status or not cidrs:
        return status
    listing = subprocess.run(
        ["ss", "-tnpH", "state", "established"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    peers = far_ends(listing)
    if shut_out(peers, [ipaddress.ip_network(cidr) for cidr in cidrs]):
        names = ", ".join(sorted(map(str, peers)))
        print(f"ssh_cidrs would shut out {names}, who is connected now; add that address to ssh_cidrs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
