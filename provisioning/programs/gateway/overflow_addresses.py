#!/usr/bin/env python3
"""Look up the addresses of providers, and let one user reach them and nothing else outside this host.

    overflow-addresses USER HOSTS_FILE NAME…

Writes the newest addresses to HOSTS_FILE, which the user's program sees as /etc/hosts, so it needs no DNS. Replaces the
table `llm_providers` in the kernel in one step: USER may open connections to port 443 of the addresses that a name had
in the last hour. A name that cannot be looked up keeps its addresses.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TABLE = "llm_providers"
KEEP_S = 3600
"""A provider behind a content network has other addresses every minute, and old connections to old ones."""

LOCALHOST = "127.0.0.1 localhost\n::1 localhost\n"

MARK = "0x6c6c6d6f"
"""On packets that may leave. The table `llm_way_out` lets no others of the user pass."""

RULES = """table inet {table}
delete table inet {table}
table inet {table} {{
    set four {{ type ipv4_addr; {four} }}
    set six {{ type ipv6_addr; {six} }}
    chain output {{
        type filter hook output priority filter - 1; policy accept;
        oifname != "lo" meta skuid "{user}" goto away
    }}
    chain away {{
        ip daddr @four tcp dport 443 meta mark set {mark} accept
        ip6 daddr @six tcp dport 443 meta mark set {mark} accept
        counter reject with icmpx type admin-prohibited
    }}
}}
"""

os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def look_up(name: str) -> list[str]:
    """Return the addresses of `name`, those first that this host would try first; empty if it has none."""
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError as error:
        print(f"<4>{name}: {error}", file=sys.stderr)
        return []
    return list(dict.fromkeys(str(each[4][0]) for each in found if usable(str(each[4][0]))))


def usable(address: str) -> bool:
    """Return whether a provider may have this address: a name that points to this host or its link opens nothing.

    Private addresses are usable: clouds have private endpoints for their providers.
    """
    value = ipaddress.ip_address(address.partition("%")[0])
    value = getattr(value, "ipv4_mapped", None) or value
    return not (value.is_loopback or value.is_link_local or value.is_multicast or value.is_unspecified)


def merged(
    before: Mapping[str, Mapping[str, float]], found: Mapping[str, Iterable[str]], now: float
) -> dict[str, dict[str, float]]:
    """Return when each address of each name was last seen. A name without an answer keeps those that it had."""
    seen: dict[str, dict[str, float]] = {}
    for name, addresses in found.items():
        new = dict.fromkeys(addresses, now)
        old = before.get(name, {})
        seen[name] = {**{address: at for address, at in old.items() if not new or now - at < KEEP_S}, **new}
    return seen


def hosts_text(seen: Mapping[str, Mapping[str, float]]) -> str:
    """Return /etc/hosts with the newest addresses of each name."""
    lines = []
    for name, addresses in seen.items():
        newest = max(addresses.values(), default=0.0)
        lines += [f"{address} {name}\n" for address, at in addresses.items() if at == newest]
    return LOCALHOST + "".join(lines)


def rules_text(user: str, seen: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table for nft."""
    every = sorted({address for addresses in seen.values() for address in addresses})
    four = [each for each in every if ":" not in each]
    six = [each for each in every if ":" in each]

    def elements(addresses: list[str]) -> str:
        return f"elements = {{ {', '.join(addresses)} }};" if addresses else ""

    return RULES.format(table=TABLE, mark=MARK, user=user, four=elements(four), six=elements(six))


def main(user: str, path: str, *names: str) -> int:
    """Look all names up and install the result; return the exit status."""
    hosts, record = Path(path), Path(path).with_name("addresses.json")
    hosts.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    seen = merged(before, {name: look_up(name) for name in names}, time.time())
    subprocess.run(["nft", "--file", "-"], input=rules_text(user, seen), text=True, check=True)
    # In place: the file is mounted over /etc/hosts of the service, and a new one would not be seen there.
    with hosts.open("r+" if hosts.exists() else "w", encoding="utf-8") as file:
        file.write(hosts_text(seen))
        file.truncate()
    hosts.chmod(0o644)
    record.write_text(json.dumps(seen), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
