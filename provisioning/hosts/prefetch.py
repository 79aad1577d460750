"""Greets the hosts while the rest of the program is still being imported: each takes about as long as the other.

Reads no more than how a host is reached, and only from JSON, as `up` writes it. Whether that file is right is told by
provisioning/hosts/inventory.py a moment later; until then nothing is sent but a login to a host that shows a key
named there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.paths import outputs_file
from core.strict_json import parse_object
from provisioning.converge.session import Session
from provisioning.hosts.target import Target
from provisioning.ssh.target import SshTarget
from provisioning.ssh.wait_for_ssh import patience_s

if TYPE_CHECKING:
    from infra.contract.outputs import HostRecord

MAX_HOSTS = 8
"""More are left to the program proper, which works on so many at the same time."""


@dataclass(frozen=True)
class Prefetch:
    """Sessions that have begun."""

    _begun: dict[SshTarget, Session] = field(default_factory=dict)

    def session(self, host: "HostRecord") -> Session | None:
        """Return the session that has begun for `host`, once; none when none has."""
        return self._begun.pop(SshTarget.of(host), None)


def begin(target: Target, names: Sequence[str]) -> Prefetch:
    """Start to connect to the hosts of `target`, or those called `names`; nothing happens when the file is odd."""
    path = outputs_file(target.stack) if target.stack else Path(target.inventory)
    try:
        hosts = parse_object(path.read_bytes())["hosts"]
        patience = {SshTarget.from_json(host): patience_s(host.get("cloud", "")) for host in hosts}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Prefetch()
    chosen = [host for host in patience if not names or host.name in names]
    if len(chosen) > MAX_HOSTS:
        return Prefetch()
    return Prefetch({host: Session(host, patience_s=patience[host]) for host in chosen})
