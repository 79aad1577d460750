"""The few files that differ between machines: name, machine id, SSH host key, authorized keys.

They are written before the first boot, so the host key is known before the first connection.
"""

import os
import secrets
from pathlib import Path

from core.errors import HostError, UsageError
from core.files import write_atomically
from infra.clouds.program.ssh_key import make_key_pair
from tools import host_settings
from tools.rootfs import LOGIN_USER


def write_identity(root: Path, name: str) -> str:
    """Give the machine its name, machine id, name servers and a new SSH host key; return the key's public half."""
    etc = root / "etc"
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost\n")
    (etc / "machine-id").write_text(secrets.token_hex(16) + "\n")
    servers = host_settings.name_servers()
    if not servers:
        raise UsageError(
            "names no name server that a machine can reach",
            where="/etc/resolv.conf",
            hint="add one that is not on this host's loopback interface",
        )
    resolv = etc / "resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.write_text("".join(f"nameserver {server}\n" for server in servers))
    pair = make_key_pair(etc / "ssh/ssh_host_ed25519_key", comment=name)
    return pair.public


def write_authorized_keys(root: Path, public_keys: tuple[str, ...]) -> None:
    """Let only these keys log in. Takes effect at once, also in a running machine."""
    uid, gid = _login_ids(root)
    folder = root / "home" / LOGIN_USER / ".ssh"
    if folder.parent.resolve() != folder.parent or folder.is_symlink():
        # Root in the machine could make it a link to a folder of this host.
        raise HostError(
            "is a link; the machine's own folder was expected", where=str(folder), hint="destroy the machine"
        )
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "authorized_keys"
    write_atomically(file, "".join(f"{key}\n" for key in public_keys), mode=0o600)
    for path in (folder, file):
        os.chown(path, uid, gid, follow_symlinks=False)


def _login_ids(root: Path) -> tuple[int, int]:
    """Return uid and gid of the login user in the machine. This host need not have that user."""
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == LOGIN_USER:
            return int(uid), int(gid)
    hint = "the machine is incomplete: create it again with `down` and `up`"
    raise UsageError(f"has no user {LOGIN_USER}", where=str(root / "etc/passwd"), hint=hint)
