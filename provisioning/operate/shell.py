"""A shell on a host with OpenSSH, which trusts the same host keys as all other tasks."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from core.errors import UsageError
from core.files import write_atomically
from core.paths import stack_state_dir
from core.ports import SSH_PORT
from provisioning.hosts.inventory import choose, load_to_look
from provisioning.hosts.target import Target
from provisioning.ssh.known_hosts import known_as, known_hosts_text
from provisioning.ssh.login_keys import known_login
from provisioning.ssh.target import SshTarget


def ssh(target: Target, *, names: Sequence[str], command: str, forward: int = 0) -> int:
    """Replace this process by OpenSSH: a shell on the chosen host, `command`, or a forwarded port."""
    outputs = load_to_look(target)
    hosts = choose(outputs, names)
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
    ssh_target = SshTarget.of(hosts[0])
    login_file = known_login_file(ssh_target, known_hosts.parent)
    os.execv(program, ssh_arguments(ssh_target, known_hosts, command, login_file=login_file, forward=forward))  # noqa: S606  # no shell in between


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
    settings = ["none"]
    if host.ssh_config is not None:
        settings = [str(host.ssh_config), "-o", f"HostKeyAlias={known_as(host)}"]
    led = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{forward}:127.0.0.1:{forward}"] if forward else []
    return ["ssh", "-F", *settings, *trust, *identity, *led, *place, *([command] if command else [])]
