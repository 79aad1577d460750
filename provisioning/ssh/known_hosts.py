"""Hosts and their keys in the format of OpenSSH's known_hosts. Writes no file."""

from collections.abc import Iterable

from core.ports import SSH_PORT
from provisioning.ssh.target import SshTarget


def known_as(host: SshTarget) -> str:
    """Return the host's name in known_hosts: its address, or `[address]:port` for another port than 22.

    With an ssh_config it is the address in the inventory (HostKeyAlias).
    """
    if host.ssh_config is not None:
        return host.address
    return host.address if host.ssh_port == SSH_PORT else f"[{host.address}]:{host.ssh_port}"


def known_hosts_text(hosts: Iterable[SshTarget]) -> str:
    """Return a known_hosts file."""
    return "".join(f"{known_as(host)} {key}\n" for host in hosts for key in host.host_keys)
