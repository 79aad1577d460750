"""Greets the hosts while the rest of the program is still being imported: each takes about as long as the other.

Reads no more than how a host is reached, and only from JSON, as `up` writes it. Whether that file is right is told by
provisioning/hosts/inventory.py a moment later; until then nothing is sent but a login to a host that shows a key
named there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.paths import outputs_file
from core.ports import SSH_PORT
from core.strict_json import parse_object
from provisioning.converge.session import Session
from provisioning.hosts.target import Target
from provisioning.ssh.connection import SshTarget
from provisioning.ssh.wait_for_ssh import patience_s

if TYPE_CHECKING:
    from infra.contract.outputs import HostRecord

MAX_HOSTS = 8
"""More are left to the program proper, which works on so many at the same time."""


@dataclass(frozen=True)
class Door:
    """How a host is reached: the fields of HostRecord that a connection needs."""

    name: str
    address: str
    ssh_port: int
    user: str
    host_keys: tuple[str, ...]
    identity_file: Path | None
    ssh_config: Path | None = None

    @classmethod
    def of(cls, host: SshTarget) -> "Door":
        """Return the door of a host."""
        keys = tuple(host.host_keys)
        return cls(host.name, host.address, host.ssh_port, host.user, keys, host.identity_file, host.ssh_config)


@dataclass(frozen=True)
class Prefetch:
    """Sessions that have begun."""

    _begun: dict[Door, Session] = field(default_factory=dict)

    def session(self, host: "HostRecord") -> Session | None:
        """Return the session that has begun for `host`, once; none when none has."""
        return self._begun.pop(Door.of(host), None)


def begin(target: Target, names: Sequence[str]) -> Prefetch:
    """Start to connect to the hosts of `target`, or those called `names`; nothing happens when the file is odd."""
    path = outputs_file(target.stack) if target.stack else Path(target.inventory)
    try:
        doors = {_door(host): patience_s(host.get("cloud", "")) for host in parse_object(path.read_bytes())["hosts"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Prefetch()
    chosen = [door for door in doors if not names or door.name in names]
    if len(chosen) > MAX_HOSTS:
        return Prefetch()
    return Prefetch({door: Session(door, patience_s=doors[door]) for door in chosen})


def _door(host: dict[str, Any]) -> Door:
    identity, ssh_config = host.get("identity_file"), host.get("ssh_config")
    return Door(
        name=host["name"],
        address=host["address"],
        ssh_port=host.get("ssh_port", SSH_PORT),
        user=host["user"],
        host_keys=tuple(host["host_keys"]),
        identity_file=Path(identity) if identity else None,
        ssh_config=Path(ssh_config) if ssh_config else None,
    )
