"""A shell on a host with OpenSSH, which trusts the same host keys as all other tasks."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from catalog.clouds import MADE
from core.console import say
from core.errors import UsageError
from core.files import write_atomically
from core.paths import stack_state_dir
from core.ports import SSH_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.inventory import choose, load_to_look
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.host.forwarded_ports import NEEDS, OF_GATEWAY, PAGES, forwarded_ports
from provisioning.ssh.known_hosts import known_as, known_hosts_text
from provisioning.ssh.login_keys import known_login
from provisioning.ssh.target import SshTarget

ALIVE_S = 15
"""OpenSSH gives up after three times as long without an answer: a host that was removed closes no connection."""


def ssh(target: Target, *, names: Sequence[str], command: str, forward: int = 0) -> int:
    """Replace this process by OpenSSH: a shell on the chosen host, `command`, or a forwarded port."""
    outputs = load_to_look(target)
    hosts = hosts_with_port(outputs, names, forward) if forward else choose(outputs, names)
    if len(hosts) > 1:
        known = ", ".join(host.name for host in hosts)
        raise UsageError(
            f"{outputs.stack} has {len(hosts)} hosts", where="--host", hint=f"write HOST=NAME with one of {known}"
        )
    program = shutil.which("ssh")
    if program is None:
        raise UsageError("is not installed on this machine", where="ssh", hint="install the package openssh-client")
    known_hosts = stack_state_dir(outputs.stack) / "known_hosts"
    write_atomically(known_hosts, known_hosts_text(map(SshTarget.of, outputs.hosts)), mode=0o600)
    if forward:
        page = f"http://127.0.0.1:{forward}{PAGES.get(forward, '')}"
        say(f"→ forward port {forward} of {hosts[0].name}; open {page}; Ctrl-C ends it")
    ssh_target = SshTarget.of(hosts[0])
    login_file = known_login_file(ssh_target, known_hosts.parent)
    os.execv(program, ssh_arguments(ssh_target, known_hosts, command, login_file=login_file, forward=forward))  # noqa: S606  # no shell in between


def hosts_with_port(outputs: StackOutputs, names: Sequence[str], port: int) -> tuple[HostRecord, ...]:
    """Return the hosts called `names`; without names those with the gateway, if `port` is of the gateway's host.

    Raises UsageError for a port that sshd does not forward, and for a page that only the gateway's host has.
    """
    hosts = choose(outputs, names)
    gateways = Topology(outputs).hosts_with(HostRole.GATEWAY)
    if port in OF_GATEWAY and not names:
        hosts = gateways
    known = forwarded_ports(outputs.gateway)
    if port not in known and any(host.cloud in MADE for host in hosts):
        needs = f"; {port} needs {NEEDS[port]} in the stack file" if port in NEEDS else ""
        hint = f"write one of {', '.join(map(str, known))}{needs}"
        raise UsageError(f"sshd of {hosts[0].name} does not forward port {port}", where="--forward", hint=hint)
    elsewhere = [host.name for host in hosts if host not in gateways]
    if port in NEEDS and elsewhere:
        hint = f"write HOST={gateways[0].name}, the host with the gateway"
        raise UsageError(f"{elsewhere[0]} has nothing at port {port}", where="--host", hint=hint)
    return hosts


def known_login_file(host: SshTarget, folder: Path) -> Path | None:
    """Return the file of the key that worked the last time; None if no key has worked.

    For a key of the SSH agent, or one whose file no longer exists, the public half is written and its file returned.
    """
    if host.identity_file is not None or (known := known_login(host)) is None:
        return None
    if known["file"] and os.access(known["file"], os.R_OK):
        return Path(known["file"])
    public = folder / "login.pub"
    write_atomically(public, known["key"] + "\n", mode=0o600)
    return public


def ssh_arguments(
    host: SshTarget, known_hosts: Path, command: str = "", *, login_file: Path | None = None, forward: int = 0
) -> list[str]:
    """Return the command line, with the known key and host keys. Its only SSH settings are the inventory's.

    `login_file` holds the public half of the key that worked the last time; the SSH agent has the private half.
    `forward`: a port of the host's loopback to forward to the same port here, instead of a shell.
    """
    key = host.identity_file or login_file
    identity = ["-i", str(key), "-o", "IdentitiesOnly=yes"] if key else []
    trust = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"]
    trust += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no"]
    port = ["-p", str(host.ssh_port)] if host.ssh_config is None or host.ssh_port != SSH_PORT else []
    place = [*port, "-l", host.user, host.address]
    settings = ["none", "-o", f"ServerAliveInterval={ALIVE_S}"]
    if host.ssh_config is not None:
        settings = [str(host.ssh_config), "-o", f"HostKeyAlias={known_as(host)}"]
    led = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{forward}:127.0.0.1:{forward}"] if forward else []
    return ["ssh", "-F", *settings, *trust, *identity, *led, *place, *([command] if command else [])]
