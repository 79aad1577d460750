"""A shell on a host with OpenSSH, which trusts the same keys as everything else here."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from core.errors import UsageError
from core.files import write_atomically
from core.paths import stack_state_dir
from infra.outputs import HostRecord
from provisioning.inventory import choose, load_to_look
from provisioning.known_hosts import known_hosts_text
from provisioning.target import Target


def ssh(target: Target, *, names: Sequence[str], command: str) -> int:
    """Become OpenSSH on the one chosen host: a shell, or `command`. Returns only by raising UsageError."""
    outputs = load_to_look(target)
    hosts = choose(outputs, names)
    if len(hosts) > 1:
        known = ", ".join(host.name for host in hosts)
        raise UsageError(f"{outputs.stack} has {len(hosts)} hosts", where="--host", hint=f"name one of {known}")
    program = shutil.which("ssh")
    if program is None:
        raise UsageError("is not installed on this machine", where="ssh", hint="install the package openssh-client")
    known_hosts = stack_state_dir(outputs.stack) / "known_hosts"
    write_atomically(known_hosts, known_hosts_text(outputs.hosts), mode=0o600)
    os.execv(program, ssh_arguments(hosts[0], known_hosts, command))  # noqa: S606  # no shell is wanted in between


def ssh_arguments(host: HostRecord, known_hosts: Path, command: str = "") -> list[str]:
    """Return the command line: the stack's key, the known host keys, nothing from the user's own SSH settings."""
    identity = ["-i", str(host.identity_file), "-o", "IdentitiesOnly=yes"] if host.identity_file else []
    trust = ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"]
    trust += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no"]
    place = ["-p", str(host.ssh_port), f"{host.user}@{host.address}"]
    return ["ssh", "-F", "none", *trust, *identity, *place, *([command] if command else [])]
