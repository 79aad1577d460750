"""SSH keys for tests."""

from pathlib import Path

import paramiko

from infra.clouds.program.ssh_key import make_key_pair


def saved_key(path: Path) -> tuple[Path, paramiko.PKey]:
    """Make a key pair at `path`; return the private key's file and the key."""
    make_key_pair(path, comment="test")
    return path, paramiko.PKey.from_path(str(path))
