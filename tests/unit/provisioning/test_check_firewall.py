"""Rules that would shut out everyone who is connected are refused."""

from ipaddress import ip_address, ip_network

import pytest

from provisioning.programs.check_firewall import far_ends, shut_out

LISTING = """\
0      0              203.0.113.7:22     198.51.100.9:54122 users:(("sshd",pid=88,fd=4),("sshd",pid=79,fd=4))
0      0      [::ffff:10.0.0.4]:22   [::ffff:10.0.0.9]:40022 users:(("sshd-session",pid=91,fd=4))
0      0          [fe80::1%eth0]:22     [fe80::2%eth0]:40022 users:(("sshd",pid=93,fd=4))
0      0              203.0.113.7:443    192.0.2.1:54122 users:(("haproxy",pid=99,fd=4))
"""


def test_far_ends_are_those_of_sshd() -> None:
    assert far_ends(LISTING) == {ip_address("198.51.100.9"), ip_address("10.0.0.9"), ip_address("fe80::2")}


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
def test_somebody_who_is_connected_must_be_let_in(peers: list[str], cidrs: list[str], refused: bool) -> None:
    assert shut_out(map(ip_address, peers), map(ip_network, cidrs)) is refused
