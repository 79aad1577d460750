"""The network of a machine: a named namespace, a veth pair, a /30, and NAT.

This host owns the namespace, so it and its addresses survive a reboot of the machine. Opens nothing from outside: only
this host and other machines reach a machine, and a machine reaches what this host reaches.
"""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import HostError
from infra.clouds.local.parts import host, record

RANGE = ipaddress.IPv4Network("10.213.0.0/16")
"""16384 networks of four addresses. Networks that this host has a route to are skipped."""

FORWARD_SWITCH = Path("/proc/sys/net/ipv4/ip_forward")
NETNS_DIR = Path("/run/netns")
PREFIX = "llm-"
GUEST_INTERFACE = "host0"


@dataclass(frozen=True)
class Network:
    """Names and addresses of one machine's network. The value alone creates nothing."""

    identity: str
    index: int

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The /30."""
        return subnet(self.index)

    @property
    def gateway(self) -> str:
        """This host's end."""
        return str(self.subnet[1])

    @property
    def address(self) -> str:
        """The machine's end."""
        return str(self.subnet[2])

    @property
    def interface(self) -> str:
        """This host's end of the veth pair; the kernel takes 15 characters at most."""
        return PREFIX + self.identity

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return PREFIX + self.identity

    @property
    def table(self) -> str:
        """The nftables table."""
        return "llm_" + self.identity

    def up(self) -> None:
        """Create the missing parts. Leaves existing parts as they are."""
        if not (NETNS_DIR / self.namespace).exists() or not Path(f"/sys/class/net/{self.interface}").exists():
            self.down()
            host.run("ip", "netns", "add", self.namespace)
            host.run("ip", "-batch", "-", stdin=self._outside())
            host.run("ip", "-n", self.namespace, "-batch", "-", stdin=self._inside())
        host.run("nft", "-f", "-", stdin=self._rules())
        self._open_forwarding()
        switch_forwarding_on()

    def down(self) -> None:
        """Remove all parts that exist."""
        if Path(f"/sys/class/net/{self.interface}").exists():
            host.run("ip", "link", "delete", self.interface)
        if (NETNS_DIR / self.namespace).exists():
            host.run("ip", "netns", "delete", self.namespace)
        if host.succeeds("nft", "list", "table", "ip", self.table):
            host.run("nft", "delete", "table", "ip", self.table)
        self._close_forwarding()

    def _outside(self) -> str:
        return (
            f"link add {self.interface} type veth peer name {GUEST_INTERFACE} netns {self.namespace}\n"
            f"address add {self.gateway}/30 dev {self.interface}\n"
            f"link set {self.interface} up\n"
        )

    def _inside(self) -> str:
        return (
            f"link set lo up\naddress add {self.address}/30 dev {GUEST_INTERFACE}\n"
            f"link set {GUEST_INTERFACE} up\nroute add default via {self.gateway}\n"
        )

    def _rules(self) -> str:
        # One transaction declares, deletes and creates the table, so the rules are always the same afterwards. Another
        # machine sees the machine's own address: a firewall there may let in nobody else.
        return (
            f"table ip {self.table} {{}}\ndelete table ip {self.table}\n"
            f"table ip {self.table} {{\n  chain postrouting {{\n"
            f"    type nat hook postrouting priority srcnat;\n"
            f'    ip saddr {self.address} oifname != "{PREFIX}*" masquerade\n  }}\n}}\n'
        )

    def _open_forwarding(self) -> None:
        """Let this machine's packets through the forward chains of this host's firewall (Docker's, for example)."""
        self._close_forwarding()
        for family, table, chain in foreign_forward_chains(ruleset()):
            for side in ("iifname", "oifname"):
                host.run("nft", "insert", "rule", family, table, chain, side, self.interface, "accept",
                         "comment", f'"{self.interface}"')  # fmt: skip

    def _close_forwarding(self) -> None:
        for rule in (item["rule"] for item in ruleset() if "rule" in item):
            if rule.get("comment") == self.interface:
                host.run("nft", "delete", "rule", rule["family"], rule["table"], rule["chain"],
                         "handle", str(rule["handle"]))  # fmt: skip


def subnet(index: int) -> ipaddress.IPv4Network:
    """Return the /30 with this index."""
    first = RANGE.network_address + 4 * (index % subnet_count())
    return ipaddress.IPv4Network((first, 30))


def subnet_count() -> int:
    """Return how many machines fit into the range."""
    return RANGE.num_addresses // 4


def choose_index(identity: str, taken: set[int], routes: list[ipaddress.IPv4Network]) -> int:
    """Return the index of a free /30. It depends on the id, so a machine that is created again gets its old address.

    Raises HostError if none is free.
    """
    start = int(identity, 16) % subnet_count()
    for step in range(subnet_count()):
        index = (start + step) % subnet_count()
        if index not in taken and not any(subnet(index).overlaps(route) for route in routes):
            return index
    raise HostError(f"no /30 of {RANGE} is free", where="cloud local", hint="destroy a machine, see `… machine list`")


def host_routes() -> list[ipaddress.IPv4Network]:
    """Return the networks that this host has a route to, without the default route and our machines."""
    routes = json.loads(host.run("ip", "-json", "-4", "route", "show", "table", "all"))
    return [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and not route.get("dev", "").startswith(PREFIX)
    ]


def foreign_forward_chains(items: list[dict[str, dict[str, str]]]) -> list[tuple[str, str, str]]:
    """Return family, table and name of the forward chains whose policy is drop."""
    chains = [item["chain"] for item in items if "chain" in item]
    return [
        (str(chain["family"]), str(chain["table"]), str(chain["name"]))
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain["family"] in ("ip", "inet")
    ]


def switch_forwarding_on() -> None:
    """Switch IP forwarding on, and note the previous setting."""
    with record.locked("host"):
        if FORWARD_SWITCH.read_text().strip() != "1":
            record.write_host_note({"ip_forward": "0"})
            FORWARD_SWITCH.write_text("1\n")


def restore_forwarding() -> None:
    """Switch IP forwarding off again if we switched it on and no machine remains."""
    with record.locked("host"):
        if record.all_ids():
            return
        if record.read_host_note().get("ip_forward") == "0":
            FORWARD_SWITCH.write_text("0\n")
        record.remove_host_note()


def ruleset() -> list[dict[str, dict[str, str]]]:
    """Return the whole nftables ruleset, an item each, as nft's JSON has it."""
    return list(json.loads(host.run("nft", "--json", "list", "ruleset"))["nftables"])
