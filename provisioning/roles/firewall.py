"""The host's own firewall: one nftables table of ours that lets in SSH and the gateway, and nothing else.

Does not touch tables of others, forwarded packets (containers of Docker's, say) or what leaves the host, and does not
know the cloud's security groups, which stand in front of it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from core.ports import SSH_PORT
from infra.outputs import HostRecord
from provisioning.converge.resources import Directory, File, Resource, Unit
from provisioning.programs import program
from provisioning.render import render
from provisioning.roles.layout import CONFIG_DIR, FIREWALL_RULES, FIREWALL_UNIT, LIB_DIR
from serving.spec import GatewaySpec

CHECK = f"{LIB_DIR}/check-firewall"


@dataclass(frozen=True)
class Door:
    """Ports that are open, and to whom."""

    purpose: str
    ports: str
    """As nft writes them: `443`, or `{ 22, 2222 }`."""
    matches: tuple[str, ...]
    """Who may come in: the start of one rule per address family, empty text for everyone."""


def doors(host: HostRecord, gateway: GatewaySpec) -> tuple[Door, ...]:
    """Return what is open on `host`."""
    # A forwarded port (WSL2, a rented pod) is another one outside than inside; both stay open, since we cannot know.
    ssh_ports = sorted({SSH_PORT, host.ssh_port})
    ssh = str(SSH_PORT) if ssh_ports == [SSH_PORT] else f"{{ {', '.join(map(str, ssh_ports))} }}"
    return (
        Door("SSH", ssh, _matches(host.ssh_cidrs)),
        Door("The gateway", str(gateway.port), _matches(host.client_cidrs)),
    )


def resources(host: HostRecord, gateway: GatewaySpec) -> list[Resource]:
    """Return the rules, the unit that loads them at boot, and the check that keeps them from locking us out."""
    unit_file = f"/etc/systemd/system/{FIREWALL_UNIT}"
    return [
        Directory(path=CONFIG_DIR),
        Directory(path=LIB_DIR),
        File(path=CHECK, content=program("check_firewall"), mode=0o755),
        File(
            path=FIREWALL_RULES,
            content=render("nftables.nft.j2", doors=doors(host, gateway)),
            check=(CHECK, "{path}", *host.ssh_cidrs),
            after=("packages:base", f"file:{CHECK}"),
        ),
        File(
            path=unit_file,
            content=render(
                "nft-table.service.j2",
                description="Firewall of llm-deploy",
                role="base",
                rules=FIREWALL_RULES,
                table="llm_deploy",
            ),
        ),
        Unit(
            name=FIREWALL_UNIT,
            reload_on=(f"file:{FIREWALL_RULES}",),
            restart_on=(f"file:{unit_file}",),
            after=(f"file:{FIREWALL_RULES}", f"file:{unit_file}"),
        ),
    ]


def _matches(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the start of a rule for each address family in `cidrs`."""
    if not cidrs:
        return ("",)
    networks = [ip_network(cidr) for cidr in cidrs]
    # Collapsed, because nft refuses a set whose ranges overlap.
    four = collapse_addresses(each for each in networks if isinstance(each, IPv4Network))
    six = collapse_addresses(each for each in networks if isinstance(each, IPv6Network))
    families = (("ip", [str(each) for each in four]), ("ip6", [str(each) for each in six]))
    return tuple(f"{family} saddr {{ {', '.join(ranges)} }} " for family, ranges in families if ranges)
