"""Connects to the hosts while Python imports the rest of the program: both take about the same time.

Reads only the SSH targets, and only from JSON, which `up` writes. provisioning/hosts/inventory.py checks that file a
moment later; until then only a login is sent, to a host that shows a host key of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.paths import outputs_file
from core.reading.strict_json import parse_object
from provisioning.converge.session import Session
from provisioning.hosts.target import Target
from provisioning.ssh.target import SshTarget
from provisioning.ssh.wait_for_ssh import patience_s

if TYPE_CHECKING:
    from infra.contract.outputs import HostRecord

MAX_HOSTS = 8
"""With more hosts nothing is prefetched: a run works on this many at the same time."""


@dataclass(frozen=True)
class Prefetch:
    """Sessions that were started."""

    _begun: dict[SshTarget, Session] = field(default_factory=dict)

    def session(self, host: "HostRecord") -> Session | None:
        """Return the session that was started for `host`, only once; None if there is none."""
        return self._begun.pop(SshTarget.of(host), None)


def begin(target: Target, names: Sequence[str]) -> Prefetch:
    """Start to connect to the hosts of `target`, or those called `names`; do nothing if the file cannot be read."""
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
