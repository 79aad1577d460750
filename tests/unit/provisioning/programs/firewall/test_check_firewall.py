"""Rules that would lock out all open connections, or silently close another service, are refused."""

import argparse
from ipaddress import ip_address, ip_network

import pytest

from provisioning.converge.resources import File
from provisioning.programs.firewall import check_firewall
from provisioning.programs.firewall.check_firewall import (
    far_ends,
    incoming,
    listeners,
    parsed,
    ports_of,
    refusal,
    served_ports,
    shut_out,
)
from provisioning.roles.host.base import base
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host

LISTING = """\
0      0              203.0.113.7:22     198.51.100.9:54122 users:(("sshd",pid=88,fd=4),("sshd",pid=79,fd=4))
0      0      [::ffff:10.0.0.4]:22   [::ffff:10.0.0.9]:40022 users:(("sshd-session",pid=91,fd=4))
0      0          [fe80::1]%eth0:22          [fe80::2]:40022 users:(("sshd",pid=93,fd=4))
0      0              203.0.113.7:443    192.0.2.1:54122 users:(("haproxy",pid=99,fd=4))
"""

LISTENING = """\
udp   UNCONN 0      0            127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=1,fd=13))
udp   UNCONN 0      0                  0.0.0.0:51820     0.0.0.0:*
udp   UNCONN 0      0                     [::]:51820        [::]:*
udp   UNCONN 0      0                  0.0.0.0:41641     0.0.0.0:*    users:(("tailscaled",pid=2,fd=9))
udp   UNCONN 0      0                  0.0.0.0:1194      0.0.0.0:*    users:(("openvpn",pid=3,fd=9))
udp   UNCONN 0      0                  0.0.0.0:46123     0.0.0.0:*    users:(("curl",pid=4,fd=9))
udp   UNCONN 0      0             10.0.0.4%eth0:68       0.0.0.0:*    users:(("systemd-network",pid=5,fd=9))
udp   UNCONN 0      0           [fe80::1]%eth0:546          [::]:*    users:(("systemd-network",pid=5,fd=9))
udp   UNCONN 0      0             0.0.0.0%br0:67        0.0.0.0:*    users:(("systemd-network",pid=5,fd=9))
udp   UNCONN 0      0                  *%eth0:547             *:*    users:(("systemd-network",pid=5,fd=9))
udp   UNCONN 0      0                 0.0.0.0:5353      0.0.0.0:*    users:(("avahi-daemon",pid=5,fd=9))
udp   UNCONN 0      0                 0.0.0.0:123       0.0.0.0:*    users:(("chronyd",pid=6,fd=9))
udp   UNCONN 0      0               127.0.0.1:323        0.0.0.0:*    users:(("chronyd",pid=6,fd=9))
udp   UNCONN 0      0                    [::1]:323          [::]:*    users:(("chronyd",pid=6,fd=9))
udp   UNCONN 0      0            192.168.122.1:67        0.0.0.0:*    users:(("dnsmasq",pid=7,fd=9))
tcp   LISTEN 0      128                0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=8,fd=3))
tcp   LISTEN 0      128                   [::]:22           [::]:*    users:(("sshd",pid=8,fd=4))
tcp   LISTEN 0      64                       *:9090            *:*    users:(("prometheus",pid=9,fd=3))
tcp   LISTEN 0      64                 0.0.0.0:2049      0.0.0.0:*
tcp   LISTEN 0      64                 0.0.0.0:40001     0.0.0.0:*    users:(("python3",pid=10,fd=3))
tcp   LISTEN 0      64               127.0.0.1:5432      0.0.0.0:*    users:(("postgres",pid=11,fd=3))
tcp   LISTEN 0      64          [fe80::1]%eth0:8500          [::]:*    users:(("consul",pid=11,fd=3))
tcp   LISTEN 0      64      [::ffff:127.0.0.1]:5433            *:*    users:(("java",pid=12,fd=3))
"""

EPHEMERAL = (32768, 60999)


def test_peers_and_ports_are_those_of_sshd() -> None:
    assert far_ends(LISTING) == {ip_address("198.51.100.9"), ip_address("10.0.0.9"), ip_address("fe80::2")}
    assert served_ports(LISTING) == {22}


TUNNELLED = """\
0      0                127.0.0.1:2222          127.0.0.1:40022 users:(("sshd",pid=93,fd=4))
0      0        [::ffff:127.0.0.1]:2222  [::ffff:127.0.0.1]:40024 users:(("sshd",pid=94,fd=4))
0      0                 10.0.0.4:40123          10.0.0.5:5432  users:(("sshd",pid=95,fd=9))
"""


def test_reverse_tunnels_and_forwarded_connections_do_not_count_as_logins() -> None:
    """For a user behind `ssh -R`, the error asked to add 127.0.0.1; a forwarded connection counted as a login."""
    sessions = incoming(TUNNELLED, 'tcp   LISTEN 0  128   0.0.0.0:2222  0.0.0.0:*  users:(("sshd",pid=8,fd=3))\n')
    assert "5432" not in sessions
    assert far_ends(sessions) == set()
    assert served_ports(sessions) == set()


@pytest.mark.parametrize(
    ("peers", "cidrs", "refused"),
    [
        pytest.param(["10.0.0.9"], ["10.0.0.0/8"], False, id="let in"),
        pytest.param(["10.0.0.9"], ["192.0.2.0/24"], True, id="shut out"),
        pytest.param(["10.0.0.9", "192.0.2.1"], ["192.0.2.0/24"], False, id="one of two is let in"),
        pytest.param(["10.0.0.9"], ["2001:db8::/32"], True, id="other family"),
        pytest.param([], ["192.0.2.0/24"], False, id="nobody is connected"),
        pytest.param(["10.0.0.9"], [], False, id="open to all"),
    ],
)
def test_an_open_session_must_be_admitted(peers: list[str], cidrs: list[str], refused: bool) -> None:
    assert shut_out(map(ip_address, peers), map(ip_network, cidrs)) is refused


def test_other_services_are_found_in_both_protocols() -> None:
    """Only TCP was checked, and a WireGuard port, whose socket is the kernel's, was closed silently.

    Later a link-local address in the real format of ss crashed the check; and mDNS, NTP and DHCP servers of the host
    were closed silently.
    """
    assert listeners(LISTENING, EPHEMERAL) == {
        (51820, "udp"): "",
        (41641, "udp"): "tailscaled",
        (1194, "udp"): "openvpn",
        (67, "udp"): "systemd-network",
        (547, "udp"): "systemd-network",
        (5353, "udp"): "avahi-daemon",
        (123, "udp"): "chronyd",
        (8500, "tcp"): "consul",
        (22, "tcp"): "sshd",
        (9090, "tcp"): "prometheus",
        (2049, "tcp"): "",
        (40001, "tcp"): "python3",
    }


def test_ports_are_read_with_their_ranges() -> None:
    assert ports_of(["53/udp", "6000-6002/tcp"]) == {(53, "udp"), (6000, "tcp"), (6001, "tcp"), (6002, "tcp")}


def asked(**changed: object) -> argparse.Namespace:
    usual = {"open": ["22/tcp", "51820/udp"], "known": [], "name_others": True, "cidrs": []}
    return argparse.Namespace(**{**usual, **changed})


ALL = [
    *("41641/udp", "1194/udp", "67/udp", "547/udp", "5353/udp", "123/udp"),
    *("9090/tcp", "2049/tcp", "40001/tcp", "8500/tcp"),
]

REFUSALS = {
    "all are named": (asked(known=ALL), ""),
    "one is not": (asked(known=ALL[1:]), "would close ports that others may use: 41641/udp (tailscaled)"),
    "the kernel's": (asked(open=["22/tcp"], known=ALL), "51820/udp (the kernel)"),
    "our own hosts": (asked(name_others=False), ""),
    "sshd on a port that is closed": (
        asked(open=["2222/tcp"], known=[*ALL, "22/tcp"]),
        "the rules close 22/tcp",
    ),
    "shut out by address": (asked(known=ALL, cidrs=["192.0.2.0/24"]), "ssh_cidrs would lock out"),
}


@pytest.mark.parametrize(("question", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_locking_out_or_closing_rules_are_refused(
    monkeypatch: pytest.MonkeyPatch, question: argparse.Namespace, said: str
) -> None:
    listed = {"-tnpH": LISTING, "-tulnpH": LISTENING}
    monkeypatch.setattr(check_firewall, "output", lambda *argv: listed[argv[1]])
    monkeypatch.setattr(check_firewall, "ephemeral_ports", lambda: EPHEMERAL)
    monkeypatch.setattr(check_firewall, "has_rules", lambda: False)
    found = refusal(question)
    assert said in found
    assert bool(said) == bool(found)


def test_later_listeners_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host has our rules, the port is already closed."""
    monkeypatch.setattr(check_firewall, "output", lambda *argv: LISTING if argv[1] == "-tnpH" else LISTENING)
    monkeypatch.setattr(check_firewall, "has_rules", lambda: True)
    assert refusal(asked()) == ""


@pytest.mark.parametrize("cidrs", [(), ("192.0.2.0/24",), ("192.0.2.0/24", "2001:db8::/32")])
def test_arguments_of_the_role_are_understood(cidrs: tuple[str, ...]) -> None:
    """Hosts with ssh_cidrs failed here: the addresses came after options, where nothing reads them."""
    resources = base(host(ssh_cidrs=cidrs, open_ports=("51820/udp",), closed_ports=("9100/tcp",)), GatewaySpec())
    (rules,) = (each for each in resources if isinstance(each, File) and each.path == "/etc/llm/firewall.nft")
    question = parsed(rules.check[1:])
    assert question.rules == "{path}"
    assert tuple(question.cidrs) == cidrs
    assert question.open == ["22/tcp", "51820/udp"]
    assert question.known == ["443/tcp", "51820/udp", "9100/tcp"]
