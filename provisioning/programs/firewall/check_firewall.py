#!/usr/bin/env python3
"""Check new firewall rules before they replace the old ones. Loads nothing.

    check-firewall RULES [--open PORT/PROTOCOL]… [--known PORT/PROTOCOL]… [--from CIDR]… [--name-others]

Fails if nft rejects RULES. Fails if the rules would lock out all open SSH sessions, because none comes from one of the
CIDRs, or because their port is not among the --open ones. Without CIDRs everyone may connect.

With --name-others, no working service is closed silently: fails if the host has no rules of this project yet, and a
program listens beyond loopback on a port that is neither --open nor --known.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TABLE = "llm_deploy"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
TUNNELS = (
    "tailscaled", "openvpn", "zerotier-one", "nebula", "charon", "starter", "boringtun", "wireguard-go", "netbird",
    "cloudflared", "tincd", "n2n", "edge", "iked", "pluto", "xl2tpd", "ocserv", "softether",
)  # fmt: skip
"""Programs whose UDP port is a service even in the kernel's range for clients. WireGuard's port has no program."""
CLIENTS = ("systemd-network", "systemd-timesyn", "dhclient", "dhcpcd", "NetworkManager")
"""System programs that only wait for answers, or that the rules let in anyway (DHCP)."""
SERVER_PORTS = {(67, "udp"), (547, "udp")}
"""Ports on which systemd-networkd serves DHCP to others. Its own requests come from other ports."""

os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def far_ends(listing: str) -> set[Address]:
    """Return the peers' addresses of sshd's connections in `listing`, the output of ss.

    Loopback is left out: the rules always let it in, and a reverse tunnel ends there.
    """
    found = (address_of(line.split()[3]) for line in listing.splitlines() if '"sshd' in line)
    return {address for address in found if not address.is_loopback}


def served_ports(listing: str) -> set[int]:
    """Return the ports of this host on which sshd serves the connections in `listing` from other hosts."""
    ends = (line.split()[2:4] for line in listing.splitlines() if '"sshd' in line)
    return {int(here.rpartition(":")[2]) for here, there in ends if not address_of(there).is_loopback}


def address_of(end: str) -> Address:
    """Return the address of one end of a connection, as ss writes it with its port, without its interface."""
    host = end.rpartition(":")[0].partition("%")[0].strip("[]")
    return plain(ipaddress.ip_address("::" if host == "*" else host))


def incoming(sessions: str, listening: str) -> str:
    """Return the lines of `sessions` whose local port has a listener: sshd also connects out, for forwarding."""
    ports = {line.split()[4].rpartition(":")[2] for line in listening.splitlines() if line.startswith("tcp")}
    lines = sessions.splitlines(keepends=True)
    return "".join(line for line in lines if line.split()[2].rpartition(":")[2] in ports)


def plain(address: Address) -> Address:
    """Return an IPv4-mapped IPv6 address as IPv4."""
    return getattr(address, "ipv4_mapped", None) or address


def shut_out(peers: Iterable[Address], networks: Iterable[Network]) -> bool:
    """Return whether there are `peers` and none of them is in one of `networks`."""
    peers, networks = list(peers), list(networks)
    return bool(peers and networks) and not any(peer in network for peer in peers for network in networks)


def ports_of(words: Iterable[str]) -> set[tuple[int, str]]:
    """Return each port with its protocol, from words like `51820/udp` and `6000-6010/tcp`."""
    found = set()
    for word in words:
        ports, _, protocol = word.partition("/")
        first, _, last = ports.partition("-")
        found |= {(port, protocol) for port in range(int(first), int(last or first) + 1)}
    return found


def listeners(listing: str, ephemeral: tuple[int, int]) -> dict[tuple[int, str], str]:
    """Return the program (empty for the kernel) by port and protocol, from the output of `ss -tulnpH`.

    Listeners on loopback only, system programs, and UDP sockets of clients are left out.
    """
    found: dict[tuple[int, str], str] = {}
    for line in listing.splitlines():
        words = line.split()
        protocol, local = words[0], words[4]
        port_text = local.rpartition(":")[2]
        program = (re.findall(r'\(\("([^"]*)"', line) or [""])[0]
        if address_of(local).is_loopback:
            continue
        if matters(protocol, int(port_text), program, ephemeral):
            found.setdefault((int(port_text), protocol), program)
    return found


def matters(protocol: str, port: int, program: str, ephemeral: tuple[int, int]) -> bool:
    """Return whether closing a port may interrupt a service that others use."""
    if program.startswith(CLIENTS) and (port, protocol) not in SERVER_PORTS:
        return False
    of_a_client = protocol == "udp" and ephemeral[0] <= port <= ephemeral[1]
    return not of_a_client or not program or program.startswith(TUNNELS)


def names(found: dict[tuple[int, str], str]) -> str:
    """Return ports with their programs, for people."""
    return ", ".join(f"{port}/{protocol} ({found[port, protocol] or 'the kernel'})" for port, protocol in sorted(found))


def output(*argv: str) -> str:
    """Return a program's output; raises CalledProcessError if it fails."""
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def ephemeral_ports() -> tuple[int, int]:
    """Return the first and the last port that the kernel gives to clients."""
    first, last = EPHEMERAL.read_text(encoding="ascii").split()
    return int(first), int(last)


def has_rules() -> bool:
    """Return whether this project's table is in the kernel."""
    argv = ("nft", "list", "table", "inet", TABLE)
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def refusal(asked: argparse.Namespace) -> str:
    """Return why the rules must not be loaded; an empty string if they may."""
    listening = output("ss", "-tulnpH")
    sessions = incoming(output("ss", "-tnpH", "state", "established"), listening)
    peers = far_ends(sessions)
    if shut_out(peers, [ipaddress.ip_network(cidr) for cidr in asked.cidrs]):
        who = ", ".join(sorted(map(str, peers)))
        return f"ssh_cidrs would lock out {who}, connected now; add that address to ssh_cidrs"
    is_open = ports_of(asked.open)
    served = served_ports(sessions)
    if is_open and served and not any((port, "tcp") in is_open for port in served):
        ports = ", ".join(f"{port}/tcp" for port in sorted(served))
        hint = "write it under the host's open_ports"
        return f"the rules close {ports}, on which sshd serves the present SSH session; {hint}"
    if asked.name_others and not has_rules():
        found = listeners(listening, ephemeral_ports())
        known = is_open | ports_of(asked.known)
        others = {key: program for key, program in found.items() if key not in known}
        if others:
            hint = "write each port under the host's open_ports or closed_ports in the inventory, or run `make adopt`"
            return f"the firewall would close ports that others may use: {names(others)}; {hint}"
    return ""


def main(argv: Sequence[str]) -> int:
    """Check all; return the exit status."""
    asked = parsed(argv)
    status = subprocess.run(["nft", "-c", "-f", asked.rules], check=False).returncode
    if status:
        return status
    said = refusal(asked)
    if said:
        print(said, file=sys.stderr)
    return 1 if said else 0


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("rules")
    parser.add_argument("--open", action="append", default=[])
    parser.add_argument("--known", action="append", default=[])
    parser.add_argument("--name-others", action="store_true")
    parser.add_argument("--from", dest="cidrs", action="append", default=[])
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
