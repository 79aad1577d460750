"""Hosts and their keys as the known_hosts files of OpenSSH have them. Writes no file."""

from collections.abc import Iterable

from core.ports import SSH_PORT
from provisioning.ssh.target import SshTarget


def known_as(host: SshTarget) -> str:
    """Return the host's name among known ones: with an unusual port, that follows the address in brackets.

    One that an ssh_config leads to is known by its address in the inventory alone (HostKeyAlias).
    """
    if host.ssh_config is not None:
        return host.address
    return host.address if host.ssh_port == SSH_PORT else f"[{host.address}]:{host.ssh_port}"


def known_hosts_text(hosts: Iterable[SshTarget]) -> str:
    """Return a known_hosts file."""
    return "".join(f"{known_as(host)} {key}\n" for host in hosts for key in host.host_keys)
