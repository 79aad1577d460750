"""How a host is reached by SSH. A value only: opens no connection and imports nothing slow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.ports import SSH_PORT

if TYPE_CHECKING:
    from infra.contract.outputs import HostRecord


@dataclass(frozen=True)
class SshTarget:
    """Where a host's sshd is, who logs in there, and which host keys are trusted."""

    name: str
    address: str
    user: str
    ssh_port: int = SSH_PORT
    host_keys: tuple[str, ...] = ()
    """Empty only before a person has accepted a key: no connection is possible then."""
    identity_file: Path | None = None
    """Private key. None: the SSH agent's keys and the usual files."""
    ssh_config: Path | None = None
    """OpenSSH client config that leads to `address`. None: no config file is read."""

    @classmethod
    def of(cls, host: "HostRecord") -> "SshTarget":
        """Return how `host` is reached."""
        return cls(
            name=host.name,
            address=host.address,
            user=host.user,
            ssh_port=host.ssh_port,
            host_keys=host.host_keys,
            identity_file=host.identity_file,
            ssh_config=host.ssh_config,
        )

    @classmethod
    def from_json(cls, host: Mapping[str, Any]) -> "SshTarget":
        """Return the target in the JSON of a host record, unchecked. Raises KeyError or TypeError if it lacks a key."""
        identity, ssh_config = host.get("identity_file"), host.get("ssh_config")
        return cls(
            name=host["name"],
            address=host["address"],
            user=host["user"],
            ssh_port=host.get("ssh_port", SSH_PORT),
            host_keys=tuple(host["host_keys"]),
            identity_file=Path(identity) if identity else None,
            ssh_config=Path(ssh_config) if ssh_config else None,
        )
