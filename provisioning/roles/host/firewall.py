"""The host's own firewall: one nftables table that lets in SSH and the gateway, and nothing else.

Does not touch other tables, forwarded packets (e.g. of Docker containers) or outgoing packets. It does not know the
cloud's security groups in front of it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from catalog.clouds import MADE
from core.ports import DOOR_PORTS, SSH_PORT
from infra.contract.outputs import HostRecord
from provisioning.converge.replace_resource import replace_resource
from provisioning.converge.resources import Command, Directory, File, Resource, Unit
from provisioning.programs import program
from provisioning.roles.host.layout import CONFIG_DIR, FIREWALL_RULES, FIREWALL_TABLE, FIREWALL_UNIT, LIB_DIR, NFT_RULES
from provisioning.roles.host.nft_watch import PROGRAM, nft_watch
from provisioning.templates.render import render
from serving.spec.models import GatewaySpec

CHECK = f"{LIB_DIR}/check-firewall"
TRIAL = f"{LIB_DIR}/firewall-trial"
TRIAL_DIR = "/var/lib/llm-deploy"
"""The folder of a trial's state (firewall_trial.STATE)."""
TRIAL_BEGINS = "firewall-trial"
"""Name of the command that keeps the previous rules in case the new ones let no connection in."""


@dataclass(frozen=True)
class OpenPort:
    """Ports that are open, and to whom."""

    purpose: str
    ports: str
    """As nft writes them: `443`, or `{ 22, 2222 }`."""
    matches: tuple[str, ...]
    """Who may connect: the start of one rule per address family; empty text for everyone."""
    protocol: str = "tcp"


def open_ports_of(
    host: HostRecord, gateway: GatewaySpec, gateway_host: HostRecord | None = None
) -> tuple[OpenPort, ...]:
    """Return the open ports of `host`. `gateway_host` is the host with the gateway in front of it, if it has none."""
    # A forwarded port (WSL 2, a pod) may differ inside and outside; both stay open.
    ssh_ports = sorted({SSH_PORT, host.ssh_port})
    ssh = str(SSH_PORT) if ssh_ports == [SSH_PORT] else f"{{ {', '.join(map(str, ssh_ports))} }}"
    return (
        OpenPort("SSH", ssh, _matches(host.ssh_cidrs)),
        _serving(host, gateway, gateway_host),
        *(
            OpenPort("Kept open by the inventory", ports, ("",), protocol)
            for ports, protocol in _words(host.open_ports)
        ),
    )


def _serving(host: HostRecord, gateway: GatewaySpec, gateway_host: HostRecord | None) -> OpenPort:
    """Return where requests come in: from clients at the gateway's port, or from the gateway's host alone."""
    if gateway_host is None:
        return OpenPort("The gateway", str(gateway.port), _matches(host.client_cidrs))
    ports = f"{{ {', '.join(map(str, sorted(DOOR_PORTS)))} }}"
    return OpenPort("The gateway's host", ports, _matches((gateway_host.peer_address,)))


def resources(host: HostRecord, gateway: GatewaySpec, gateway_host: HostRecord | None = None) -> list[Resource]:
    """Return the rules, the unit that loads them at boot, and the trial that prevents a lockout.

    `gateway_host` is the host with the gateway in front of this one, if it has none.
    New rules are on trial until a new connection of the controller confirms them; else the previous rules return.
    """
    unit_file = f"/etc/systemd/system/{FIREWALL_UNIT}"
    openings = open_ports_of(host, gateway, gateway_host)
    rules = render("nftables.nft.j2", openings=openings, others_tunnels=host.cloud not in MADE)
    programs = (
        File(path=CHECK, content=program("firewall/check_firewall"), mode=0o755),
        File(path=TRIAL, content=program("firewall/firewall_trial"), mode=0o755),
    )
    begin = Command(
        name=TRIAL_BEGINS,
        argv=(TRIAL, "begin", FIREWALL_RULES, FIREWALL_TABLE, FIREWALL_UNIT),
        check=(TRIAL, "same", FIREWALL_RULES, hashlib.sha256(rules.encode()).hexdigest()),
        after=("packages:base", PROGRAM.id, *(each.id for each in programs)),
    )
    return [
        Directory(path=CONFIG_DIR),
        *nft_watch(),
        *programs,
        begin,
        File(
            path=FIREWALL_RULES,
            content=rules,
            check=(CHECK, "{path}", *_check_words(host, _own_ports(gateway, gateway_host))),
            after=(begin.id,),
        ),
        File(
            path=unit_file,
            content=render(
                "nft-table.service.j2",
                description="Firewall of llm-deploy",
                role="base",
                rules=FIREWALL_RULES,
                table=FIREWALL_TABLE,
                program=NFT_RULES,
                before=f"{TRIAL} boot",
                folders=[TRIAL_DIR],
            ),
        ),
        Unit(
            name=FIREWALL_UNIT,
            reload_on=(f"file:{FIREWALL_RULES}",),
            restart_on=(f"file:{unit_file}",),
            after=(f"file:{FIREWALL_RULES}", f"file:{unit_file}"),
        ),
        # Runs even if the rules were refused: the trial then ends here, and the present rules stay.
        Command(
            name="firewall",
            argv=(TRIAL, "settle", FIREWALL_RULES, FIREWALL_TABLE),
            check=(TRIAL, "settled", FIREWALL_RULES, FIREWALL_TABLE),
            confirmed_by=("firewall/firewall_trial", "confirm"),
            after=(begin.id,),
        ),
    ]


def without_trial(resources: Sequence[Resource]) -> list[Resource]:
    """Return the list for a host without a controller: its new rules take effect at once."""
    return replace_resource(
        resources, f"command:{TRIAL_BEGINS}", Command(name=TRIAL_BEGINS, argv=("true",), check=("true",))
    )


def _own_ports(gateway: GatewaySpec, gateway_host: HostRecord | None) -> tuple[int, ...]:
    """Return the ports on which our programs listen. A host that got a gateway in front of it still has its own."""
    return (gateway.port,) if gateway_host is None else (gateway.port, *DOOR_PORTS)


def _check_words(host: HostRecord, own_ports: Sequence[int]) -> tuple[str, ...]:
    """Return the arguments of the rules' check. Only on hosts that existed before may other services listen."""
    ssh_ports = (f"{port}/tcp" for port in sorted({SSH_PORT, host.ssh_port}))
    known = (*(f"{port}/tcp" for port in own_ports), *host.open_ports, *host.closed_ports)
    return (
        *(word for port in (*ssh_ports, *host.open_ports) for word in ("--open", port)),
        *(word for port in known for word in ("--known", port)),
        *(("--name-others",) if host.cloud not in MADE else ()),
        *(word for cidr in host.ssh_cidrs for word in ("--from", cidr)),
    )


def _words(ports: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the ports as nft writes them, and their protocol."""
    for protocol in ("tcp", "udp"):
        found = [port.partition("/")[0] for port in ports if port.endswith(f"/{protocol}")]
        if found:
            yield (found[0] if len(found) == 1 else f"{{ {', '.join(found)} }}"), protocol


def _matches(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the start of a rule for each address family in `cidrs`."""
    if not cidrs:
        return ("",)
    networks = [ip_network(cidr) for cidr in cidrs]
    # Collapsed, because nft rejects a set with overlapping ranges.
    four = collapse_addresses(each for each in networks if isinstance(each, IPv4Network))
    six = collapse_addresses(each for each in networks if isinstance(each, IPv6Network))
    families = (("ip", [str(each) for each in four]), ("ip6", [str(each) for each in six]))
    return tuple(f"{family} saddr {{ {', '.join(ranges)} }} " for family, ranges in families if ranges)
