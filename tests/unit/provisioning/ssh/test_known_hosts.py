"""Hosts as OpenSSH knows them."""

from provisioning.ssh.known_hosts import known_hosts_text
from tests.unit.provisioning.records import HOST_KEY, ssh_target


def test_other_port_than_22_is_in_brackets() -> None:
    assert known_hosts_text([ssh_target(), ssh_target("b", address="fd00::1", ssh_port=2222)]) == (
        f"203.0.113.7 {HOST_KEY}\n[fd00::1]:2222 {HOST_KEY}\n"
    )
